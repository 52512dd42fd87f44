"""Family "isotp": diagnostic answers that come in several frames (ISO 15765-2). Pure.

It only listens: somebody else on the bus asks. The first byte of a put-together payload is the low
byte of its length, as DBC files for diagnostics count; it is filled up with zeros to a length of
CAN FD, so that the DBC's length fits. No zero of the filling may be taken for a value: an answer is
used only if it has the length that the profile states for it.

A simulated battery (`as_sent`) answers unasked, as it looks on a bus on which somebody asks.

Its table in a profile: [family] ids = ["7BB"], the identifiers of the answers, 3 or 8 digits;
answers = { "6101" = 41 }, the first bytes of each answer, and how many bytes it has.
"""

from collections.abc import Mapping
from typing import NamedTuple, cast

from bms_can.errors import BadFrame
from bms_can.frame import Frame
from bms_can.layout import wire_length

STANDARD_DIGITS = 3
SINGLE, FIRST, NEXT = 0, 1, 2
LONGEST_ANSWER = 4095
NEEDS = 'needs ids = ["7BB"], answers = { "6101" = 41 } and nothing else'
NEGATIVE = 0x7F  # ISO 14229-1: refused, or not ready yet
LONGEST_S = 1.0  # between two frames of one answer; N_Cr of the standard
IN_SINGLE, IN_FIRST, IN_NEXT = 7, 6, 7  # bytes of the answer in a frame of each kind
FILLING = 0xFF  # what the recorded batteries fill their last frame with


class Part(NamedTuple):
    """An answer under way: what is there, how long it gets, what comes next."""

    data: bytes
    length: int
    number: int
    at_s: float


class IsoTp:
    """Puts answers together; see `families.Family`."""

    simulated = "its answers come by themselves; a real battery answers only when somebody asks"

    def __init__(self, options: Mapping[str, object]) -> None:
        ids, answers = options.get("ids"), options.get("answers")
        given = isinstance(ids, list) and isinstance(answers, dict) and ids and answers
        if not given or set(options) != {"ids", "answers"}:
            raise ValueError(NEEDS)
        try:
            self._ids = {
                (int(text, 16), len(text) > STANDARD_DIGITS) for text in cast("list[str]", ids)
            }
        except (TypeError, ValueError) as error:
            raise ValueError(f"ids: {error}") from error
        self._answers = _lengths(cast("dict[object, object]", answers))
        self._parts: dict[tuple[int, bool], Part] = {}

    def translate(self, frame: Frame) -> Frame | None:
        """Return the whole answer with its last frame; other identifiers pass."""
        key = frame.can_id, frame.extended
        if key not in self._ids or not frame.data:
            return frame
        kind, low = frame.data[0] >> 4, frame.data[0] & 0xF
        if kind == SINGLE:
            self._parts.pop(key, None)
            return self._whole(frame, frame.data[1 : 1 + low], low)
        if kind == FIRST and len(frame.data) > 2:  # noqa: PLR2004 - two bytes say how long
            length = low << 8 | frame.data[1]
            self._parts[key] = Part(frame.data[2:], length, 1, frame.at_s)
            return None
        return self._go_on(frame, self._parts.pop(key, None)) if kind == NEXT else None

    def as_sent(self, frame: Frame) -> list[Frame]:
        """Return the frames in which a battery sends a whole answer; see `families.Spoken`."""
        if (frame.can_id, frame.extended) not in self._ids:
            return [frame]
        heads = self._answers.items()
        length = next((n for head, n in heads if frame.data.startswith(head, 1)), None)
        if length is None:
            begins = frame.data[1:4].hex().upper()
            raise BadFrame("answer", f"{frame.can_id:X}: no stated answer begins with {begins}")
        whole = frame.data[1 : 1 + length].ljust(length, b"\0")
        return [frame._replace(data=part.ljust(8, bytes([FILLING]))) for part in _parts(whole)]

    def _go_on(self, frame: Frame, part: Part | None) -> Frame | None:
        if part is None:
            return None  # listening began in the middle of an answer
        if frame.data[0] & 0xF != part.number or frame.at_s - part.at_s > LONGEST_S:
            raise BadFrame("segment", f"{frame.can_id:X}: not the next frame of this answer")
        data = part.data + frame.data[1:]
        if len(data) < part.length:
            key = frame.can_id, frame.extended
            self._parts[key] = Part(data, part.length, (part.number + 1) & 0xF, frame.at_s)
            return None
        return self._whole(frame, data, part.length)

    def _whole(self, frame: Frame, data: bytes, length: int) -> Frame | None:
        stated = next((n for head, n in self._answers.items() if data.startswith(head)), None)
        if stated is None or data[0] == NEGATIVE:
            return None  # to a question that is none of ours, or no answer
        if length != stated or len(data) < length:
            raise BadFrame("answer", f"{frame.can_id:X}: {length} bytes, not {stated}")
        payload = bytes([length & 0xFF]) + data[:length]
        return frame._replace(data=payload.ljust(max(64, wire_length(len(payload))), b"\0"))


def _parts(whole: bytes) -> list[bytes]:
    """Cut an answer into the payloads of its frames."""
    if len(whole) <= IN_SINGLE:
        return [bytes([len(whole)]) + whole]
    first = bytes([FIRST << 4 | len(whole) >> 8, len(whole) & 0xFF]) + whole[:IN_FIRST]
    starts = range(IN_FIRST, len(whole), IN_NEXT)
    return [first] + [
        bytes([NEXT << 4 | number & 0xF]) + whole[start : start + IN_NEXT]
        for number, start in enumerate(starts, 1)
    ]


def _lengths(answers: Mapping[object, object]) -> dict[bytes, int]:
    """Return the length of each answer by its first bytes, the longest of these first."""
    found = {}
    for text, length in answers.items():
        head = bytes.fromhex(str(text))
        if not head or type(length) is not int or not len(head) <= length <= LONGEST_ANSWER:
            raise ValueError(f"answers: {text} = {length!r} is no length of such an answer")
        found[head] = length
    return dict(sorted(found.items(), key=lambda each: -len(each[0])))
