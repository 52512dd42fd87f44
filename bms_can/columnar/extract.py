"""Signals out of payload bytes with numpy: the fallback of the kernel, and its reference."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bms_can.columnar.plan import WORD_BITS, Arithmetic, Place, SignalPlan
from bms_can.layout import read

WORD_BYTES = 8
FLOATS = {16: "f2", 32: "f4", 64: "f8"}

Array = NDArray[Any]


class Payloads:
    """Payloads of some rows of a chunk; what is read of them is kept for the next signal.

    Args:
        data: payloads of the chunk, one a row, 8 or 64 bytes wide.
        rows: those that count.
        address: where `data` begins, for the kernel.
    """

    def __init__(self, data: NDArray[np.uint8], rows: NDArray[np.int64], address: int = 0) -> None:
        self.data = data
        self.rows = rows
        self.address = address
        self._words: dict[tuple[bool, int], NDArray[np.uint64]] = {}

    def raw(self, plan: SignalPlan) -> Array:
        """Return the raw values: integers, or the numbers of an IEEE 754 signal."""
        if plan.raw_type.hasobject or plan.place.end > self.data.shape[1]:
            return self._one_by_one(plan)
        bits = self._bits(plan.place)
        if plan.field.is_float:
            number = bits.astype(f"u{plan.field.length // 8}").view(FLOATS[plan.field.length])
            with np.errstate(invalid="ignore"):  # a signalling NaN becomes a quiet one
                return number.astype(np.float64)
        sign = np.uint64(plan.field.sign)
        return ((bits ^ sign) - sign).astype(plan.raw_type)

    def values(self, plan: SignalPlan) -> Array:
        """Return the physical values."""
        return scaled(plan, self.raw(plan))

    def _bits(self, place: Place) -> NDArray[np.uint64]:
        byte, shift, ninth = loaded_from(place, self.data.shape[1])
        word = self._word(place.little, byte)
        if not ninth:
            bits = word >> np.uint64(shift)
        else:
            more = self.data[self.rows, byte + WORD_BYTES].astype(np.uint64)
            if place.little:
                bits = word >> np.uint64(shift) | more << np.uint64(WORD_BITS - shift)
            else:
                bits = word << np.uint64(-shift) | more >> np.uint64(8 + shift)
        return bits & np.uint64((1 << place.length) - 1)

    def _word(self, little: bool, byte: int) -> NDArray[np.uint64]:  # noqa: FBT001 - part of a key
        found = self._words.get((little, byte))
        if found is None:
            part = np.ascontiguousarray(self.data[self.rows, byte : byte + WORD_BYTES])
            found = part.view("<u8" if little else ">u8")[:, 0].astype(np.uint64)
            self._words[little, byte] = found
        return found

    def _one_by_one(self, plan: SignalPlan) -> Array:
        raws = [read(plan.field, row.tobytes()) for row in self.data[self.rows]]
        return np.fromiter(raws, plan.raw_type, len(raws))


def loaded_from(place: Place, width: int) -> tuple[int, int, bool]:
    """Return the byte to load a word from, the shift to the right, and if a ninth byte is needed.

    A negative shift is one to the left, with the rest in the ninth byte.
    """
    byte = min(place.first // 8, width - WORD_BYTES)
    before = place.first - 8 * byte
    shift = before if place.little else WORD_BITS - before - place.length
    return byte, shift, place.end - byte > WORD_BYTES


def scaled(plan: SignalPlan, raw: Array) -> Array:
    """Return the physical values of raw ones, equal to those of Python's arithmetic."""
    factor, offset = plan.scale
    if plan.how is Arithmetic.SAME or (plan.how is Arithmetic.IEEE and plan.scale.is_identity):
        return raw
    if plan.how is Arithmetic.INTEGER:
        whole = raw.astype(np.int64) * np.int64(factor) + np.int64(offset)
        return whole.astype(plan.type)
    if plan.how is Arithmetic.BIG:
        each = [value * factor + offset for value in raw.tolist()]
        return np.fromiter(each, plan.type, len(each))
    with np.errstate(all="ignore"):
        return raw.astype(np.float64) * float(factor) + float(offset)
