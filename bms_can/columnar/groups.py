"""Which rows of a chunk belong to which message, and which of them have the right length."""

import ctypes
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from bms_can.columnar import kernel
from bms_can.columnar.chunk import Chunk
from bms_can.columnar.plan import EXTENDED_BIT, MessagePlan

Rows = NDArray[np.int64]
Group = tuple[int, Rows, Rows]  # number of the message, its rows, its rows of another length
Groups = Callable[[Chunk], Iterator[Group]]

GOLDEN = 2654435769  # 2^32 / golden ratio: spreads ids over the hash table, as in kernel_fields.c
HASH_BITS = 32
LENGTHS = 256  # of a payload, as far as a byte counts


def groups_of(plans: Sequence[MessagePlan], *, exact: bool) -> Groups:
    """Return what groups the rows of a chunk by message; longer frames fit if not `exact`."""
    library = kernel.library()
    fits = np.array([_fits(plan, exact) for plan in plans], np.bool_).reshape(-1, LENGTHS)
    keys = np.array([plan.key for plan in plans], np.uint32)
    if library is None:
        return _NumpyGroups(keys, fits)
    return _KernelGroups(library, keys, fits)


def _fits(plan: MessagePlan, exact: bool) -> list[bool]:  # noqa: FBT001 - passed on
    """Return by payload length whether a frame of this message has it."""
    if exact and plan.lengths:
        return [length in plan.lengths for length in range(LENGTHS)]
    return [length >= plan.size for length in range(LENGTHS)]


class _NumpyGroups:
    def __init__(self, keys: NDArray[np.uint32], fits: NDArray[np.bool_]) -> None:
        order = np.argsort(keys)
        few = len(keys) <= np.iinfo(np.uint16).max  # sorted faster
        self._keys, self._numbers = keys[order], order.astype(np.uint16 if few else np.int64)
        self._fits = fits

    def __call__(self, chunk: Chunk) -> Iterator[Group]:
        if not len(self._keys):
            return
        keys = chunk.can_id | chunk.extended * np.uint32(EXTENDED_BIT)
        at = np.searchsorted(self._keys, keys).clip(max=len(self._keys) - 1)
        known = np.flatnonzero(self._keys[at] == keys)
        numbers = self._numbers[at[known]]
        ordered = known[np.argsort(numbers, kind="stable")]
        counts = np.bincount(numbers, minlength=len(self._keys))
        ends = np.cumsum(counts)
        for number in np.flatnonzero(counts).tolist():
            rows = ordered[ends[number] - counts[number] : ends[number]]
            fits = self._fits[number][chunk.length[rows]]
            yield number, rows[fits], rows[~fits]


class _KernelGroups:
    def __init__(
        self, library: ctypes.CDLL, keys: NDArray[np.uint32], fits: NDArray[np.bool_]
    ) -> None:
        self._group = library.bms_group
        bits = max(4, (4 * len(keys)).bit_length())
        self._keys = np.zeros(1 << bits, np.uint32)
        self._numbers = np.full(1 << bits, -1, np.int32)
        self._fits = fits
        for number, key in enumerate(keys.tolist()):
            at = (key * GOLDEN % (1 << HASH_BITS)) >> (HASH_BITS - bits)
            while self._numbers[at] >= 0:
                at = (at + 1) % (1 << bits)
            self._keys[at], self._numbers[at] = key, number
        self._count = len(keys)
        self._ids = kernel.IdsStruct(
            *map(kernel.address, (self._keys, self._numbers)),
            HASH_BITS - bits,
            (1 << bits) - 1,
            kernel.address(fits),
            self._count,
        )

    def __call__(self, chunk: Chunk) -> Iterator[Group]:
        size = len(chunk)
        bucket = np.empty(size, np.int32)
        counts = np.empty(2 * self._count, np.int64)
        rows = np.empty(size, np.int64)
        self._group(
            kernel.address(chunk.can_id),
            kernel.address(chunk.extended),
            kernel.address(chunk.length),
            size,
            ctypes.byref(self._ids),
            kernel.address(bucket),
            kernel.address(counts),
            kernel.address(rows),
        )
        ends = np.cumsum(counts).tolist()
        for number in np.flatnonzero(counts[::2] + counts[1::2]).tolist():
            start = ends[2 * number - 1] if number else 0
            middle, end = ends[2 * number], ends[2 * number + 1]
            yield number, rows[start:middle], rows[middle:end]
