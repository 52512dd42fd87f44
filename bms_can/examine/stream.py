"""Running sums of one identifier on one channel."""

from collections import Counter as Count
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from bms_can.examine.checksums import Checksum, find_checksum
from bms_can.examine.counters import LEAST_ROWS, Counter, find_counters
from bms_can.examine.fields import FieldGuess, guess_fields
from bms_can.examine.isotp import carries_isotp, messages_in
from bms_can.examine.timing import Timing

SAMPLE = 512  # consecutive payloads from which counters and checksums are guessed
TRY_AGAIN = 8  # nothing found: once more when so many times the frames have been seen

Bytes = npt.NDArray[np.uint8]


class StreamKey(NamedTuple):
    """A channel's name, and an identifier on it."""

    channel: str
    can_id: int
    extended: bool


class Part(NamedTuple):
    """Consecutive frames of one identifier; rows as in columnar.Chunk."""

    at_s: npt.NDArray[np.float64]
    length: npt.NDArray[np.uint8]
    data: Bytes
    line: npt.NDArray[np.int64]


class Stream:
    """Takes the frames of one identifier on one channel; its memory does not grow with them.

    Args:
        key: which.
        likely: bytes that the DBC calls a checksum.

    Attributes:
        frames: how many; first_line: line of the first.
        lengths: frames by payload length; length_lines: line of the first of each.
        timing: when they came.
        changed: OR of all bits that were not as in the first frame, as bytes.
        counters, checksum: guessed from a sample, counted on all frames since.
        isotp: the sample is a long message cut into frames.
        messages: kinds of these long messages.
        fields: which bytes move together in the sample.
    """

    def __init__(self, key: StreamKey, likely: tuple[int, ...] = ()) -> None:
        self.key = key
        self.frames = 0
        self.first_line = 0
        self.lengths: Count[int] = Count()
        self.length_lines: dict[int, int] = {}
        self.timing = Timing()
        self.changed: Bytes = np.zeros(64, np.uint8)
        self.counters: list[Counter] = []
        self.checksum: Checksum | None = None
        self.isotp = False
        self.messages: list[str] = []
        self.fields: list[FieldGuess] = []
        self._likely = likely
        self._first: Bytes | None = None
        self._held: list[Part] = []
        self._held_rows = 0
        self._next_try = 0

    def feed(self, part: Part) -> None:
        """Take the next frames of this identifier."""
        self._count(part)
        self.timing.feed(part.at_s, part.line)
        if self.counters or self.checksum is not None:
            self._verify(part)
        elif self.frames >= self._next_try:
            self._held.append(part)
            self._held_rows += len(part.at_s)
            if self._held_rows >= SAMPLE:
                self.guess()

    def _count(self, part: Part) -> None:
        if self._first is None:
            self._first = np.zeros(64, np.uint8)
            self._first[: part.data.shape[1]] = part.data[0]
            self.first_line = int(part.line[0])
        self.frames += len(part.at_s)
        width = part.data.shape[1]
        difference = np.bitwise_or.reduce(part.data ^ self._first[:width], axis=0)
        self.changed[:width] |= difference
        for length, index in zip(*np.unique(part.length, return_index=True), strict=True):
            self.lengths[int(length)] += int(np.count_nonzero(part.length == length))
            self.length_lines.setdefault(int(length), int(part.line[index]))

    def guess(self) -> None:
        """Guess counters and checksum from what is held; call at the end of the log, too."""
        held, self._held, self._held_rows = self._held, [], 0
        self._next_try = self.frames * TRY_AGAIN
        if not held:
            return
        size = int(np.bincount(held[0].length).argmax())
        cut = (_of_length(part, size) for part in held)
        parts = [part for part in cut if len(part.at_s)]
        sample = np.concatenate([part.data for part in parts])[:SAMPLE]
        if len(sample) and size:
            self.isotp = self.isotp or carries_isotp(sample)
            self.messages = messages_in(sample) if self.isotp else []
        if len(sample) >= LEAST_ROWS and size and not self.isotp:
            self.counters = find_counters(sample)
            self.checksum = find_checksum(sample, self.key.can_id, self._likely)
            self._settle(sample)
            self.fields = guess_fields(sample)
        for part in parts:
            self._verify(part)

    def _settle(self, sample: Bytes) -> None:
        """Take a counter that lies in the checksum's byte for what it is: its shadow.

        Where nothing but the counter changes, a sum counts as well; the higher byte is the sum.
        """
        if self.checksum is not None:
            byte = 0xFF << 8 * self.checksum.byte
            self.counters = [each for each in self.counters if not each.mask() & byte]
        bytes_moving = int(np.count_nonzero(np.ptp(sample, axis=0)))
        if bytes_moving == 2 and len(self.counters) == 2:  # noqa: PLR2004 - a counter and its shadow
            self.counters = self.counters[:1]

    def _verify(self, part: Part) -> None:
        if not len(part.at_s):
            return
        if self.checksum is not None:
            same = _of_length(part, self.checksum.size)
            if len(same.at_s):
                self.checksum.feed(same.data, same.at_s, same.line)
        for counter in self.counters:
            size = counter.size
            enough = part if part.length.min() >= size else _picked(part, part.length >= size)
            counter.feed(enough.data, enough.at_s, enough.line)


def _picked(part: Part, rows: npt.NDArray[np.bool_]) -> Part:
    return Part(part.at_s[rows], part.length[rows], part.data[rows], part.line[rows])


def _of_length(part: Part, size: int) -> Part:
    """Return the frames of one length, their payloads cut to it."""
    same = part if np.all(part.length == size) else _picked(part, part.length == size)
    return same._replace(data=same.data[:, :size])
