"""When to try again."""

from datetime import UTC, datetime

import pytest

from agent import errors
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
from agent.retry import FLOOR_S, RULES, Decision, decide, retry_after_s

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
REFUSED = CloudRefused(400, 100001, "no")


@pytest.mark.parametrize(
    ("error", "attempt", "chance", "wait_s"),
    [
        (CloudUnreachable(), 0, 0.5, 0.5),  # 1 * 2**0 * 0.5
        (CloudUnreachable(), 3, 0.5, 4.0),  # 1 * 2**3 * 0.5
        (CloudUnreachable(), 3, 0.0, FLOOR_S),
        (CloudUnreachable(), 9, 1.0, 300.0),  # 512 is over the cap
        (CloudUnreachable(), 10_000, 1.0, 300.0),
        (CloudNonsense(), 2, 0.5, 2.0),
        (CloudThrottled("", None), 2, 0.0, 2.0),  # at least half of 4
        (CloudThrottled("", None), 2, 1.0, 4.0),
        (CloudThrottled("", 60.0), 2, 0.0, 62.0),  # not before the named moment
        (CloudThrottled("", 1e9), 0, 0.0, 3600.5),  # at most an hour
        (CloudRefusedKey(), 0, 0.0, 300.0),  # 5 to 15 minutes, whatever the attempt
        (CloudRefusedKey(), 50, 1.0, 900.0),
        (CloudUntrusted(), 7, 0.5, 600.0),
    ],
)
def test_waits(error: CloudError, attempt: int, chance: float, wait_s: float) -> None:
    """The wait follows the class, the attempt and chance."""
    decision = decide(error, attempt, chance)
    assert decision.wait_s == pytest.approx(wait_s)
    assert not decision.give_up


@pytest.mark.parametrize("error", [REFUSED, CloudClosed()])
def test_no_next_try(error: CloudError) -> None:
    """A refused body is never sent again, and after closing nothing is."""
    assert decide(error, 0, 0.5)[:2] == (0.0, True)


def test_alarms() -> None:
    """What a person must mend raises an alarm; a network that comes and goes does not."""
    assert decide(CloudUnreachable(), 0, 0.5).alarm == ""
    assert decide(CloudRefusedKey(), 0, 0.5).alarm == "platform_key_refused"
    assert decide(CloudUntrusted(), 0, 0.5).alarm == "platform_certificate"
    assert decide(REFUSED, 0, 0.5) == Decision(0.0, give_up=True, alarm="report_refused")


def test_every_class_has_a_rule() -> None:
    """No error of the platform's client is without a policy."""
    kinds = {
        value
        for value in vars(errors).values()
        if isinstance(value, type) and issubclass(value, CloudError) and value is not CloudError
    }
    assert kinds == set(RULES)


@pytest.mark.parametrize(
    ("value", "date", "wait_s"),
    [
        (None, None, None),
        ("7", None, 7.0),
        (" 7 ", None, 7.0),
        ("0", None, 0.0),
        ("99999999999", None, 3600.0),
        ("-1", None, None),
        ("1.5", None, None),
        ("٧", None, None),
        ("soon", None, None),
        ("", None, None),
        ("Fri, 02 Jan 2026 03:04:15 GMT", None, 10.0),
        ("Fri, 02 Jan 2026 03:04:15 -0000", None, 10.0),
        ("Fri, 02 Jan 2026 03:04:00 GMT", None, 0.0),
        ("Fri, 02 Jan 2026 09:00:00 GMT", None, 3600.0),
        ("Thu, 01 Jan 1970 00:01:00 GMT", "Thu, 01 Jan 1970 00:00:30 GMT", 30.0),
        ("Fri, 02 Jan 2026 03:04:15 GMT", "rubbish", 10.0),
        ("Fri, 02 Jan 99999 03:04:15 GMT", None, None),
    ],
)
def test_retry_after(value: str | None, date: str | None, wait_s: float | None) -> None:
    """Seconds and dates are read; a date counts against the server's own clock if it gives one."""
    assert retry_after_s(value, date, NOW) == wait_s
