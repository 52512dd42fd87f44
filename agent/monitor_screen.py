"""Lays out `bms-agent monitor`: rows to lines of a terminal, with or without colour. Pure."""

import unicodedata
from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import NamedTuple

from agent.monitor import MessageRow, SignalRow

FRESH_S = 1.0  # a byte that changed within this time is highlighted
OLD_PERIODS = 5.0  # a message that misses so many of its periods is shown as old
OLDEST_FRESH_S = 2.0  # the same for one without a known period
COLUMN = 44  # least width of a signal's column
NAME_WIDTH, LEAST_NAME = 26, 12
NARROW = 60  # below it pace and count are left out
BYTES = 3 * 8  # columns of a classical frame's payload
AGE = 9  # columns of a signal's age, with what parts it from its neighbours


class Style(StrEnum):
    """How a piece of text looks; the value is its ANSI code."""

    PLAIN = ""
    HEAD = "\x1b[7m"
    NAME = "\x1b[1m"
    CHANGED = "\x1b[1;33m"
    OLD = "\x1b[31m"
    FAINT = "\x1b[2m"
    BAD = "\x1b[1;31m"


RESET = "\x1b[0m"


class Piece(NamedTuple):
    """A text with its look."""

    text: str
    style: Style = Style.PLAIN


Line = list[Piece]


def table(rows: Sequence[MessageRow], width: int, *, signals: bool = True) -> Iterator[Line]:
    """Yield the lines of the table for a terminal so many columns wide."""
    name_width = _name_width(rows, width)
    name = f"{'NAME':{name_width}}  " if name_width else ""
    yield [Piece(f"{_head(width)}{name}DATA".ljust(width), Style.HEAD)]
    for row in rows:
        yield _message_line(row, width, name_width)
        if signals:
            yield from _signal_lines(row, width)


def _head(width: int) -> str:
    pace = "" if width < NARROW else f"{'PERIOD':>8} {'COUNT':>8}  "
    return f"{'AGE':>7} {pace}{'ID':8}  "


def _name_width(rows: Sequence[MessageRow], width: int) -> int:
    """Return the columns for names: the payload comes first, but a name must be one."""
    longest = max((width_of(row.name) for row in rows), default=0)
    if not longest:
        return 0
    room = width - len(_head(width)) - 2 - (0 if width < NARROW else BYTES)
    return min(max(longest, len("NAME")), NAME_WIDTH, max(room, LEAST_NAME))


def _message_line(row: MessageRow, width: int, name_width: int) -> Line:
    old = Style.OLD if _is_old(row) else Style.PLAIN
    period = "" if row.period_s is None else f"{1000 * row.period_s:.0f} ms"
    pace = "" if width < NARROW else f"{period:>8} {row.count:>8}  "
    line = [Piece(f"{age_text(row.age_s):>7} ", old), Piece(f"{pace}{row.ident:8}  ")]
    if name_width:
        line.append(Piece(_padded(_short(row.name, name_width), name_width) + "  ", Style.NAME))
    for byte, age_s in zip(row.data, row.ages_s, strict=False):
        line.append(Piece(f"{byte:02X}", Style.CHANGED if age_s < FRESH_S else Style.PLAIN))
        line.append(Piece(" "))
    if row.bad:
        line.append(Piece(f" {row.bad}", Style.BAD))
    return line


def _is_old(row: MessageRow) -> bool:
    limit_s = OLDEST_FRESH_S if row.period_s is None else OLD_PERIODS * row.period_s
    return row.age_s > max(limit_s, FRESH_S)


def _signal_lines(row: MessageRow, width: int) -> Iterator[Line]:
    indent = 1 if width < NARROW else 8
    widest = max((width_of(f"{each.name} = {each.text}") for each in row.signals), default=0)
    column = min(max(COLUMN, widest + AGE), max(COLUMN // 2, width - indent))
    columns = max(1, (width - indent) // column)
    for start in range(0, len(row.signals), columns):
        line = [Piece(" " * indent)]
        for signal in row.signals[start : start + columns]:
            line += _signal_pieces(signal, column, old=_is_old(row))
        yield line


def _signal_pieces(signal: SignalRow, column: int, *, old: bool) -> Line:
    age = age_text(signal.age_s)
    text = _valued(signal, column - AGE)
    style = Style.OLD if old else Style.PLAIN
    return [Piece(_padded(text, column - AGE) + " ", style), Piece(f"{age:>6}  ", Style.FAINT)]


def _valued(signal: SignalRow, room: int) -> str:
    """Return name and value; where there is little room the name is cut, not the value."""
    left = room - width_of(f" = {signal.text}")
    return _short(f"{_short(signal.name, max(left, 1))} = {signal.text}", room)


def _short(text: str, width: int) -> str:
    """Return a text of at most so many columns that says if something was cut off."""
    return text if width_of(text) <= width else f"{_first(text, width - 1)}…"


def age_text(age_s: float) -> str:
    """Return an age for people, in at most six characters."""
    if age_s < 10:  # noqa: PLR2004 - a digit more
        return f"{max(0.0, age_s):.2f}s"
    return f"{age_s:.0f}s" if age_s < 10_000 else ">3h"  # noqa: PLR2004 - a screen's width


def fitted(lines: Iterator[Line], width: int, height: int, skip: int = 0) -> list[Line]:
    """Return the lines that fit a screen: the head stays, `skip` lines below it are left out."""
    first, *others = list(lines) or [[]]
    shown = others[skip : skip + max(0, height - 1)]
    return [cut(line, width) for line in (first, *shown)]


def cut(line: Line, width: int) -> Line:
    """Return a line of at most so many columns; wide characters take two."""
    left, found = width, []
    for text, style in line:
        part = _first(text, left)
        left -= width_of(part)
        found.append(Piece(part, style))
        if part != text:
            break
    return found


def _first(text: str, width: int) -> str:
    for index, char in enumerate(text):
        width -= _width(char)
        if width < 0:
            return text[:index]
    return text


def _padded(text: str, width: int) -> str:
    """Return a text of exactly so many columns."""
    part = _first(text, width)
    return part + " " * (width - width_of(part))


def width_of(text: str) -> int:
    """Return how many columns a text takes."""
    return sum(map(_width, text))


def _width(char: str) -> int:
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def rendered(line: Line, *, colour: bool) -> str:
    """Return a line as text; control characters of names never reach the terminal."""
    parts = []
    for text, style in line:
        clean = "".join(char if char.isprintable() else "?" for char in text)
        parts.append(f"{style.value}{clean}{RESET}" if colour and style.value else clean)
    return "".join(parts).rstrip() if not colour else "".join(parts)
