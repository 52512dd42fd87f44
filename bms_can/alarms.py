"""Which alarms are active, from signal values. Pure.

An alarm whose signal is stale, never heard or out of range is unknown. Unknown is not "no alarm":
while any alarm is unknown, so is the number of alarms.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from bms_can.profile import ActiveWhen, AlarmRule, Profile
from bms_can.signals import Sample, Signals

COMMUNICATION_LOST = "bms_communication_lost"
MIN_LEVEL, MAX_LEVEL = 1, 3


class ActiveAlarm(NamedTuple):
    """An alarm that is on. `level` 1 (least) to 3."""

    key: str
    level: int
    label_zh: str
    label_en: str
    blocks_close: bool


class AlarmState(NamedTuple):
    """All that is known of the alarms at one moment.

    Attributes:
        active: alarms that are on, in the order of the profile.
        unknown: keys of alarms whose signal cannot be trusted now.
    """

    active: tuple[ActiveAlarm, ...]
    unknown: tuple[str, ...]


LOST = ActiveAlarm(
    COMMUNICATION_LOST, MAX_LEVEL, "BMS通讯中断", "BMS communication lost", blocks_close=True
)


def is_active(when: ActiveWhen, sample: Sample) -> bool:
    """Tell whether a sample means that its alarm is on. The sample's value must be known."""
    if when.values is not None:
        return sample.raw in when.values
    if when.mask is not None:
        return bool(int(sample.raw) & when.mask)
    if sample.value is not None and when.at_least is not None:
        return sample.value >= when.at_least
    if sample.value is not None and when.at_most is not None:
        return sample.value <= when.at_most
    return sample.raw != 0


def alarm_level(rule: AlarmRule, sample: Sample) -> int | None:
    """Return what a fresh sample says: the level of its alarm, 0 if it is off, None: unknown."""
    if sample.value is None:
        return None
    return _active_alarm(rule, sample).level if is_active(rule.when, sample) else 0


def _active_alarm(rule: AlarmRule, sample: Sample) -> ActiveAlarm:
    level = rule.level
    if level is None:
        level = min(max(int(sample.raw), MIN_LEVEL), MAX_LEVEL)
    return ActiveAlarm(rule.key, level, rule.label_zh, rule.label_en, rule.blocks_close)


def derive_alarms(signals: Signals, profile: Profile, now_s: float) -> AlarmState:
    """Return which alarms are on and which are unknown at `now_s` [s]."""
    active: list[ActiveAlarm] = []
    unknown: list[str] = []
    for rule in profile.alarms:
        max_age_s = profile.deadline_s(rule.signal)
        sample = signals.fresh(rule.signal, now_s=now_s, max_age_s=max_age_s)
        if sample is None or sample.value is None:
            unknown.append(rule.key)
        elif is_active(rule.when, sample):
            active.append(_active_alarm(rule, sample))
    return AlarmState(tuple(active), tuple(unknown))


def since(
    before: Mapping[str, float], active: Iterable[ActiveAlarm], now_s: float
) -> dict[str, float]:
    """Return since when each active alarm is on, given the answer of the last time [s]."""
    return {alarm.key: before.get(alarm.key, now_s) for alarm in active}
