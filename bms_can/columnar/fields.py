"""The values of all signals of a message at once: by the kernel, by numpy where it cannot."""

import ctypes
from collections.abc import Callable, Mapping
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from bms_can.columnar import kernel
from bms_can.columnar.extract import Array, Payloads, loaded_from
from bms_can.columnar.plan import WORD_BITS, Arithmetic, MessagePlan, SignalPlan

Fields = Callable[[Payloads], Mapping[str, Array]]

TYPES = ("u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f8")  # enum type of kernel_fields.c
SAME, INTEGER, REAL, REAL_UNSIGNED, IEEE32, IEEE64 = range(6)  # enum how
IEEE = {32: IEEE32, 64: IEEE64}
WRAP = 1 << 64


def fields_of(plan: MessagePlan) -> Fields:
    """Return what decodes the signals of a message."""
    library = kernel.library()
    return _NumpyFields(plan) if library is None else _KernelFields(library, plan)


class _NumpyFields:
    def __init__(self, plan: MessagePlan) -> None:
        self._signals = plan.signals

    def __call__(self, payloads: Payloads) -> Mapping[str, Array]:
        return {name: payloads.values(signal) for name, signal in self._signals.items()}


class _KernelFields:
    def __init__(self, library: ctypes.CDLL, plan: MessagePlan) -> None:
        self._decode = library.bms_decode
        known = [signal for signal in plan.signals.values() if _how(signal) is not None]
        self._known = sorted(known, key=lambda signal: -signal.type.itemsize)  # aligns each array
        self._others = [signal for signal in plan.signals.values() if _how(signal) is None]
        places = [0, *accumulate(signal.type.itemsize for signal in self._known)]
        self._row_bytes = places.pop()
        self._places = list(zip(self._known, places, strict=True))
        self._tables: dict[int, tuple[int, NDArray[np.void]]] = {}
        self._names = tuple(plan.signals)

    def __call__(self, payloads: Payloads) -> Mapping[str, Array]:
        count = len(payloads.rows)
        values: dict[str, Array] = {}
        if self._known:
            block = np.empty(max(1, count * self._row_bytes), np.uint8)
            self._fill(payloads, block)
            for signal, place in self._places:
                values[signal.name] = np.ndarray(count, signal.type, block, place * count)
        for signal in self._others:
            values[signal.name] = payloads.values(signal)
        return {name: values[name] for name in self._names} if self._others else values

    def _fill(self, payloads: Payloads, block: NDArray[np.uint8]) -> None:
        width, count = payloads.data.shape[1], len(payloads.rows)
        self._decode(
            payloads.address,
            width,
            kernel.address(payloads.rows),
            count,
            self._table(width),
            len(self._known),
            kernel.address(block),
        )

    def _table(self, width: int) -> int:
        """Return the address of the kernel's description of the fields."""
        found = self._tables.get(width)
        if found is None:
            rows = [_field(signal, place, width) for signal, place in self._places]
            table = np.array(rows, kernel.FIELD)
            found = self._tables[width] = (kernel.address(table), table)
        return found[0]


def _how(plan: SignalPlan) -> int | None:
    """Return the kernel's word for the arithmetic, None for what it leaves to numpy."""
    if plan.how is Arithmetic.SAME:
        return SAME
    if plan.how is Arithmetic.INTEGER:
        return INTEGER
    if plan.how is Arithmetic.REAL:
        unsigned = plan.field.length == WORD_BITS and not plan.field.sign
        return REAL_UNSIGNED if unsigned else REAL
    return IEEE.get(plan.field.length) if plan.how is Arithmetic.IEEE else None


def _field(plan: SignalPlan, bytes_before: int, width: int) -> tuple[int | float | None, ...]:
    inside = plan.place.end <= width  # else no frame here is long enough to have it
    byte, shift, ninth = loaded_from(plan.place, width) if inside else (0, 0, False)
    whole = plan.how is Arithmetic.INTEGER
    factor, offset = plan.scale
    return (
        plan.field.mask,
        plan.field.sign,
        int(factor) % WRAP if whole else 0,
        int(offset) % WRAP if whole else 0,
        float(factor),
        float(offset),
        byte,
        shift,
        plan.place.little,
        ninth,
        _how(plan),
        TYPES.index(plan.type.str[1:]),
        bytes_before,
    )
