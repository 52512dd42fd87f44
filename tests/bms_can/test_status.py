"""What may be said about the battery: silence is never "powered down", unknown is never zero."""

import math
from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bms_can.alarms import LOST
from bms_can.profile import CurrentRule, OperatingStatus, Profile, StatusRule
from bms_can.signals import Sample, Signals
from bms_can.status import BmsStatus, Contactor, derive_status
from tests.bms_can.build import (
    CLOSED,
    DEADLINE_S,
    NEITHER,
    NOW_S,
    OPEN,
    Raw,
    contactors,
    healthy,
    profile,
    seen,
    state_rule,
)

POWERED_DOWN, IDLE, CHARGING, DISCHARGING = OperatingStatus
LATEST_S = NOW_S - DEADLINE_S  # the oldest time at which a frame still counts
TOO_OLD_S = math.nextafter(LATEST_S, 0)

FEEDBACK = {
    Contactor.CLOSED: CLOSED,
    Contactor.OPEN: OPEN,
    Contactor.UNKNOWN: NEITHER,
}


def with_current(**changes: object) -> Profile:
    """Return the small battery with another current rule."""
    rule = replace(CurrentRule("Power.current", 1, 1.0), **changes)  # type: ignore[arg-type]  # names of its fields
    return profile(status=StatusRule(contactor=contactors(1), current=rule))


def status_of(signals: Signals, rules: Profile | None = None, **more: object) -> BmsStatus:
    """Derive the status at NOW_S."""
    return derive_status(signals, rules or profile(), NOW_S, **more)  # type: ignore[arg-type]  # its own names


def closed_at(current_a: Raw) -> Signals:
    """Return a closed contactor and a current."""
    return seen(healthy(State__contactor_0=CLOSED, Power__current=current_a))


@pytest.mark.parametrize("series", [True, False])
@pytest.mark.parametrize("feedback", list(product(Contactor, repeat=3)))
def test_contactors_combine(feedback: tuple[Contactor, ...], *, series: bool) -> None:
    """In series one open contactor opens; in parallel one closed string closes."""
    rules = profile(
        status=StatusRule(contactor=contactors(3, series=series), current=profile().status.current)
    )
    raws = healthy() | {f"State.contactor_{i}": FEEDBACK[one] for i, one in enumerate(feedback)}
    decisive, other = (
        (Contactor.OPEN, Contactor.CLOSED) if series else (Contactor.CLOSED, Contactor.OPEN)
    )
    expected = (
        decisive
        if decisive in feedback
        else other
        if set(feedback) == {other}
        else Contactor.UNKNOWN
    )
    status = status_of(seen(raws), rules)
    assert status.contactor is expected
    assert status.operating is {
        Contactor.OPEN: POWERED_DOWN,
        Contactor.CLOSED: IDLE,
        Contactor.UNKNOWN: None,
    }.get(expected)
    assert bool(status.why) == (status.operating is None)


@pytest.mark.parametrize(
    "contactor",
    [
        pytest.param(Sample(OPEN, None, NOW_S), id="out-of-range-or-sentinel"),
        pytest.param(Sample(NEITHER, NEITHER, NOW_S), id="neither-list"),
        pytest.param(Sample(0, 0, NOW_S), id="zero"),
        pytest.param(Sample(OPEN, OPEN, TOO_OLD_S), id="stale-though-its-message-is-fresh"),
        pytest.param(None, id="never-in-a-frame"),
    ],
)
def test_untrusted_contactor_feedback_is_unknown(contactor: Sample | None) -> None:
    """Feedback that is not fresh, known and listed says nothing; least of all powered down."""
    raws = healthy() | {"State.other": 1}
    del raws["State.contactor_0"]
    status = status_of(seen(raws if contactor is None else raws | {"State.contactor_0": contactor}))
    assert (status.operating, status.contactor) == (None, Contactor.UNKNOWN)
    assert not status.disconnected
    assert status.why == "contactor feedback is neither open nor closed"


