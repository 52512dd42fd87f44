"""Counters and checksums on columns, for frames that are all in order.

Whatever is not in order is left to `bms_can.integrity`, frame by frame: only there is decided what
a lost, repeated or wrong frame means. Here is only found out, quickly, that there is none.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from bms_can.database import Database
from bms_can.integrity import CRCS, Crc, Integrity, crc_table
from bms_can.layout import Field, field_of
from bms_can.profile import IntegrityRule

SUMS = ("sum8", "sum8-inverted", "sum8-id-len", "xor8")

Bytes = NDArray[np.uint8]


class Seal:
    """Counter and checksum of one message.

    Args:
        database, rule: what is where.
        integrity: the state, shared with the checks frame by frame.
    """

    def __init__(self, database: Database, rule: IntegrityRule, integrity: Integrity) -> None:
        self._message = rule.message
        self._modulo = rule.modulo
        self._algorithm = rule.algorithm
        self._can_id = database.messages[rule.message].frame_id
        self._several_lengths = bool(database.more_lengths.get(rule.message))
        self._counter = _field(database, rule.message, rule.counter)
        self._checksum = _field(database, rule.message, rule.checksum)
        self._integrity = integrity

    def right(self, data: Bytes) -> NDArray[np.bool_] | None:
        """Return which payloads may be used, in their order; None: look at each of them.

        Args:
            data: payloads of the message, all of the right length, zeros behind them.
        """
        if self._several_lengths or self._algorithm not in (None, *CRCS, *SUMS):
            return None
        right = np.ones(len(data), np.bool_)
        if self._checksum is not None and self._algorithm is not None:
            size = self._checksum.size
            index = self._checksum.shift // 8
            if not self._checksum.little:
                index = size - 1 - index
            found = checksums(self._algorithm, self._can_id, data[:, :size], index)
            right = found == data[:, index]
        if self._counter is not None and not self._goes_on(self._counter, data[right]):
            return None
        return right

    def _goes_on(self, counter: Field, data: Bytes) -> bool:
        """Tell whether every counter value is the one after its predecessor; if so, note it."""
        before = self._integrity.steady(self._message)
        if not len(data):
            return True
        values = unsigned(counter, data)
        if before is None or values is None or values.max() >= self._modulo:
            return False
        steps = np.diff(values, prepend=before) % self._modulo
        if (steps != 1 % self._modulo).any():
            return False
        self._integrity.go_on(self._message, int(values[-1]))
        return True


def checksums(algorithm: str, can_id: int, data: Bytes, index: int) -> Bytes:
    """Return the checksum of each payload, as `integrity.ALGORITHMS` computes it.

    Args:
        algorithm: its name, one of `CRCS` or `SUMS`.
        can_id: identifier of the message.
        data: payloads, one a row, as long as they are on the bus.
        index: of the checksum's own byte.
    """
    if algorithm in CRCS:
        return _crcs(CRCS[algorithm], np.delete(data, index, axis=1))
    others = np.delete(data, index, axis=1)
    if algorithm == "xor8":
        xored: Bytes = np.bitwise_xor.reduce(others, axis=1)
        return xored
    total = others.sum(axis=1, dtype=np.uint32)
    if algorithm == "sum8-inverted":
        total = ~total
    elif algorithm == "sum8-id-len":
        total += np.uint32(can_id + data.shape[1])
    found: Bytes = (total & 0xFF).astype(np.uint8)
    return found


def _crcs(crc: Crc, data: Bytes) -> Bytes:
    table = _table(crc.polynomial)
    rest = np.full(len(data), crc.start, np.uint8)
    for byte in range(data.shape[1]):
        rest = table[rest ^ data[:, byte]]
    found: Bytes = rest ^ np.uint8(crc.final)
    return found


@cache
def _table(polynomial: int) -> Bytes:
    return np.frombuffer(crc_table(polynomial), np.uint8)


def unsigned(field: Field, data: Bytes) -> NDArray[np.int64] | None:
    """Return an unsigned field of each payload; None if it touches more than seven bytes."""
    ordered = data[:, : field.size] if field.little else data[:, field.size - 1 :: -1]
    first, last = field.shift // 8, (field.shift + field.length - 1) // 8
    if last - first >= 7:  # noqa: PLR2004 - what 64 bits with a sign hold for sure
        return None
    word = np.zeros(len(data), np.int64)
    for place in range(first, last + 1):
        word |= ordered[:, place].astype(np.int64) << (8 * (place - first))
    return word >> (field.shift % 8) & field.mask


def _field(database: Database, message: str, name: str | None) -> Field | None:
    return None if name is None else field_of(*database.signals[f"{message}.{name}"])
