"""Recorded logs of real batteries replay to their reference answers, at every instant.

Needs the folder with pairs/ that BMS_REAL_LOGS names (`make real-logs DIR=...`). What is expected
comes from two sources that share no code with the driver: the instants of each reference.json, and
its rule, worked out here with cantools alone for every moment at which the log has a frame.
"""

import bisect
import itertools
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import cantools
import pytest
from cantools.database.can import Database as CantoolsDatabase

from bms_can.frame import Frame
from bms_can.logfile import open_log
from bms_can.profile_load import load_profile
from bms_can.shipped import profile_path, shipped_names
from bms_can.timeline import Change, Timeline

pytestmark = pytest.mark.shared

ROOT = Path(__file__).parents[2]
PROFILES = ROOT / "tests" / "data" / "profiles"
TESLA = "03-tesla-s-2015-savvycan"
UDS = "05-uds-isotp-mf4"
Said = tuple[int | None, int | None]  # operating_status, alarm_status; None: unknown
Values = dict[str, float]
Rule = Callable[[Values], Said]


class Seen(NamedTuple):
    """One line of a log, read by this file alone."""

    at_s: float
    channel: str
    can_id: int
    data: bytes


def by_current(closed: float | None, current_a: float | None) -> int | None:
    """Return the operating status by contactor and current, positive discharging."""
    if closed is None:
        return None
    if closed == 0:
        return 1
    assert current_a is not None
    return 4 if current_a >= 1.0 else 3 if current_a <= -1.0 else 2


def kona(values: Values) -> Said:
    """Pair 01: the DBC has no alarm, so their number stays unknown."""
    closed = values.get("BMS_5A3.ContactorClosed")
    return by_current(closed, values.get("Batt_HV_Status.IBatt")), None


def orion(values: Values) -> Said:
    """Pair 02."""
    errors = [value for name, value in values.items() if name.startswith("BmsErrors.")]
    closed = values.get("BmsStatus2.BMSFlag_Dischargerelay")
    operating = by_current(closed, values.get("BmsStatus1.HvBatteryCurrent"))
    return operating, sum(value == 1 for value in errors) if errors else None


def foxbms(values: Values) -> Said:
    """Pair 04; its alarm bits are those of the reference."""
    state = values.get("f_BmsState.BmsState")
    if state is None:
        return None, None
    bits = reference("04-foxbms2")["rule"]["alarm_bits"]
    active = sum(values[f"f_BmsState.{bit}"] == 1 for bit in bits)
    return {7: 2, 8: 4, 9: 3}.get(int(state), 1), active


@dataclass(frozen=True)
class Pair:
    """A log with its DBC, our profile and the rule of its reference."""

    folder: str
    log: str
    dbc: str
    profile: str
    channel: str
    messages: tuple[str, ...]
    rule: Rule


PAIRS = (
    Pair(
        "01-kona-ev-2019", "candump.log", "pcan.loadable.dbc", "kona_ev_2019", "can0",
        ("BMS_5A3", "Batt_HV_Status"), kona,
    ),
    Pair(
        "02-orion2-zero-ev", "candump-2025-11-22_161709.log", "ZeroEvDBC_onlyBMS_DU.dbc",
        "orion2_zero_ev", "can0", ("BmsStatus1", "BmsStatus2", "BmsErrors"), orion,
    ),
    Pair(
        "04-foxbms2", "candump.log", "foxbms-1.11-2026-04.dbc", "foxbms2_state", "can0",
        ("f_BmsState",), foxbms,
    ),
)  # fmt: skip
each_pair = pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: str(pair.folder))


def folder_of(name: str) -> Path:
    """Return the folder of a pair; skip if there is none on this machine."""
    place = os.environ.get("BMS_REAL_LOGS", "")
    if not place:
        pytest.skip("BMS_REAL_LOGS does not name the folder with the real logs (make real-logs)")
    return Path(place) / "pairs" / name


def reference(name: str) -> dict[str, Any]:
    """Read the reference answers of a pair."""
    found = json.loads((folder_of(name) / "reference.json").read_text(encoding="utf-8"))
    assert isinstance(found, dict)
    return found


def lines_of(pair: Pair) -> list[Seen]:
    """Read a candump log with nothing but split; all data frames, in order of the file."""
    found = []
    for line in (folder_of(pair.folder) / pair.log).read_text(encoding="ascii").splitlines():
        stamp, channel, frame = line.split()[:3]
        can_id, _, data = frame.partition("#")
        at_s = float(stamp.strip("()"))
        found.append(Seen(at_s, channel, int(can_id, 16), bytes.fromhex(data)))
    return found


