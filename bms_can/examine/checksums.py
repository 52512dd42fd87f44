"""Bytes that are a checksum of the others: XOR, sums, CRC-8. Pure: payloads in, hypotheses out.

Start value, final value, identifier and length in the sum: all of them only add a constant to a
checksum of payloads of one length. So a byte is a checksum when (checksum of the others, from 0)
differs from it by the same constant in every payload; which constant tells the variant.

It is believed when at least 12 different payloads agree, and not for a byte that merely repeats
another. By chance 12 random payloads agree with 256^-11 for each of some 200 variants.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from bms_can.integrity import CRCS

Bytes = npt.NDArray[np.uint8]

LEAST_PAYLOADS = 12
LEAST_VALUES = 6  # different values of the checksum itself
LEAST_RANK = 4  # independent changes of the other bits; 4 bits of a counter are the least in use
SHARE = 0.95
MOST_PAYLOADS = 256
SYMMETRIC = ("xor", "negative sum")  # hold for every byte alike
ANY_PLACE = " (for every byte alike; the last is the usual place)"
ENDS = 2  # in long frames only so many bytes from either end are tried
CLASSICAL = 8
COMMON = {0x07, 0x1D, 0x2F, 0x31, 0x39, 0x9B, 0xA7, 0xD5}
POLYNOMIALS = tuple(sorted(COMMON | {crc.polynomial for crc in CRCS.values()}))


def _table(polynomial: int) -> Bytes:
    table: npt.NDArray[np.int64] = np.arange(256)
    for _ in range(8):
        table = np.where(table & 0x80, (table << 1) ^ polynomial, table << 1) & 0xFF
    return table.astype(np.uint8)


_TABLES = {polynomial: _table(polynomial) for polynomial in POLYNOMIALS}


def _crc(data: Bytes, polynomial: int) -> Bytes:
    """Return the CRC-8 of each row from start value 0."""
    table = _TABLES[polynomial]
    rest = np.zeros(len(data), np.uint8)
    for column in range(data.shape[1]):
        rest = table[rest ^ data[:, column]]
    return rest


def _sum(data: Bytes) -> Bytes:
    total: Bytes = data.sum(axis=1, dtype=np.uint64).astype(np.uint8)
    return total


def _xor(data: Bytes) -> Bytes:
    rest: Bytes = np.bitwise_xor.reduce(data, axis=1)
    return rest


def _crc_family(polynomial: int) -> Callable[[Bytes, Bytes], Bytes]:
    return lambda others, check: _crc(others, polynomial) ^ check


# family -> constant that (others, checksum) leave; the same for every good frame
FAMILIES: dict[str, Callable[[Bytes, Bytes], Bytes]] = {
    "xor": lambda others, check: _xor(others) ^ check,
    "sum": lambda others, check: check - _sum(others),
    "negative sum": lambda others, check: check + _sum(others),
    **{f"crc 0x{polynomial:02X}": _crc_family(polynomial) for polynomial in POLYNOMIALS},
}


@dataclass(slots=True)
class Checksum:
    """A byte that is a checksum of the others, and how well it was one over the whole log.

    Attributes:
        byte: its place; size: length of the payloads.
        family: key of `FAMILIES`; constant: what it leaves.
        name: the algorithm as a profile names it, "" if a profile has no name for it.
        words: the algorithm for people.
        frames, good: frames looked at, and those that agree. misses: (line, time) of the first bad.
    """

    byte: int
    size: int
    family: str
    constant: int
    name: str
    words: str
    frames: int = 0
    good: int = 0
    misses: list[tuple[int, float]] = field(default_factory=list)

    @property
    def share(self) -> float:
        """Share of the frames that agree."""
        return self.good / self.frames if self.frames else 0.0

    def feed(self, data: Bytes, at_s: npt.NDArray[np.float64], line: npt.NDArray[np.int64]) -> None:
        """Check further frames of `size` bytes."""
        right = residue(data, self.byte, self.family) == self.constant
        self.frames += len(right)
        self.good += int(np.count_nonzero(right))
        for index in np.flatnonzero(~right)[: 3 - len(self.misses)]:
            self.misses.append((int(line[index]), float(at_s[index])))


def residue(data: Bytes, byte: int, family: str) -> Bytes:
    """Return what a family leaves in each payload, if `byte` is the checksum."""
    return FAMILIES[family](np.delete(data, byte, axis=1), data[:, byte])


def find_checksum(data: Bytes, can_id: int, likely: tuple[int, ...] = ()) -> Checksum | None:
    """Return the checksum in payloads of one length, None if there is none.

    Args:
        data: payloads, one a row.
        can_id: for sums that count it in.
        likely: bytes that the DBC calls a checksum, tried first.
    """
    rows = np.unique(data, axis=0)
    if len(rows) < LEAST_PAYLOADS or data.shape[1] < 3:  # noqa: PLR2004 - two bytes can only mirror
        return None
    picked = np.linspace(0, len(rows) - 1, min(len(rows), MOST_PAYLOADS)).astype(np.int64)
    rows = rows[picked]
    for byte in _places(rows, likely):
        others = np.delete(rows, byte, axis=1)
        if _rank(others) < LEAST_RANK or _mirrors(others, rows[:, byte]):
            continue
        several = int(np.count_nonzero(np.ptp(others, axis=0))) > 1
        for family in FAMILIES:
            if several or family.startswith("crc"):
                left = np.bincount(residue(rows, byte, family), minlength=256)
                constant = int(left.argmax())
                if left[constant] >= SHARE * len(rows):
                    found = _named(byte, data.shape[1], family, constant, can_id)
                    if family in SYMMETRIC and byte not in likely:
                        found.words += ANY_PLACE
                    return found
    return None


def _places(rows: Bytes, likely: tuple[int, ...]) -> Iterator[int]:
    """Yield the bytes to try: the DBC's, then last to first; the ends only in a long frame."""
    size = rows.shape[1]
    order = [*likely, *range(size - 1, -1, -1)]
    for byte in dict.fromkeys(order):
        at_an_end = byte < ENDS or byte >= size - ENDS
        if size > CLASSICAL and not at_an_end and byte not in likely:
            continue
        if byte < size and len(np.unique(rows[:, byte])) >= LEAST_VALUES:
            yield byte


