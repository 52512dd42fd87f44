"""When to try again after a call to the platform failed. Pure: chance is an argument.

This is the only retry policy; nothing below it repeats a call. The wait grows as
`base * 2 ** attempt` up to a cap. "Full jitter" draws from all of it, so that a fleet that lost its
network does not come back at one moment; "at least half" keeps throttled clients away.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import NamedTuple

from agent.errors import (
    CloudClosed,
    CloudError,
    CloudNonsense,
    CloudRefused,
    CloudRefusedKey,
    CloudThrottled,
    CloudUnreachable,
    CloudUntrusted,
)

RETRY_AFTER_CAP_S = 3600.0
FLOOR_S = 0.1  # full jitter may draw 0; a failing call is never repeated without a pause
_MAX_DOUBLINGS = 32


class Decision(NamedTuple):
    """What to do about a failed call.

    Attributes:
        wait_s: pause before the next try [s]; 0 when given up.
        give_up: this body is never sent again.
        alarm: name of the alarm to raise, "" for none.
    """

    wait_s: float
    give_up: bool
    alarm: str


@dataclass(frozen=True, slots=True)
class Rule:
    """How one class of error is met.

    Attributes:
        base_s: upper limit of the first wait [s].
        cap_s: upper limit of any wait [s].
        least: smallest part of the limit that is drawn, 0..1; 0 is full jitter.
        give_up: there is no next try.
        alarm: alarm to raise, "" for none.
    """

    base_s: float = 1.0
    cap_s: float = 300.0
    least: float = 0.0
    give_up: bool = False
    alarm: str = ""


RULES: Mapping[type[CloudError], Rule] = {
    CloudUnreachable: Rule(),
    CloudThrottled: Rule(least=0.5),
    CloudNonsense: Rule(alarm="platform_answer_foreign"),
    CloudUntrusted: Rule(base_s=900.0, cap_s=900.0, least=1 / 3, alarm="platform_certificate"),
    CloudRefusedKey: Rule(base_s=900.0, cap_s=900.0, least=1 / 3, alarm="platform_key_refused"),
    CloudRefused: Rule(give_up=True, alarm="report_refused"),
    CloudClosed: Rule(give_up=True),
}


def decide(error: CloudError, attempt: int, chance: float) -> Decision:
    """Return what to do after `error`.

    Args:
        error: what the call raised.
        attempt: how many tries failed before this one, 0 for the first.
        chance: a random number, 0 <= chance < 1.
    """
    rule = RULES[type(error)]
    if rule.give_up:
        return Decision(0.0, give_up=True, alarm=rule.alarm)
    limit_s = min(rule.cap_s, rule.base_s * 2.0 ** min(attempt, _MAX_DOUBLINGS))
    wait_s = limit_s * (rule.least + (1 - rule.least) * chance)
    if isinstance(error, CloudThrottled) and error.retry_after_s is not None:
        wait_s += min(error.retry_after_s, RETRY_AFTER_CAP_S)  # spread behind the named moment
    return Decision(max(wait_s, FLOOR_S), give_up=False, alarm=rule.alarm)


def retry_after_s(value: str | None, date: str | None, now: datetime) -> float | None:
    """Return the seconds that a Retry-After header asks for, 0..3600; None if it says nothing.

    Args:
        value: the header, seconds or an HTTP date.
        date: the answer's Date header: a box without a clock measures against the server's.
        now: wall time of the box, used where there is no Date header.
    """
    if value is None:
        return None
    if value.strip().isascii() and value.strip().isdigit():
        return min(float(value), RETRY_AFTER_CAP_S)
    until, server_now = _http_date(value), _http_date(date)
    if until is None:
        return None
    wait_s = (until - (server_now or now)).total_seconds()
    return min(max(wait_s, 0.0), RETRY_AFTER_CAP_S)


def _http_date(text: str | None) -> datetime | None:
    try:
        parsed = parsedate_to_datetime(text or "")
    except (ValueError, OverflowError):
        return None
    return parsed if parsed.tzinfo is not None else parsed.replace(tzinfo=UTC)
