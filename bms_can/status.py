"""Battery status from signal values. Pure: no clock, no bus, no log.

Two promises:
* Silence is never "powered down". When a required message is older than its deadline, the battery
  is `disconnected` and its operating status is unknown (None), whatever was heard last.
* Current > 0 is charging. It is said here, once; a profile turns its battery's sign by `sign`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from bms_can.alarms import LOST, ActiveAlarm, alarm_level, derive_alarms
from bms_can.profile import (
    ContactorRule,
    ContactorSignal,
    CurrentRule,
    OperatingStatus,
    Profile,
    StateSignal,
)
from bms_can.signals import Sample, Signals

NOT_HEARD = "not heard yet"


class Contactor(Enum):
    """Whether the pack is on its terminals."""

    OPEN = "open"
    CLOSED = "closed"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Flow:
    """Direction of current with its hold: `wanted` becomes `reported` after the hold time.

    Attributes:
        reported: IDLE, CHARGING or DISCHARGING as reported.
        wanted: what the newest current says.
        wanted_since_s: since when it says so [s].
    """

    reported: OperatingStatus
    wanted: OperatingStatus
    wanted_since_s: float


@dataclass(frozen=True, slots=True)
class BmsStatus:
    """What can be said about the battery at one moment.

    Attributes:
        operating: 1..4 as the platform defines it, None while unknown.
        alarms: active alarms; the loss of communication is one of them.
        alarm_count: number of active alarms, None while any of them is unknown.
        disconnected: a required message is older than its deadline.
        contactor: feedback of the contactor rule; UNKNOWN for a state that is neither.
        current_a: pack current, positive charging [A]; None while unknown.
        age_s: age of the oldest message that the status rests on [s]; None while never heard.
        why: what makes the operating status unknown; "" while it is known.
        unknown_alarms: keys of alarms that cannot be judged now; None: none of them can.
        flow: memory of the current direction, for the next call.
    """

    operating: OperatingStatus | None
    alarms: tuple[ActiveAlarm, ...]
    alarm_count: int | None
    disconnected: bool
    contactor: Contactor
    current_a: float | None
    age_s: float | None
    why: str
    unknown_alarms: tuple[str, ...] | None = ()
    flow: Flow | None = None


def derive_status(
    signals: Signals,
    profile: Profile,
    now_s: float,
    *,
    listening_since_s: float = 0.0,
    before: BmsStatus | None = None,
) -> BmsStatus:
    """Return the battery status that the signals support at `now_s`.

    Args:
        signals: newest values.
        profile: what they mean.
        now_s: the moment of this statement [s], same clock as the frames.
        listening_since_s: start of listening [s]; a message never heard is missing only when its
            deadline has passed since then.
        before: the status of the last call, for the hold time of the current direction.
    """
    missing = _missing(signals, profile, now_s, listening_since_s)
    alarm_state = derive_alarms(signals, profile, now_s)
    if missing:
        return BmsStatus(
            operating=None,
            alarms=(LOST,),
            alarm_count=1,
            disconnected=True,
            contactor=Contactor.UNKNOWN,
            current_a=None,
            age_s=_age_s(signals, profile, now_s),
            why="silent: " + ", ".join(missing),
            unknown_alarms=None,
        )
    contactor = _contactor(signals, profile, now_s)
    current_a = _current_a(signals, profile, now_s)
    flow = _flow(profile.status.current, current_a, now_s, before)
    operating, why = _operating(signals, profile, now_s, contactor, flow)
    awaited = [name for name in profile.required if name not in signals.heard]
    if awaited:  # the status rests on all of them, also in the first moments after a start
        operating, why = None, f"{NOT_HEARD}: {', '.join(awaited)}"
    known = bool(profile.alarms) and not alarm_state.unknown
    return BmsStatus(
        operating=operating,
        alarms=alarm_state.active,
        alarm_count=len(alarm_state.active) if known else None,
        disconnected=False,
        contactor=contactor,
        current_a=current_a,
        age_s=_age_s(signals, profile, now_s),
        why=why,
        unknown_alarms=alarm_state.unknown,
        flow=flow,
    )


def meaning_of(profile: Profile, samples: Mapping[str, Sample]) -> dict[str, object]:
    """Return all that a status can take from these samples while they are fresh, by part.

    While no part changes, nothing but the passing of time changes a status.
    """
    rule = profile.status
    found: dict[str, object] = {
        f"alarm {each.key}": alarm_level(each, samples[each.signal])
        for each in profile.alarms
        if each.signal in samples
    }
    for one in () if rule.contactor is None else rule.contactor.signals:
        if one.signal in samples:
            found[f"contactor {one.signal}"] = _feedback_of(one, samples[one.signal])
    if rule.state is not None and rule.state.signal in samples:
        found["state"] = _state_of(rule.state, samples[rule.state.signal])
    if rule.current is not None and rule.current.signal in samples:
        current_a = _current_of(rule.current, samples[rule.current.signal])
        found["flow"] = current_a
        if current_a is not None:
            found["flow"] = _direction(current_a, rule.current.dead_band_a)
    return found


def _missing(
    signals: Signals, profile: Profile, now_s: float, listening_since_s: float
) -> list[str]:
    """Return the required messages that are over their deadline, each with its age."""
    found = []
    for message in profile.required:
        heard = signals.heard.get(message)
        newest_s = listening_since_s if heard is None else heard.at_s
        if now_s - newest_s > profile.deadlines_s[message]:
            found.append(f"{message} {'never heard' if heard is None else 'over its deadline'}")
    return found


def _age_s(signals: Signals, profile: Profile, now_s: float) -> float | None:
    heard = [signals.heard.get(message) for message in profile.required]
    times = [each.at_s for each in heard if each is not None]
    if not times or len(times) < len(heard):
        return None
    return max(0.0, now_s - min(times))


def _contactor(signals: Signals, profile: Profile, now_s: float) -> Contactor:
    rule = profile.status.contactor
    if rule is None:
        return _contactor_of_state(signals, profile, now_s)
    return _combined(rule, [_feedback(signals, profile, now_s, rule, i) for i in _indices(rule)])


def _indices(rule: ContactorRule) -> range:
    return range(len(rule.signals))


def _feedback(
    signals: Signals, profile: Profile, now_s: float, rule: ContactorRule, index: int
) -> Contactor:
    one = rule.signals[index]
    sample = signals.fresh(one.signal, now_s=now_s, max_age_s=profile.deadline_s(one.signal))
    return _feedback_of(one, sample)


def _feedback_of(one: ContactorSignal, sample: Sample | None) -> Contactor:
    if sample is None or sample.value is None:
        return Contactor.UNKNOWN
    if sample.raw in one.closed:
        return Contactor.CLOSED
    return Contactor.OPEN if sample.raw in one.open else Contactor.UNKNOWN


def _combined(rule: ContactorRule, feedback: list[Contactor]) -> Contactor:
    """Series: one open contactor opens the pack. Parallel: one closed string closes it."""
    decisive = Contactor.OPEN if rule.series else Contactor.CLOSED
    if decisive in feedback:
        return decisive
    return Contactor.UNKNOWN if Contactor.UNKNOWN in feedback else feedback[0]


def _contactor_of_state(signals: Signals, profile: Profile, now_s: float) -> Contactor:
    operating = _from_state(signals, profile, now_s)
    if operating is None:
        return Contactor.UNKNOWN
    powered_down = operating is OperatingStatus.POWERED_DOWN
    return Contactor.OPEN if powered_down else Contactor.CLOSED


def _from_state(signals: Signals, profile: Profile, now_s: float) -> OperatingStatus | None:
    state = profile.status.state
    if state is None:
        return None
    sample = signals.fresh(state.signal, now_s=now_s, max_age_s=profile.deadline_s(state.signal))
    return _state_of(state, sample)


def _state_of(state: StateSignal, sample: Sample | None) -> OperatingStatus | None:
    if sample is None or sample.value is None:
        return None
    return state.states.get(sample.raw)


def _current_a(signals: Signals, profile: Profile, now_s: float) -> float | None:
    rule = profile.status.current
    if rule is None:
        return None
    sample = signals.fresh(rule.signal, now_s=now_s, max_age_s=profile.deadline_s(rule.signal))
    return _current_of(rule, sample)


def _current_of(rule: CurrentRule, sample: Sample | None) -> float | None:
    if sample is None or sample.value is None:
        return None
    return float(sample.value) * rule.sign


def _direction(current_a: float, dead_band_a: float) -> OperatingStatus:
    if abs(current_a) < dead_band_a or current_a == 0:
        return OperatingStatus.IDLE
    return OperatingStatus.CHARGING if current_a > 0 else OperatingStatus.DISCHARGING


def _flow(
    rule: CurrentRule | None, current_a: float | None, now_s: float, before: BmsStatus | None
) -> Flow | None:
    if rule is None or current_a is None:
        return None
    wanted = _direction(current_a, rule.dead_band_a)
    last = None if before is None else before.flow
    if last is None:
        return Flow(wanted, wanted, now_s)
    since_s = last.wanted_since_s if wanted is last.wanted else now_s
    held = now_s - since_s >= rule.hold_s
    return Flow(wanted if held else last.reported, wanted, since_s)


def _operating(
    signals: Signals, profile: Profile, now_s: float, contactor: Contactor, flow: Flow | None
) -> tuple[OperatingStatus | None, str]:
    if contactor is Contactor.OPEN:
        rule = profile.status.current
        trusted = rule is not None and not rule.ignored_when_open
        if trusted and flow is not None and flow.wanted is not OperatingStatus.IDLE:
            return None, "contactor feedback says open, yet current flows"
        return OperatingStatus.POWERED_DOWN, ""
    if profile.status.state is not None:
        operating = _from_state(signals, profile, now_s)
        seen = signals.samples.get(profile.status.state.signal)
        value = "not heard yet" if seen is None else f"{seen.raw:g}, which is no known state"
        why = f"{profile.status.state.signal} is {value}"
        return operating, "" if operating is not None else why
    return _from_flow(profile, contactor, flow)


def _from_flow(
    profile: Profile, contactor: Contactor, flow: Flow | None
) -> tuple[OperatingStatus | None, str]:
    """Return the status of a pack that is not open, by its current."""
    without_feedback = profile.status.contactor is None
    if contactor is Contactor.UNKNOWN and not without_feedback:
        return None, "contactor feedback is neither open nor closed"
    if flow is None:
        return None, profile.status.unknown or "current is unknown"
    if without_feedback and flow.reported is OperatingStatus.IDLE:
        operating = profile.status.at_rest
        return operating, "" if operating is not None else "no current, and no contactor feedback"
    return flow.reported, ""