@pytest.mark.parametrize(
    ("at_s", "disconnected"),
    [(NOW_S, False), (LATEST_S, False), (TOO_OLD_S, True), (0.0, True)],
)
@pytest.mark.parametrize("silent", ["State", "Power"])
def test_required_message_over_its_deadline(
    silent: str, at_s: float, *, disconnected: bool
) -> None:
    """Up to the deadline, it included, the values count; after it the battery is lost."""
    raws = healthy()
    for name in raws:
        if name.startswith(f"{silent}."):
            raw = OPEN if silent == "State" else 0
            raws[name] = Sample(raw, raw, at_s)
    status = status_of(seen(raws))
    assert status.disconnected == disconnected
    assert status.operating is (None if disconnected else POWERED_DOWN)
    if disconnected:
        assert status.alarms == (LOST,)
        assert status.alarm_count == 1
        assert status.unknown_alarms is None
        assert (status.current_a, status.contactor) == (None, Contactor.UNKNOWN)
        assert status.why == f"silent: {silent} over its deadline"
        assert status.age_s == pytest.approx(NOW_S - at_s)


@pytest.mark.parametrize(
    ("since_s", "disconnected"), [(NOW_S, False), (LATEST_S, False), (TOO_OLD_S, True)]
)
def test_before_the_first_frame(since_s: float, *, disconnected: bool) -> None:
    """A battery not heard yet is unknown at once and lost when its first deadline has passed."""
    status = status_of(Signals(), listening_since_s=since_s)
    assert status.operating is None
    assert status.age_s is None
    assert status.disconnected == disconnected
    assert status.alarm_count == (1 if disconnected else None)
    if disconnected:
        assert status.why == "silent: State never heard, Power never heard"
    else:
        assert status.why == "not heard yet: State, Power"


def test_partly_heard_before_the_first_deadline() -> None:
    """An open contactor is no "powered down" while another required message is awaited."""
    raws = healthy()
    del raws["Power.current"]
    status = status_of(seen(raws), listening_since_s=NOW_S)
    assert (status.operating, status.age_s, status.disconnected) == (None, None, False)
    assert status.why == "not heard yet: Power"


@pytest.mark.parametrize(
    ("current_a", "expected"),
    [
        (0, IDLE),
        (math.nextafter(1.0, 0), IDLE),
        (-math.nextafter(1.0, 0), IDLE),
        (1.0, CHARGING),
        (-1.0, DISCHARGING),
        (250, CHARGING),
        (-250, DISCHARGING),
    ],
)
@pytest.mark.parametrize("sign", [1, -1])
def test_direction_and_dead_band(current_a: float, expected: OperatingStatus, sign: int) -> None:
    """Positive is charging; below the dead band it is idle, at it no more; the sign turns it."""
    status = status_of(closed_at(current_a * sign), with_current(sign=sign))
    assert status.operating is expected
    assert status.current_a == current_a


@pytest.mark.parametrize(
    ("current_a", "expected"), [(0, IDLE), (0.001, CHARGING), (-0.001, DISCHARGING)]
)
def test_no_dead_band(current_a: float, expected: OperatingStatus) -> None:
    """Without a dead band only zero is idle."""
    assert status_of(closed_at(current_a), with_current(dead_band_a=0.0)).operating is expected


@pytest.mark.parametrize("current", [None, Sample(0, 0, TOO_OLD_S)])
def test_closed_with_unknown_current(current: Sample | None) -> None:
    """A closed battery whose current is unknown is neither idle nor anything else."""
    raws = healthy(State__contactor_0=CLOSED) | {"Power.current": current, "Power.other": 0}
    status = status_of(seen(raws))
    assert (status.operating, status.current_a, status.flow) == (None, None, None)
    assert status.why == "current is unknown"


