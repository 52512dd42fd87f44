"""The verdicts of `bms-agent doctor`: facts in, findings out. Pure; the facts come from outside.

A rule looks at one fact. A fact that is None could not be looked at: then the verdict is unknown,
never ok. The tables are in doctor_*_rules.py; the loop is here, once.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Generic, NamedTuple, TypeVar

F = TypeVar("F")


class Verdict(StrEnum):
    """What a check found. UNKNOWN: it could not be looked at, or nothing says what is right."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    UNKNOWN = "unknown"


OK, WARN, FAIL, UNKNOWN = Verdict.OK, Verdict.WARN, Verdict.FAIL, Verdict.UNKNOWN
BAD = frozenset({WARN, FAIL})


class Finding(NamedTuple):
    """One line: what was looked at, the verdict, what was seen, and how to mend it."""

    check: str
    verdict: Verdict
    said: str
    mend: str = ""


def always(_facts: object) -> bool:
    """Let a rule apply to all facts."""
    return True


@dataclass(frozen=True, slots=True)
class Rule(Generic[F]):
    """One check.

    Attributes:
        check: its name; `{name}` is filled in.
        fact: what it looks at; None: it could not be seen.
        judge: the verdict on a fact that is there.
        says: what was seen; `{value}` is the fact.
        mend: what to do about a bad one.
        unseen: why there is no fact, where that is known.
        applies: whether the check makes sense here; one that does not is left out.
    """

    check: str
    fact: Callable[[F], Any]
    judge: Callable[[Any, F], Verdict]
    says: Callable[[Any, F], str]
    mend: Callable[[F], str]
    unseen: str = "cannot be looked at here"
    applies: Callable[[F], bool] = always


def examine(rules: Iterable[Rule[F]], facts: F, name: str = "") -> Iterator[Finding]:
    """Yield what each rule says of the facts; `name` goes before each check."""
    for rule in rules:
        if not rule.applies(facts):
            continue
        check = f"{name} {rule.check}".strip()
        value = rule.fact(facts)
        if value is None:
            yield Finding(check, UNKNOWN, rule.unseen)
            continue
        verdict = rule.judge(value, facts)
        mend = rule.mend(facts) if verdict in BAD else ""
        yield Finding(check, verdict, rule.says(value, facts), mend)


def exit_code(findings: Iterable[Finding]) -> int:
    """Return 1 if anything is to be mended."""
    return int(any(finding.verdict in BAD for finding in findings))
