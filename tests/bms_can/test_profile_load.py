"""A right profile is read as meant."""

import hashlib
import shutil
from pathlib import Path

import pytest

from bms_can.alarms import is_active
from bms_can.codec import Codec
from bms_can.intake import Intake
from bms_can.profile import (
    ActiveWhen,
    CommandCode,
    Condition,
    InterlockRules,
    OperatingStatus,
    Profile,
    SignalLimits,
    TelemetryField,
)
from bms_can.profile_load import load_profile
from bms_can.signals import Sample
from bms_can.status import derive_status
from tests.bms_can.tiny import DBC, GONE, PROFILE, STATE, Toml, changed, read, write

RESET, CLOSE, OPENING = CommandCode
CLOSING = "commands.close_contactor"


def test_the_tiny_battery(tmp_path: Path) -> None:
    """What stands in the file is what is read; what does not has its default."""
    profile, database = read(tmp_path)
    assert (profile.name, profile.channel, profile.read_only_reason) == ("tiny", None, "")
    assert profile.dbc_sha256 == hashlib.sha256(DBC.encode()).hexdigest() == database.sha256
    assert profile.required == ("State", "Alarms")
    assert profile.deadlines_s == {"State": 0.5, "Alarms": 3.0}
    assert profile.wanted == {
        "State": ("contactor", "current", "soc", "remote"),
        "Alarms": ("errors",),
    }
    contactor, current = profile.status.contactor, profile.status.current
    assert contactor is not None
    assert contactor.series
    assert (contactor.signals[0].closed, contactor.signals[0].open) == (
        frozenset({1}),
        frozenset({2}),
    )
    assert current is not None
    assert (current.sign, current.dead_band_a, current.hold_s, current.ignored_when_open) == (
        1, 1.0, 0.0, False,
    )  # fmt: skip
    (alarm,) = profile.alarms
    assert (alarm.key, alarm.when, alarm.level, alarm.blocks_close) == (
        "errors", ActiveWhen(mask=0x104), 3, True,
    )  # fmt: skip
    assert (alarm.label_zh, alarm.label_en) == ("errors", "errors")
    assert profile.telemetry == (TelemetryField("soc", ("State.soc",), unit="%"),)
    assert profile.limits == {"State.current": SignalLimits(frozenset({0x7FFF}))}
    remote = Condition("State.remote", frozenset({1}), "State.remote")
    assert profile.interlocks == InterlockRules(remote=remote)
    assert profile.simulator == {"anything": {"goes": 1}}


def test_the_tiny_battery_s_commands(tmp_path: Path) -> None:
    """Frames for each counter value, decoded back as meant; defaults by command."""
    profile, database = read(tmp_path)
    codec = Codec(database)
    wanted = {CLOSE: (1, 0), OPENING: (2, 0), RESET: (0, 1)}
    for code, (wish, reset) in wanted.items():
        plan = profile.commands[code]
        assert (plan.repeat, plan.period_s, plan.acknowledged, plan.refused) == (1, 0.1, None, None)
        for counter, frame in enumerate(plan.frames):
            decoded = codec.decode(frame)
            assert decoded is not None
            raws = {name.split(".")[1]: sample.raw for name, sample in decoded[1].items()}
            assert (raws["wish"], raws["reset"], raws["counter"]) == (wish, reset, counter)
        assert len(plan.frames) == 16
    proofs = {code: plan.confirmed for code, plan in profile.commands.items()}
    assert [proofs[code].window_s for code in CommandCode] == [10.0, 20.0, 15.0]
    assert [set(proofs[code].statuses) for code in CommandCode] == [set(), {2, 3, 4}, {1}]
    assert [proofs[code].alarms_cleared for code in CommandCode] == [("errors",), (), ()]
    assert {(each.frames, each.hold_s) for each in proofs.values()} == {(3, 5.0)}


def test_the_guard_of_the_tiny_battery(tmp_path: Path) -> None:
    """Points are free nibbles, all others are fixed."""
    entries = read(tmp_path)[0].guard
    assert [entry.name for entry in entries] == ["close", "open", "reset"]
    assert [entry.when_latched for entry in entries] == [False, True, False]
    assert (entries[0].can_id, entries[0].extended, entries[0].per_minute) == (0x200, False, 30)
    assert entries[0].mask.hex() == "fffffffffffff000"
    assert entries[0].data.hex() == "0100000000000000"


