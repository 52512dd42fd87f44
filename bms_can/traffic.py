"""What goes over a bus, identifier by identifier: how often, how regularly, which bits move. Pure.

The base of `monitor`, `sniff` and `doctor`. It knows no DBC: what a frame means is said elsewhere.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from bms_can.frame import Frame
from bms_can.integrity import ALGORITHMS

Key = tuple[int, bool]  # (CAN id, extended)

MOST_IDS = 4096  # a babbling node with random identifiers must not fill the memory
SMOOTHING = 0.1  # weight of the newest gap in the shown period
ENOUGH = 12  # changes after which a counter is believed
NEARLY_ALL = 0.95


@dataclass(slots=True)
class Seen:
    """One identifier.

    Attributes:
        count: frames so far; first_s, last_s: when the first and the newest came [s].
        data: the newest payload; moved: bits that the newest frame changed, byte by byte.
        moved_at_s: when each byte changed last [s]; -inf while it never did.
        gap_s: smoothed time between two frames [s], None before the second; longest_gap_s of all.
        lengths: payload lengths that were seen.
    """

    count: int
    first_s: float
    last_s: float
    data: bytes
    moved: bytes = b""
    moved_at_s: list[float] = field(default_factory=list)
    gap_s: float | None = None
    longest_gap_s: float = 0.0
    lengths: set[int] = field(default_factory=set)

    def take(self, frame: Frame) -> None:
        """Count one more frame of this identifier."""
        gap_s = frame.at_s - self.last_s
        before = self.gap_s
        self.gap_s = gap_s if before is None else before + SMOOTHING * (gap_s - before)
        self.longest_gap_s = max(self.longest_gap_s, gap_s)
        self.count += 1
        self.last_s = frame.at_s
        if frame.data != self.data:
            self._note_change(frame)
        elif any(self.moved):
            self.moved = bytes(len(self.moved))

    @property
    def mean_gap_s(self) -> float | None:
        """Mean time between two frames [s]; None before the second."""
        return (self.last_s - self.first_s) / (self.count - 1) if self.count > 1 else None

    def _note_change(self, frame: Frame) -> None:
        size = len(frame.data)
        self.lengths.add(size)
        self.moved_at_s += [float("-inf")] * (size - len(self.moved_at_s))
        before = self.data.ljust(size, b"\0")
        self.moved = bytes(new ^ old for new, old in zip(frame.data, before, strict=False))
        for index, bits in enumerate(self.moved):
            if bits:
                self.moved_at_s[index] = frame.at_s
        self.data = frame.data


class Traffic:
    """All identifiers of a bus.

    Attributes:
        seen: by (id, extended), in order of appearance.
        frames: all data frames; more: those of identifiers beyond the first `MOST_IDS`.
    """

    def __init__(self) -> None:
        self.seen: dict[Key, Seen] = {}
        self.frames = 0
        self.more = 0

    @property
    def left_out(self) -> str:
        """What was too much to be kept, for people; "" if nothing was."""
        if not self.more:
            return ""
        return f"{self.more} frames of more than {MOST_IDS} identifiers are left out"

    def take(self, frame: Frame) -> None:
        """Count one frame."""
        self.frames += 1
        key = frame.can_id, frame.extended
        known = self.seen.get(key)
        if known is not None:
            known.take(frame)
        elif len(self.seen) < MOST_IDS:
            never = [float("-inf")] * len(frame.data)
            still = bytes(len(frame.data))
            self.seen[key] = Seen(1, frame.at_s, frame.at_s, frame.data, still, never)
            self.seen[key].lengths.add(len(frame.data))
        else:
            self.more += 1


class Part(NamedTuple):
    """A place in a payload that may count: `bits` from bit `shift` of byte `byte`."""

    byte: int
    shift: int
    bits: int

    def read(self, data: bytes) -> int:
        """Return its value."""
        return data[self.byte] >> self.shift & (1 << self.bits) - 1

    def __str__(self) -> str:
        half = {4: " high nibble" if self.shift else " low nibble"}.get(self.bits, "")
        return f"byte {self.byte}{half}"


@dataclass(slots=True)
class Probe:
    """What the payload of one identifier does: which bits move, what counts, what seals it.

    Attributes:
        frames: frames looked at; changes: those that differ from the one before.
        flips: how often each bit changed; index 8 * byte + bit, bit 0 the lowest.
        steps: how often each candidate went up by one (with wrap); `turns` how often it changed.
        checksums: (byte, algorithm) that has been right in every frame so far.
    """

    can_id: int
    frames: int = 0
    changes: int = 0
    last: bytes | None = None
    flips: list[int] = field(default_factory=list)
    steps: dict[Part, int] = field(default_factory=dict)
    turns: dict[Part, int] = field(default_factory=dict)
    checksums: set[tuple[int, str]] | None = None

    def take(self, data: bytes) -> None:
        """Look at one more payload."""
        self.frames += 1
        last, self.last = self.last, data
        if last is None or len(last) != len(data):
            return
        if data == last:
            return
        self.changes += 1
        self._note_flips(last, data)
        self._note_steps(last, data)
        self._note_checksums(data)

    def counters(self) -> list[Part]:
        """Return what counts up by one in nearly every frame; a whole byte before its halves."""
        good = [
            part
            for part, steps in self.steps.items()
            if steps >= ENOUGH and steps >= NEARLY_ALL * max(self.turns[part], self.frames - 1)
        ]
        whole = {part.byte for part in good if part.bits == 8}  # noqa: PLR2004 - bits of a byte
        return [part for part in good if part.bits == 8 or part.byte not in whole]  # noqa: PLR2004 - bits of a byte

    def seals(self) -> list[tuple[int, str]]:
        """Return the bytes that are a known checksum of the others, with the algorithm's name."""
        enough = self.changes >= ENOUGH
        return sorted(self.checksums or ()) if enough else []

    def _note_flips(self, last: bytes, data: bytes) -> None:
        self.flips += [0] * (8 * len(data) - len(self.flips))
        for index, (new, old) in enumerate(zip(data, last, strict=True)):
            bits = new ^ old
            while bits:
                lowest = bits & -bits
                self.flips[8 * index + lowest.bit_length() - 1] += 1
                bits ^= lowest

    def _note_steps(self, last: bytes, data: bytes) -> None:
        for part in _parts(last, data):
            step = (part.read(data) - part.read(last)) % (1 << part.bits)
            if step:
                self.turns[part] = self.turns.get(part, 0) + 1
                self.steps[part] = self.steps.get(part, 0) + (step == 1)

    def _note_checksums(self, data: bytes) -> None:
        """Keep the algorithms that fit; most fall at the first frames, so this is cheap."""
        if self.checksums is None:
            self.checksums = {(index, name) for index in range(len(data)) for name in ALGORITHMS}
        self.checksums = {
            (index, name)
            for index, name in self.checksums
            if index < len(data) and _fits(self.can_id, data, index, name)
        }


def _fits(can_id: int, data: bytes, index: int, algorithm: str) -> bool:
    blank = data[:index] + b"\0" + data[index + 1 :]
    return ALGORITHMS[algorithm](can_id, blank, index) == data[index]


def _parts(last: bytes, data: bytes) -> Iterator[Part]:
    """Yield the places that changed: bytes and their halves."""
    for index, (new, old) in enumerate(zip(data, last, strict=True)):
        if new != old:
            yield Part(index, 0, 8)
            if (new ^ old) & 0x0F:
                yield Part(index, 0, 4)
            if (new ^ old) & 0xF0:
                yield Part(index, 4, 4)


def probes_of(frames: Iterable[Frame], probes: dict[Key, Probe]) -> Mapping[Key, Probe]:
    """Look at frames; return the probes by identifier, new ones added."""
    for frame in frames:
        key = frame.can_id, frame.extended
        probe = probes.get(key)
        if probe is None:
            if len(probes) >= MOST_IDS:
                continue
            probe = probes[key] = Probe(frame.can_id)
        probe.take(frame.data)
    return probes
