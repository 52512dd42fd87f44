"""May this command go out: each rule false, unknown and stale, alone and in pairs."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bms_can.commands import Reason
from bms_can.interlocks import (
    RULES,
    Check,
    Sent,
    Situation,
    judge,
    must_wait_for_current,
    refusal,
)
from bms_can.profile import CommandCode, Condition, InterlockRules, Profile, StatusRule
from bms_can.signals import Heard, Sample, Signals
from bms_can.status import derive_status
from tests.bms_can.build import (
    CLOSED,
    DEADLINE_S,
    NEITHER,
    NOW_S,
    OPEN,
    Raw,
    alarm,
    contactors,
    healthy,
    profile,
)

RESET, CLOSE, OPENING = CommandCode
STEADY_S, INTERVAL_S, WINDOW_S = 3.0, 10.0, 600.0

PROFILE = profile(
    alarms=(alarm("a"), alarm("b"), alarm("soc_low", blocks_close=False)),
    deadlines_s={"State": 1.0, "Power": 1.0, "Alarms": 1.0, "Switch": 1.0, "Estop": 1.0},
    interlocks=InterlockRules(
        remote=Condition("Switch.remote", frozenset({1}), "remote"),
        conditions=(Condition("Estop.pressed", frozenset({0}), "emergency stop released"),),
        tolerated_alarms=frozenset({"b"}),
        steady_s=STEADY_S,
        close_interval_s=INTERVAL_S,
        close_max=3,
        close_window_s=WINDOW_S,
        reset_max=2,
        reset_window_s=3600.0,
        open_max_current_a=20.0,
    ),
)


@dataclass
class World:
    """A battery and a box in perfect order, to be spoilt."""

    raws: dict[str, Raw | Sample] = field(
        default_factory=lambda: healthy(Switch__remote=1, Estop__pressed=0, Alarms__soc_low=1)
    )
    ages_s: dict[str, float] = field(default_factory=dict)
    steady_s: dict[str, float] = field(default_factory=dict)
    situation: dict[str, object] = field(default_factory=dict)
    profile: Profile = PROFILE

    def drop(self, message: str) -> None:
        """Let a message never have been heard."""
        self.raws = {name: raw for name, raw in self.raws.items() if not name.startswith(message)}

    def build(self) -> Situation:
        """Return the situation at NOW_S, with the status derived from it."""
        samples: dict[str, Sample] = {}
        heard: dict[str, Heard] = {}
        for name, raw in self.raws.items():
            message = name.split(".", 1)[0]
            at_s = NOW_S - self.ages_s.get(message, 0.0)
            steady_since_s = NOW_S - self.steady_s.get(message, 60.0)
            known = 0 if raw is None else raw
            samples[name] = known if isinstance(known, Sample) else Sample(known, raw, at_s)  # type: ignore[arg-type]  # raw is no Sample here
            heard[message] = Heard(at_s, steady_since_s, 100)
        signals = Signals(samples, heard)
        status = derive_status(signals, self.profile, NOW_S)
        return replace(Situation(NOW_S, signals, status), **self.situation)  # type: ignore[arg-type]  # names of its fields

    def failed(self, code: CommandCode) -> dict[str, Check]:
        """Return the verdicts that refuse a command, by rule."""
        checks = judge(code, self.build(), self.profile)
        first = refusal(checks)
        found: dict[str, Check] = {}
        for check in checks:
            if not check.passed:
                found.setdefault(check.rule, check)
        assert first is (next(iter(found.values())) if found else None)
        return found


Spoil = Callable[[World], object]


def raw_of(name: str, raw: Raw | Sample) -> Spoil:
    """Return what gives a signal another value."""
    return lambda world: world.raws.update({name: raw})


def unknown(name: str) -> Spoil:
    """Return what makes a signal's right raw value unknown: a sentinel, or out of range."""

    def spoil(world: World) -> None:
        if isinstance(raw := world.raws.get(name), int):
            world.raws[name] = Sample(raw, None, NOW_S)

    return spoil


