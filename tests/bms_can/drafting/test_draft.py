"""A draft loads, says why, and states nothing that only a person can know."""

import re
import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bms_can.database import Database, load
from bms_can.drafting.draft import draft
from bms_can.drafting.guess import best, candidates
from bms_can.drafting.plan import Answers, Plan
from bms_can.drafting.toml_text import comment, glob, quoted
from bms_can.drafting.vocabulary import ROLES, words_of
from bms_can.examine.examination import Examination
from bms_can.frame import Frame
from bms_can.profile import OperatingStatus
from bms_can.profile_load import load_profile
from bms_can.timeline import Timeline
from tests.bms_can.examine.logs import DBC, examined, of_kind, recorded
from tests.bms_can.tiny import DBC as TINY

FRAMES = recorded()
SHIPPED = sorted(DBC.parent.glob("*.dbc"))


@pytest.fixture(scope="module")
def seen() -> Examination:
    """Our recording, examined."""
    return examined(FRAMES)


def planned(seen: Examination | None = None, answers: Answers | None = None) -> Plan:
    """Return the plan for our own DBC."""
    return Plan(load(DBC), "ess_bau.dbc", "ess_bau", seen, "x.log", answers or Answers())


def written(folder: Path, text: str, dbc: Path = DBC) -> Path:
    """Write a draft beside a copy of its DBC."""
    (folder / dbc.name).write_bytes(dbc.read_bytes())
    path = folder / "draft.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("dbc", SHIPPED, ids=lambda path: str(path.stem))
def test_a_draft_of_every_shipped_dbc_loads(dbc: Path, tmp_path: Path) -> None:
    """Without a log. It is read-only and never says charging or idle by a guess."""
    text = draft(Plan(load(dbc), dbc.name, dbc.stem))
    profile, _ = load_profile(written(tmp_path, text, dbc))
    assert profile.commands == {}
    assert profile.read_only_reason == "drafted; commands need a person"
    assert profile.status.current is None
    assert profile.guard == ()


def test_the_draft_of_our_battery_is_right(seen: Examination, tmp_path: Path) -> None:
    """From DBC and log: contactor, telemetry, all alarms, counters and checksums."""
    profile, _ = load_profile(written(tmp_path, draft(planned(seen))))
    assert profile.status.state is not None
    assert profile.status.state.signal == "BAU_State.contactor_status"
    assert set(profile.status.state.states.values()) == {OperatingStatus.POWERED_DOWN}
    assert len(profile.alarms) == 38
    fields = {field.name: field.signals[0] for field in profile.telemetry}
    assert fields["soc"] == "BAU_Energy.soc"
    assert fields["lowest_cell_voltage"] == "BAU_CellVoltageExtremes.lowest_cell_voltage"
    rule = profile.integrity["BAU_State"]
    assert (rule.counter, rule.checksum, rule.algorithm) == (
        "counter",
        "checksum",
        "crc8-sae-j1850",
    )
    assert profile.deadlines_s["BAU_State"] == 0.5


def test_before_a_person_has_answered_the_draft_knows_open_only(
    seen: Examination, tmp_path: Path
) -> None:
    """On the recording it says powered down while the contactor is open, and else unknown."""
    loaded = load_profile(written(tmp_path, draft(planned(seen))))
    said = {change.status.operating for change in Timeline(*loaded).run(FRAMES)}
    assert said == {OperatingStatus.POWERED_DOWN, None}


def test_an_answer_makes_the_status_whole(seen: Examination, tmp_path: Path) -> None:
    """With the sign of the current, the draft says what the shipped profile says."""
    text = draft(planned(seen, Answers(positive="charging")))
    loaded = load_profile(written(tmp_path, text))
    shipped = load_profile(DBC.with_suffix(".toml"))
    ours = [change.status.operating for change in Timeline(*loaded).run(FRAMES)]
    assert set(ours) == {None, *OperatingStatus}
    theirs = [change.status.operating for change in Timeline(*shipped).run(FRAMES)]
    assert set(ours) == set(theirs)


def test_the_sign_is_asked_for_with_its_evidence(seen: Examination) -> None:
    """The log speaks for charging; the draft says so in a comment, and asks."""
    text = draft(planned(seen))
    active = tomllib.loads(text)
    assert "current" not in active["operating_status"]
    assert "positive while the battery is charged" in text
    assert 'speaks for positive = "charging"' in text
    assert "correlation" in text


def test_commands_are_never_drafted(seen: Examination) -> None:
    """The control message is named in a comment; there is no section that could send."""
    text = draft(planned(seen))
    assert "EMS_Control" in text
    assert not {"commands", "guard", "interlocks", "heartbeat"} & set(tomllib.loads(text))