def test_closed_with_a_current_never_sent() -> None:
    """A current signal that no frame ever carried is unknown too."""
    raws = healthy(State__contactor_0=CLOSED) | {"Power.other": 0}
    del raws["Power.current"]
    assert status_of(seen(raws)).why == "current is unknown"


@pytest.mark.parametrize("current_a", [1.0, -1.0, 300])
def test_open_feedback_with_current_is_unknown(current_a: float) -> None:
    """Current through a contactor that claims to be open is a contradiction, not status 1."""
    status = status_of(seen(healthy(Power__current=current_a)))
    assert (status.operating, status.contactor) == (None, Contactor.OPEN)
    assert "yet current flows" in status.why
    rules = with_current(ignored_when_open=True)
    assert status_of(seen(healthy(Power__current=current_a)), rules).operating is POWERED_DOWN


def test_open_feedback_within_the_dead_band() -> None:
    """Noise below the dead band does not contradict an open contactor."""
    signals = seen(healthy(Power__current=math.nextafter(1.0, 0)))
    assert status_of(signals).operating is POWERED_DOWN


@pytest.mark.parametrize(
    ("raw", "expected"),
    [(10, POWERED_DOWN), (20, IDLE), (30, CHARGING), (40, DISCHARGING), (0, None), (1, None)],
)
def test_state_signal(raw: int, expected: OperatingStatus | None) -> None:
    """One enumerated signal says the status; a value outside of its map is unknown."""
    rules = profile(status=state_rule(), required=("State",))
    status = status_of(seen({"State.mode": raw}), rules)
    assert status.operating is expected
    assert status.contactor is {None: Contactor.UNKNOWN, POWERED_DOWN: Contactor.OPEN}.get(
        expected, Contactor.CLOSED
    )
    assert status.why == ("" if expected else f"State.mode is {raw}, which is no known state")
    assert status.current_a is None


@pytest.mark.parametrize(
    "sample", [Sample(10, None, NOW_S), Sample(10, 10, TOO_OLD_S)], ids=["invalid", "stale"]
)
def test_state_signal_that_cannot_be_trusted(sample: Sample) -> None:
    """A state that is old or out of range is unknown, also when its raw value means 1."""
    rules = profile(status=state_rule(), required=("State",))
    assert status_of(seen({"State.mode": sample, "State.x": 0}), rules).operating is None


def test_state_signal_never_sent() -> None:
    """A state that no frame carried is unknown, and the reason says so."""
    rules = profile(status=state_rule(), required=("State",))
    assert status_of(seen({"State.x": 0}), rules).why == "State.mode is not heard yet"


@pytest.mark.parametrize(("raw", "expected"), [(10, None), (20, IDLE), (40, DISCHARGING)])
def test_state_that_claims_powered_down_while_current_flows(
    raw: int, expected: OperatingStatus | None
) -> None:
    """A state signal is believed, except when it denies the current that flows."""
    rules = profile(status=state_rule(CurrentRule("Power.current", 1, 1.0)))
    assert status_of(seen({"State.mode": raw, "Power.current": -80}), rules).operating is expected


def test_change_of_direction_is_held() -> None:
    """A new direction is reported after the hold time, counted from its first sight."""
    rules = with_current(hold_s=0.5)
    before: BmsStatus | None = None
    reported = []
    for at_s, current_a in [
        (0.0, 50), (0.1, -50), (0.2, -50), (0.3, 50), (0.4, -50), (0.8, -50), (0.9, -50), (1.0, 0),
        (1.5, 0),
    ]:  # fmt: skip
        now_s = NOW_S + at_s
        signals = seen(healthy(State__contactor_0=CLOSED, Power__current=current_a), at_s=now_s)
        before = derive_status(signals, rules, now_s, before=before)
        reported.append(before.operating)
    assert reported == [CHARGING] * 6 + [DISCHARGING] * 2 + [IDLE]


