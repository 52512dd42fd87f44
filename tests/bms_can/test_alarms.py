"""Which alarms are on, off, or unknown."""

import math

import pytest

from bms_can.alarms import COMMUNICATION_LOST, LOST, ActiveAlarm, derive_alarms, is_active, since
from bms_can.profile import ActiveWhen, AlarmRule
from bms_can.signals import Sample, Signals
from tests.bms_can.build import DEADLINE_S, NOW_S, alarm, profile, seen

ABOVE, BELOW = math.nextafter(60.0, 100), math.nextafter(60.0, 0)


@pytest.mark.parametrize(
    ("when", "raw", "value", "active"),
    [
        (ActiveWhen(), 0, 0, False),
        (ActiveWhen(), 0, -40, False),
        (ActiveWhen(), 1, 1, True),
        (ActiveWhen(), -1, -1, True),
        (ActiveWhen(), 0.0, 0.0, False),
        (ActiveWhen(values=frozenset({0, 2})), 0, 0, True),
        (ActiveWhen(values=frozenset({0, 2})), 1, 1, False),
        (ActiveWhen(values=frozenset({0, 2})), 2, 2, True),
        (ActiveWhen(mask=0b100), 0b011, 3, False),
        (ActiveWhen(mask=0b100), 0b100, 4, True),
        (ActiveWhen(mask=0b110), 0b010, 2, True),
        (ActiveWhen(mask=0x8000), -0x8000, -0x8000, True),
        (ActiveWhen(mask=1), 0, 0, False),
        (ActiveWhen(at_least=60.0), 0, BELOW, False),
        (ActiveWhen(at_least=60.0), 0, 60.0, True),
        (ActiveWhen(at_least=60.0), 0, ABOVE, True),
        (ActiveWhen(at_most=60.0), 0, BELOW, True),
        (ActiveWhen(at_most=60.0), 0, 60.0, True),
        (ActiveWhen(at_most=60.0), 0, ABOVE, False),
        (ActiveWhen(at_most=0.0), 1, 0.0, True),
    ],
)
def test_when_an_alarm_is_active(
    when: ActiveWhen, raw: float, value: float, *, active: bool
) -> None:
    """Sets, masks and thresholds decide as the profile says, limits included."""
    assert is_active(when, Sample(raw, value, NOW_S)) == active


@pytest.mark.parametrize(
    ("signals", "state"),
    [
        pytest.param(seen({"Alarms.a": 1}), "on", id="on"),
        pytest.param(seen({"Alarms.a": 0}), "off", id="zero"),
        pytest.param(Signals(), "unknown", id="never-heard"),
        pytest.param(seen({"Alarms.a": None}), "unknown", id="out-of-range"),
        pytest.param(seen({"Alarms.a": Sample(1, None, NOW_S)}), "unknown", id="sentinel"),
        pytest.param(seen({"Alarms.a": 1}, at_s=NOW_S - DEADLINE_S), "on", id="at-its-deadline"),
        pytest.param(
            seen({"Alarms.a": 1}, at_s=math.nextafter(NOW_S - DEADLINE_S, 0)), "unknown", id="stale"
        ),
        pytest.param(
            seen({"Alarms.a": 0}, at_s=math.nextafter(NOW_S - DEADLINE_S, 0)),
            "unknown",
            id="stale-zero",
        ),
    ],
)
def test_an_alarm_is_on_off_or_unknown(signals: Signals, state: str) -> None:
    """A value that cannot be trusted makes the alarm unknown, not off."""
    found = derive_alarms(signals, profile(alarms=(alarm("a"),)), NOW_S)
    assert [each.key for each in found.active] == (["a"] if state == "on" else [])
    assert found.unknown == (("a",) if state == "unknown" else ())


@pytest.mark.parametrize(
    ("raw", "level"), [(1, 1), (2, 2), (3, 3), (4, 3), (255, 3), (-1, 1), (0.5, 1)]
)
def test_level_from_the_value_stays_within_1_to_3(raw: float, level: int) -> None:
    """A level read from a signal is never outside of what the platform knows."""
    found = derive_alarms(seen({"Alarms.a": raw}), profile(alarms=(alarm("a", level=None),)), NOW_S)
    assert found.active[0].level == level


@pytest.mark.parametrize("level", [1, 2, 3])
@pytest.mark.parametrize("raw", [1, 3, 200])
def test_a_fixed_level_does_not_depend_on_the_value(raw: int, level: int) -> None:
    """A level given by the profile is the level, whatever the signal says."""
    rules = profile(alarms=(alarm("a", level=level),))
    assert derive_alarms(seen({"Alarms.a": raw}), rules, NOW_S).active[0].level == level


def test_level_of_an_alarm_on_zero() -> None:
    """An alarm that is on at raw 0 has the least level, not level 0."""
    rule = AlarmRule("door", "Alarms.door", ActiveWhen(values=frozenset({0})), None, "门", "Door")
    assert derive_alarms(seen({"Alarms.door": 0}), profile(alarms=(rule,)), NOW_S).active == (
        ActiveAlarm("door", 1, "门", "Door", blocks_close=True),
    )


def test_active_alarms_keep_the_order_of_the_profile() -> None:
    """The order is that of the profile, whatever was heard first."""
    rules = profile(alarms=(alarm("b"), alarm("a", blocks_close=False)))
    found = derive_alarms(seen({"Alarms.a": 1, "Alarms.b": 1}), rules, NOW_S)
    assert [(each.key, each.blocks_close) for each in found.active] == [("b", True), ("a", False)]


def test_since_when() -> None:
    """An alarm keeps its first time while it is on, and gets a new one when it comes again."""
    a, b = (ActiveAlarm(key, 1, key, key, blocks_close=True) for key in "ab")
    first = since({}, [a], 10.0)
    second = since(first, [a, b], 11.0)
    assert second == {"a": 10.0, "b": 11.0}
    gone = since(second, [b], 12.0)
    assert since(gone, [a, b], 13.0) == {"a": 13.0, "b": 11.0}


def test_the_alarm_of_ours() -> None:
    """Loss of communication is of the highest level and keeps the contactor from being closed."""
    assert (LOST.key, LOST.level, LOST.blocks_close) == (COMMUNICATION_LOST, 3, True)