def test_the_default_battery(ess_bau: Profile) -> None:
    """Our own battery loads, can be commanded, and every alarm has both labels."""
    assert set(ess_bau.commands) == set(CommandCode)
    assert ess_bau.required == ("BAU_State", "BAU_Electrical", "BAU_Alarms", "BAU_Faults")
    assert ess_bau.deadlines_s["BAU_Ack"] == 2.0
    assert ess_bau.deadlines_s["BAU_CellVoltages.cell_voltage_48"] == pytest.approx(
        16 * ess_bau.deadlines_s["BAU_CellVoltages"]
    )
    assert all(
        not alarm.label_zh.isascii() and alarm.label_en.isascii() for alarm in ess_bau.alarms
    )
    assert len({alarm.key for alarm in ess_bau.alarms}) == len(ess_bau.alarms)
    assert {alarm.level for alarm in ess_bau.alarms} == {None, 1, 3}


SERIES_OF_TWO = [
    {"signal": "State.contactor", "closed": [1], "open": ["open"]},
    {"signal": "State.remote", "closed": [1], "open": [0]},
]


def test_parallel_strings_and_a_turned_sign(tmp_path: Path) -> None:
    """Several contactors, parallel; a battery that counts discharging as positive."""
    profile, _ = read(
        tmp_path,
        ("operating_status.contactor", {"combine": "parallel", "signals": SERIES_OF_TWO}),
        ("operating_status.current.positive", "discharging"),
        ("operating_status.current.hold_s", 60),
        ("operating_status.current.ignored_when_open", True),
    )
    contactor, current = profile.status.contactor, profile.status.current
    assert contactor is not None
    assert not contactor.series
    assert [each.signal for each in contactor.signals] == ["State.contactor", "State.remote"]
    assert current is not None
    assert (current.sign, current.hold_s, current.ignored_when_open) == (-1, 60.0, True)


@pytest.mark.parametrize("with_current", [True, False])
def test_one_state_signal(tmp_path: Path, *, with_current: bool) -> None:
    """Choices and raw values make a map; a current signal is optional beside it."""
    rule: Toml = {"state": STATE}
    if with_current:
        rule["current"] = PROFILE["operating_status"]["current"]
    profile, _ = read(tmp_path, ("operating_status", rule))
    state = profile.status.state
    assert state is not None
    assert state.states == {
        0: OperatingStatus.POWERED_DOWN, 1: OperatingStatus.IDLE, 7: OperatingStatus.IDLE,
        3: OperatingStatus.DISCHARGING,
    }  # fmt: skip
    assert (profile.status.current is not None) == with_current
    assert profile.status.signals() == ("State.mode", "State.current")[: 1 + with_current]


@pytest.mark.parametrize(
    ("active", "when"),
    [
        ("nonzero", ActiveWhen()),
        (GONE, ActiveWhen()),
        ({"values": [3, 1]}, ActiveWhen(values=frozenset({1, 3}))),
        ({"mask": 0xFFFF}, ActiveWhen(mask=0xFFFF)),
        ({"at_least": 60}, ActiveWhen(at_least=60.0)),
        ({"at_most": -5.5}, ActiveWhen(at_most=-5.5)),
    ],
)
def test_when_an_alarm_is_active(tmp_path: Path, active: object, when: ActiveWhen) -> None:
    """All forms of `active`; without it, not zero."""
    assert read(tmp_path, ("alarms[0].active", active))[0].alarms[0].when == when


def test_a_choice_means_its_own_raw_value_in_each_signal_of_a_group(tmp_path: Path) -> None:
    """The door's "open" is 1, the lid's is 0: neither alarm takes the other's value."""
    group = {"signals": ["Alarms.door", "Alarms.lid"], "active": {"values": ["open"]}, "level": 1}
    profile, _ = read(tmp_path, ("alarms[1]", group))
    door, lid = profile.alarms[1:]
    on = {
        (rule.key, raw): is_active(rule.when, Sample(raw, raw, 0.0))
        for rule in (door, lid)
        for raw in (0, 1)
    }
    assert on == {("door", 0): False, ("door", 1): True, ("lid", 0): True, ("lid", 1): False}


def test_labels_and_levels(tmp_path: Path) -> None:
    """Own labels, the DBC's comment, or the name; a level, or the value itself."""
    group = {
        "signals": "Alarms.[dl]*",
        "level": "value",
        "labels": {"lid": ["盖", "Lid"]},
        "blocks_close": False,
    }
    profile, _ = read(tmp_path, ("alarms[1]", group))
    found = [(each.key, each.label_zh, each.label_en, each.level) for each in profile.alarms[1:]]
    assert found == [("door", "cabinet door", "door", None), ("lid", "盖", "Lid", None)]
    assert [each.blocks_close for each in profile.alarms] == [True, False, False]


