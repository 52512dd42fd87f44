"""What an export saw of one log, for the manifest."""

from collections import Counter
from dataclasses import dataclass, field

from bms_can.columnar.chunk import Chunk

LINES_KEPT = 5  # numbers of bad lines, for each reason
Entry = dict[str, object]


@dataclass(slots=True)
class Tally:
    """Counts of lines, frames, and what became of them."""

    frames: int = 0
    chosen: int = 0
    known: int = 0
    decoded: int = 0
    first_s: float | None = None
    last_s: float | None = None
    bad: Counter[str] = field(default_factory=Counter)
    bad_lines: dict[str, list[int]] = field(default_factory=dict)
    refused: dict[str, Counter[str]] = field(default_factory=dict)

    def lines(self, chunk: Chunk) -> None:
        """Count what the log holds."""
        self.frames += len(chunk)
        self.bad.update(chunk.bad_counts)
        for line in chunk.bad:
            kept = self.bad_lines.setdefault(line.reason, [])
            if len(kept) < LINES_KEPT:
                kept.append(line.line_number)

    def choose(self, chunk: Chunk) -> None:
        """Count the frames of the chosen channels."""
        self.chosen += len(chunk)
        if len(chunk):
            low, high = float(chunk.at_s.min()), float(chunk.at_s.max())
            self.first_s = low if self.first_s is None else min(self.first_s, low)
            self.last_s = high if self.last_s is None else max(self.last_s, high)

    def decode(self, count: int) -> None:
        """Count frames that made rows."""
        self.known += count
        self.decoded += count

    def refuse(self, message: str, reason: str, count: int) -> None:
        """Count frames of a message that made none."""
        if count:
            self.known += count
            self.refused.setdefault(message, Counter())[reason] += count

    def values(self) -> Entry:
        """Return the counts for the manifest."""
        refused = self.refused.items()
        return {
            "frames": self.frames,
            "other_channels": self.frames - self.chosen,
            "not_wanted": self.chosen - self.known,
            "decoded": self.decoded,
            "first_s": self.first_s,
            "last_s": self.last_s,
            "bad_lines": {
                reason: {"count": count, "first": self.bad_lines.get(reason, [])}
                for reason, count in sorted(self.bad.items())
            },
            "refused": {name: dict(sorted(each.items())) for name, each in sorted(refused)},
        }
