"""Fields that count up by one from frame to frame. Pure: payloads in, hypotheses out.

A field is believed when nine of ten steps of a sample are +1 (modulo its size) and its highest bit
has moved. In 24 random payloads the narrowest field (2 bits) does so with a chance below 10^-9.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int64]

LEAST_ROWS = 24
BYTE = 8
LEAST_BITS, MOST_BITS = 2, 16
SHARE = 0.9  # of the steps that must be +1: frames get lost
CLEAN = 0.985  # share at which a power of two explains all steps
NEARLY = 0.02  # of the share: a longer field is preferred if it counts nearly as well
RETURNS = 0.7  # of the frames in which a page is what it was the last time
LEAST_TOGGLES = 0.8  # of the lowest bit: a modulo of 10 or 15 makes it stay once a round


@dataclass(slots=True)
class Counter:
    """A field that counts up, and how well it did so over the whole log.

    Attributes:
        byte, bit: place of its lowest bit (bit 0 is the lowest of a byte).
        bits: its length, as far as it was seen to move.
        little: byte order, where it spans bytes.
        low, modulo: it counts low, low + 1, ... low + modulo - 1.
        seen: values in the sample, if it never began anew there; 0: it did, so the modulo is sure.
        steps, good: steps looked at, and those that were +1.
        repeated: steps of 0. misses: [line, time, expected, found] of the first other steps.
        is_page: the other bytes belong to the count: a page number, not a life counter.
    """

    byte: int
    bit: int
    bits: int
    little: bool
    low: int
    modulo: int
    seen: int = 0
    steps: int = 0
    good: int = 0
    repeated: int = 0
    is_page: bool = False
    misses: list[tuple[int, float, int, int]] = field(default_factory=list)
    _last: int | None = None

    @property
    def share(self) -> float:
        """Share of steps that were +1."""
        return self.good / self.steps if self.steps else 0.0

    @property
    def size(self) -> int:
        """Least payload length that holds the field [bytes]."""
        spans = (self.bit + self.bits - 1) // 8
        return self.byte + 1 + (spans if self.little else 0)

    def mask(self) -> int:
        """Return the bits taken, counted as 8 * byte + bit."""
        step = 8 if self.little else -8
        taken = 0
        for index in range(self.bit, self.bit + self.bits):
            taken |= 1 << (8 * self.byte + step * (index // 8) + index % 8)
        return taken

    def feed(self, data: Bytes, at_s: npt.NDArray[np.float64], line: Ints) -> None:
        """Count the steps of further frames."""
        values = extract(data, self.byte, self.bit, self.bits, little=self.little)
        if not len(values):
            return
        head = values[:1] if self._last is None else np.array([self._last])
        before = np.concatenate((head, values[:-1]))
        first = 1 if self._last is None else 0
        self._last = int(values[-1])
        right = (values - self.low) == (before - self.low + 1) % self.modulo
        right, before, after = right[first:], before[first:], values[first:]
        self.steps += len(after)
        self.good += int(np.count_nonzero(right))
        self.repeated += int(np.count_nonzero(before == after))
        for index in np.flatnonzero(~right)[: 3 - len(self.misses)]:
            wanted = (int(before[index]) - self.low + 1) % self.modulo + self.low
            place = int(line[first + index]), float(at_s[first + index])
            self.misses.append((*place, wanted, int(after[index])))


def extract(data: Bytes, byte: int, bit: int, bits: int, *, little: bool) -> Ints:
    """Return a field of at most 16 bits whose lowest bit is at byte, bit."""
    word = np.zeros(len(data), np.int64)
    for index in range((bit + bits + 7) // 8):
        column = byte + index if little else byte - index
        word |= data[:, column].astype(np.int64) << (8 * index)
    return (word >> bit) & ((1 << bits) - 1)


def find_counters(data: Bytes) -> list[Counter]:
    """Return the counters in consecutive payloads of one length, each as long as it can be."""
    if len(data) < LEAST_ROWS:
        return []
    changed = np.unpackbits(data[1:] ^ data[:-1], axis=1, bitorder="little")
    toggles = changed.mean(axis=0)
    found: list[Counter] = []
    for place in np.flatnonzero(toggles >= LEAST_TOGGLES):
        fits = [c for little in (True, False) if (c := _longest(data, toggles, int(place), little))]
        if fits:
            found.append(max(fits, key=lambda counter: (counter.bits, counter.little)))
    return _settled(found, data)


def _longest(
    data: Bytes,
    toggles: npt.NDArray[np.float64],
    place: int,
    little: bool,  # noqa: FBT001 - a parameter of the search
) -> Counter | None:
    """Return the longest counter whose lowest bit is at `place`, None if there is none."""
    byte, bit = divmod(place, 8)
    best, best_share = None, 0.0
    for bits in _lengths(data.shape[1], toggles, place, little):
        if bits >= LEAST_BITS:
            values = extract(data, byte, bit, bits, little=little)
            low, modulo, share = _cycle(values, bits)
            if modulo and share >= best_share - NEARLY:
                best_share = share
                rising = bool(np.all(np.diff(values) >= 0))
                seen = int(np.ptp(values)) + 1 if rising else 0
                best = Counter(byte, bit, bits, little or bit + bits <= BYTE, low, modulo, seen)
    return best


def _lengths(
    size: int,
    toggles: npt.NDArray[np.float64],
    place: int,
    little: bool,  # noqa: FBT001 - as above
) -> Iterator[int]:
    """Yield the lengths whose bits all move, in one byte order."""
    byte, bit = divmod(place, 8)
    for bits in range(1, MOST_BITS + 1):
        top = bit + bits - 1
        column = byte + top // 8 if little else byte - top // 8
        if not 0 <= column < size or toggles[8 * column + top % 8] == 0:
            return
        yield bits


def _cycle(values: Ints, bits: int) -> tuple[int, int, float]:
    """Return (low, modulo, share of right steps) of values that count up; modulo 0: they do not."""
    before, after = values[:-1], values[1:]
    plain = (after - before) % (1 << bits) == 1
    share = float(plain.mean())
    if share >= CLEAN:
        return 0, 1 << bits, share
    low, high = int(values.min()), int(values.max())
    around = (before == high) & (after == low)
    modulo = high - low + 1
    full = len(np.unique(values)) == modulo and modulo > 1 << (bits - 1)
    wraps = low in (0, 1) and full and modulo < 1 << bits and int(around.sum()) > 1
    right = plain | around if wraps else plain
    bad = np.stack((before, after), axis=1)[~right]
    share = float(right.mean())
    if share < SHARE or (len(bad) > 1 and len(np.unique(bad, axis=0)) == 1):
        return 0, 0, share  # always the same jump: a sum that follows a counter elsewhere
    return (low, modulo, share) if wraps else (0, 1 << bits, share)


def _settled(found: list[Counter], data: Bytes) -> list[Counter]:
    """Leave out what counts worse than a clean counter in the same byte: its shadow."""
    clean = {each.byte for each in found if _share(data, each) >= CLEAN}
    kept = [each for each in found if each.byte not in clean or _share(data, each) >= CLEAN]
    return [_marked(data, each) for each in kept]


def _share(data: Bytes, counter: Counter) -> float:
    values = extract(data, counter.byte, counter.bit, counter.bits, little=counter.little)
    right = (values[1:] - counter.low) == (values[:-1] - counter.low + 1) % counter.modulo
    return float(right.mean())


def _marked(data: Bytes, counter: Counter) -> Counter:
    """Mark a counter whose value decides what the other bytes are.

    They return after one round of it, and after no shorter time.
    """
    if len(data) < 3 * counter.modulo:
        return counter
    mask = counter.mask()
    free = [c for c in range(data.shape[1]) if not mask >> (8 * c) & 0xFF and np.ptp(data[:, c])]
    if free:
        rest = data[:, free]
        again = _same(rest, counter.modulo)
        sooner = np.max([_same(rest, lag) for lag in range(1, counter.modulo)], axis=0)
        pages = (again > RETURNS) & (sooner < RETURNS) & (again > sooner + 0.2)
        counter.is_page = int(np.count_nonzero(pages)) > 1  # one such byte may be a checksum
    return counter


def _same(rest: Bytes, lag: int) -> npt.NDArray[np.float64]:
    """Return for each byte how often it is what it was `lag` frames before."""
    same: npt.NDArray[np.float64] = (rest[lag:] == rest[:-lag]).mean(axis=0)
    return same