def test_alarms_of_one_name_are_told_apart(tmp_path: Path) -> None:
    """Two signals of one name get their full names as keys; both can be meant by either form."""
    profile, _ = read(
        tmp_path,
        ("alarms[1]", {"signals": "Quiet.errors", "level": 1}),
        ("freshness.deadline_ms", {"Quiet": 2000}),
        ("interlocks.tolerated_alarms", ["Quiet.*"]),
    )
    assert [alarm.key for alarm in profile.alarms] == ["Alarms.errors", "Quiet.errors"]
    assert profile.interlocks.tolerated_alarms == {"Quiet.errors"}
    assert profile.commands[RESET].confirmed.alarms_cleared == ("Alarms.errors", "Quiet.errors")


def test_an_alarm_called_like_ours_keeps_apart(tmp_path: Path) -> None:
    """A signal named as our own alarm gets its full name as key."""
    dbc = DBC.replace("SG_ door :", "SG_ bms_communication_lost :").replace(
        "257 door", "257 bms_communication_lost"
    )
    group = {"signals": "Alarms.bms_communication_lost", "level": 1}
    profile, _ = load_profile(write(tmp_path, changed(("alarms[1]", group)), dbc))
    assert profile.alarms[1].key == "Alarms.bms_communication_lost"


def test_telemetry_arrays_in_natural_order(tmp_path: Path) -> None:
    """Cell 2 comes before cell 10; factor, unit and pages are kept."""
    cells = {"signals": ["Cells.cell_*"], "factor": 0.001, "unit": "V"}
    temp = {"signal": "Alarms.hottest", "offset": 0, "unit": "℃"}
    profile, _ = read(
        tmp_path, ("telemetry.cell_voltage", cells), ("telemetry.highest_cell_temp", temp)
    )
    _, voltages, hottest = profile.telemetry
    assert voltages.signals == ("Cells.cell_2", "Cells.cell_10")
    assert (voltages.factor, voltages.unit, voltages.array) == (0.001, "V", True)
    assert (hottest.unit, hottest.array) == ("℃", False)
    assert profile.deadlines_s["Cells.cell_10"] == 2 * profile.deadlines_s["Cells"] == 1.2
    assert "State.soc" not in profile.deadlines_s


@pytest.mark.parametrize(
    ("given", "deadline_s"), [({}, 0.5), ({"State": 1}, 0.001), ({"State": 600_000}, 600.0)]
)
def test_deadlines(tmp_path: Path, given: Toml, deadline_s: float) -> None:
    """Three periods but at least half a second, unless the profile says otherwise."""
    profile, _ = read(tmp_path, ("freshness.deadline_ms", given))
    assert profile.deadlines_s["State"] == deadline_s
    assert profile.deadline_s("State.soc") == deadline_s


def test_an_absurd_cycle_time_does_not_make_silence_last(tmp_path: Path) -> None:
    """A period of a day in the DBC gives a deadline of ten minutes, not of three days."""
    profile, _ = read(tmp_path, ("freshness.required", ["State", "Alarms", "Alive"]))
    assert profile.deadlines_s["Alive"] == 600.0


def test_a_required_message_without_a_used_signal_is_heard(tmp_path: Path) -> None:
    """A heartbeat that is only required keeps the battery connected."""
    profile, database = read(
        tmp_path,
        ("freshness.required", ["State", "Alarms", "Quiet"]),
        ("freshness.deadline_ms", {"Quiet": 1000}),
    )
    assert profile.wanted["Quiet"] == ()
    intake = Intake(profile, database)
    frames = {"State": b"\x02" + bytes(7), "Alarms": bytes(8), "Quiet": bytes(8)}
    codec = Codec(database)
    for name, data in frames.items():
        message = codec.database.messages[name]
        from_bus = (
            profile.commands[CLOSE].frames[0]._replace(at_s=1.0, can_id=message.frame_id, data=data)
        )
        intake.take(from_bus)
    assert intake.unknown == {}
    status = derive_status(intake.table.snapshot(), profile, 1.4)
    assert (status.operating, status.disconnected) == (OperatingStatus.POWERED_DOWN, False)
    assert derive_status(intake.table.snapshot(), profile, 2.1).disconnected


