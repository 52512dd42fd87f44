"""Payloads with something planted in them, and random ones with nothing."""

import numpy as np
import numpy.typing as npt

from bms_can.integrity import ALGORITHMS

Bytes = npt.NDArray[np.uint8]


def noise(rng: np.random.Generator, rows: int, size: int = 8, kind: int = 0) -> Bytes:
    """Return random payloads: of all bits, of few bits of each byte, or with constant bytes."""
    data = rng.integers(0, 256, (rows, size), dtype=np.uint8)
    if kind == 1:
        data &= rng.integers(0, 256, size, dtype=np.uint8)
    if kind == 2:
        data[:, rng.random(size) < 0.6] = rng.integers(0, 256)
    if kind == 3:  # slow values, as measurements are
        steps = rng.integers(-2, 3, (rows, size))
        data = (np.cumsum(steps, axis=0) + 128).astype(np.uint8)
    return data


def count(
    data: Bytes, place: tuple[int, int], bits: int, *, little: bool, low: int, modulo: int
) -> Bytes:
    """Return payloads with a counter at byte, bit; other bits stay."""
    counted = data.copy()
    values = low + np.arange(len(data)) % modulo
    byte, bit = place
    for index in range(bits):
        at = bit + index
        column = byte + at // 8 if little else byte - at // 8
        mask = 1 << at % 8
        one = (values >> index & 1).astype(np.uint8)
        counted[:, column] = counted[:, column] & ~np.uint8(mask) | one * np.uint8(mask)
    return counted


def seal(data: Bytes, byte: int, algorithm: str, can_id: int) -> Bytes:
    """Return payloads with the profile's own checksum at a byte."""
    sealed = data.copy()
    sealed[:, byte] = 0
    for row in sealed:
        row[byte] = ALGORITHMS[algorithm](can_id, row.tobytes(), byte)
    return sealed
