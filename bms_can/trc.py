"""The PCAN trace dialect with a written-out start time, which python-can does not read.

    ;$STARTTIME=2025-11-22 16:20:54.721518
    ;$COLUMNS=N,O,T,I,d,L,B1,B2,B3,B4,B5,B6,B7,B8
         6)   0.109600  can0 Rx 00000356 6 6E 0B 00 00 A0 00 -- --

Against PCAN's own 2.0: offsets in seconds, the channel in place of the type, every identifier with
eight digits. So an identifier counts as 29-bit from 0x800 on; lower 29-bit ones cannot be told.
"""

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from bms_can.candump import CLASSICAL_BYTES, EXTENDED_MAX, STANDARD_MAX, TEXT_KEPT
from bms_can.errors import BadLogLine
from bms_can.frame import Frame

START = re.compile(r";\$STARTTIME=(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d{1,6})?)\s*", re.ASCII)
_LINE = re.compile(
    r"\s*\d+\)\s+(\d{1,9}\.\d{1,9})\s+(\S+)\s+(?:Rx|Tx)\s+([0-9A-Fa-f]{8})\s+(\d)"
    r"((?:\s+[0-9A-Fa-f]{2})*)(?:\s+--)*\s*",
    re.ASCII,
)


def is_dated_trc(head: str) -> bool:
    """Return whether the head of a file names its start time as a date."""
    return any(START.fullmatch(line) for line in head.splitlines())


def dated_trc_frames(lines: Iterable[str]) -> Iterator[Frame | BadLogLine]:
    """Yield a frame or the fault of each line; times are the start, taken as UTC, plus offset."""
    start_s = 0.0
    for number, line in enumerate(lines, 1):
        if line.lstrip().startswith(";") or not line.strip():
            start_s = _start_s(line, start_s)
            continue
        found = _LINE.fullmatch(line)
        reason = "format" if found is None else _fault(found)
        if found is None or reason:
            yield BadLogLine(number, reason, line.rstrip("\r\n")[:TEXT_KEPT])
            continue
        time, channel, identifier, _, data = found.groups()
        can_id = int(identifier, 16)
        at_s = start_s + float(time)
        yield Frame(at_s, can_id, can_id > STANDARD_MAX, bytes.fromhex(data), channel)


def _fault(found: re.Match[str]) -> str:
    if int(found[3], 16) > EXTENDED_MAX:
        return "identifier"
    length = int(found[4])
    return "" if length <= CLASSICAL_BYTES and len(bytes.fromhex(found[5])) == length else "length"


def _start_s(line: str, before_s: float) -> float:
    found = START.fullmatch(line.strip())
    if found is None:
        return before_s
    try:
        return datetime.fromisoformat(found[1]).replace(tzinfo=UTC).timestamp()
    except ValueError:
        return before_s
