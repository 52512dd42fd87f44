"""The lane without a compiler: classical lines of `candump -l`, all of a block at a time.

Eight characters are looked at as one 64-bit number, as in kernel_text.c; what is not a usual line
goes to the slow lane, and so does a block with line ends that Python alone knows.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bms_can.candump import EXTENDED_MAX, STANDARD_MAX
from bms_can.columnar.block import Block
from bms_can.columnar.lanes import judge, slow_lane
from bms_can.columnar.rows import Rows

Words = NDArray[np.uint64]
Places = NDArray[np.int64]
Mask = NDArray[np.bool_]

ONES = 0x0101010101010101
LINES = 16384  # looked at together: their words stay in the second-level cache
ROUNDS = 8.0  # channels told apart in a block; lines of further ones take the slow lane
ODD_ROUND = 1 / 64  # what a channel costs that the slow lane has to name
CHANNEL_AT, SHORTEST = 20, 26  # "(1790000000.000000) c 123#"
MOST_DIGITS = 16
EXACT = 1 << 53  # below, the division of two integers is rounded once
KEPT = np.array([(1 << 8 * n) - 1 for n in range(9)], np.uint64)
ZEROS = 0x30 * ONES  # "00000000"


class Text(NamedTuple):
    """A block as single bytes and as the eight bytes that begin at each place."""

    bytes: NDArray[np.uint8]
    words: Words


def numpy_lane(block: Block, rows: Rows) -> None:
    """Take whole lines; see the module."""
    while not rows.full:
        stop = _last_end(block)
        if stop is None:
            return
        buffer = np.frombuffer(block.buffer, np.uint8)
        ends = _line_ends(buffer[block.start : stop], rows.capacity - rows.used) + block.start
        stop = int(ends[-1])
        returns = block.buffer.count(b"\r", block.start, stop)
        if returns and returns != block.buffer.count(b"\r\n", block.start, stop):
            del buffer  # else the block could not grow
            slow_lane(block, rows)
            return
        _take(block, rows, buffer, ends)
        del buffer


def _last_end(block: Block) -> int | None:
    """Return the place behind the last whole line, None if there is none."""
    if block.final:
        return block.end if block.end > block.start else None
    found = block.buffer.rfind(b"\n", block.start, block.end)
    return None if found < 0 else found + 1


def _line_ends(text: NDArray[np.uint8], most: int) -> Places:
    """Return the places behind the first lines."""
    ends = np.flatnonzero(text == ord("\n")) + 1
    if not len(ends) or ends[-1] < len(text):
        ends = np.append(ends, len(text))
    return ends[: min(most, LINES)]


def _take(block: Block, rows: Rows, buffer: NDArray[np.uint8], ends: Places) -> None:
    words = np.ndarray(len(buffer) - 7, "<u8", block.buffer, 0, (1,))
    starts = np.concatenate(([block.start], ends[:-1]))
    first, count = rows.used, len(ends)
    usual = _usual_lines(Text(buffer, words), starts, ends, rows)
    rows.line[first : first + count] = rows.lines + 1 + np.arange(count)
    rows.used += count
    rows.lines += count
    block.start = int(ends[-1])
    for number in np.flatnonzero(~usual).tolist():
        line = bytes(block.buffer[starts[number] : ends[number]])
        judge(rows, first + number, line, int(rows.line[first + number]))


def _usual_lines(text: Text, starts: Places, ends: Places, rows: Rows) -> Mask:
    """Fill the next rows, one a line; return which of the lines were usual."""
    stops = _content_ends(text.bytes, starts, ends)
    usual = stops - starts >= SHORTEST
    at_s, right = _times(text, starts)
    usual &= right
    channel, behind = _channels(text, starts, usual, rows)
    can_id, extended, behind, right = _identifiers(text, np.where(usual, behind, starts))
    usual &= right
    data, length, right = _payloads(text.words, behind, stops)
    usual &= right
    here = slice(rows.used, rows.used + len(starts))
    rows.at_s[here], rows.channel[here] = at_s, channel
    rows.can_id[here], rows.extended[here] = can_id, extended
    rows.length[here] = np.where(usual, length, 0)
    rows.data[here] = 0
    rows.data[here, :8] = data.view(np.uint8).reshape(-1, 8)
    return usual


def _content_ends(text: NDArray[np.uint8], starts: Places, ends: Places) -> Places:
    """Return where the payload ends: before the line's end and a direction."""
    stops: Places = ends - (text[ends - 1] == ord("\n"))
    stops -= (stops > starts) & (text[stops - 1] == ord("\r"))
    letter = text[stops - 1]
    directed = ((letter == ord("R")) | (letter == ord("T"))) & (text[stops - 2] == ord(" "))
    stops -= 2 * (directed & (stops - starts > SHORTEST))
    return stops


