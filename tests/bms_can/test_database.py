"""Databases: encodings, mending, warnings, refusals, look-ups."""

import hashlib
import os
from pathlib import Path

import cantools
import pytest

from bms_can.can_frame import Form
from bms_can.database import cycle_time_ms, fd_forms, find, load, match, raw_values
from bms_can.errors import BadDatabase, BadValue
from tests.bms_can import tiny

HEAD = 'VERSION ""\nNS_ :\nBS_:\nBU_: A\n'
STATE = """BO_ 256 State: 8 A
 SG_ mode : 0|4@1+ (1,0) [0|15] "" A
 SG_ current : 8|16@1- (0.1,0) [-1000|1000] "A" A
"""
CHOICES = 'VAL_ 256 mode 0 "off" 1 "on" 2 "on" ;\n'


def _dbc(tmp_path: Path, text: str | bytes, name: str = "x.dbc") -> Path:
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_which_messages_are_can_fd(tmp_path: Path) -> None:
    """By the format that the file states, or by a length that only CAN FD has."""
    found = fd_forms(load(_dbc(tmp_path, tiny.FD_DBC)))
    assert found == {(512, False): Form(fd=True, switch=True), (513, False): Form(fd=True)}
    long = HEAD + STATE.replace("State: 8", "State: 12")
    assert fd_forms(load(_dbc(tmp_path, long))) == {(256, False): Form(fd=True)}
    assert fd_forms(load(_dbc(tmp_path, HEAD + STATE))) == {}


def test_keeps_path_fingerprint_and_both_indexes(tmp_path: Path) -> None:
    """A loaded file can be found again by path and sha256, its messages by name and by id."""
    path = _dbc(tmp_path, HEAD + STATE)
    database = load(path)
    assert database.path == str(path)
    assert database.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert database.warnings == ()
    assert database.by_id[256, False] is database.messages["State"]
    assert set(database.signals) == {"State.mode", "State.current"}


@pytest.mark.parametrize(
    ("encoding", "expected"),
    [("utf-8", "utf-8"), ("utf-8-sig", "utf-8-sig"), ("gb18030", "gb18030"), ("utf-16", "utf-16")],
)
def test_reads_chinese_comments(tmp_path: Path, encoding: str, expected: str) -> None:
    """Comments and units come out right in every encoding that Chinese makers use (trap 17)."""
    text = HEAD + STATE.replace('"A"', '"℃"') + 'CM_ SG_ 256 mode "告警状态";\n'
    database = load(_dbc(tmp_path, text.encode(encoding)))
    assert database.encoding == expected
    assert database.messages["State"].get_signal_by_name("mode").comment == "告警状态"
    assert database.messages["State"].get_signal_by_name("current").unit == "℃"


def test_falls_back_to_cp1252(tmp_path: Path) -> None:
    """A lone degree sign is Western, because it is no valid GB18030."""
    text = HEAD + STATE.replace('"A"', '"\u00b0"')
    database = load(_dbc(tmp_path, text.encode("cp1252")))
    assert database.encoding == "cp1252"
    assert database.messages["State"].get_signal_by_name("current").unit == "°"


def test_a_wrong_mark_is_named_with_its_line(tmp_path: Path) -> None:
    """A file that announces UTF-8 and breaks it is refused, with the line."""
    with pytest.raises(BadDatabase, match="line 2: not utf-8-sig"):
        load(_dbc(tmp_path, b"\xef\xbb\xbfVERSION \n \xff\xff"))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "line 1: Invalid syntax"),
        (HEAD, "0 messages"),
        (HEAD + "BO_ 256 State: 8 A\n", "1 messages, none with signals"),
        (HEAD + "BO_ 256 State 8 A\n", "line 5: Invalid syntax"),
        ("not a database", "Invalid syntax"),
        (HEAD + STATE.replace("0|4@", "0|0@"), "not greater than 0"),
        (HEAD + STATE.replace("BO_ 256", "BO_ 4096"), "more than 11 bits"),
    ],
)
def test_refuses_what_cannot_serve(tmp_path: Path, text: str, reason: str) -> None:
    """A file without one usable signal is refused as BadDatabase, with the file and the reason."""
    path = _dbc(tmp_path, text)
    with pytest.raises(BadDatabase, match=reason) as caught:
        load(path)
    assert str(path) in str(caught.value)


