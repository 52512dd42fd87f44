"""Single rules of doctor at the edge of what can be looked at."""

from pathlib import Path
from typing import cast

from agent.doctor import WARN
from agent.doctor_box_rules import _judge_unit
from agent.doctor_facts import BoxFacts, PeriodFacts
from agent.doctor_heard_rules import _off

NOBODY = cast("BoxFacts", Path())  # the rule does not look at it


def test_a_unit_that_is_not_there_is_a_warning() -> None:
    """Systemd runs, and knows no such unit."""
    assert _judge_unit({"LoadState": "not-found"}, NOBODY) is WARN


def test_a_message_without_a_pace_is_not_off_its_pace() -> None:
    """One frame has no period."""
    assert not _off(PeriodFacts("BAU_State", 0.1, None, 0.5))