def test_sentinels_by_choice_name(tmp_path: Path) -> None:
    """A sentinel may be named by its choice, as values everywhere; none is dropped silently."""
    profile, _ = read(tmp_path, ("signals", {"Alarms.lid": {"sentinels": ["open", 3]}}))
    assert profile.limits["Alarms.lid"].sentinels == {0, 3}


def test_every_part_of_a_command(tmp_path: Path) -> None:
    """Answers, repetition and proof as written."""
    profile, _ = read(
        tmp_path,
        (f"{CLOSING}.repeat", 30),
        (f"{CLOSING}.period_ms", 5000),
        (f"{CLOSING}.acknowledged", {"signal": "State.mode", "values": ["ready"], "name": "ok"}),
        (f"{CLOSING}.refused", {"signal": "State.mode", "values": [9]}),
        (
            f"{CLOSING}.confirmed",
            {
                "operating_status": [2],
                "alarms_cleared": "err*",
                "conditions": [{"signal": "State.remote", "values": [1]}],
                "frames": 20,
                "window_s": 600,
                "hold_s": 0,
            },
        ),
    )
    plan = profile.commands[CLOSE]
    assert (plan.repeat, plan.period_s) == (30, 5.0)
    assert plan.acknowledged == Condition("State.mode", frozenset({1}), "ok")
    assert plan.refused == Condition("State.mode", frozenset({9}), "State.mode")
    proof = plan.confirmed
    assert (set(proof.statuses), proof.alarms_cleared) == ({OperatingStatus.IDLE}, ("errors",))
    assert (proof.frames, proof.window_s, proof.hold_s) == (20, 600.0, 0.0)
    assert proof.conditions == (Condition("State.remote", frozenset({1}), "State.remote"),)
    assert "mode" in profile.wanted["State"]


def test_every_interlock(tmp_path: Path) -> None:
    """All limits of the section, at the edges of what they may be."""
    numbers = {
        "steady_s": 600, "close_interval_s": 0, "close_max": 100, "close_window_s": 1,
        "reset_max": 1, "reset_window_s": 1.5, "open_max_current_a": 0, "open_wait_s": 60,
    }  # fmt: skip
    condition = {"name": "ready", "signal": "State.mode", "values": ["ready"]}
    section = {"conditions": [condition], "tolerated_alarms": ["Alarms.*"], **numbers}
    rules = read(tmp_path, ("interlocks", section))[0].interlocks
    assert rules == InterlockRules(
        remote=None,
        conditions=(Condition("State.mode", frozenset({1}), "ready"),),
        tolerated_alarms=frozenset({"errors"}),
        **numbers,  # type: ignore[arg-type]  # each name has its own type
    )


def test_a_command_without_counter_has_one_frame(tmp_path: Path) -> None:
    """Without an integrity rule all signals are named and one frame is built."""
    commands = {
        key: {"message": "Control", "values": {**one["values"], "counter": 0, "checksum": 0}}
        for key, one in PROFILE["commands"].items()
    }
    profile, _ = read(tmp_path, ("integrity", GONE), ("commands", commands))
    assert [len(plan.frames) for plan in profile.commands.values()] == [1, 1, 1]


def test_a_counter_with_a_smaller_modulus(tmp_path: Path) -> None:
    """A counter that wraps early gives as many frames as it has values."""
    profile, _ = read(tmp_path, ("integrity[0].modulo", 15))
    assert [len(plan.frames) for plan in profile.commands.values()] == [15, 15, 15]


def test_a_read_only_battery(tmp_path: Path) -> None:
    """A profile without commands says why."""
    profile, _ = read(
        tmp_path, ("commands", GONE), ("guard", GONE), ("profile.read_only", "no command frames")
    )
    assert (profile.commands, profile.guard) == ({}, ())
    assert profile.read_only_reason == "no command frames"


def test_the_pin_accepts_the_right_file_in_any_case(tmp_path: Path) -> None:
    """The pin is the DBC's SHA-256 in hexadecimal."""
    pin = hashlib.sha256(DBC.encode()).hexdigest()
    for text in (pin, pin.upper()):
        assert read(tmp_path, ("profile.dbc_sha256", text))[0].dbc_sha256 == pin


def test_another_dbc_than_the_profile_names(tmp_path: Path) -> None:
    """A path given by the caller comes first; the profile then need not name one."""
    path = write(tmp_path, changed(("profile.dbc", GONE)))
    shutil.move(tmp_path / "tiny.dbc", tmp_path / "other.dbc")
    profile, _ = load_profile(path, tmp_path / "other.dbc")
    assert profile.dbc_path == str(tmp_path / "other.dbc")