def stale(message: str) -> Spoil:
    """Return what makes a message one tick older than its deadline, its values still right."""
    return lambda world: world.ages_s.update({message: DEADLINE_S + 1e-9})


def never(message: str) -> Spoil:
    """Return what makes a message never heard."""
    return lambda world: world.drop(message)


def box(**changes: object) -> Spoil:
    """Return what spoils the box itself."""
    return lambda world: world.situation.update(changes)


def sent(*ages_s: float, code: CommandCode = CLOSE) -> Spoil:
    """Return what lets commands have gone out so long ago."""
    return box(sent=tuple(Sent(code, NOW_S - age_s) for age_s in ages_s))


def without_close(world: World) -> None:
    """Take the close command out of the profile."""
    world.profile = replace(world.profile, commands={})


HEALTH, PROCESS = Reason.BLOCKED_BY_HEALTH, Reason.BLOCKED_BY_PROCESS
INTERLOCKED, MODE = Reason.BLOCKED_BY_INTERLOCKING, Reason.BLOCKED_BY_MODE

# What spoils a close, the rule that must notice it, and the reason that it must give.
SPOILT: Mapping[str, tuple[Spoil, str, Reason]] = {
    "read-only": (box(read_only=True), "read-only", Reason.READ_ONLY),
    "not in the profile": (without_close, "command", Reason.INCONSISTENT_PARAMETERS),
    "lock-out": (box(lockout="work on rack 2"), "local lock-out", Reason.LOCAL_LOCKOUT),
    "journal": (box(journal="disk full"), "journal", Reason.JOURNAL_FAILED),
    "tx unsafe": (box(tx_unsafe="no echo"), "transmit path", HEALTH),
    "bus": (box(bus="error-passive"), "bus", HEALTH),
    "foreign": (box(foreign="200#0100"), "only master", Reason.LOCKED_BY_OTHER_CLIENT),
    "gap": (lambda world: world.steady_s.update(State=STEADY_S - 1e-9), "fresh", HEALTH),
    "gap in another": (lambda world: world.steady_s.update(Power=0.0), "fresh", HEALTH),
    "status stale": (stale("State"), "fresh", HEALTH),
    "status never": (never("State"), "fresh", HEALTH),
    "current stale": (stale("Power"), "BMS heard", HEALTH),
    "current never": (never("Power"), "BMS heard", HEALTH),
    "closed": (raw_of("State.contactor_0", CLOSED), "contactor open", PROCESS),
    "partly closed": (raw_of("State.contactor_0", NEITHER), "contactor open", PROCESS),
    "contactor unknown": (unknown("State.contactor_0"), "contactor open", PROCESS),
    "current flows": (raw_of("Power.current", 40), "contactor open", PROCESS),
    "local": (raw_of("Switch.remote", 0), "remote mode", MODE),
    "mode unknown": (unknown("Switch.remote"), "remote mode", MODE),
    "mode stale": (stale("Switch"), "remote mode", MODE),
    "mode never": (never("Switch"), "remote mode", MODE),
    "stop pressed": (raw_of("Estop.pressed", 1), "emergency stop released", INTERLOCKED),
    "stop unknown": (unknown("Estop.pressed"), "emergency stop released", INTERLOCKED),
    "stop stale": (stale("Estop"), "emergency stop released", INTERLOCKED),
    "stop never": (never("Estop"), "emergency stop released", INTERLOCKED),
    "alarm": (raw_of("Alarms.a", 1), "no alarm", INTERLOCKED),
    "alarm unknown": (unknown("Alarms.a"), "no alarm", INTERLOCKED),
    "tolerated alarm unknown": (unknown("Alarms.b"), "no alarm", INTERLOCKED),
    "alarms stale": (stale("Alarms"), "no alarm", INTERLOCKED),
    "alarms never": (never("Alarms"), "no alarm", INTERLOCKED),
    "too many": (sent(20, 30, WINDOW_S - 1e-9), "rate", Reason.RATE_LIMITED),
    "too soon": (sent(INTERVAL_S - 1e-9), "interval", Reason.RATE_LIMITED),
    "sent in the future": (sent(-5.0), "interval", Reason.RATE_LIMITED),
}  # fmt: skip