def test_a_contactor_s_bit_needs_current_to_be_understood(tmp_path: Path) -> None:
    """One bit without names: which value is closed comes from the current, or from a person."""
    path = tmp_path / "bit.dbc"
    path.write_text(BIT_DBC, encoding="utf-8")
    for flows_while, opened in ((1, [0]), (0, [1]), (None, [])):
        frames = list(bit_log(flows_while))
        database = load(path)
        text = draft(Plan(database, "bit.dbc", "bit", examined(frames, database), "bit.log"))
        status = tomllib.loads(text)["operating_status"]["state"]
        assert status["signal"] == "Pack.main_contactor"
        assert status["values"]["1"] == opened


@pytest.mark.parametrize("flows_while", [0, 1])
def test_names_that_the_current_contradicts_are_not_believed(
    tmp_path: Path, flows_while: int
) -> None:
    """A relay that is "off" while the pack delivers is not the pack's: no "powered down"."""
    path = tmp_path / "bit.dbc"
    path.write_text(f'{BIT_DBC}VAL_ 256 main_contactor 0 "OFF" 1 "ON" ;\n', encoding="utf-8")
    database = load(path)
    seen = examined(list(bit_log(flows_while)), database)
    text = draft(Plan(database, "bit.dbc", "bit", seen, "bit.log"))
    said = tomllib.loads(text)["operating_status"]["state"]["values"]["1"]
    assert said == ([] if flows_while == 0 else ["OFF"])
    assert ("named open (OFF), but up to 30" in text) is (flows_while == 0)


def test_a_current_that_can_be_negative_comes_first(tmp_path: Path) -> None:
    """Of two pack currents the signed one; of two signed ones the one that comes more often."""
    path = tmp_path / "two.dbc"
    signed = BIT_DBC.split("\n")[-2]
    path.write_text(
        BIT_DBC.replace("16@1- (0.1,0)", "16@1+ (0.1,0)")
        + f"BO_ 257 Pack_2: 8 BMS\n{signed}\nBO_ 258 Pack_3: 8 BMS\n{signed}\n",
        encoding="utf-8",
    )
    heard = {"Pack": 900, "Pack_2": 30, "Pack_3": 300}
    found = [each.message.name for each in candidates(load(path), "current", heard)]
    assert found == ["Pack_3", "Pack_2", "Pack"]


def test_words_of_alarms_are_proposed_but_not_used(tmp_path: Path) -> None:
    """A 16-bit word of faults: its bits are named by a person."""
    path = tmp_path / "word.dbc"
    word = ' SG_ dtc_flags_1 : 48|16@1+ (1,0) [0|65535] "" Vector__XXX\n'
    path.write_text(BIT_DBC + word, encoding="utf-8")
    text = draft(Plan(load(path), "word.dbc", "word"))
    assert "#[alarms.bits]" in text
    assert "alarms" not in tomllib.loads(text)


def test_a_value_with_a_unit_is_no_word_of_alarms(tmp_path: Path) -> None:
    """Sixteen bits of mV that the maker calls an error are a value."""
    path = tmp_path / "word.dbc"
    word = ' SG_ charging_voltage_error : 48|16@1- (1,0) [0|0] "mV" Vector__XXX\n'
    path.write_text(BIT_DBC + word, encoding="utf-8")
    assert "alarms" not in draft(Plan(load(path), "word.dbc", "word")).split("# --- Values")[0]


@pytest.mark.parametrize(
    ("name", "is_alarm"),
    [
        ("StatusCellOverVolt", True), ("StatusCellUnderTemp", True), ("LOWVOLT", True),
        ("CellImbalance", True), ("contactor_stuck", True), ("PackOverCurrent", True),
        ("system_control_high_voltage", False), ("contactor_closed", False),
    ],
)  # fmt: skip
def test_conditions_are_alarms_without_the_word(
    tmp_path: Path, name: str, *, is_alarm: bool
) -> None:
    """Makers name the condition, not that it is an alarm."""
    path = tmp_path / "names.dbc"
    path.write_text(f'{BIT_DBC} SG_ {name} : 8|1@1+ (1,0) [0|1] "" X\n', encoding="utf-8")
    text = draft(Plan(load(path), "names.dbc", "names"))
    assert ("alarms" in tomllib.loads(text)) is is_alarm


STATE_DBC = """VERSION ""
BS_:
BU_: BMS
BO_ 256 Pack: 8 BMS
 SG_ pack_current : 16|16@1- (1,0) [0|0] "mA" Vector__XXX
BO_ 257 PrechargeStatus: 8 BMS
 SG_ PrechargeState : 0|8@1+ (1,0) [0|0] "" Vector__XXX
 SG_ PrechargeTimerCounter : 8|8@1+ (1,0) [0|0] "" Vector__XXX
BO_ 258 Other: 8 BMS
 SG_ SupplyState : 0|8@1+ (1,0) [0|0] "" Vector__XXX
"""