def cantools_of(pair: Pair) -> CantoolsDatabase:
    """Load a DBC with cantools; lines of choices are left out, 45.1 refuses some (trap 18b)."""
    text = (folder_of(pair.folder) / pair.dbc).read_text(encoding="utf-8", errors="replace")
    lines = text.splitlines()
    choices = [line.startswith("VAL_ ") and line.endswith(";") for line in lines]
    kept = "\n".join(line for line, choice in zip(lines, choices, strict=True) if not choice)
    found = cantools.database.load_string(kept, "dbc", strict=False)
    assert isinstance(found, CantoolsDatabase)
    return found


def expected(pair: Pair, *, of_channel: bool = False) -> Iterator[tuple[float, Said]]:
    """Yield what the reference's rule says after each moment of the log, by cantools alone."""
    database = cantools_of(pair)
    wanted = {database.get_message_by_name(name).frame_id: name for name in pair.messages}
    values: Values = {}
    lines = [each for each in lines_of(pair) if each.channel == pair.channel or not of_channel]
    in_time = sorted(lines, key=lambda seen: seen.at_s)
    for at_s, group in itertools.groupby(in_time, key=lambda seen: seen.at_s):
        for seen in group:
            name = wanted.get(seen.can_id)
            if name is not None and seen.channel == pair.channel:
                message = database.get_message_by_name(name)
                decoded = message.decode(seen.data, decode_choices=False)
                assert isinstance(decoded, dict)
                values |= {f"{name}.{key}": float(value) for key, value in decoded.items()}  # type: ignore[arg-type]  # no choices asked for
        yield at_s, pair.rule(values)


def replayed(pair: Pair) -> list[Change]:
    """Replay a pair with our profile."""
    folder = folder_of(pair.folder)
    loaded = load_profile(PROFILES / f"{pair.profile}.toml", folder / pair.dbc)
    frames = (entry for entry in open_log(folder / pair.log) if isinstance(entry, Frame))
    return list(Timeline(*loaded).run(frames))


def said_at(changes: list[Change], at_s: float) -> Said:
    """Return what our timeline says at a moment; "disconnected" is unknown, too."""
    index = bisect.bisect_right([change.at_s for change in changes], at_s) - 1
    status = changes[index].status
    operating = None if status.operating is None else int(status.operating)
    return operating, None if status.disconnected else status.alarm_count


@each_pair
def test_every_instant_of_the_reference(pair: Pair) -> None:
    """The status at each listed instant is the reference's; unknown is never 1."""
    changes, known = replayed(pair), reference(pair.folder)
    assert known["instants"]
    for instant in known["instants"]:
        operating, alarms = said_at(changes, instant["t_log"])
        assert operating == instant["expected_operating_status"], instant["t_rel_s"]
        if "expected_alarm_status" in instant:
            assert alarms == instant["expected_alarm_status"], instant["t_rel_s"]


@each_pair
def test_every_moment_between_them(pair: Pair) -> None:
    """At each time stamp of the log the timeline says what the rule says, worked out anew."""
    changes = replayed(pair)
    moments = list(expected(pair))
    assert len(moments) > 250
    said = [(at_s, said_at(changes, at_s)) for at_s, _ in moments]
    assert said == moments


@each_pair
def test_values_and_ages_are_the_reference_s(pair: Pair) -> None:
    """The values that the status rests on, and their ages, are those of the reference."""
    folder = folder_of(pair.folder)
    loaded = load_profile(PROFILES / f"{pair.profile}.toml", folder / pair.dbc)
    timeline, compared = Timeline(*loaded), 0
    instants = iter(reference(pair.folder)["instants"])
    instant = next(instants)
    frames = (entry for entry in open_log(folder / pair.log) if isinstance(entry, Frame))
    for frame in frames:
        while instant is not None and frame.at_s > instant["t_log"]:
            samples = timeline.intake.table.snapshot().samples
            for name, last in instant["last_values"].items():
                if name in samples:
                    assert samples[name].value == pytest.approx(last["value"])
                    age_s = instant["t_log"] - samples[name].at_s
                    assert age_s == pytest.approx(last["age_s"], abs=2e-4)
                    compared += 1
            instant = next(instants, None)
        list(timeline.take(frame))
    assert compared >= 3


SHIPPED = {
    "01-kona-ev-2019": "kona_ev",
    "02-orion2-zero-ev": "orion2",
    "04-foxbms2": "foxbms2_state",
}


