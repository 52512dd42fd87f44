"""The simulated BMS, seen through the driver: whatever it sends must decode to what it is."""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bms_can.bus import BusSettings, open_port
from bms_can.database import Database
from bms_can.errors import BadProfile
from bms_can.families import intake_of
from bms_can.frame import Frame
from bms_can.intake import Intake
from bms_can.misbehaviour import misbehaviour
from bms_can.pack import Answer, Pack, Refusal
from bms_can.pack_cells import PackSettings
from bms_can.profile import CommandCode, OperatingStatus, Profile, StateSignal
from bms_can.profile_load import load_profile
from bms_can.simulator import Simulator, settings_of
from bms_can.simulator_bus import run
from bms_can.status import BmsStatus, Contactor, derive_status

ROOT = Path(__file__).parents[2]
ESS_BAU = ROOT / "dbc" / "ess_bau.toml"
ODD = ROOT / "tests" / "data" / "profiles" / "odd_bms.toml"
TICK_S = 0.05
CLOSE, OPEN, RESET = (
    CommandCode.CLOSE_CONTACTOR,
    CommandCode.OPEN_CONTACTOR,
    CommandCode.FAULT_RESET,
)


class Bench:
    """A simulated battery wired to the driver's intake, on a clock of its own."""

    def __init__(self, profile: Profile, database: Database, pack: Pack | None = None) -> None:
        self.profile = profile
        self.database = database
        self.simulator = Simulator(profile, database, pack)
        self.pack = self.simulator.pack
        self.intake = intake_of(profile, database)
        self.frames: list[Frame] = []
        self.now_s = 0.0

    def pass_time(self, seconds: float) -> BmsStatus:
        """Let time pass tick by tick; return the status that the driver derives then."""
        for _ in range(round(seconds / TICK_S)):
            self.now_s = round(self.now_s + TICK_S, 6)
            for frame in self.simulator.due_frames(self.now_s):
                self.frames.append(frame)
                self.intake.take(frame)
        return self.status()

    def status(self) -> BmsStatus:
        """Return the status that the driver derives now."""
        return derive_status(self.intake.table.snapshot(), self.profile, self.now_s)

    def send(self, code: CommandCode, first_counter: int = 0) -> list[Answer | None]:
        """Send one command as the driver does: all repetitions with a moving counter."""
        plan = self.profile.commands[code]
        answers = []
        for number in range(plan.repeat):
            frame = plan.frames[(first_counter + number) % len(plan.frames)]
            answers.append(self.simulator.hear(frame, self.now_s + number * plan.period_s))
        return answers

    def value(self, signal: str) -> float | None:
        """Return the newest physical value of a signal."""
        return self.intake.table.snapshot().samples[signal].value

    def frames_of(self, message: str) -> list[Frame]:
        """Return all frames of a message."""
        can_id = self.database.messages[message].frame_id
        return [frame for frame in self.frames if frame.can_id == can_id]

    def count(self, message: str) -> int:
        """Return how many frames of a message were accepted."""
        return self.intake.table.snapshot().heard[message].count


@pytest.fixture(scope="module")
def ess_bau() -> tuple[Profile, Database]:
    """The default battery."""
    return load_profile(ESS_BAU)


@pytest.fixture(scope="module")
def odd() -> tuple[Profile, Database]:
    """A battery that does everything differently."""
    return load_profile(ODD)


@pytest.fixture
def bench(ess_bau: tuple[Profile, Database]) -> Bench:
    """The default battery on a bench, two seconds after power-on."""
    found = Bench(*ess_bau)
    found.pass_time(2.0)
    return found


def test_every_frame_decodes_and_is_intact(bench: Bench) -> None:
    """Nothing the simulator sends is refused, and no frame seems lost."""
    bench.pass_time(20.0)
    assert bench.intake.decoded == len(bench.frames) > 1000
    assert not bench.intake.bad
    assert not bench.intake.unknown


