"""Does the bus show the effect: only by fresh, known values, newer than the send."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bms_can.confirmation import effect_seen, is_met, messages_of, missing_proof, proof_of
from bms_can.database import Database
from bms_can.intake import Intake
from bms_can.profile import CommandCode, CommandPlan, Condition, OperatingStatus, Profile
from bms_can.signals import Sample, Signals
from tests.bms_can.build import (
    CLOSED,
    DEADLINE_S,
    NEITHER,
    NOW_S,
    OPEN,
    Battery,
    Raw,
    confirmation,
    healthy,
    plan,
    profile,
    seen,
)

RESET, CLOSE, OPENING = CommandCode
STALE_S = math.nextafter(NOW_S - DEADLINE_S, 0)
READY = Condition("State.ready", frozenset({1}), "ready")


def seen_by(code: CommandCode, signals: Signals, rules: Profile | None = None) -> bool:
    """Tell whether the effect of a command of the small battery is seen at NOW_S."""
    rules = rules or profile()
    return effect_seen(rules.commands[code], signals, rules, NOW_S)


@pytest.mark.parametrize(
    ("code", "contactor", "current_a", "expected"),
    [
        (CLOSE, CLOSED, 0, True), (CLOSE, CLOSED, 50, True), (CLOSE, CLOSED, -50, True),
        (CLOSE, OPEN, 0, False), (CLOSE, NEITHER, 0, False), (CLOSE, CLOSED, None, False),
        (CLOSE, None, 0, False), (CLOSE, OPEN, 50, False),
        (OPENING, OPEN, 0, True), (OPENING, CLOSED, 0, False), (OPENING, NEITHER, 0, False),
        (OPENING, OPEN, 50, False), (OPENING, None, 0, False),
    ],
)  # fmt: skip
def test_effect_by_status(
    code: CommandCode, contactor: Raw, current_a: Raw, *, expected: bool
) -> None:
    """A status proves a command only if it is known and one of those wanted."""
    signals = seen(healthy(State__contactor_0=contactor, Power__current=current_a))
    assert seen_by(code, signals) == expected


@pytest.mark.parametrize("code", CommandCode)
@pytest.mark.parametrize("message", ["State", "Power"])
def test_a_silent_battery_proves_nothing(code: CommandCode, message: str) -> None:
    """With one required message over its deadline no command is proven, a reset neither."""
    raws = healthy(State__contactor_0=CLOSED if code is CLOSE else OPEN)
    assert seen_by(code, seen(raws))
    for name, raw in raws.items():
        if name.startswith(message):
            assert isinstance(raw, int)
            raws[name] = Sample(raw, raw, STALE_S)
    assert not seen_by(code, seen(raws))
    assert not seen_by(code, Signals())


@pytest.mark.parametrize(
    ("a", "expected"),
    [(0, True), (1, False), (None, False), (Sample(0, 0, STALE_S), False)],
    ids=["cleared", "active", "unknown", "stale"],
)
def test_effect_by_cleared_alarms(a: Raw | Sample, *, expected: bool) -> None:
    """An alarm counts as cleared only when it is known to be off."""
    assert seen_by(RESET, seen(healthy() | {"Alarms.a": a})) == expected


def test_an_alarm_never_heard_is_not_cleared() -> None:
    """Silence of the alarm message is no cleared alarm."""
    raws = healthy()
    del raws["Alarms.a"]
    assert not seen_by(RESET, seen(raws))


def test_alarms_that_a_reset_does_not_promise() -> None:
    """Only the listed alarms must be off."""
    commands = {RESET: plan(RESET, 4, confirmation(cleared=("b",)))}
    assert seen_by(RESET, seen(healthy(Alarms__a=1)), profile(commands=commands))


@pytest.mark.parametrize(
    ("sample", "met"),
    [
        (Sample(1, 1, NOW_S), True),
        (Sample(1, 1, NOW_S - DEADLINE_S), True),
        (Sample(1, 1, STALE_S), False),
        (Sample(1, None, NOW_S), False),
        (Sample(0, 0, NOW_S), False),
        (None, False),
    ],
)
def test_a_condition_needs_a_fresh_known_right_value(sample: Sample | None, *, met: bool) -> None:
    """Each of fresh, known and right is needed, up to the deadline."""
    signals = Signals({} if sample is None else {READY.signal: sample})
    assert is_met(READY, signals, profile(), NOW_S) == met


@pytest.mark.parametrize("ready", [0, 1])
def test_every_part_must_hold(ready: int) -> None:
    """Status and condition together prove it; one alone does not."""
    commands = {CLOSE: plan(CLOSE, 1, confirmation(2, conditions=(READY,)))}
    rules = profile(commands=commands)
    for contactor in (OPEN, CLOSED):
        signals = seen(healthy(State__contactor_0=contactor, State__ready=ready))
        assert seen_by(CLOSE, signals, rules) == (contactor == CLOSED and ready == 1)


def test_which_messages_prove_it() -> None:
    """All signals of the status, the alarms and the conditions bring their messages."""
    rules = profile()
    assert messages_of(rules.commands[CLOSE], rules) == {"State", "Power"}
    assert messages_of(rules.commands[RESET], rules) == {"Alarms"}
    both = plan(CLOSE, 1, confirmation(2, cleared=("a",), conditions=(READY,)))
    assert messages_of(both, rules) == {"State", "Power", "Alarms"}
    only = plan(CLOSE, 1, confirmation(conditions=(READY,)))
    assert messages_of(only, rules) == {"State"}


def test_a_signal_on_a_page_is_proven_by_its_own_page() -> None:
    """Where a message has pages, a frame of another page is no newer proof."""
    rules = profile(deadlines_s={**profile().deadlines_s, "Alarms.a": 4.0})
    assert proof_of("Alarms.a", rules) == "Alarms.a"
    assert proof_of("Alarms.b", rules) == "Alarms"
    assert messages_of(rules.commands[RESET], rules) == {"Alarms.a", "Alarms"}


@pytest.mark.parametrize(
    ("code", "raws", "text"),
    [
        (CLOSE, healthy(), "operating_status is 1, not 2 or 3 or 4"),
        (
            CLOSE,
            healthy(State__contactor_0=NEITHER),
            (
                "operating_status is unknown "
                "(contactor feedback is neither open nor closed), not 2 or 3 or 4"
            ),
        ),
        (RESET, healthy(Alarms__a=1, Alarms__b=2), "still active: a, b"),
        (RESET, healthy(Alarms__a=1, Alarms__b=None), "still active: a; still unknown: b"),
        (RESET, healthy(), "the effect did not last for enough frames"),
        (OPENING, {}, "the BMS is silent: State never heard, Power never heard"),
    ],
)
def test_what_the_bus_shows_instead(
    code: CommandCode, raws: dict[str, Raw | Sample], text: str
) -> None:
    """A person reads what was seen in place of the effect."""
    rules = profile()
    assert missing_proof(rules.commands[code], seen(raws), rules, NOW_S) == text


def test_an_unmet_condition_is_named() -> None:
    """A condition is told by its name."""
    one = plan(RESET, 4, confirmation(conditions=(READY,)))
    assert missing_proof(one, seen(healthy()), profile(), NOW_S) == "ready is not met"


SAMPLES = st.builds(
    lambda raw, known, age_s: Sample(raw, raw if known else None, NOW_S - age_s),
    st.integers(0, 3),
    st.booleans(),
    st.sampled_from([0.0, 1.0, 1.0 + 1e-9, 5.0]),
)


@given(
    st.dictionaries(st.sampled_from([*healthy(), "State.ready"]), SAMPLES),
    st.sampled_from(CommandCode),
)
def test_proof_has_evidence(samples: dict[str, Sample], code: CommandCode) -> None:
    """Whatever was heard, an effect rests on fresh, known values of every message in question."""
    rules = profile()
    signals = seen(samples)
    if not seen_by(code, signals, rules):
        assert missing_proof(rules.commands[code], signals, rules, NOW_S)
        return
    for message in messages_of(rules.commands[code], rules):
        assert NOW_S - signals.heard[message].at_s <= DEADLINE_S
    wanted = {CLOSE: ("State.contactor_0", CLOSED), OPENING: ("State.contactor_0", OPEN)}
    name, raw = wanted.get(code, ("Alarms.a", 0))
    assert (samples[name].raw, samples[name].value) == (raw, raw)


class Rounds:
    """Sends all required messages of the default battery, round by round, and watches a close."""

    def __init__(self, loaded: tuple[Profile, Database], battery: Battery, after_s: float) -> None:
        self.rules, database = loaded
        self.battery = battery
        self.intake = Intake(self.rules, database)
        self.plan: CommandPlan = self.rules.commands[CLOSE]
        self.watch = self.intake.table.watch(
            messages_of(self.plan, self.rules), self._shows, after_s
        )

    def _shows(self, signals: Signals, at_s: float) -> bool:
        return effect_seen(self.plan, signals, self.rules, at_s)

    def streak(self, at_s: float, feedback: str = "closed") -> int:
        """Send one round; return the streak after it."""
        self.battery.values["BAU_State"]["contactor_status"] = feedback
        for message in self.rules.required:
            self.intake.take(self.battery.frame(message, at_s))
        return self.intake.table.look(self.watch).streak


def test_a_close_is_proven_by_new_frames_only(
    loaded: tuple[Profile, Database], battery: Battery
) -> None:
    """Frames up to the send, it included, count nothing; three rounds after it are a proof."""
    rounds = Rounds(loaded, battery, after_s=10.0)
    moments_s = (9.7, 9.8, 9.9, 10.0, 10.1, 10.2, 10.3)
    assert [rounds.streak(at_s) for at_s in moments_s] == [0, 0, 0, 0, 1, 2, 3]


def test_a_contactor_that_bounces_is_no_proof(
    loaded: tuple[Profile, Database], battery: Battery
) -> None:
    """A round that shows otherwise starts the count anew."""
    rounds = Rounds(loaded, battery, after_s=10.0)
    seen_ = ["closed", "closed", "closed", "partial", "closed", "open", "closed", "closed"]
    assert rounds.streak(10.0, "open") == 0
    found = [rounds.streak(10.1 + i / 10, feedback) for i, feedback in enumerate(seen_)]
    assert found == [1, 2, 3, 0, 1, 0, 1, 2]


def test_silence_in_between_is_no_proof(loaded: tuple[Profile, Database], battery: Battery) -> None:
    """A battery that falls silent and comes back is counted from its return."""
    rounds = Rounds(loaded, battery, after_s=10.0)
    moments_s = (10.0, 10.1, 10.2, 20.0, 20.1, 20.2)
    assert [rounds.streak(at_s) for at_s in moments_s] == [0, 1, 2, 0, 1, 2]


def test_what_proves_a_command_of_the_default_battery(ess_bau: Profile) -> None:
    """Close is proven by 2, 3 or 4, open by 1 alone."""
    assert ess_bau.commands[CLOSE].confirmed.statuses == set(OperatingStatus) - {1}
    assert ess_bau.commands[OPENING].confirmed.statuses == {OperatingStatus.POWERED_DOWN}
    assert messages_of(ess_bau.commands[RESET], ess_bau) == {"BAU_Faults"}