def test_a_healthy_battery_may_be_closed() -> None:
    """With everything in order every rule passes: fault reset, close and open."""
    for code in CommandCode:
        assert World().failed(code) == {}
    rules = [check.rule for check in judge(CLOSE, World().build(), PROFILE)]
    assert rules == [
        "read-only", "command", "local lock-out", "journal", "transmit path", "bus",
        "only master", "fresh", "fresh", "BMS heard", "remote mode", "contactor open",
        "emergency stop released", "no alarm", "rate",
    ]  # fmt: skip


@pytest.mark.parametrize("name", SPOILT)
def test_one_thing_wrong_refuses_a_close(name: str) -> None:
    """Each single fault keeps the contactor open, noticed by its own rule and reason."""
    spoil, rule, reason = SPOILT[name]
    world = World()
    spoil(world)
    assert world.failed(CLOSE)[rule].reason is reason


@pytest.mark.parametrize(("one", "other"), list(combinations(SPOILT, 2)))
def test_two_things_wrong_refuse_a_close(one: str, other: str) -> None:
    """No fault hides or mends another."""
    world = World()
    SPOILT[one][0](world)
    SPOILT[other][0](world)
    assert world.failed(CLOSE)


@pytest.mark.parametrize(
    "name", [name for name in SPOILT if name not in ("read-only", "not in the profile")]
)
def test_nothing_but_permission_keeps_an_open_back(name: str) -> None:
    """Opening is the safe direction: no state of the battery or the box refuses it."""
    world = World()
    SPOILT[name][0](world)
    assert world.failed(OPENING) == {}


def test_everything_wrong_and_still_an_open_passes() -> None:
    """All faults together do not keep an open back; they do keep a close and a reset back."""
    world = World()
    for name, (spoil, _, _) in SPOILT.items():
        if name not in ("read-only", "not in the profile") and "never" not in name:
            if name.endswith("unknown"):
                continue
            spoil(world)
    world.drop("State")
    assert world.failed(OPENING) == {}
    assert len(world.failed(CLOSE)) > 8
    assert len(world.failed(RESET)) > 4


@pytest.mark.parametrize("code", CommandCode)
@pytest.mark.parametrize("name", ["read-only", "not in the profile"])
def test_permission_is_needed_for_every_command(code: CommandCode, name: str) -> None:
    """A listening box sends nothing at all; a command that the profile lacks does not exist."""
    spoil, rule, reason = SPOILT[name]
    world = World()
    spoil(world)
    assert world.failed(code)[rule].reason is reason


def test_a_read_only_profile_says_why() -> None:
    """The reason of the profile is what the refusal shows."""
    world = World(profile=replace(PROFILE, read_only_reason="the maker allows no commands"))
    assert world.failed(CLOSE)["read-only"].value == "the maker allows no commands"


@pytest.mark.parametrize(
    ("name", "refused"),
    [
        ("lock-out", True), ("journal", True), ("tx unsafe", True), ("foreign", True),
        ("status stale", True), ("current never", True), ("local", True), ("mode unknown", True),
        ("mode stale", True), ("mode never", True),
        ("gap", False), ("alarm", False), ("alarm unknown", False), ("closed", False),
        ("stop pressed", False), ("too many", False),
    ],
)  # fmt: skip
def test_what_a_reset_needs(name: str, *, refused: bool) -> None:
    """A reset needs a heard battery in remote mode and a safe box; alarms are its business."""
    world = World()
    SPOILT[name][0](world)
    assert bool(world.failed(RESET)) == refused


