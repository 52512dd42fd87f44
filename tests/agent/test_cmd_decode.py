"""`bms-agent decode`: the frames of a log for people and for programs."""

import json
import os
from pathlib import Path

import cantools
import pytest

from agent.cli import main
from tests.bms_can.columnar.battery import cell, energy, line, pack, unnamed, write_dbc, write_log

Capture = pytest.CaptureFixture[str]
ROOT = Path(__file__).parents[2]


@pytest.fixture
def dbc(tmp_path: Path) -> Path:
    """Give the battery's DBC."""
    return write_dbc(tmp_path)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Give a log with one of each."""
    return write_log(
        tmp_path / "a.log",
        [
            line(1, pack(voltage=5123, current=-3, soc=255, state=7)),
            line(2, cell(1, 3300), "can1"),
            line(3, "7FF#0102"),
            line(4, "100#00"),
            line(5, energy(2**64 - 1)),
            "noise",
        ],
    )


def decode(capsys: Capture, *words: str | Path, code: int = 0) -> tuple[list[str], list[str]]:
    """Run the command; return its lines on stdout and stderr."""
    assert main(["decode", *map(str, words)]) == code
    out, err = capsys.readouterr()
    return out.splitlines(), err.splitlines()


def test_a_line_a_frame_in_the_order_of_the_log(log: Path, dbc: Path, capsys: Capture) -> None:
    """Units and names; what is not to be believed is a question mark with its raw value."""
    out, err = decode(capsys, log, "--dbc", dbc)
    signals = "voltage=512.3 V  current=-0.3 A  soc=? (raw 255)  state=not available"
    assert out == [
        f"(1700006401.000000) can0 Pack  {signals}  time=0 s  Time=0 s",
        "(1700006402.000000) can1 Cells  page=1  cell_2=3.3 V",
        "(1700006404.000000) can0 Pack  100#00  not decoded: length",
        "(1700006405.000000) can0 Energy  total=18446744073709551615 Wh",
    ]
    assert err == [
        f"{log}: 1 lines without a data frame: format",
        f"{log}: 2 of 5 frames not decoded (--all)",
    ]


def test_all_shows_the_rest(log: Path, dbc: Path, capsys: Capture) -> None:
    """Frames that the DBC does not have."""
    out, _ = decode(capsys, log, "--dbc", dbc, "--all", "--message", "Cells")
    assert out[2] == "(1700006403.000000) can0 -  7FF#0102  not decoded: not in the DBC"


def test_json_has_full_numbers_and_nulls(log: Path, dbc: Path, capsys: Capture) -> None:
    """One object a line; names of choices apart from the numbers."""
    out, _ = decode(capsys, log, "--dbc", dbc, "--json", "--all")
    first, cells, unknown, short, total = [json.loads(each) for each in out]
    assert first == {
        "time": 1700006401.0, "channel": "can0", "message": "Pack",
        "signals": {"voltage": 5123 * 0.1, "current": -3 * 0.1, "soc": None, "state": 7,
                    "time": 0, "Time": 0},
        "names": {"state": "not available"},
    }  # fmt: skip
    assert cells["signals"] == {"page": 1, "cell_2": 3300 * 0.001}
    assert unknown["not_decoded"] == "not in the DBC"
    assert (short["frame"], short["not_decoded"]) == ("100#00", "length")
    assert total["signals"] == {"total": 2**64 - 1}


def test_filters(log: Path, dbc: Path, capsys: Capture) -> None:
    """By message, signal and channel."""
    out, err = decode(capsys, log, "--dbc", dbc, "--signal", "Pack.v*", "--channel", "can0")
    assert "frames not chosen or not decoded (--all)" in err[-1]
    assert out[0] == "(1700006401.000000) can0 Pack  voltage=512.3 V"
    out, _ = decode(capsys, log, "--dbc", dbc, "--message", "Cells", "--channel", "can1")
    assert len(out) == 1
    _, err = decode(capsys, log, "--dbc", dbc, "--signal", "nope", code=os.EX_CONFIG)
    assert err == [f"{dbc}: --signal nope: not in the DBC"]


def test_a_log_without_channels_is_of_one_bus(tmp_path: Path, dbc: Path, capsys: Capture) -> None:
    """Its frames are those of the channel that is asked for, as for `replay` and `inspect`."""
    log = unnamed(tmp_path)
    out, err = decode(capsys, log, "--dbc", dbc, "--message", "Pack", "--channel", "can3")
    assert (len(out), err) == (1, [])


def test_no_frame_is_no_success(tmp_path: Path, dbc: Path, capsys: Capture) -> None:
    """A log that the DBC does not explain at all ends with 1."""
    log = write_log(tmp_path / "b.log", [line(1, "7FF#00")])
    out, _ = decode(capsys, log, "--dbc", dbc, code=1)
    assert out == []


def test_values_are_those_of_cantools(capsys: Capture) -> None:
    """Over a whole log, bit for bit, where they are inside of the range."""
    dbc = ROOT / "dbc" / "ess_bau.dbc"
    log = ROOT / "tests" / "data" / "ess_bau" / "half_minute.log"
    database = cantools.database.load_file(dbc)
    assert isinstance(database, cantools.database.can.Database)
    out, _ = decode(capsys, log, "--dbc", dbc, "--json", "--all")
    frames = [text.split() for text in log.read_text().splitlines() if text.startswith("(")]
    compared = 0
    for text, frame in zip(out, frames, strict=True):
        shown = json.loads(text)
        if "signals" not in shown:
            continue
        can_id, _, data = frame[2].partition("#")
        expected = database.decode_message(
            int(can_id, 16), bytes.fromhex(data), decode_choices=False
        )
        assert isinstance(expected, dict)
        for name, value in shown["signals"].items():
            assert value is None or value == expected[name]
            compared += value is not None
        assert shown["signals"].keys() == expected.keys()
    assert compared > 1000


@pytest.fixture
def switching(tmp_path: Path) -> Path:
    """Give a log with repeats, a change, an impossible value and two buses."""
    states = [(1, 0, 5), (2, 0, 5), (3, 1, 5), (4, 1, 255), (5, 0, 6)]
    frames = [line(at_s, pack(state=state, soc=soc)) for at_s, state, soc in states]
    other = [line(4.5, pack(state=1), "can1"), line(4.7, pack(state=1), "can1")]
    return write_log(tmp_path / "c.log", [*frames[:4], *other, frames[4], line(6, "100#00")])


def test_changes_are_a_line_each(switching: Path, dbc: Path, capsys: Capture) -> None:
    """The first value and each other one after it, in the order of the log, each bus by itself."""
    words = ("--signal", "state", "--signal", "soc", "--changes")
    out, err = decode(capsys, switching, "--dbc", dbc, *words)
    assert out == [
        "(1700006401.000000) can0 Pack.soc  - -> 5 %",
        "(1700006401.000000) can0 Pack.state  - -> idle",
        "(1700006403.000000) can0 Pack.state  idle -> charge",
        "(1700006404.000000) can0 Pack.soc  5 % -> ? (raw 255)",
        "(1700006404.500000) can1 Pack.soc  - -> 0 %",
        "(1700006404.500000) can1 Pack.state  - -> charge",
        "(1700006405.000000) can0 Pack.soc  ? (raw 255) -> 6 %",
        "(1700006405.000000) can0 Pack.state  charge -> idle",
    ]
    assert err == [f"{switching}: 1 of 8 frames not chosen or not decoded"]


def test_changes_as_json(switching: Path, dbc: Path, capsys: Capture) -> None:
    """Numbers and names apart; the first has no `old`, what is not believed is null."""
    words = ("--channel", "can0", "--changes", "--json")
    out, _ = decode(capsys, switching, "--dbc", dbc, "--signal", "s*", *words)
    first, named, changed, doubted, *_ = [json.loads(each) for each in out]
    assert first == {"time": 1700006401.0, "channel": "can0", "signal": "Pack.soc", "new": 5}
    assert (named["new"], named["new_name"]) == (0, "idle")
    assert (changed["old"], changed["new"]) == (0, 1)
    assert (changed["old_name"], changed["new_name"]) == ("idle", "charge")
    assert (doubted["old"], doubted["new"]) == (5, None)


def test_changes_show_no_undecoded_frames(log: Path, dbc: Path) -> None:
    """--all has nothing to say beside --changes."""
    with pytest.raises(SystemExit) as ended:
        main(["decode", str(log), "--dbc", str(dbc), "--changes", "--all"])
    assert ended.value.code == 2
