"""What real batteries added to the language: words of alarm bits, no feedback, other units."""

from pathlib import Path

import pytest

from bms_can.errors import BadProfile
from bms_can.frame import Frame
from bms_can.intake import Intake
from bms_can.profile import CommandCode, OperatingStatus
from bms_can.profile_load import load_profile
from bms_can.status import BmsStatus, derive_status
from bms_can.timeline import Timeline
from tests.bms_can.test_simulator import Bench
from tests.bms_can.tiny import DBC, GONE, Toml, changed, read, write

FEEDBACK = "operating_status.contactor.signals[0]"
WORD: Toml = {"signals": "Alarms.errors", "level": 2, "bits": {"hot": 2, "cold": 8}}
NO_COMMANDS = [
    ("commands", GONE), ("guard", GONE), ("interlocks", GONE), ("profile.read_only", "test"),
]  # fmt: skip
STATE, ALARMS = 0x100, 0x101


def status(folder: Path, state: str, alarms: str, *changes: tuple[str, object]) -> BmsStatus:
    """Return the status after one frame of each message."""
    profile, database = read(folder, *changes)
    intake = Intake(profile, database)
    for can_id, data in ((STATE, state), (ALARMS, alarms)):
        intake.take(Frame(10.0, can_id, extended=False, data=bytes.fromhex(data)))
    return derive_status(intake.table.snapshot(), profile, 10.0, listening_since_s=10.0)


def mistakes(folder: Path, *changes: tuple[str, object]) -> tuple[str, ...]:
    """Return what is wrong with the changed profile."""
    with pytest.raises(BadProfile) as caught:
        read(folder, *changes)
    return caught.value.mistakes


# --- words of alarm bits

IDLE, QUIET = "0100000000000000", "0000000000000000"


@pytest.mark.parametrize(
    ("word", "keys"),
    [("0000", []), ("0400", ["hot"]), ("0001", ["cold"]), ("FFFF", ["hot", "cold"])],
)
def test_each_bit_is_an_alarm_of_its_own(tmp_path: Path, word: str, keys: list[str]) -> None:
    """The number of alarms is that of the bits, not of the words."""
    found = status(tmp_path, IDLE, word + 12 * "0", ("alarms", [WORD]))
    assert [alarm.key for alarm in found.alarms] == keys
    assert found.alarm_count == len(keys)
    assert {alarm.level for alarm in found.alarms} <= {2}


def test_two_groups_share_a_word(tmp_path: Path) -> None:
    """Bits of one word may have different levels; labels belong to the bits."""
    other = {
        "signals": "Alarms.errors", "level": 3, "bits": {"fire": 15},
        "labels": {"fire": ["火", "Fire"]},
    }  # fmt: skip
    found = status(tmp_path, IDLE, "0480000000000000", ("alarms", [WORD, other]))
    told = [(a.key, a.level, a.label_zh, a.label_en) for a in found.alarms]
    assert told == [("hot", 2, "hot", "hot"), ("fire", 3, "火", "Fire")]


def test_bits_of_one_name_in_two_messages_keep_apart(tmp_path: Path) -> None:
    """Their keys carry the message."""
    other = {"signals": "Quiet.errors", "level": 1, "bits": {"hot": 0}}
    changes = [("alarms", [WORD, other]), ("freshness.deadline_ms", {"Quiet": 500})]
    profile, _ = read(tmp_path, *changes)
    assert [rule.key for rule in profile.alarms] == ["Alarms.hot", "cold", "Quiet.hot"]


@pytest.mark.parametrize(
    ("change", "mistake"),
    [
        ({"bits": {"x": 16}}, "bits.x: Alarms.errors has only 16 bits"),
        ({"bits": {"x": -1}}, "bits.x: must be at least 0, not -1"),
        ({"bits": {"a": 1, "b": 1}}, "signals: Alarms.errors is already an alarm"),
        ({"level": "value"}, "level: must be 1 to 3 where there are bits"),
        ({"signals": "Alarms.*"}, "signals: must be one signal where there are bits"),
        ({"labels": {"x": ["a", "b"]}}, "labels.x: is not an alarm of this group"),
        ({"active": "nonzero"}, "active: is not a known key"),
        ({"bits": {}}, "bits: names no bit"),
    ],
)
def test_wrong_bits(tmp_path: Path, change: Toml, mistake: str) -> None:
    """A bit that is not there, there twice, or read in two ways is refused."""
    found = mistakes(tmp_path, ("alarms", [WORD | change]))
    assert any(line.startswith(f"alarms[0].{mistake}") for line in found)