def test_every_value_is_known(bench: Bench) -> None:
    """After one round of all pages no signal in use is unknown."""
    bench.pass_time(2.0)
    samples = bench.intake.table.snapshot().samples
    wanted = {
        f"{message}.{signal}"
        for message, signals in bench.profile.wanted.items()
        for signal in signals
        if message != "BAU_Ack"
    }
    assert wanted <= samples.keys()
    assert [name for name, sample in samples.items() if sample.value is None] == []


def test_messages_come_at_their_cycle_time(bench: Bench) -> None:
    """In ten seconds a 100 ms message comes 100 times, a 1 s message ten times."""
    before = {name: bench.count(name) for name in ("BAU_State", "BAU_Alarms", "BAU_Energy")}
    bench.pass_time(10.0)
    grown = {name: bench.count(name) - count for name, count in before.items()}
    assert grown == {"BAU_State": 100, "BAU_Alarms": 50, "BAU_Energy": 10}


def test_late_calls_keep_the_beat(ess_bau: tuple[Profile, Database]) -> None:
    """Missed periods are left out, and the beat stays where it was."""
    simulator = Simulator(*ess_bau)
    simulator.due_frames(0.0)
    late = simulator.due_frames(1.234)
    assert len({frame.can_id for frame in late}) == len(late)
    assert simulator.next_due_s == pytest.approx(1.3)


def test_life_of_a_battery(bench: Bench) -> None:
    """Powered down, unknown in precharge, idle, charging, discharging, powered down."""
    seen = [bench.status().operating]
    bench.send(CLOSE)
    seen.append(bench.pass_time(1.0).operating)
    seen.append(bench.pass_time(2.0).operating)
    for current_a in (60.0, -60.0):
        bench.pack.request_current(current_a)
        status = bench.pass_time(2.0)
        seen.append(status.operating)
        assert status.current_a == current_a
    bench.send(OPEN)
    seen.append(bench.pass_time(2.0).operating)
    assert [None if each is None else int(each) for each in seen] == [1, None, 2, 3, 4, 1]


def test_one_command_acts_once(bench: Bench) -> None:
    """Three frames of one session are one command and one answer."""
    answers = bench.send(CLOSE)
    assert answers == [Answer(CLOSE, accepted=True), None, None]
    assert bench.simulator.heard == {"command": 1, "repetition": 2}
    bench.pass_time(1.0)
    assert bench.count("BAU_Ack") == 1
    assert bench.value("BAU_Ack.accepted_command") == 1


def test_a_new_session_is_a_new_command(bench: Bench) -> None:
    """The same command after a pause acts again."""
    bench.send(CLOSE)
    bench.pass_time(5.0)
    bench.send(OPEN)
    bench.pass_time(5.0)
    assert bench.send(CLOSE)[0] == Answer(CLOSE, accepted=True)


def test_open_right_after_close_is_heard(bench: Bench) -> None:
    """Another command is never taken for a repetition."""
    bench.send(CLOSE, first_counter=0)
    answers = bench.send(OPEN, first_counter=3)
    assert answers[0] == Answer(OPEN, accepted=True)


def test_acknowledgement_goes_out_at_once_and_echoes_the_counter(bench: Bench) -> None:
    """The answer does not wait for a cycle; it names the frame that it answers."""
    bench.send(CLOSE, first_counter=9)
    frame = bench.simulator.due_frames(bench.now_s)[0]
    assert frame.can_id == 0x180BE5F4
    assert frame.data[2] == 9


def test_refusal_is_reported_with_its_reason(bench: Bench) -> None:
    """A refused close is answered as refused, with why."""
    bench.pack.remote = False
    assert bench.send(CLOSE)[0] == Answer(CLOSE, accepted=False, refusal=Refusal.LOCAL_MODE)
    bench.pass_time(0.2)
    assert bench.value("BAU_Ack.accepted_command") == 0
    assert bench.value("BAU_Ack.refused_command") == 1
    assert bench.value("BAU_State.control_mode") == 0