def test_refuses_missing_files_and_foreign_kinds(tmp_path: Path) -> None:
    """A missing file, a folder and an unknown suffix are BadDatabase too."""
    for path in (tmp_path / "none.dbc", tmp_path / "x.txt"):
        with pytest.raises(BadDatabase):
            load(path)
    folder = tmp_path / "folder.dbc"
    folder.mkdir()
    with pytest.raises(BadDatabase):
        load(folder)


@pytest.mark.parametrize("kind", ["kcd", "sym"])
def test_loads_other_formats(tmp_path: Path, kind: str) -> None:
    """KCD and SYM serve as well as DBC."""
    original = cantools.database.load_string(HEAD + STATE, "dbc")
    assert isinstance(original, cantools.database.can.Database)
    text = original.as_kcd_string() if kind == "kcd" else original.as_sym_string()
    database = load(_dbc(tmp_path, text, f"x.{kind}"))
    assert set(database.signals) == {"State.mode", "State.current"}


def test_leaves_out_unused_entries(tmp_path: Path) -> None:
    """Value tables without a signal are left out and named with their line (trap 18b)."""
    unused = (
        'VAL_ 999 gone 1 "a;b" 0 "c" ;\nSIG_VALTYPE_ 999 gone : 1;\n'
        'VAL_ 256 other\n 1 "x" ;\n' + CHOICES
    )
    database = load(_dbc(tmp_path, HEAD + STATE + unused))
    assert database.warnings == (
        "line 8: VAL_ 999 gone fits no signal; left out",
        "line 10: VAL_ 256 other fits no signal; left out",
        "line 9: SIG_VALTYPE_ 999 gone fits no signal; left out",
    )
    assert database.messages["State"].get_signal_by_name("mode").choices


def test_mends_a_missing_bs_line(tmp_path: Path) -> None:
    """A file without BS_ is read as if it had one, and says so."""
    database = load(_dbc(tmp_path, HEAD.replace("BS_:\nBU_: A\n", " NS_DESC_\n") + STATE))
    assert database.warnings == ("no BS_: line; read as if it had one",)
    assert "State.mode" in database.signals


def test_names_overlapping_and_ill_fitting_signals(tmp_path: Path) -> None:
    """Bad layouts load with a warning for each pair; a signal beyond the end does not decode."""
    extra = (
        ' SG_ shadow : 15|8@0+ (1,0) [0|0] "" A\n'
        ' SG_ beyond : 60|8@1+ (1,0) [0|0] "" A\n'
        ' SG_ beyond_be : 63|16@0+ (1,0) [0|0] "" A\n'
    )
    database = load(_dbc(tmp_path, HEAD + STATE + extra))
    text = "\n".join(database.warnings)
    assert "loaded without layout checks" in text
    assert "State: current and shadow overlap" in text or "State: shadow and current" in text
    assert "State.beyond: does not fit" in text
    assert "State.beyond_be: does not fit" in text
    assert set(database.signals) == {"State.mode", "State.current", "State.shadow"}


def test_pages_of_a_multiplexer_may_share_bits(tmp_path: Path) -> None:
    """Signals of different pages do not overlap, those of one page and its selector do."""
    muxed = (
        'BO_ 1 Mux: 8 A\n SG_ sel M : 0|8@1+ (1,0) [0|0] "" A\n'
        ' SG_ a m0 : 8|8@1+ (1,0) [0|0] "" A\n SG_ b m1 : 8|8@1+ (1,0) [0|0] "" A\n'
    )
    assert load(_dbc(tmp_path, HEAD + muxed)).warnings == ()
    clash = muxed + ' SG_ c m1 : 4|8@1+ (1,0) [0|0] "" A\n'
    warnings = load(_dbc(tmp_path, HEAD + clash)).warnings
    assert {w for w in warnings if w.startswith("Mux: ")} == {
        "Mux: sel and c overlap",
        "Mux: c and b overlap",
    }