# --- batteries that do not say whether their contactor is closed

AT_REST = ("operating_status.contactor", GONE)
CHARGING, DISCHARGING = "0100640000000000", "01009CFF00000000"  # +10 A, -10 A


@pytest.mark.parametrize(
    ("at_rest", "state", "expected", "why"),
    [
        ("unknown", CHARGING, 3, ""),
        ("unknown", DISCHARGING, 4, ""),
        ("unknown", IDLE, None, "no current, and no contactor feedback"),
        ("idle", IDLE, 2, ""),
        ("idle", "0100FF7F00000000", None, "current is unknown"),
    ],
)
def test_current_alone(
    tmp_path: Path, at_rest: str, state: str, expected: int | None, why: str
) -> None:
    """Where current flows the circuit is closed; at rest only what the profile vouches for."""
    changes = [AT_REST, ("operating_status.at_rest", at_rest), *NO_COMMANDS]
    found = status(tmp_path, state, QUIET, *changes)
    assert (found.operating, found.why) == (expected, why)


def test_no_contactor_needs_a_word(tmp_path: Path) -> None:
    """Leaving the contactor out by mistake is still a mistake; so is at_rest beside one."""
    assert mistakes(tmp_path, AT_REST, *NO_COMMANDS)[0] == "operating_status.contactor: is missing"
    assert mistakes(tmp_path, ("operating_status.at_rest", "idle")) == (
        "operating_status.at_rest: is for a battery without contactor",
    )


def test_a_battery_that_never_says_open(tmp_path: Path) -> None:
    """`open = []`: closed is closed, everything else is unknown, never powered down."""
    changes = [(f"{FEEDBACK}.open", []), *NO_COMMANDS]
    assert status(tmp_path, IDLE, QUIET, *changes).operating is OperatingStatus.IDLE
    assert status(tmp_path, "0200000000000000", QUIET, *changes).operating is None


def test_an_open_that_nothing_can_prove_is_refused(tmp_path: Path) -> None:
    """An open command needs a battery that says when it is open."""
    proof = "commands.open_contactor.confirmed: operating_status 1 never comes"
    changes: tuple[list[tuple[str, object]], ...] = (
        [(f"{FEEDBACK}.open", [])],
        [AT_REST, ("operating_status.at_rest", "idle")],
        [AT_REST, ("operating_status.state", {"signal": "State.mode", "values": {"2": [1]}})],
    )
    for change in changes:
        found = mistakes(tmp_path, *change)
        assert [line[: len(proof)] for line in found] == [proof]


# --- currents in other units


def test_a_current_in_milliamperes_needs_its_factor(tmp_path: Path) -> None:
    """Without it 1.5 A would be taken for 1500 A; with it the dead band is in A."""
    text = DBC.replace('(0.1,0) [-3000|3000] "A"', '(1,0) [-32768|32767] "mA"')
    with pytest.raises(BadProfile) as caught:
        load_profile(write(tmp_path, changed(), text))
    assert caught.value.mistakes == (
        "operating_status.current.factor: State.current is in mA; give factor = 0.001",
    )
    right = changed(("operating_status.current.factor", 0.001))
    profile, database = load_profile(write(tmp_path, right, text))
    intake = Intake(profile, database)
    for can_id, data in ((STATE, "0100DC0500000000"), (ALARMS, QUIET)):
        intake.take(Frame(10.0, can_id, extended=False, data=bytes.fromhex(data)))
    found = derive_status(intake.table.snapshot(), profile, 10.0, listening_since_s=10.0)
    assert found.current_a == pytest.approx(1.5)
    assert found.operating is OperatingStatus.CHARGING