@pytest.mark.parametrize(
    ("position", "value", "reason"),
    [(7, 0x00, "checksum"), (6, 0x0A, "checksum")],
    ids=["checksum", "counter-without-checksum"],
)
def test_a_damaged_command_is_not_obeyed(
    bench: Bench, position: int, value: int, reason: str
) -> None:
    """A control frame with one wrong byte moves nothing."""
    frame = bench.profile.commands[CLOSE].frames[0]
    data = bytearray(frame.data)
    data[position] = value
    assert bench.simulator.hear(frame._replace(data=bytes(data)), bench.now_s) is None
    assert bench.simulator.heard == {reason: 1}
    assert bench.pass_time(5.0).operating is OperatingStatus.POWERED_DOWN


def test_a_frozen_sender_is_not_obeyed(bench: Bench) -> None:
    """Another command under a counter that stands still is refused."""
    bench.simulator.hear(bench.profile.commands[CLOSE].frames[4], bench.now_s)
    heard = bench.simulator.hear(bench.profile.commands[OPEN].frames[4], bench.now_s + 0.1)
    assert heard is None
    assert bench.simulator.heard == {"command": 1, "counter": 1}


def test_frames_of_others_are_not_commands(bench: Bench) -> None:
    """The standard frame with the same number, and any other id, are ignored."""
    frame = bench.profile.commands[CLOSE].frames[0]
    for other in (frame._replace(extended=False), frame._replace(can_id=0x1812F4E5)):
        assert bench.simulator.hear(other, bench.now_s) is None
    assert not bench.simulator.heard


@settings(max_examples=50, deadline=None)
@given(st.binary(min_size=0, max_size=8))
def test_random_control_bytes_never_crash(data: bytes) -> None:
    """Any payload under the control id is a command, no command, or counted as bad."""
    profile, database = load_cached()
    simulator = Simulator(profile, database)
    simulator.hear(Frame(0.0, 0x1811F4E5, True, data), 0.0)  # noqa: FBT003 - a field of Frame
    assert simulator.heard.total() == 1


_CACHE: list[tuple[Profile, Database]] = []


def load_cached() -> tuple[Profile, Database]:
    """Return the default battery, loaded once; hypothesis wants no fixture."""
    if not _CACHE:
        _CACHE.append(load_profile(ESS_BAU))
    return _CACHE[0]


def test_every_alarm_of_the_profile_can_be_raised(bench: Bench) -> None:
    """Each alarm of the profile, raised alone, is seen alone and with its level."""
    for rule in bench.profile.alarms:
        bench.pack.raise_alarm(rule.key, 2)
        active = bench.pass_time(0.4).alarms
        assert [alarm.key for alarm in active] == [rule.key]
        assert active[0].level == (2 if rule.level is None else rule.level)
        bench.pack.clear_alarm(rule.key)
    assert bench.pass_time(0.4).alarm_count == 0


def test_telemetry_is_that_of_the_pack(bench: Bench) -> None:
    """Voltage, charge, cells and limits are the pack's, to the resolution of the signal."""
    bench.pack.request_current(80.0)
    bench.send(CLOSE)
    bench.pass_time(6.0)
    pack = bench.pack
    assert bench.value("BAU_Electrical.total_voltage") == pytest.approx(pack.voltage_v, abs=0.05)
    assert bench.value("BAU_Energy.soc") == pytest.approx(pack.cells.soc_pct, abs=0.05)
    assert bench.value("BAU_Limits.max_charge_current") == 250.0
    cells = [bench.value(f"BAU_CellVoltages.cell_voltage_{n}") for n in range(1, 49)]
    known = [each for each in cells if each is not None]
    assert sum(known) / 1000 == pytest.approx(pack.voltage_v, abs=0.1)
    assert bench.value("BAU_CellVoltageExtremes.highest_cell_voltage") == max(known)
    place = [bench.value(f"BAU_CellVoltageExtremes.highest_voltage_{n}") for n in ("pack", "id")]
    assert known.index(max(known)) == 12 * ((place[0] or 0) - 1) + (place[1] or 0) - 1


