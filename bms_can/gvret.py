"""Read the CSV that SavvyCAN and GVRET adapters write; a bad line costs only itself.

    Time Stamp,ID,Extended,Dir,Bus,LEN,D1,D2,D3,D4,D5,D6,D7,D8
    47504233,00000232,false,Rx,0,8,00,00,02,00,00,00,00,00,

Times are in microseconds, bytes and identifiers in hex. Bus 0 is the channel "can0". Older versions
have no column Dir. Look-alikes with DLC for LEN count in another unit: they are not read.
"""

import re
from collections.abc import Iterable, Iterator

from bms_can.candump import EXTENDED_MAX, STANDARD_MAX, TEXT_KEPT
from bms_can.errors import BadLogLine
from bms_can.frame import Frame
from bms_can.layout import FD_LENGTHS

_HEAD = re.compile(r"\ufeff?time stamp,id,extended,(dir,)?bus,len(,d\d+)*,?\s*", re.IGNORECASE)
_ROW = re.compile(
    r"\s*(-?\d{1,18}),([0-9A-F]{1,8}),(true|false),(\d{1,3}),(\d{1,2})"
    r"((?:,[0-9A-F]{1,2})*),*\s*",
    re.IGNORECASE | re.ASCII,
)
_DIRECTION = re.compile(r"(,(?:true|false)),[RT]x,", re.IGNORECASE | re.ASCII)
US_PER_S = 1_000_000
CLASSICAL_BYTES = 8


def looks_like_gvret(head: str) -> bool:
    """Return whether the first line is the headline of such a file."""
    return _HEAD.fullmatch(head.partition("\n")[0]) is not None


def gvret_frames(lines: Iterable[str]) -> Iterator[Frame | BadLogLine]:
    """Yield a frame or the fault of each line below the headline. Never raises for its content."""
    for number, line in enumerate(lines, 1):
        if not line.strip() or _HEAD.fullmatch(line):
            continue
        found = _frame(line)
        yield BadLogLine(number, found, line[:TEXT_KEPT]) if isinstance(found, str) else found


def _frame(line: str) -> Frame | str:
    """Return the frame of a line, or why it has none."""
    found = _ROW.fullmatch(_DIRECTION.sub(r"\1,", line, count=1))
    if found is None:
        return "format"
    time, identifier, wide, bus, length, text = found.groups()
    can_id, extended = int(identifier, 16), wide.lower() == "true"
    if can_id > (EXTENDED_MAX if extended else STANDARD_MAX):
        return "identifier"
    data = bytes(int(each, 16) for each in text.split(",")[1 : int(length) + 1])
    if len(data) != int(length) or not (len(data) <= CLASSICAL_BYTES or len(data) in FD_LENGTHS):
        return "length"
    return Frame(int(time) / US_PER_S, can_id, extended, data, f"can{int(bus)}")