def test_a_state_without_names_is_pointed_at(tmp_path: Path) -> None:
    """Its values in the log, those first that moved, and the deadline that it would need."""
    path = tmp_path / "state.dbc"
    path.write_text(STATE_DBC, encoding="utf-8")
    database = load(path)
    frames = [
        Frame(number / 10, can_id, extended=False, data=bytes([state, number % 250, *bytes(6)]))
        for number in range(300)
        for can_id, state in ((256, 0), (257, 1 + 3 * (number > 100)), (258, 7))
    ]
    plan = Plan(database, "state.dbc", "state", examined(frames, database), "state.log")
    text = draft(plan)
    first = text.index("#   PrechargeStatus.PrechargeState, 8 bits: 1, 4 in the log, 1 changes")
    assert first < text.index("#   Other.SupplyState, 8 bits: 7 in the log, 0 changes")
    assert "PrechargeTimerCounter" not in text
    assert '#"PrechargeStatus" = 500' in text
    assert load_profile(written(tmp_path, text, path))[0].status.unknown


def test_placeholders_of_addresses_are_named(tmp_path: Path) -> None:
    """A J1939 file with FE where the sender is: who sends it stands there, and it is asked."""
    path = tmp_path / "j.dbc"
    path.write_text(
        'VERSION ""\nBS_:\nBU_: BMS\nBO_ 2565865470 Cells: 8 BMS\n'
        ' SG_ soc : 0|8@1+ (1,0) [0|100] "%" BMS\n',
        encoding="utf-8",
    )
    database = load(path)
    (message,) = database.messages.values()
    group = message.frame_id & ~0xFF
    frames = [
        Frame(number / 10, group | source, extended=True, data=bytes([50, number, *bytes(6)]))
        for number in range(200)
        for source in ((0xF4, 0x21) if number % 4 == 0 else (0xF4,))
    ]
    seen = examined(frames, database)
    (found,) = of_kind(seen, "other-addresses")
    assert found.numbers["list"] == "Cells from 0xF4, 0x21"
    assert not of_kind(seen, "not-described")
    text = draft(Plan(database, "j.dbc", "j", seen, "j.log"))
    assert "# Cells: heard from 0xF4 x200, 0x21 x50" in text
    assert '#"Cells" = { source = 0xF4 }' in text
    assert "Which address has the battery?" in text
    stated = text.replace('#"Cells" = {', '"Cells" = {')
    _, restated = load_profile(written(tmp_path, stated, path))
    assert restated.messages["Cells"].frame_id == group | 0xF4


def test_a_sign_alone_is_used_where_nothing_tells_the_contactor(tmp_path: Path) -> None:
    """A person's answer is used: with current there is a status, at rest there is none."""
    path = tmp_path / "state.dbc"
    path.write_text(STATE_DBC, encoding="utf-8")
    plan = Plan(load(path), "state.dbc", "state", answers=Answers("discharging"))
    status = load_profile(written(tmp_path, draft(plan), path))[0].status
    assert (status.unknown, status.at_rest) == ("", None)
    assert status.current is not None
    assert status.current.sign == pytest.approx(-0.001)


BIT_DBC = """VERSION ""
BS_:
BU_: BMS
BO_ 256 Pack: 8 BMS
 SG_ main_contactor : 0|1@1+ (1,0) [0|1] "" Vector__XXX
 SG_ pack_current : 16|16@1- (0.1,0) [-3000|3000] "A" Vector__XXX
"""


def bit_log(flows_while: int | None) -> list[Frame]:
    """Return a minute in which the bit is 0 and then 1, and current flows in one half."""
    frames = []
    for number in range(600):
        bit = int(number >= 300)
        raw = (300 + number % 7) if bit == flows_while else 0
        data = bytes([bit, 0]) + raw.to_bytes(2, "little", signed=True) + bytes(4)
        frames.append(Frame(number / 10, 256, extended=False, data=data))
    return frames


@settings(max_examples=50, deadline=None)
@given(st.text(min_size=1, max_size=80))
def test_a_hostile_comment_stays_a_comment(text: str) -> None:
    """Whatever a DBC's comment holds, it cannot end its line and become a key."""
    lines = comment(f"{text}\n[commands.close_contactor]\rmessage = 'x'\u2028y\x85z")
    assert tomllib.loads("\n".join(lines)) == {}
    assert tomllib.loads(f"a = {quoted(text)}") == {"a": text}