@each_pair
def test_the_shipped_profile_gives_the_same_answers(
    pair: Pair, capsys: pytest.CaptureFixture[str]
) -> None:
    """Our own DBC and profile say the same at every moment; what they do not explain is printed."""
    log = folder_of(pair.folder) / pair.log
    loaded = load_profile(profile_path(SHIPPED[pair.folder]))
    frames = (entry for entry in open_log(log) if isinstance(entry, Frame))
    only = (frame for frame in frames if frame.channel == pair.channel)
    changes = list(Timeline(*loaded).run(only))
    moments = list(expected(pair, of_channel=True))
    assert len(moments) > 250
    assert [(at_s, said_at(changes, at_s)) for at_s, _ in moments] == moments
    answer = replay(log, "--profile", SHIPPED[pair.folder], "--channel", pair.channel)
    assert answer["bad_frames"] == {}
    with capsys.disabled():
        unknown = answer["frames"] - answer["other_channel"] - answer["known"]
        print(  # noqa: T201 - what a person who runs this wants to know
            f"\n{pair.folder} with {SHIPPED[pair.folder]}: {answer['known']} frames explained"
            f" ({answer['known_percent']:.2f} %), {unknown} frames of"
            f" {len(answer['unknown_ids'])} identifiers not"
        )


def test_a_log_of_two_buses_needs_a_channel() -> None:
    """Pair 01 without --channel: its two buses share identifiers, so nothing is said of it."""
    log = folder_of("01-kona-ev-2019") / "candump.log"
    command = [sys.executable, "-m", "agent", "replay", str(log), "--profile", "kona_ev"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)  # noqa: S603 - our own program
    assert done.returncode == os.EX_CONFIG
    assert done.stdout == ""
    assert "0x595 (BMS_HighVoltage) comes on can0 and on can1" in done.stderr


@pytest.mark.parametrize("folder", [pair.folder for pair in PAIRS] + [TESLA])
def test_coverage_is_the_reference_s(folder: str) -> None:
    """Frames and identifiers that the DBC explains are counted as the reference counts them."""
    known = reference(folder)
    stats, place = known["log_stats"], folder_of(folder)
    pair = next((each for each in PAIRS if each.folder == folder), None)
    dbc = place / (pair.dbc if pair else "tesla_powertrain.dbc")
    words = ["--dbc", str(dbc)]
    if pair is not None and len(stats["channels"]) > 1:
        words += ["--channel", pair.channel]
    answer = replay(place / (pair.log if pair else "candump.log"), *words)
    assert answer["frames"] == stats["frames"]
    assert answer["frames"] - answer["other_channel"] == stats["frames_on_channel"]
    assert answer["known"] == stats["frames_with_id_in_dbc"]
    assert answer["known_percent"] == pytest.approx(stats["percent_with_id_in_dbc"], abs=0.01)
    missing = {int(text, 16) for text in stats["ids_not_in_dbc"]}
    assert {int(text, 16) for text in answer["unknown_ids"]} == missing


def replay(log: Path, *words: str) -> dict[str, Any]:
    """Run `bms-agent replay --json`."""
    command = [sys.executable, "-m", "agent", "replay", str(log), "--json", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)  # noqa: S603 - our own program
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    return found


def test_an_identifier_match_is_no_dbc_match() -> None:
    """Pair 03 with its own DBC: 18.7 % of the identifiers fit, and the status stays unknown."""
    folder = folder_of(TESLA)
    answer = replay(folder / "candump.log", "--dbc", str(folder / "tesla_powertrain.dbc"))
    assert answer["known_percent"] == pytest.approx(18.68)
    assert answer["timeline"] == []
    assert answer["doubts"]["STW_ACTN_RQ"]["impossible"]
    why = answer["operating_status_unknown_because"]
    assert "no profile says which signals" in why
    assert "an identifier match is not a DBC match" in why


@pytest.mark.parametrize("profile", ["kona_ev_2019", "orion2_zero_ev", "foxbms2_state", "ess_bau"])
def test_no_other_battery_s_profile_fits(profile: str) -> None:
    """Pair 03 with the DBC and profile of another battery: never a status, always a reason."""
    folder = folder_of(TESLA)
    words = ["--profile", profile]
    for pair in PAIRS:
        if pair.profile == profile:
            words = ["--profile", str(PROFILES / f"{profile}.toml"), "--channel", "vcan0"]
            words += ["--dbc", str(folder_of(pair.folder) / pair.dbc)]
    answer = replay(folder / "candump.log", *words)
    assert answer["timeline"]
    assert all(each["operating_status"] is None for each in answer["timeline"])
    assert all(each["why"] for each in answer["timeline"])
    assert answer["timeline"][-1]["disconnected"] == 1


@pytest.mark.parametrize("name", shipped_names())
def test_no_shipped_battery_is_seen_in_a_car_of_another_make(name: str) -> None:
    """Pair 03 with each shipped battery: an identifier in common never becomes a status."""
    log = open_log(folder_of(TESLA) / "candump.log")
    loaded = load_profile(profile_path(name))
    changes = list(Timeline(*loaded).run(entry for entry in log if isinstance(entry, Frame)))
    assert {change.status.operating for change in changes} == {None}


