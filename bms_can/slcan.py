"""Read slcan text, the ASCII form of serial CAN adapters (LAWICEL), as a terminal logs it.

    t3518AC0B2800B4007008096E    11 bits, length, bytes, time stamp
    T18FF50E52010203E8           29 bits; r and R are remote frames

The stamp counts milliseconds and starts anew after 60,000 (the manual) or 65,536 (some adapters).
Times here go on; where the log was silent for a whole round, that round is lost.
"""

import re
from collections.abc import Iterable, Iterator

from bms_can.candump import EXTENDED_MAX, STANDARD_MAX, TEXT_KEPT
from bms_can.errors import BadLogLine
from bms_can.frame import Frame

_LINE = re.compile(r"\s*(?:t([0-9A-Fa-f]{3})|T([0-9A-Fa-f]{8}))([0-8])([0-9A-Fa-f]*)\s*", re.ASCII)
_REMOTE = re.compile(r"\s*(?:r[0-9A-Fa-f]{3}|R[0-9A-Fa-f]{8})[0-8]([0-9A-Fa-f]{4})?\s*", re.ASCII)
ROUND_MS, LONG_ROUND_MS = 60_000, 65_536
MS_PER_S = 1000
STAMP_DIGITS = 4
LEAST_SHARE = 0.9  # of the lines of a file's head that must be of this form


def looks_like_slcan(head: str) -> bool:
    """Return whether nearly every line is slcan text; the last may be cut off."""
    lines = [line for line in head.splitlines()[:-1] or head.splitlines() if line.strip()]
    hits = sum(_matched(line) is not None for line in lines)
    return bool(lines) and hits >= LEAST_SHARE * len(lines)


def slcan_frames(lines: Iterable[str]) -> Iterator[Frame | BadLogLine]:
    """Yield a frame or the fault of each line; times count from the first stamp's round [s]."""
    clock = _Clock()
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        found = _matched(line)
        if found is None:
            reason = "remote frame" if _REMOTE.fullmatch(line) else "format"
            yield BadLogLine(number, reason, line[:TEXT_KEPT])
            continue
        can_id, extended, data, stamp = found
        if can_id > (EXTENDED_MAX if extended else STANDARD_MAX):
            yield BadLogLine(number, "identifier", line[:TEXT_KEPT])
        elif stamp is None:
            yield BadLogLine(number, "time", line[:TEXT_KEPT])
        else:
            yield Frame(clock.at_s(stamp), can_id, extended, data)


def _matched(line: str) -> tuple[int, bool, bytes, int | None] | None:
    """Return identifier, its width, payload and stamp; None if the line is no data frame."""
    found = _LINE.fullmatch(line)
    if found is None:
        return None
    digits = 2 * int(found[3])
    data, stamp = found[4][:digits], found[4][digits:]
    if len(data) != digits or len(stamp) not in (0, STAMP_DIGITS):
        return None
    can_id, extended = int(found[1] or found[2], 16), found[2] is not None
    return can_id, extended, bytes.fromhex(data), int(stamp, 16) if stamp else None


class _Clock:
    """Makes times that go on from stamps that start anew."""

    def __init__(self) -> None:
        self._round_ms = ROUND_MS
        self._base_ms = 0
        self._last_ms = 0

    def at_s(self, stamp_ms: int) -> float:
        """Return the time of the next frame [s]."""
        if stamp_ms >= ROUND_MS:
            self._round_ms = LONG_ROUND_MS
        if stamp_ms < self._last_ms:
            self._base_ms += self._round_ms
        self._last_ms = stamp_ms
        return (self._base_ms + stamp_ms) / MS_PER_S