def _times(text: Text, starts: Places) -> tuple[NDArray[np.float64], Mask]:
    """Read "(1790000000.000000) "."""
    front, fine = _eight_digits(text.words[starts + 1])
    middle = text.words[starts + 9] & np.uint64(0xFFFF) | np.uint64(ZEROS & ~0xFFFF)
    middle = middle << np.uint64(48) | np.uint64(ZEROS >> 16)
    tens, right = _eight_digits(middle)
    fine &= right
    micros, right = _eight_digits(text.words[starts + 12] << np.uint64(16) | np.uint64(0x3030))
    fine &= right
    total = (front * np.uint64(100) + tens) * np.uint64(1_000_000) + micros
    for place, mark in ((0, "("), (11, "."), (18, ")"), (19, " ")):
        fine &= text.bytes[starts + place] == ord(mark)
    fine &= total < EXACT
    return total.astype(np.float64) / 1e6, fine


def _channels(
    text: Text, starts: Places, usual: Mask, rows: Rows
) -> tuple[NDArray[np.uint16], Places]:
    """Return index and end of the channel; what has none that can be told is no longer usual."""
    index = np.zeros(len(starts), np.uint16)
    behind = starts.copy()
    left = np.flatnonzero(usual)
    usual[:] = False
    rounds = ROUNDS
    while len(left) and rounds > 0:
        start = int(starts[left[0]]) + CHANNEL_AT
        name = _name(text.bytes[start : start + 64].tobytes())
        rounds -= 1 if name else ODD_ROUND
        if name is None:
            left = left[1:]
            continue
        same = _starts_with(text.words, starts[left] + CHANNEL_AT, name + b" ")
        rows_of = left[same]
        index[rows_of] = rows.channels.setdefault(name.decode(), len(rows.channels))
        behind[rows_of] = starts[rows_of] + CHANNEL_AT + len(name) + 1
        usual[rows_of] = True
        left = left[~same]
    return index, behind


def _name(text: bytes) -> bytes | None:
    name, space, _ = text.partition(b" ")
    usual = space and name and all(ord(" ") < character < 127 for character in name)  # noqa: PLR2004 - ASCII
    return name if usual else None


def _starts_with(words: Words, at: Places, text: bytes) -> Mask:
    found = np.ones(len(at), np.bool_)
    for first in range(0, len(text), 8):
        piece = text[first : first + 8]
        found &= words[at + first] & KEPT[len(piece)] == int.from_bytes(piece, "little")
    return found


def _identifiers(text: Text, at: Places) -> tuple[NDArray[np.uint32], Mask, Places, Mask]:
    """Read three or eight hexadecimal digits and "#"."""
    short = text.bytes[at + 3] == ord("#")
    words = text.words[at]
    words = np.where(short, words << np.uint64(40) | np.uint64(ZEROS >> 24), words)
    found, fine = _four_bytes(words)
    can_id = found.astype(np.uint32).byteswap()
    fine &= short | (text.bytes[at + 8] == ord("#"))
    fine &= can_id <= np.where(short, STANDARD_MAX, EXTENDED_MAX)
    return can_id, ~short, at + np.where(short, 4, 9), fine


def _payloads(words: Words, at: Places, stops: Places) -> tuple[Words, Places, Mask]:
    """Read up to eight bytes; they lie in the word in the payload's order."""
    digits = stops - at
    fine = (digits >= 0) & (digits <= MOST_DIGITS) & (digits % 2 == 0)
    digits = np.where(fine, digits, 0)
    front, right = _four_bytes(_padded(words[at], digits.clip(max=8)))
    fine &= right
    back, right = _four_bytes(_padded(words[at + 8], (digits - 8).clip(min=0)))
    fine &= right
    return (front | back << np.uint64(32)).astype("<u8"), digits // 2, fine


def _padded(words: Words, characters: Places) -> Words:
    """Put zeros behind the first characters."""
    kept = KEPT[characters]
    return words & kept | np.uint64(ZEROS) & ~kept


def _eight_digits(words: Words) -> tuple[Words, Mask]:
    value = words ^ np.uint64(ZEROS)
    fine = ((value + np.uint64(0x76 * ONES)) | value) & np.uint64(0x80 * ONES) == 0
    value = value * np.uint64(10) + (value >> np.uint64(8))
    low = np.uint64(0x000000FF000000FF)
    pairs = (value & low) * np.uint64(0x000F424000000064)
    value = pairs + (value >> np.uint64(16) & low) * np.uint64(0x0000271000000001)
    return value >> np.uint64(32), fine


def _four_bytes(words: Words) -> tuple[Words, Mask]:
    letter = words >> np.uint64(6) & np.uint64(ONES)
    nibble = (words & np.uint64(0x0F * ONES)) + np.uint64(9) * letter
    above_nine = (nibble + np.uint64(6 * ONES)) >> np.uint64(4) & np.uint64(ONES)
    expected = np.uint64(ZEROS) + nibble + np.uint64(7) * above_nine
    fine = words & ~(letter << np.uint64(5)) == expected
    fine &= nibble & np.uint64(0x10 * ONES) == 0
    pairs = np.uint64(0x000F000F000F000F)
    found = (nibble & pairs) << np.uint64(4) | nibble >> np.uint64(8) & pairs
    found = (found | found >> np.uint64(8)) & np.uint64(0x0000FFFF0000FFFF)
    return (found | found >> np.uint64(16)) & np.uint64(0xFFFFFFFF), fine