@pytest.mark.parametrize("profile", ["kona_ev_2019", "orion2_zero_ev", "foxbms2_state"])
def test_its_dbc_carries_no_other_profile(profile: str) -> None:
    """A profile on pair 03's DBC is refused: exit 78, each signal that is not there is named."""
    folder = folder_of(TESLA)
    words = ["--profile", str(PROFILES / f"{profile}.toml"), "--dbc"]
    words += [str(folder / "tesla_powertrain.dbc"), str(folder / "candump.log")]
    command = [sys.executable, "-m", "agent", "replay", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)  # noqa: S603 - our own program
    assert done.returncode == os.EX_CONFIG
    assert done.stdout == ""
    assert "the DBC has no signal" in done.stderr
    assert all(line.startswith(f"{PROFILES / profile}.toml: ") for line in done.stderr.splitlines())


def test_the_same_capture_in_another_format() -> None:
    """Pair 02 as .trc of another tool: the same states in the same order."""
    pair = PAIRS[1]
    folder = folder_of(pair.folder)
    loaded = load_profile(PROFILES / f"{pair.profile}.toml", folder / pair.dbc)
    log = open_log((folder / pair.log).with_suffix(".trc"))
    changes = list(Timeline(*loaded).run(entry for entry in log if isinstance(entry, Frame)))
    states = [change.status.operating for change in changes if change.status.operating is not None]
    assert states == [2]
    assert changes[-1].status.alarm_count == 0


ANSWERS = {  # name in the reference -> our signal
    "SoC": "LBC_Answer.soc",
    "BatPackTemp1": "LBC_Answer.temperature_1",
    "BatPackTemp2": "LBC_Answer.temperature_2",
    "BatPackTemp4": "LBC_Answer.temperature_4",
    "M_SID_0x220101_StateOfChargeBMS": "BMS_Answer.soc",
}


@pytest.mark.parametrize(
    ("log", "profile", "count"),
    [
        ("leaf2019_2F6913DB_00000004_00000001", "nissan_leaf_uds", 26),
        ("kona_17BD1DB7_00000006_00000170", "kona_ev_uds", 120),
    ],
)
def test_diagnostic_answers_are_put_together(log: str, profile: str, count: int) -> None:
    """Pair 05: each value of each answer is the reference's, at its time; never a status."""
    timeline = Timeline(*load_profile(profile_path(profile)))
    table, told = timeline.intake.table, dict[float, dict[str, float | None]]()
    for frame in open_log(folder_of(UDS) / f"{log}.candump.log"):
        if isinstance(frame, Frame):
            assert all(change.status.operating is None for change in timeline.take(frame))
            samples = table.snapshot().samples.items()
            told |= {frame.at_s: {k: v.value for k, v in samples if v.at_s == frame.at_s}}
    answered = {at_s: values for at_s, values in told.items() if values}
    assert len(answered) == count == reference(UDS)[f"{log}.MF4"]["isotp_responses"]
    known = reference(UDS)[f"{log}.MF4"]
    for at_s, _, values in known["first"] + known["last"]:
        ours = answered[min(answered, key=lambda each_s: abs(each_s - at_s))]
        assert {name: ours[ANSWERS[name]] for name in values} == pytest.approx(values)


def what(frame: Frame) -> tuple[str, int, bool, bytes]:
    """Return a frame without its time."""
    return frame.channel, frame.can_id, frame.extended, frame.data


def test_the_csv_of_savvycan_is_the_same_log() -> None:
    """Pair 01 as it was recorded: the same frames on the same channels as the derived candump."""
    folder = folder_of("01-kona-ev-2019")
    rows = list(open_log(folder / "original.savvycan.csv"))
    frames = [entry for entry in rows if isinstance(entry, Frame)]
    derived = [entry for entry in open_log(folder / "candump.log") if isinstance(entry, Frame)]
    assert len(frames) == len(rows) == len(derived)
    assert sorted(map(what, frames)) == sorted(map(what, derived))


def test_a_stated_length_opens_a_message() -> None:
    """Pair 02: BmsSOC is declared with 6 bytes and sent with 8; stated, all its frames are used."""
    pair = PAIRS[1]
    folder = folder_of(pair.folder)
    loaded = load_profile(PROFILES / f"{pair.profile}.toml", folder / pair.dbc)
    timeline = Timeline(*loaded)
    frames = (entry for entry in open_log(folder / pair.log) if isinstance(entry, Frame))
    assert list(timeline.run(frames))
    signals = timeline.intake.table.snapshot()
    assert signals.heard["BmsSOC"].count == reference(pair.folder)["messages"]["BmsSOC"]["frames"]
    assert signals.samples["BmsSOC.HvBatterySOC"].value == 95
    assert not timeline.intake.bad
