"""Read candump text, both forms, one line at a time: a bad line costs only itself.

    (1436509052.249713) vcan0 044#2A366C2BBA          candump -l, also 123##1..., R, T, _9
     (001.000000)  can0  123   [8]  11 22 33 ...      candump -t, also with 'ASCII' behind

python-can's reader stops at the first bad line and takes most error frames for data (trap 12).
"""

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from bms_can.errors import BadLogLine
from bms_can.frame import Frame
from bms_can.layout import FD_LENGTHS

REASONS = (
    "format",  # no candump line
    "time",  # no time: nothing can be said about freshness
    "identifier",  # more than 11 or 29 bits
    "length",  # more bytes than a frame holds, or not as many as announced
    "remote frame",
    "error frame",
    "CAN XL frame",
)
CLASSICAL_BYTES = 8
ERROR_FLAG = 0x20000000  # linux/can.h CAN_ERR_FLAG
STANDARD_MAX, EXTENDED_MAX = 0x7FF, 0x1FFFFFFF
STANDARD_DIGITS = 3
TEXT_KEPT = 60  # characters of a bad line kept for the report

_TIME = r"\(\s*(\d{1,12}(?:\.\d{1,9})?|\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d{1,6})?)\s*\)"
_ID = r"([0-9A-Fa-f]{8}|[0-9A-Fa-f]{3})"
_PLAIN = re.compile(  # nearly every line of a log
    r"\((\d{1,12}\.\d{1,9})\) (\S+) ([0-9A-Fa-f]{8}|[0-9A-Fa-f]{3})"
    r"#((?:[0-9A-Fa-f]{2}){0,8})(?: [RT])?\s*",
    re.ASCII,
)
_LOG = re.compile(rf"\s*(?:{_TIME}\s+)?(\S+)\s+{_ID}#(\S*)(?:\s+[RTrt])?\s*", re.ASCII)
_XL = re.compile(rf"\s*(?:{_TIME}\s+)?\S+\s+[0-9A-Fa-f]{{5}}#[0-9A-Fa-f]{{2}}:.*\s*", re.ASCII)
_DISPLAY = re.compile(
    rf"\s*(?:{_TIME}\s+)?(\S+)\s+(?:[RT]X\s+(?:[B-]\s[E-]\s+)?)?{_ID}\s+"
    r"[\[{](\d{1,2}|[A-F])[\]}](?:\s+(\S.*)?)?",  # no lazy dot: long blanks would take for ever
    re.ASCII | re.DOTALL,
)
_PAYLOAD = re.compile(r"(#[0-9A-Fa-f])?((?:[0-9A-Fa-f]{2}\.?)*)(?:_[0-9A-Fa-f])?", re.ASCII)
_REMOTE = re.compile(r"[Rr][0-8]?(?:_[0-9A-Fa-f])?", re.ASCII)
_BYTES = re.compile(r"((?:[0-9A-Fa-f]{2}(?:\s|$))*)\s*(?:'.*)?", re.ASCII | re.DOTALL)
_IGNORED = ("#", ";", "//")


class _Refused(Exception):
    """This line holds no usable data frame; one of `REASONS` says why. Never leaves this module."""


def candump_frames(lines: Iterable[str], first: int = 1) -> Iterator[Frame | BadLogLine]:
    """Yield a frame for each line, or what is wrong with the line. Never raises for its content.

    Blank lines and comments are passed over. A local date (candump -t A) is taken as UTC. `first`
    is the number of the first line.
    """
    plain = _PLAIN.fullmatch
    for number, line in enumerate(lines, first):
        found = plain(line)
        if found is not None:
            time, channel, identifier, data = found.groups()
            can_id = int(identifier, 16)
            extended = len(identifier) > STANDARD_DIGITS
            if can_id <= (EXTENDED_MAX if extended else STANDARD_MAX):
                yield Frame(float(time), can_id, extended, bytes.fromhex(data), channel)
                continue
        elif not (stripped := line.strip()) or stripped.startswith(_IGNORED):
            continue
        yield _careful(number, line)


def looks_like_candump(line: str) -> bool:
    """Return whether a line has the form of candump, usable or not."""
    return any(form.fullmatch(line) for form in (_LOG, _XL, _DISPLAY))


def _careful(number: int, line: str) -> Frame | BadLogLine:
    try:
        return _frame(line)
    except _Refused as refused:
        return BadLogLine(number, str(refused), line.rstrip("\r\n")[:TEXT_KEPT])


def _frame(line: str) -> Frame:
    if found := _LOG.fullmatch(line):
        time, channel, identifier, payload = found.groups()
        can_id, extended = _identifier(identifier)
        data = _log_data(payload)
    elif found := _DISPLAY.fullmatch(line):
        time, channel, identifier, length, payload = found.groups()
        can_id, extended = _identifier(identifier)
        data = _display_data(length, payload or "")
    else:
        raise _Refused("CAN XL frame" if _XL.fullmatch(line) else "format")
    return Frame(_seconds(time), can_id, extended, data, channel)


def _seconds(time: str | None) -> float:
    if time is None:
        raise _Refused("time")
    if "-" not in time:
        return float(time)
    try:
        return datetime.fromisoformat(time).replace(tzinfo=UTC).timestamp()
    except ValueError as error:
        raise _Refused("time") from error


def _identifier(text: str) -> tuple[int, bool]:
    can_id, extended = int(text, 16), len(text) > STANDARD_DIGITS
    if can_id > (EXTENDED_MAX if extended else STANDARD_MAX):
        is_error = extended and can_id & ~EXTENDED_MAX == ERROR_FLAG
        raise _Refused("error frame" if is_error else "identifier")
    return can_id, extended


def _log_data(text: str) -> bytes:
    if _REMOTE.fullmatch(text):
        raise _Refused("remote frame")
    found = _PAYLOAD.fullmatch(text)
    if found is None:
        raise _Refused("format")
    return _fitting(bytes.fromhex(found[2].replace(".", "")), flexible=found[1] is not None)


def _display_data(length: str, text: str) -> bytes:
    if text.startswith("remote request"):
        raise _Refused("remote frame")
    found = _BYTES.fullmatch(text)
    if found is None:
        raise _Refused("format")
    data = bytes.fromhex(found[1])
    announced = int(length) if length.isdigit() else CLASSICAL_BYTES  # a letter: raw DLC above 8
    if len(data) != min(announced, FD_LENGTHS[-1]):
        raise _Refused("length")
    return _fitting(data, flexible=len(length) > 1)  # candump pads the length of FD frames


def _fitting(data: bytes, *, flexible: bool) -> bytes:
    fits = len(data) <= CLASSICAL_BYTES or (flexible and len(data) in FD_LENGTHS)
    if not fits:
        raise _Refused("length")
    return data