def test_a_current_that_cannot_be_negative_is_no_direction(tmp_path: Path) -> None:
    """An unsigned current would read -1 A as 6553.5 A; an offset can make it right."""
    flawed = '16|16@1+ (0.1,0) [0|0] "A"'
    text = DBC.replace('16|16@1- (0.1,0) [-3000|3000] "A"', flawed)
    with pytest.raises(BadProfile) as caught:
        load_profile(write(tmp_path, changed(("signals", GONE)), text))
    (mistake,) = caught.value.mistakes
    assert mistake.endswith("State.current can never be negative: it tells no direction")
    right = text.replace(flawed, '16|16@1+ (0.1,-3000) [0|0] "A"')
    load_profile(write(tmp_path, changed(("signals", GONE)), right))


def test_two_bits_of_a_word_have_two_names(tmp_path: Path) -> None:
    """One key for two bits would hide one of them behind the other."""
    other = {**WORD, "level": 3, "bits": {"hot": 3}}
    found = mistakes(tmp_path, ("alarms", [WORD, other]))
    assert found == ("alarms[1].bits: hot is already an alarm of Alarms.errors",)


def test_a_silent_battery_is_always_noticed(tmp_path: Path) -> None:
    """Also one that has no status: without a required message nothing would ever be missing."""
    values_only = ("operating_status", {"unknown": "says no status"})
    found = mistakes(tmp_path, *NO_COMMANDS, values_only, ("freshness.required", []))
    assert any("freshness.required: must not be empty" in each for each in found)


PRECHARGE = [
    {"signal": "State.contactor", "closed": ["closed"], "open": ["open"]},
    {"signal": "State.remote", "closed": [], "open": [0]},
]


@pytest.mark.parametrize(
    ("state", "expected"), [("0200000000", 1), ("0200000001", None), ("0100000001", 2)]
)
def test_a_relay_that_must_be_open_for_powered_down(
    tmp_path: Path, state: str, expected: int | None
) -> None:
    """A precharge relay never closes the pack, but while it is on the pack is not powered down."""
    contactor = {"combine": "parallel", "signals": PRECHARGE}
    changes = [("operating_status.contactor", contactor), *NO_COMMANDS]
    assert status(tmp_path, state + 6 * "0", QUIET, *changes).operating == expected


def test_something_must_be_able_to_close(tmp_path: Path) -> None:
    """Signals that never mean closed make no contactor; in series each must."""
    never = [PRECHARGE[1], PRECHARGE[1]]
    for combine, signals, wrong in (
        ("parallel", never, "operating_status.contactor.signals: none of them can be closed"),
        ("series", PRECHARGE, "operating_status.contactor.signals[1].closed: must not be empty"),
    ):
        contactor = {"combine": combine, "signals": signals}
        found = mistakes(tmp_path, ("operating_status.contactor", contactor), *NO_COMMANDS)
        assert wrong in found


def test_the_simulator_has_such_a_relay_too(tmp_path: Path) -> None:
    """On while it precharges, off before and after: unknown in between, never powered down."""
    contactor = {"combine": "parallel", "signals": PRECHARGE}
    profile, database = read(
        tmp_path, ("operating_status.contactor", contactor), ("simulator", GONE), *NO_COMMANDS
    )
    bench = Bench(profile, database)
    told = [bench.pass_time(1.0).operating]
    bench.pack.switch(CommandCode.CLOSE_CONTACTOR)
    told += [bench.pass_time(1.0).operating, bench.pass_time(3.0).operating]
    assert told == [1, None, 2]


def test_values_without_a_status(tmp_path: Path) -> None:
    """`unknown`: no status ever; a timeline says why as soon as the battery was heard."""
    rule = ("operating_status", {"unknown": "only the charge is known"})
    profile, database = read(tmp_path, rule, ("alarms", GONE), *NO_COMMANDS)
    frames = [
        Frame(10.0 + number, can_id, extended=False, data=bytes(8))
        for number, can_id in enumerate((STATE, ALARMS, STATE, STATE))
    ]
    told = [each.status for each in Timeline(profile, database).run(frames)]
    assert {each.operating for each in told} == {None}
    reasons = [each.why for each in told]
    assert reasons[0] == "not heard yet: State, Alarms"
    assert "only the charge is known" in reasons