@pytest.mark.parametrize("message", ["State", "Power", "Switch", "Estop", "Alarms"])
def test_values_count_up_to_the_deadline(message: str) -> None:
    """At its deadline, to the bit, a value still counts."""
    world = World(ages_s={message: DEADLINE_S})
    assert world.failed(CLOSE) == {}


@pytest.mark.parametrize("message", ["State", "Power"])
def test_steadiness_at_its_limit(message: str) -> None:
    """Exactly the steady time is enough."""
    assert World(steady_s={message: STEADY_S}).failed(CLOSE) == {}


@pytest.mark.parametrize(
    ("ages_s", "failed"),
    [
        ((), set()),
        ((INTERVAL_S,), set()),
        ((INTERVAL_S - 1e-9,), {"interval"}),
        ((20, 30), set()),
        ((20, 30, 40), {"rate"}),
        ((20, 30, WINDOW_S), set()),
        ((20, 30, WINDOW_S - 1e-9), {"rate"}),
        ((20, 30, 700, 800, 900), set()),
        ((1, 2, 3), {"rate", "interval"}),
        ((5, 500), {"interval"}),
        ((500, 5), {"interval"}),
    ],
)
def test_rate_of_closes(ages_s: tuple[float, ...], failed: set[str]) -> None:
    """At most three in ten minutes and ten seconds apart, at the limits to the bit."""
    world = World()
    sent(*ages_s)(world)
    assert set(world.failed(CLOSE)) == failed


@pytest.mark.parametrize(
    ("ages_s", "failed"),
    [((0.0,), set()), ((0.0, 1.0), {"rate"}), ((0.0, 3600.0), set()), ((0.0, 3599.9), {"rate"})],
)
def test_rate_of_resets(ages_s: tuple[float, ...], failed: set[str]) -> None:
    """Resets have a window of their own and no interval."""
    world = World()
    sent(*ages_s, code=RESET)(world)
    assert set(world.failed(RESET)) == failed
    assert world.failed(CLOSE) == {}


def test_opens_count_for_nothing() -> None:
    """Opens that went out limit neither closes nor opens."""
    world = World()
    sent(*[0.0] * 50, code=OPENING)(world)
    assert [world.failed(code) for code in CommandCode] == [{}, {}, {}]


def test_tolerated_and_harmless_alarms_do_not_block() -> None:
    """An alarm on the site's list, and one that the profile calls harmless, let a close through."""
    world = World()
    world.raws |= {"Alarms.b": 3, "Alarms.soc_low": 3}
    assert world.failed(CLOSE) == {}


def test_a_refusal_tells_what_was_seen() -> None:
    """Signal, value, age and what was wanted stand in the verdict."""
    world = World(ages_s={"Estop": 0.25})
    world.raws["Estop.pressed"] = 1
    found = world.failed(CLOSE)["emergency stop released"]
    assert (found.subject, found.value, found.age_s, found.wanted) == (
        "Estop.pressed", "1", 0.25, "0",
    )  # fmt: skip
    world.raws["Estop.pressed"] = Sample(0, None, NOW_S)
    assert world.failed(CLOSE)["emergency stop released"].value == "unknown (last 0)"
    world.raws |= {"Alarms.a": 1}
    assert world.failed(CLOSE)["no alarm"].value == "a"
    world.raws |= {"Alarms.a": None}
    assert world.failed(CLOSE)["no alarm"].value == "unknown"


def test_a_battery_without_interlock_signals() -> None:
    """Without a remote switch, conditions or alarms their rules do not exist."""
    bare = replace(PROFILE, interlocks=InterlockRules(), alarms=())
    assert World(profile=bare).failed(CLOSE) == {}
    rules = {check.rule for check in judge(CLOSE, World(profile=bare).build(), bare)}
    assert "remote mode" not in rules