def test_state_signals_follow_the_phase(bench: Bench) -> None:
    """The battery's own state machine, which no rule of the status needs, is shown too."""

    def shown() -> tuple[int, int, int]:
        raws = bench.frames_of("BAU_State")[-1].data
        return raws[1] & 0xF, raws[4] & 0x3F, raws[0] >> 2 & 0x3

    assert shown() == (1, 0b000000, 0)
    bench.send(CLOSE)
    bench.pass_time(1.0)
    assert shown() == (2, 0b010100, 1)
    bench.pass_time(2.0)
    assert shown() == (3, 0b000101, 0)
    bench.pack.press_emergency_stop()
    bench.pass_time(1.0)
    assert shown() == (5, 0b000000, 0)


def test_fault_and_reset(bench: Bench) -> None:
    """A latched fault keeps the contactor open until it is reset with its cause gone."""
    bench.send(CLOSE)
    bench.pass_time(4.0)
    bench.pack.raise_alarm("current_sensor_fault", 3, latched=True)
    status = bench.pass_time(1.0)
    assert (status.operating, status.alarm_count) == (OperatingStatus.POWERED_DOWN, 1)
    assert bench.value("BAU_Faults.reset_required") == 1
    assert bench.send(CLOSE)[0] == Answer(CLOSE, accepted=False, refusal=Refusal.FAULT_LATCHED)
    bench.pack.clear_alarm("current_sensor_fault")
    bench.pass_time(1.0)
    bench.send(RESET)
    assert bench.pass_time(1.0).alarm_count == 0
    assert bench.value("BAU_Faults.reset_required") == 0


def test_silence_is_disconnected(bench: Bench) -> None:
    """A silent battery is disconnected, never powered down."""
    bench.pack.misbehave(misbehaviour(["silent"]))
    status = bench.pass_time(2.0)
    assert (status.disconnected, status.operating) == (True, None)
    bench.pack.misbehave()
    assert bench.pass_time(1.0).operating is OperatingStatus.POWERED_DOWN


@pytest.mark.parametrize(
    ("words", "reason"), [("frozen_counter=BAU_State", "counter"), ("wrong_checksum", "checksum")]
)
def test_a_broken_sender_is_refused(bench: Bench, words: str, reason: str) -> None:
    """A frozen counter or a wrong checksum makes the frames unusable, so the status ends."""
    bench.pack.misbehave(misbehaviour([words]))
    status = bench.pass_time(2.0)
    assert bench.intake.bad[reason] > 10
    assert status.disconnected
    assert "BAU_State" in status.why


def test_one_silent_message(bench: Bench) -> None:
    """Only the named message is missing; the others go on."""
    bench.pack.misbehave(misbehaviour(["silent=BAU_Alarms"]))
    count = bench.count("BAU_State")
    status = bench.pass_time(2.0)
    assert "BAU_Alarms" in status.why
    assert bench.count("BAU_State") == count + 20


def test_no_acknowledgement(bench: Bench) -> None:
    """The command is carried out without an answer on the bus."""
    bench.pack.misbehave(misbehaviour(["no_ack"]))
    bench.send(CLOSE)
    assert bench.pass_time(4.0).operating is OperatingStatus.IDLE
    assert "BAU_Ack" not in bench.intake.table.snapshot().heard


def test_flapping_feedback_is_seen(bench: Bench) -> None:
    """The driver sees the feedback come and go."""
    bench.pack.misbehave(misbehaviour(["flapping=0.5"]))
    bench.send(CLOSE)
    bench.pass_time(3.0)
    seen = {bench.pass_time(0.25).contactor for _ in range(8)}
    assert seen == {Contactor.OPEN, Contactor.CLOSED}


def test_tell_acts_before_the_next_frames(bench: Bench) -> None:
    """What another thread asks for shows in the very next frames."""
    bench.simulator.tell(lambda pack: pack.raise_alarm("fire_alarm", 3))
    assert bench.pass_time(0.4).alarm_count == 1