def test_a_hostile_dbc_does_not_reach_the_profile(tmp_path: Path) -> None:
    """A comment with a line break and a section in it."""
    evil = 'CM_ SG_ 256 current "charging is positive\n[commands.close_contactor]\na = 1\n";'
    path = tmp_path / "evil.dbc"
    path.write_text(TINY.replace('CM_ SG_ 257 door "cabinet door";', evil), encoding="utf-8")
    text = draft(Plan(load(path), "evil.dbc", "evil"))
    assert "charging is positive [commands.close_contactor] a = 1" in text
    assert "commands" not in tomllib.loads(text)


def test_names_with_signs_of_a_glob_mean_themselves() -> None:
    """A KCD or SYM file may have them."""
    from fnmatch import fnmatchcase  # noqa: PLC0415 - only here

    for name in ("a[1]", "x*", "y?z"):
        assert fnmatchcase(name, glob(name))
    assert not fnmatchcase("xy", glob("x*"))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("PackVoltage_mV", "pack voltage m v"),
        ("BMS_contactorState", "bms contactor state"),
        ("总电压V", "总电压 v"),
        ("HVBattCurr2", "hv batt curr 2"),
        ("PackSoC", "pack soc"),
        ("SoH", "soh"),
        ("SocketTemp", "socket temp"),
    ],
)
def test_names_are_split_into_words(name: str, words: str) -> None:
    """Camel case, underscores, digits, Chinese."""
    assert words_of(name) == words


@pytest.mark.parametrize(
    ("role", "name", "unit", "comment_text"),
    [
        ("current", "dianliu", "A", ""),
        ("current", "x1", "A", "电池组总电流"),
        ("soc", "x2", "%", "荷电状态"),
        ("total_voltage", "zong_dianya", "V", ""),
    ],
)
def test_chinese_and_pinyin_are_understood(
    role: str, name: str, unit: str, comment_text: str, tmp_path: Path
) -> None:
    """In names and in comments."""
    path = tmp_path / "zh.dbc"
    note = f'CM_ SG_ 256 {name} "{comment_text}";\n' if comment_text else ""
    signal = f' SG_ {name} : 0|16@1+ (0.1,0) [0|6000] "{unit}" Vector__XXX\n'
    text = f'VERSION ""\nBS_:\nBU_: BMS\nBO_ 256 BMS_A: 8 BMS\n{signal}{note}'
    path.write_text(text, encoding="gb18030")
    found = best(load(path), role, None)
    assert found is not None
    assert found.name == f"BMS_A.{name}"


def test_every_role_finds_its_signal_in_our_dbc() -> None:
    """And none with an alarm's or a limit's name."""
    database: Database = load(DBC)
    for role in ROLES:
        found = candidates(database, role)
        assert found or role == "state", role
        if role not in ("alarm", "state"):
            assert not re.search(r"alarm|fault|allowed|limit", found[0].name), role


WARNING_DBC = """VERSION ""
BS_:
BU_: BMS
BO_ 256 PackWarn: 8 BMS
 SG_ W_OverTemp : 0|2@1+ (1,0) [0|3] "" Vector__XXX
 SG_ F_Isolation : 2|2@1+ (1,0) [0|3] "" Vector__XXX
 SG_ RC : 8|4@1+ (1,0) [0|15] "" Vector__XXX
VAL_ 256 W_OverTemp 0 "Inactive" 1 "Active" 3 "NotAvailable" ;
"""


def test_what_a_message_of_alarms_has_besides_is_named(tmp_path: Path) -> None:
    """A name that the words do not know is no reason to leave an alarm out without a word."""
    path = tmp_path / "warn.dbc"
    path.write_text(WARNING_DBC, encoding="utf-8")
    text = draft(Plan(load(path), "warn.dbc", "warn"))
    assert tomllib.loads(text)["alarms"][0]["signals"] == ["PackWarn.W_OverTemp"]
    told = " ".join(text.replace("\n#", "").split())
    assert "not taken, by their names: F_Isolation. Are they alarms?" in told
    assert "3 of PackWarn.W_OverTemp is named NotAvailable" in told
    assert '"PackWarn.W_OverTemp" = { sentinels = [3] }' in told


@pytest.mark.parametrize(("said", "positive"), [("charged", "charging"), ("discharged", "")])
def test_comment_and_log_must_not_contradict(
    seen: Examination, said: str, positive: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log speaks for charging: a comment that says the same adds to it, another voids both."""
    plan = planned(seen)
    assert plan.current is not None
    text = f"positive while the battery is {said}"
    monkeypatch.setattr(plan.current.signal, "comment", text)
    assert plan.sign.positive == positive
    assert text in plan.sign.why
    assert "correlation" in plan.sign.why
