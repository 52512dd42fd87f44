"""What `bms-agent sniff` says about identifiers that no DBC explains. Pure."""

from collections.abc import Collection, Iterator

from agent.monitor_screen import FRESH_S, Line, Piece, Style
from bms_can.frame import Frame, frame_text
from bms_can.traffic import Key, Probe, Seen, Traffic, probes_of

INDENT = " " * 10


class Sniffer:
    """Watches the identifiers that are not known.

    Args:
        known: identifiers to leave out.
    """

    def __init__(self, known: Collection[Key] = ()) -> None:
        self._known = frozenset(known)
        self._traffic = Traffic()
        self._probes: dict[Key, Probe] = {}
        self.frames = 0

    def take(self, frame: Frame) -> None:
        """Look at a frame."""
        self.frames += 1
        if (frame.can_id, frame.extended) not in self._known:
            self._traffic.take(frame)
            probes_of((frame,), self._probes)

    def lines(self, now_s: float, query: str = "") -> Iterator[Line]:
        """Yield what is known of each identifier that contains `query`, at `now_s` [s]."""
        others = self.frames - self._traffic.frames
        yield [Piece(f"{len(self._traffic.seen)} unknown identifiers; {others} frames of known")]
        if self._traffic.more:
            yield [Piece(self._traffic.left_out, Style.BAD)]
        for key in sorted(self._traffic.seen, key=lambda key: (key[1], key[0])):
            ident = frame_text(*key, b"").removesuffix("#")
            if query.upper() in ident:
                yield from _lines_of(ident, self._traffic.seen[key], self._probes[key], now_s)


def _lines_of(ident: str, seen: Seen, probe: Probe, now_s: float) -> Iterator[Line]:
    gap_s = seen.mean_gap_s
    pace = "once" if gap_s is None else f"every {1000 * gap_s:.0f} ms"
    changes = f"{probe.changes} changes" if probe.changes else "never changes"
    sizes = ", ".join(str(size) for size in sorted(seen.lengths)) + " bytes"
    said = f"{pace}, {seen.count} frames, {sizes}, {changes}"
    yield [Piece(f"{ident:8}  ", Style.NAME), Piece(said)]
    line = [Piece(f"{INDENT}data     ")]
    for byte, at_s in zip(seen.data, seen.moved_at_s, strict=False):
        style = Style.CHANGED if now_s - at_s < FRESH_S else Style.PLAIN
        line += [Piece(f"{byte:02X}", style), Piece(" ")]
    yield line
    if probe.changes:
        yield [
            Piece(f"{INDENT}moves    {_mask(probe)}"),
            Piece("  (bits that changed)", Style.FAINT),
        ]
    for part in probe.counters():
        yield [Piece(f"{INDENT}counter? {part} goes up by one each time", Style.NAME)]
    for byte, name in probe.seals():
        yield [Piece(f"{INDENT}checksum? byte {byte} is {name} of the others", Style.NAME)]


def _mask(probe: Probe) -> str:
    """Return the bits that ever changed, byte by byte; ".." for a byte that never did."""
    found = []
    for start in range(0, len(probe.flips), 8):
        bits = sum(
            1 << place for place, count in enumerate(probe.flips[start : start + 8]) if count
        )
        found.append(f"{bits:02X}" if bits else "..")
    return " ".join(found)