# --- a battery that does everything in the other way


def test_odd_battery_lives_too(odd: tuple[Profile, Database]) -> None:
    """One state signal, big-endian, discharging positive: the same life."""
    bench = Bench(*odd)
    seen = [bench.pass_time(1.0).operating]
    bench.send(CLOSE)
    seen.append(bench.pass_time(1.0).operating)
    seen.append(bench.pass_time(2.0).operating)
    for current_a in (30.0, -30.0):
        bench.pack.request_current(current_a)
        status = bench.pass_time(1.0)
        seen.append(status.operating)
        assert status.current_a == current_a
    bench.send(OPEN)
    seen.append(bench.pass_time(1.0).operating)
    assert [None if each is None else int(each) for each in seen] == [1, None, 2, 3, 4, 1]
    assert bench.intake.decoded == len(bench.frames)


def test_a_battery_may_have_no_idle_state(odd: tuple[Profile, Database]) -> None:
    """A state that the signal lacks is sent as none it knows; an unknown word the start value."""
    profile, database = odd
    rule = StateSignal("State.mode", {3: OperatingStatus.CHARGING, 0: OperatingStatus.POWERED_DOWN})
    table = {"signals": {"Strings.version": {"from": "phase", "closed": 7}}}
    status = replace(profile.status, state=rule)
    bench = Bench(replace(profile, status=status, simulator=table), database)
    bench.pass_time(1.0)
    assert bench.frames_of("Strings")[-1].data[3] == 12
    bench.send(CLOSE)
    assert bench.pass_time(4.0).operating is None
    assert bench.frames_of("Strings")[-1].data[3] == 7
    bench.pack.request_current(30.0)
    assert bench.pass_time(1.0).operating is OperatingStatus.CHARGING


@pytest.mark.parametrize("key", ["errors", "hottest", "door"])
def test_odd_alarms(odd: tuple[Profile, Database], key: str) -> None:
    """Bits, thresholds and values are turned round as well."""
    bench = Bench(*odd)
    assert bench.pass_time(1.0).alarm_count == 0
    bench.pack.raise_alarm(key, 2)
    assert [alarm.key for alarm in bench.pass_time(1.0).alarms] == [key]
    bench.pack.clear_alarm(key)
    assert bench.pass_time(1.0).alarm_count == 0


def test_odd_details(odd: tuple[Profile, Database]) -> None:
    """Nested pages, start values, the remote switch, a cyclic acknowledgement."""
    bench = Bench(*odd)
    bench.pass_time(2.0)
    cells = [bench.value(f"Cells.cell_{number}") for number in (1, 2, 3)]
    assert all(cell is not None and 3.2 < cell < 3.4 for cell in cells)
    strings = [frame.data for frame in bench.frames if frame.can_id == 769]
    assert len(strings) == 40
    assert strings[-1][2:] == bytes([5, 12])
    assert (bench.value("State.remote"), bench.value("Strings.string_1")) == (1, 0)
    bench.pack.remote = False
    bench.send(CLOSE)
    bench.pass_time(0.5)
    assert (bench.value("State.remote"), bench.value("Strings.string_1")) == (0, 3)


# --- the table [simulator]


@pytest.mark.parametrize(
    ("battery", "why"),
    [
        ([], "simulator.battery: must be a table"),
        ({"cels": 12}, "simulator.battery.cels: there is no such key"),
        ({"cells": 0}, "simulator.battery.cells: must be a positive int"),
        ({"cells": 2.5}, "simulator.battery.cells: must be a positive int"),
        ({"capacity_ah": "much"}, "simulator.battery.capacity_ah: must be a positive float"),
    ],
)
def test_wrong_battery_is_refused(
    ess_bau: tuple[Profile, Database], battery: object, why: str
) -> None:
    """A mistake in [simulator.battery] is named with its key."""
    with pytest.raises(BadProfile, match=why):
        settings_of(_with(ess_bau[0], battery=battery))


