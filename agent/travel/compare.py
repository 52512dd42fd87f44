"""What a replay shows against what was expected, as lines for people. Pure.

- 12.000000 s  expected, and not so
+ 12.500000 s  so, and not expected
~ 14.000000 s  expected; it came at 14.250000 s
"""

from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from typing import Protocol

from agent.travel.expect import Expected, differs
from agent.travel.seen import WORDS, Outcome

MOST_LINES = 40  # of one section
MOST_COMPARED = 4000  # more entries than that between two places that agree are not aligned


class Entry(Protocol):
    """Anything with a time and words."""

    @property
    def at_s(self) -> float:
        """Its time [s]."""

    def words(self) -> str:
        """What it says, without its time."""


def differences(expected: Expected, outcome: Outcome) -> list[str]:
    """Return every difference; none: all is as expected."""
    sections: list[tuple[str, Sequence[Entry] | None, Sequence[Entry]]] = [
        ("reports", expected.reports, outcome.reports),
        ("alarms", expected.alarms, outcome.alarms),
    ]
    for number, (steps, seen) in enumerate(zip(expected.steps, outcome.commands, strict=True), 1):
        head = f"command {number}, {WORDS[seen.asked.code]} at {seen.asked.at_s:g} s"
        sections.append((head, steps, seen.steps))
    found = []
    for head, wanted, got in sections:
        if wanted is not None:
            lines = list(_compare(wanted, got, expected.tolerance_s))
            found += [head, *lines[:MOST_LINES]] if lines else []
            if len(lines) > MOST_LINES:
                found.append(f"  and {len(lines) - MOST_LINES} more")
    return found


def _compare(wanted: Sequence[Entry], got: Sequence[Entry], tolerance_s: float) -> Iterator[str]:
    """Yield the differences of two lists."""
    same = _agreeing(wanted, got, tolerance_s)
    wanted, got = wanted[same:], got[same:]
    tail = _agreeing(wanted[::-1], got[::-1], tolerance_s)
    wanted, got = wanted[: len(wanted) - tail], got[: len(got) - tail]
    if len(wanted) + len(got) > MOST_COMPARED:
        yield from _whole(wanted, got)
        return
    said, told = ([entry.words() for entry in entries] for entries in (wanted, got))
    matcher = SequenceMatcher(a=said, b=told, autojunk=False)
    for kind, first, last, other_first, other_last in matcher.get_opcodes():
        if kind == "equal":
            pairs = zip(wanted[first:last], got[other_first:other_last], strict=True)
            yield from _moved(pairs, tolerance_s)
        else:
            yield from _whole(wanted[first:last], got[other_first:other_last])


def _agreeing(wanted: Sequence[Entry], got: Sequence[Entry], tolerance_s: float) -> int:
    """Return how many entries at the start agree."""
    count = 0
    for one, other in zip(wanted, got, strict=False):
        if one.words() != other.words() or differs(one.at_s, other.at_s, tolerance_s):
            break
        count += 1
    return count


def _moved(pairs: Iterator[tuple[Entry, Entry]], tolerance_s: float) -> Iterator[str]:
    for one, other in pairs:
        if differs(one.at_s, other.at_s, tolerance_s):
            yield f"  ~ {one.at_s:12.6f} s  {one.words()}; it came at {other.at_s:.6f} s"


def _whole(wanted: Sequence[Entry], got: Sequence[Entry]) -> Iterator[str]:
    yield from (f"  - {entry.at_s:12.6f} s  {entry.words()}" for entry in wanted)
    yield from (f"  + {entry.at_s:12.6f} s  {entry.words()}" for entry in got)
