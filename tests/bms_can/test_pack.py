"""The simulated battery obeys, refuses and fails as a battery does."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from bms_can.misbehaviour import HEALTHY, Misbehaviour
from bms_can.pack import Answer, Feedback, Pack, Phase, Refusal
from bms_can.pack_cells import PackSettings, open_circuit_v
from bms_can.profile import CommandCode

CLOSE, OPEN, RESET = (
    CommandCode.CLOSE_CONTACTOR,
    CommandCode.OPEN_CONTACTOR,
    CommandCode.FAULT_RESET,
)
SMALL = PackSettings(capacity_ah=1.0)  # fills within an hour at 1 A


def closed_pack(small: PackSettings | None = None) -> Pack:
    """A battery that was closed at 0 s; it is 10 s now."""
    pack = Pack(small)
    pack.command(CLOSE, 0.0)
    pack.step(10.0)
    assert pack.phase is Phase.CLOSED
    return pack


def test_close_takes_its_precharge_time() -> None:
    """Accepted is not done: the contactor is partial for two seconds, then closed."""
    pack = Pack()
    assert pack.command(CLOSE, 0.0) == Answer(CLOSE, accepted=True)
    seen = []
    for now_s in (0.0, 1.999, 2.0):
        pack.step(now_s)
        seen.append(pack.feedback)
    assert seen == [Feedback.PARTIAL, Feedback.PARTIAL, Feedback.CLOSED]


def test_open_ends_a_precharge() -> None:
    """An open is taken while closing is under way."""
    pack = Pack()
    pack.command(CLOSE, 0.0)
    pack.command(OPEN, 1.0)
    pack.step(5.0)
    assert pack.phase is Phase.OPEN


def test_close_while_closed_changes_nothing() -> None:
    """The wanted state is there already: accepted, no new precharge."""
    pack = closed_pack()
    answer = pack.command(CLOSE, 11.0)
    assert answer is not None
    assert answer.accepted
    assert pack.phase is Phase.CLOSED


@pytest.mark.parametrize(
    ("prepare", "refusal"),
    [
        pytest.param(lambda pack: setattr(pack, "remote", False), Refusal.LOCAL_MODE, id="local"),
        pytest.param(Pack.press_emergency_stop, Refusal.EMERGENCY_STOP, id="emergency-stop"),
        pytest.param(
            lambda pack: pack.raise_alarm("fan_fault", 3, latched=True),
            Refusal.FAULT_LATCHED,
            id="fault",
        ),
        pytest.param(lambda pack: pack.command(CLOSE, 0.0), Refusal.IN_PROGRESS, id="in-progress"),
        pytest.param(
            lambda pack: pack.misbehave(Misbehaviour(refuse_close=True)), Refusal.OTHER, id="other"
        ),
    ],
)
def test_close_is_refused_with_its_reason(prepare: object, refusal: Refusal) -> None:
    """A refused close says why and moves nothing."""
    pack = Pack()
    assert callable(prepare)
    prepare(pack)
    before = pack.phase
    assert pack.command(CLOSE, 0.5) == Answer(CLOSE, accepted=False, refusal=refusal)
    assert pack.phase is before


def test_latched_fault_opens_and_waits_for_a_reset() -> None:
    """A fault opens the contactor; only a reset after its cause is gone clears it."""
    pack = closed_pack()
    pack.raise_alarm("contactor_fault", 3, latched=True)
    pack.step(11.0)
    assert pack.phase is Phase.OPEN
    refused = pack.command(RESET, 12.0)
    assert refused == Answer(RESET, accepted=False, refusal=Refusal.CAUSE_PRESENT)
    pack.clear_alarm("contactor_fault")
    assert pack.alarms == {"contactor_fault": 3}
    assert pack.command(RESET, 13.0) == Answer(RESET, accepted=True)
    assert pack.alarms == {}


def test_emergency_stop_needs_release_and_reset() -> None:
    """Releasing the button alone does not clear its fault."""
    pack = closed_pack()
    pack.press_emergency_stop()
    pack.release_emergency_stop()
    assert pack.alarms == {"emergency_stop_fault": 3}
    pack.command(RESET, 12.0)
    assert pack.alarms == {}


def test_reset_is_refused_in_local_mode() -> None:
    """A person at the cabinet has the say."""
    pack = Pack()
    pack.remote = False
    assert pack.command(RESET, 0.0) == Answer(RESET, accepted=False, refusal=Refusal.LOCAL_MODE)


def test_an_alarm_comes_and_goes_with_its_cause() -> None:
    """An alarm that is not latched needs no reset and opens nothing."""
    pack = closed_pack()
    pack.raise_alarm("soc_low_alarm", 2)
    assert (pack.alarms, pack.phase) == ({"soc_low_alarm": 2}, Phase.CLOSED)
    pack.clear_alarm("soc_low_alarm")
    assert pack.alarms == {}


@pytest.mark.parametrize("code", [CLOSE, OPEN, RESET])
def test_ignored_commands_get_no_answer(code: CommandCode) -> None:
    """A battery that ignores a command neither answers nor moves."""
    pack = Pack()
    pack.misbehave(Misbehaviour(ignore=frozenset({code})))
    assert pack.command(code, 0.0) is None
    assert pack.phase is Phase.OPEN


def test_welded_contactor_stays_closed_and_is_noticed() -> None:
    """Opened by command, still closed: a latched fault, and the current goes on."""
    pack = closed_pack()
    pack.misbehave(Misbehaviour(welded=True))
    pack.request_current(-20.0)
    pack.command(OPEN, 11.0)
    pack.step(20.0)
    assert (pack.phase, pack.feedback) == (Phase.STUCK, Feedback.CLOSED)
    assert pack.alarms == {"contactor_stuck_fault": 3}
    assert pack.current_a == -20.0
    refused = pack.command(RESET, 21.0)
    assert refused == Answer(RESET, accepted=False, refusal=Refusal.CAUSE_PRESENT)
    pack.misbehave(HEALTHY)
    assert pack.phase is Phase.OPEN
    assert pack.command(RESET, 22.0) == Answer(RESET, accepted=True)


def test_failed_precharge_latches_a_fault() -> None:
    """A close may be accepted and still fail."""
    pack = Pack()
    pack.misbehave(Misbehaviour(precharge_fails=True))
    pack.command(CLOSE, 0.0)
    pack.step(3.0)
    assert (pack.phase, pack.alarms) == (Phase.OPEN, {"precharge_fault": 3})


def test_revert_opens_by_itself() -> None:
    """Closed, and open again four seconds later without a command."""
    pack = Pack()
    pack.misbehave(Misbehaviour(reverts_after_s=4.0))
    pack.command(CLOSE, 0.0)
    seen = []
    for now_s in (5.9, 6.3):
        pack.step(now_s)
        seen.append(pack.phase)
    assert seen == [Phase.CLOSED, Phase.OPEN]


def test_slow_contactor_is_late() -> None:
    """The effect comes later by so many seconds."""
    pack = Pack()
    pack.misbehave(Misbehaviour(slow_s=30.0))
    pack.command(CLOSE, 0.0)
    seen = []
    for now_s in (31.9, 32.0):
        pack.step(now_s)
        seen.append(pack.feedback)
    assert seen == [Feedback.PARTIAL, Feedback.CLOSED]


def test_flapping_feedback_alternates() -> None:
    """The feedback of a closed contactor comes and goes."""
    pack = Pack()
    pack.misbehave(Misbehaviour(flap_s=0.5))
    pack.command(CLOSE, 0.0)
    seen = []
    for now_s in (2.1, 2.6, 3.1, 3.6):
        pack.step(now_s)
        seen.append(pack.feedback)
    assert seen == [Feedback.CLOSED, Feedback.OPEN] * 2


def test_charging_raises_charge_energy_and_voltage() -> None:
    """An hour at 100 A into 280 Ah is 36 %; the voltage rises, the cells get warmer."""
    pack = closed_pack()
    resting_v = pack.voltage_v
    pack.request_current(100.0)
    pack.step(10.0 + 3600.0)
    assert pack.cells.soc_pct == pytest.approx(60.0 + 100 / 280 * 100)
    assert pack.cells.charged_kwh == pytest.approx(16.2, abs=0.2)
    assert pack.cells.discharged_kwh == 0
    assert pack.voltage_v > resting_v
    assert 1.0 < pack.cells.warming_degc < 2.0


@pytest.mark.parametrize(
    ("current_a", "end_pct", "key"),
    [(5.0, 100.0, "charge_prohibited"), (-5.0, 0.0, "discharge_prohibited")],
)
def test_the_end_of_charge_stops_the_current(current_a: float, end_pct: float, key: str) -> None:
    """A full battery prohibits charging, an empty one discharging; the other way stays free."""
    pack = closed_pack(SMALL)
    pack.request_current(current_a)
    pack.step(10_000.0)
    assert pack.cells.soc_pct == end_pct
    assert pack.current_a == 0
    assert pack.alarms == {key: 1}
    pack.request_current(-current_a)
    assert pack.current_a == -current_a


def test_current_stays_inside_the_limit() -> None:
    """The inverter cannot draw more than the battery gives."""
    pack = closed_pack()
    pack.request_current(-9999.0)
    assert pack.current_a == -pack.settings.max_current_a


@given(st.floats(min_value=-10, max_value=110), st.floats(min_value=0, max_value=50))
def test_open_circuit_voltage_never_falls_with_charge(soc_pct: float, more_pct: float) -> None:
    """More charge is never less voltage."""
    assert open_circuit_v(soc_pct) <= open_circuit_v(soc_pct + more_pct)


@given(
    st.lists(st.floats(min_value=0.01, max_value=30), min_size=1, max_size=30),
    st.floats(min_value=-250, max_value=250),
)
def test_step_width_does_not_matter(widths_s: list[float], current_a: float) -> None:
    """Many small steps lead to the same charge, state and warmth as one large step."""
    fine, coarse = Pack(), Pack()
    for pack in (fine, coarse):
        pack.request_current(current_a)
        pack.command(CLOSE, 0.0)
    now_s = 0.0
    for width_s in widths_s:
        now_s += width_s
        fine.step(now_s)
    coarse.step(now_s)
    assert fine.phase is coarse.phase
    assert fine.cells.soc_pct == pytest.approx(coarse.cells.soc_pct, abs=1e-6)
    assert fine.cells.warming_degc == pytest.approx(coarse.cells.warming_degc, abs=1e-6)


class AnyOrder(RuleBasedStateMachine):
    """Whatever happens in whatever order, the promises of a battery hold."""

    @initialize(soc_pct=st.floats(min_value=0, max_value=100))
    def new(self, soc_pct: float) -> None:
        """Start with any charge."""
        self.pack = Pack(PackSettings(soc_pct=soc_pct, capacity_ah=2.0))
        self.now_s = 0.0

    @rule(seconds=st.floats(min_value=0, max_value=100))
    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.now_s += seconds
        self.pack.step(self.now_s)

    @rule(code=st.sampled_from([CLOSE, RESET]))
    def command(self, code: CommandCode) -> None:
        """A close during a latched fault is refused."""
        latched = self.pack.reset_required
        answer = self.pack.command(code, self.now_s)
        if code is CLOSE and latched and answer is not None:
            assert not answer.accepted

    @rule()
    def open_contactor(self) -> None:
        """An open that is not ignored ends open, or stuck if welded."""
        answer = self.pack.command(OPEN, self.now_s)
        self.wait(60.0)
        if answer is not None:
            wanted = {Phase.OPEN, Phase.STUCK} if self.pack.misbehaviour.welded else {Phase.OPEN}
            assert self.pack.phase in wanted

    @rule(current_a=st.floats(min_value=-500, max_value=500))
    def ask_current(self, current_a: float) -> None:
        """The inverter asks for any current."""
        self.pack.request_current(current_a)

    @rule(key=st.sampled_from(["fan_fault", "soc_low_alarm"]), latched=st.booleans())
    def alarm(self, key: str, latched: bool) -> None:  # noqa: FBT001 - drawn by hypothesis
        """An alarm comes."""
        self.pack.raise_alarm(key, 2, latched=latched)

    @rule(key=st.sampled_from(["fan_fault", "soc_low_alarm", "contactor_stuck_fault"]))
    def clear(self, key: str) -> None:
        """A cause goes."""
        self.pack.clear_alarm(key)

    @rule(pressed=st.booleans())
    def button(self, pressed: bool) -> None:  # noqa: FBT001 - drawn by hypothesis
        """The emergency stop is pressed or released."""
        act = self.pack.press_emergency_stop if pressed else self.pack.release_emergency_stop
        act()

    @rule(
        wrong=st.builds(
            Misbehaviour,
            ignore=st.frozensets(st.sampled_from([CLOSE, OPEN, RESET]), max_size=1),
            welded=st.booleans(),
            precharge_fails=st.booleans(),
            reverts_after_s=st.none() | st.floats(min_value=0.1, max_value=20),
            slow_s=st.floats(min_value=0, max_value=30),
        )
    )
    def misbehave(self, wrong: Misbehaviour) -> None:
        """Something goes wrong, or is repaired."""
        self.pack.misbehave(wrong)

    @invariant()
    def current_only_flows_while_closed(self) -> None:
        """No current through an open contactor, nor during precharge."""
        if self.pack.phase not in {Phase.CLOSED, Phase.STUCK}:
            assert self.pack.current_a == 0

    @invariant()
    def charge_is_a_percentage(self) -> None:
        """The state of charge stays within 0 to 100 %."""
        assert 0 <= self.pack.cells.soc_pct <= 100

    @invariant()
    def a_fault_never_lets_it_be_closed(self) -> None:
        """With a latched fault the contactor opens or is stuck, it is never closed."""
        if self.pack.reset_required:
            assert self.pack.phase not in {Phase.CLOSED, Phase.PRECHARGING}


AnyOrder.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
test_any_order = AnyOrder.TestCase