@pytest.mark.parametrize(
    ("signals", "why"),
    [
        ({"BAU_State.nope": 1}, "no signal BAU_State.nope"),
        ({"BAU_State.rack_count": [1]}, "neither number nor choice"),
        ([], "simulator.signals: must be a table"),
    ],
)
def test_wrong_signals_are_refused(
    ess_bau: tuple[Profile, Database], signals: object, why: str
) -> None:
    """A mistake in [simulator.signals] is named with its signal."""
    with pytest.raises(BadProfile, match=why):
        Simulator(_with(ess_bau[0], signals=signals), ess_bau[1])


def _with(profile: Profile, **simulator: object) -> Profile:
    return replace(profile, simulator=simulator)


def test_size_of_the_battery_comes_from_the_profile(ess_bau: tuple[Profile, Database]) -> None:
    """An integer is good for a number; what is not given keeps its default."""
    found = settings_of(_with(ess_bau[0], battery={"capacity_ah": 100, "soc_pct": 0}))
    assert found == PackSettings(capacity_ah=100, soc_pct=0)


# --- on a bus


@pytest.fixture
def live(ess_bau: tuple[Profile, Database], request: pytest.FixtureRequest) -> Iterator[Simulator]:
    """The default battery on a virtual bus of this test's own, in its thread."""
    port = open_port(_bus(request), time.monotonic, own_frames=False)
    pack = Pack(PackSettings(precharge_s=0.2, opening_s=0.05), now_s=time.monotonic())
    simulator = Simulator(*ess_bau, pack, now_s=time.monotonic())
    stop = threading.Event()
    thread = threading.Thread(target=run, args=(port, simulator, time.monotonic, stop))
    thread.start()
    yield simulator
    stop.set()
    thread.join(5.0)
    port.close()
    assert not thread.is_alive()


def _bus(request: pytest.FixtureRequest) -> BusSettings:
    return BusSettings("virtual", f"simulator-{request.node.nodeid}")


def test_closed_loop_on_a_virtual_bus(
    live: Simulator, ess_bau: tuple[Profile, Database], request: pytest.FixtureRequest
) -> None:
    """Command frames over a real bus object: acknowledged, then closed, then charging."""
    profile, database = ess_bau
    intake = Intake(profile, database)
    port = open_port(_bus(request), time.monotonic, own_frames=False)

    def listen(until: Callable[[BmsStatus], bool]) -> BmsStatus:
        end_s = time.monotonic() + 5.0
        while time.monotonic() < end_s:
            frame = port.receive(0.2)
            if frame is not None:
                intake.take(frame)
            now_s = time.monotonic()
            status = derive_status(intake.table.snapshot(), profile, now_s, listening_since_s=now_s)
            if until(status):
                return status
        pytest.fail("the battery did not get there")

    listen(lambda status: status.operating is OperatingStatus.POWERED_DOWN)
    for frame in profile.commands[CLOSE].frames[:3]:
        port.send(frame)
    listen(lambda status: status.operating is OperatingStatus.IDLE)
    assert intake.table.snapshot().samples["BAU_Ack.accepted_command"].raw == 1
    live.tell(lambda pack: pack.request_current(20.0))
    status = listen(lambda status: status.operating is OperatingStatus.CHARGING)
    assert status.current_a == 20.0
    assert not intake.bad
    assert live.heard == {"command": 1, "repetition": 2}
    port.close()


def test_what_was_told_counts_before_the_next_command(bench: Bench) -> None:
    """A cause that was taken away just now does not make the very next reset fail."""
    bench.simulator.tell(lambda pack: pack.raise_alarm("contactor_fault", 3, latched=True))
    bench.pass_time(1.0)
    bench.simulator.tell(lambda pack: pack.clear_alarm("contactor_fault"))
    answer = bench.send(RESET)[0]
    assert answer is not None
    assert answer.accepted