@pytest.mark.parametrize(
    ("current_a", "waits"),
    [
        (0, False), (20, False), (-20, False), (math.nextafter(20, 21), True), (-20.5, True),
        (300, True), (None, False),
    ],
)  # fmt: skip
def test_an_open_waits_above_the_limit(current_a: Raw, *, waits: bool) -> None:
    """Above the limit, in either direction, an open waits; an unknown current never delays it."""
    world = World()
    world.raws |= {"State.contactor_0": CLOSED, "Power.current": current_a}
    check = must_wait_for_current(world.build(), PROFILE)
    assert (check is not None) == waits
    if check is not None:
        assert (check.passed, check.reason, check.subject) == (False, PROCESS, "Power.current")


def test_an_open_never_waits_without_a_limit_or_a_current() -> None:
    """No limit in the profile, or no current signal: no waiting."""
    world = World()
    world.raws |= {"State.contactor_0": CLOSED, "Power.current": 300}
    assert (
        must_wait_for_current(world.build(), replace(PROFILE, interlocks=InterlockRules())) is None
    )
    status = StatusRule(contactor=contactors(1))
    world.profile = replace(PROFILE, status=status)
    assert must_wait_for_current(world.build(), world.profile) is None
    loaded = replace(world.build(), status=World().build().status)
    loaded = replace(loaded, status=replace(loaded.status, current_a=50.0))
    check = must_wait_for_current(loaded, world.profile)
    assert check is not None
    assert check.subject == ""


def test_zero_as_a_limit_does_not_wait_for_ever() -> None:
    """A site that opens only without current waits for 0 A, and 0 A it is."""
    rules = replace(PROFILE, interlocks=replace(PROFILE.interlocks, open_max_current_a=0.0))
    assert must_wait_for_current(World().build(), rules) is None


SAMPLES = st.builds(
    lambda raw, known, age_s: Sample(raw, raw if known else None, NOW_S - age_s),
    st.integers(0, 3),
    st.booleans(),
    st.sampled_from([0.0, 1.0, 1.0 + 1e-9, 5.0]),
)


@given(
    st.fixed_dictionaries({}, optional=dict.fromkeys(World().raws, SAMPLES)),
    st.lists(st.builds(Sent, st.sampled_from(CommandCode), st.floats(0, NOW_S)), max_size=6),
)
def test_a_close_that_passes_has_every_proof(raws: dict[str, Sample], before: list[Sent]) -> None:
    """Whatever was heard and sent: a close passes only on fresh, known, right values."""
    world = World(raws=dict(raws), situation={"sent": before})
    if world.failed(CLOSE):
        return
    wanted = {"State.contactor_0": OPEN, "Switch.remote": 1, "Estop.pressed": 0, "Alarms.a": 0}
    for name, raw in wanted.items():
        assert raws[name].raw == raw
    for sample in raws.values():
        assert NOW_S - sample.at_s <= DEADLINE_S
    closes = [NOW_S - each.at_s for each in before if each.code is CLOSE]
    assert all(age_s >= INTERVAL_S for age_s in closes)
    assert sum(age_s < WINDOW_S for age_s in closes) < 3


@pytest.mark.parametrize("code", [RESET, CLOSE])
def test_right_after_a_start_nothing_but_open_goes(code: CommandCode) -> None:
    """A message that is not overdue yet, but was never heard, is no connection to the battery."""
    world = World()
    world.drop("Power")
    signals = world.build().signals
    status = derive_status(signals, PROFILE, NOW_S, listening_since_s=NOW_S)
    world.situation["status"] = status
    assert not status.disconnected
    assert world.failed(code)["BMS heard"].value == "not heard yet: Power"
    assert world.failed(OPENING) == {}


def test_every_command_has_rules() -> None:
    """No command goes out unjudged."""
    assert set(RULES) == set(CommandCode)