def test_doubled_ids_and_names_do_not_decode(tmp_path: Path) -> None:
    """Two messages with one id or one name are named and left out; a 29-bit twin is another id."""
    text = HEAD + STATE + STATE.replace("State", "Twin")
    text += STATE.replace("256 State", "512 Same") + STATE.replace("256 State", "513 Same")
    text += STATE.replace("256 State", "2147483904 Extended")
    database = load(_dbc(tmp_path, text))
    assert database.ambiguous == {(256, False), (512, False), (513, False)}
    assert set(database.by_id) == {(256, True)}
    assert any("State: id 0x100 has 2 messages" in warning for warning in database.warnings)
    assert any("Same: 2 messages so named" in warning for warning in database.warnings)


def test_doubled_signal_names_do_not_decode(tmp_path: Path) -> None:
    """A name used twice in one message could mean either, so it means neither."""
    extra = ' SG_ mode : 32|4@1+ (1,0) [0|15] "" A\n'
    database = load(_dbc(tmp_path, HEAD + STATE + extra))
    assert find(database, "State.mode") is None
    assert find(database, "State.current") is not None
    assert "State.mode: there twice; not decoded" in database.warnings


def test_an_empty_range_is_named(tmp_path: Path) -> None:
    """A minimum above the maximum is a typing mistake, not a signal that is never valid."""
    database = load(_dbc(tmp_path, HEAD + STATE.replace("[0|15]", "[15|0]")))
    assert database.warnings == ("State.mode: range [15|0] is empty; ignored",)


def test_cycle_time_is_what_the_file_states_for_the_message(tmp_path: Path) -> None:
    """The attribute's default and 0 say nothing about a message (trap 19)."""
    text = (
        HEAD
        + STATE
        + STATE.replace("256 State", "257 Zero")
        + STATE.replace("256 State", "258 Unset")
        + 'BA_DEF_ BO_ "GenMsgCycleTime" INT 0 65535;\nBA_DEF_DEF_ "GenMsgCycleTime" 700;\n'
        'BA_ "GenMsgCycleTime" BO_ 256 100;\nBA_ "GenMsgCycleTime" BO_ 257 0;\n'
    )
    messages = load(_dbc(tmp_path, text)).messages
    assert [cycle_time_ms(messages[name]) for name in ("State", "Zero", "Unset")] == [
        100,
        None,
        None,
    ]


def test_match_sorts_naturally_and_minds_case(tmp_path: Path) -> None:
    """Cell 2 comes before cell 10, and CELL is not cell."""
    cells = "".join(
        f' SG_ {name} : {8 * i}|8@1+ (1,0) [0|0] "" A\n'
        for i, name in enumerate(("cell_10", "cell_2", "cell_1", "CELL_3", "other"))
    )
    database = load(_dbc(tmp_path, HEAD + "BO_ 1 M: 8 A\n" + cells))
    assert match(database, "M.cell_*") == ("M.cell_1", "M.cell_2", "M.cell_10")
    assert match(database, "X.*") == ()


def test_raw_values_by_name_and_number(tmp_path: Path) -> None:
    """Choice names give every raw value so called; numbers are raw and must fit the bits."""
    database = load(_dbc(tmp_path, HEAD + STATE + CHOICES))
    found = find(database, "State.mode")
    assert found is not None
    assert raw_values(*found, ["on", 7]) == {1, 2, 7}
    bad: str | int | float
    for bad in ("nope", 16, -1, 1.5, True, float("nan"), float("inf")):
        with pytest.raises(BadValue, match=r"State\.mode"):
            raw_values(*found, [bad])


@pytest.mark.shared
def test_every_real_file_loads() -> None:
    """All vendor files load, 22 of them, with at least one signal each."""
    folder = os.environ.get("BMS_REAL_LOGS")
    if not folder:
        pytest.skip("BMS_REAL_LOGS does not name the folder of real DBC files")
    paths = sorted(Path(folder).rglob("*.dbc"))
    assert len(paths) >= 20
    for path in paths:
        assert load(path).signals, path