def _rank(rows: Bytes) -> int:
    """Return how many bit changes of the rows are independent, as far as it matters."""
    basis: list[int] = []
    first = int.from_bytes(rows[0].tobytes(), "big")
    for row in rows[1:]:
        change = int.from_bytes(row.tobytes(), "big") ^ first
        for each in basis:
            change = min(change, change ^ each)
        if change:
            basis.append(change)
            basis.sort(reverse=True)
        if len(basis) >= LEAST_RANK:
            break
    return len(basis)


def _mirrors(others: Bytes, check: Bytes) -> bool:
    """Tell whether the byte only repeats another one, or its complement, or a shift of it."""
    for column in others.T:
        for left in (column ^ check, check - column, check + column):
            if np.bincount(left).max() >= SHARE * len(check):
                return True
    return False


def _named(byte: int, size: int, family: str, constant: int, can_id: int) -> Checksum:
    name = words = ""
    if family == "xor":
        name = "" if constant else "xor8"
        words = "XOR of the other bytes" + (f", with 0x{constant:02X}" if constant else "")
    elif family == "sum":
        name, words = _sum_names(size, constant, can_id)
    elif family == "negative sum":
        name = "sum8-inverted" if constant == 0xFF else ""  # noqa: PLR2004 - all ones
        kind = {0: "two's complement", 0xFF: "inverted"}.get(constant, f"0x{constant:02X} minus")
        words = f"sum of the other bytes, {kind}"
    else:
        name, words = _crc_names(int(family[4:], 16), size, constant)
    return Checksum(byte, size, family, constant, name, words)


def _sum_names(size: int, constant: int, can_id: int) -> tuple[str, str]:
    """Return the profile's name of a sum and its words; the constant tells what is added."""
    if not constant:
        return "sum8", "sum of the other bytes"
    if constant == can_id + size & 0xFF:
        return "sum8-id-len", "sum of identifier, length and the other bytes"
    if constant == sum(can_id.to_bytes(4, "big")) & 0xFF:
        return "", "sum of the bytes of the identifier and the other bytes"
    return "", f"sum of the other bytes, plus 0x{constant:02X}"


def _crc_names(polynomial: int, size: int, constant: int) -> tuple[str, str]:
    """Return the profile's name of a CRC and its words; the constant tells start and final."""
    kind = f"CRC-8, polynomial 0x{polynomial:02X}"
    for name, crc in CRCS.items():
        found = _constant(polynomial, size, crc.start, crc.final)
        if crc.polynomial == polynomial and found == constant:
            return name, f"{kind} ({name})"
    for start, final in ((0, 0), (0xFF, 0xFF), (0xFF, 0), (0, 0xFF)):
        if constant == _constant(polynomial, size, start, final):
            return "", f"{kind}, start 0x{start:02X}, final 0x{final:02X}"
    return "", f"{kind}, and a constant 0x{constant:02X} (a start value or a data id)"


def _constant(polynomial: int, size: int, start: int, final: int) -> int:
    rest = start
    for _ in range(size - 1):
        rest = int(_TABLES[polynomial][rest])
    return rest ^ final
