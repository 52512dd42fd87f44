"""Section [heartbeat]: read, checked against [[guard]], and never a command."""

from copy import deepcopy
from pathlib import Path

import pytest

from bms_can.errors import BadProfile
from tests.bms_can.tiny import GONE, read

HEARTBEAT = {"message": "Wide", "values": {"wish": 0, "counter": 0}, "period_ms": 100}
ENTRY = {"name": "heartbeat", "frame": "201#0000000000000000", "per_minute": 700}
Changes = tuple[tuple[str, object], ...]


def good() -> Changes:
    """Return the changes that make a good heartbeat, to be changed further."""
    return ("heartbeat", deepcopy(HEARTBEAT)), ("guard[3]", deepcopy(ENTRY))


def test_a_good_one(tmp_path: Path) -> None:
    """Message, period and bytes; a profile without the section has none."""
    plan = read(tmp_path, *good())[0].heartbeat
    assert plan is not None
    assert (plan.message, plan.period_s) == ("Wide", 0.1)
    assert [(frame.can_id, frame.data.hex()) for frame in plan.frames] == [(0x201, "00" * 8)]
    assert read(tmp_path)[0].heartbeat is None


def test_counter_and_checksum_are_made(tmp_path: Path) -> None:
    """With [[integrity]] there is one frame for each counter value."""
    rule = {"messages": ["Wide"], "counter": "wish", "modulo": 3}
    beat = {**HEARTBEAT, "values": {"counter": 0}}
    entry = {**ENTRY, "frame": "201#0.00000000000000"}
    changes = (("heartbeat", beat), ("guard[3]", entry), ("integrity[1]", rule))
    plan = read(tmp_path, *changes)[0].heartbeat
    assert plan is not None
    assert [frame.data[0] for frame in plan.frames] == [0, 1, 2]


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ((("heartbeat.message", "Control"),), "is also that of close_contactor"),
        ((("heartbeat.message", "State"),), "is read too"),
        ((("heartbeat.message", "Nothing"),), 'no message "Nothing"'),
        ((("heartbeat.values", {"wish": 0}),), "has no value"),
        ((("heartbeat.values", {"wish": 1.6, "counter": 0}),), "must be an integer"),
        ((("heartbeat.period_ms", 10),), "period_ms"),
        ((("heartbeat.period_ms", GONE),), "period_ms"),
        ((("heartbeat.forever", True),), "forever"),
        ((("guard[3]", GONE),), "no entry allows 201#0000000000000000, the heartbeat"),
        ((("guard[3].per_minute", 600),), "allows too few per minute"),
        ((("guard[3].when_latched", True),), "a heartbeat ends when another master is heard"),
    ],
)
def test_each_mistake(tmp_path: Path, changes: Changes, why: str) -> None:
    """Refused at load, with the reason."""
    with pytest.raises(BadProfile) as caught:
        read(tmp_path, *good(), *changes)
    assert why in str(caught.value)