def test_direction_is_not_remembered_over_an_unknown_current() -> None:
    """After a gap the direction starts anew, without waiting."""
    rules = with_current(hold_s=10.0)
    first = status_of(closed_at(50), rules)
    gap = status_of(closed_at(None), rules, before=first)
    assert gap.flow is None
    assert status_of(closed_at(-50), rules, before=gap).operating is DISCHARGING


@pytest.mark.parametrize(("a", "count", "unknown"), [(0, 0, ()), (1, 1, ()), (None, None, ("a",))])
def test_alarm_count(a: Raw, count: int | None, unknown: tuple[str, ...]) -> None:
    """The number of alarms is known only while every alarm is."""
    status = status_of(seen(healthy(Alarms__a=a)))
    assert (status.alarm_count, status.unknown_alarms) == (count, unknown)


def test_active_alarms_are_listed_while_another_is_unknown() -> None:
    """An alarm that is on is told, even if the number is not known."""
    status = status_of(seen(healthy(Alarms__a=1, Alarms__b=None)))
    assert [alarm.key for alarm in status.alarms] == ["a"]
    assert status.alarm_count is None


def test_no_alarms_in_the_profile_is_no_count() -> None:
    """A battery whose alarms nobody described has no number of alarms; not zero."""
    assert status_of(seen(healthy()), profile(alarms=())).alarm_count is None


def test_age_is_that_of_the_oldest_required_message() -> None:
    """The age of a statement is that of the oldest frame it rests on."""
    raws = healthy() | {"Power.current": Sample(0, 0, NOW_S - 0.75)}
    assert status_of(seen(raws)).age_s == 0.75


def test_a_frame_stamped_a_moment_later_has_age_zero() -> None:
    """A frame that came between the look at the clock and the look at the table is not negative."""
    assert status_of(seen(healthy(), at_s=NOW_S + 0.001)).age_s == 0.0


def test_a_profile_without_any_rule_knows_nothing() -> None:
    """Neither a state nor a contactor: the status is unknown."""
    assert status_of(seen(healthy()), profile(status=StatusRule())).operating is None


AGES_S = st.sampled_from([0.0, 0.5, 1.0, 1.0000001, 2.0, 1e6]) | st.floats(0, 3)
SAMPLES = st.builds(
    lambda raw, known, age_s: Sample(raw, raw if known else None, NOW_S - age_s),
    st.integers(0, 4) | st.floats(-300, 300),
    st.booleans(),
    AGES_S,
)
NAMES = ("State.contactor_0", "State.mode", "Power.current", "Alarms.a", "Alarms.b")


@given(st.dictionaries(st.sampled_from(NAMES), SAMPLES), st.floats(0, NOW_S), st.booleans())
def test_what_a_status_promises(
    samples: dict[str, Sample],
    since_s: float,
    ignored: bool,  # noqa: FBT001 - drawn
) -> None:
    """Whatever was heard: silence is disconnected and never 1, and 1 has a fresh open feedback."""
    signals = seen(samples)
    status = status_of(signals, with_current(ignored_when_open=ignored), listening_since_s=since_s)
    ages_s = {
        message: NOW_S - (signals.heard[message].at_s if message in signals.heard else since_s)
        for message in ("State", "Power")
    }
    assert status.disconnected == any(age_s > DEADLINE_S for age_s in ages_s.values())
    if status.disconnected:
        assert status.operating is None
        assert (status.alarms, status.alarm_count) == ((LOST,), 1)
    if status.operating is POWERED_DOWN:
        feedback = samples["State.contactor_0"]
        assert feedback.raw == OPEN
        assert feedback.value is not None
        assert NOW_S - feedback.at_s <= DEADLINE_S
        assert ignored or status.current_a is None or abs(status.current_a) < 1.0
    elif status.operating is not None:
        assert samples["State.contactor_0"].raw == CLOSED
        assert status.current_a is not None
    assert bool(status.why) == (status.operating is None)
