"""The tables of a log say what the live path says about its frames: nothing more, nothing less."""

import csv
import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet
import pytest

from bms_can.columnar import export_log as module
from bms_can.columnar import export_plan, export_tables, export_wide
from bms_can.columnar.export_log import Exported, Failed, Task, export_log, versions
from bms_can.columnar.export_plan import Options
from bms_can.columnar.scan import scan
from bms_can.database import load
from tests.bms_can.columnar import dbcs
from tests.bms_can.columnar.battery import cell, energy, line, pack, unnamed, write_dbc, write_log
from tests.bms_can.columnar.exported import compare, export, live_rows, rows

ROOT = Path(__file__).parents[3]


@pytest.fixture
def dbc(tmp_path: Path) -> Path:
    """Give the battery's DBC."""
    return write_dbc(tmp_path)


def test_unknown_is_null_and_zero_is_zero(tmp_path: Path, dbc: Path) -> None:
    """Out of range, a page that was not sent, a choice without a name: null. 0 V is 0 V."""
    log = write_log(
        tmp_path / "a.log",
        [
            line(1, pack(voltage=7321, current=-123, soc=255, state=7)),
            line(2, pack()),
            line(3, pack(state=3)),
            line(4, cell(0, 3300)),
            line(5, cell(1, 0)),
        ],
    )
    entry = export(log, dbc, tmp_path / "out")
    first, zero, unnamed = rows(tmp_path / "out", "Pack")
    assert (first["voltage"], first["current"], first["soc"]) == (None, -12.3, None)
    assert (first["state"], first["state_text"]) == (7, "not available")
    assert (zero["voltage"], zero["current"], zero["soc"], zero["state_text"]) == (0, 0, 0, "idle")
    assert (unnamed["state"], unnamed["state_text"]) == (3, None)
    assert [(row["cell_1"], row["cell_2"]) for row in rows(tmp_path / "out", "Cells")] == [
        (3300 * 0.001, None),
        (None, 0.0),
    ]
    assert entry["impossible"] == {"Pack.soc": 1, "Pack.voltage": 1}


def test_all_values_keeps_what_the_dbc_calls_impossible(tmp_path: Path, dbc: Path) -> None:
    """Some DBCs have wrong ranges; what is not on the page stays unknown."""
    log = write_log(tmp_path / "a.log", [line(1, pack(soc=255)), line(2, cell(1, 9000))])
    entry = export(log, dbc, tmp_path / "out", all_values=True)
    assert rows(tmp_path / "out", "Pack")[0]["soc"] == 255
    assert rows(tmp_path / "out", "Cells")[0] | {"time": 0} == {
        "time": 0, "channel": "can0", "page": 1, "cell_1": None, "cell_2": 9.0,
    }  # fmt: skip
    assert entry["impossible"] == {}


def test_schema_names_unit_signal_and_origin(tmp_path: Path, dbc: Path) -> None:
    """A file that is handed on says by itself what is in it."""
    log = write_log(tmp_path / "a.log", [line(1, pack()), line(2, energy(2**64 - 1))])
    export(log, dbc, tmp_path / "out")
    (path,) = (tmp_path / "out" / "message=Pack").rglob("*.parquet")
    schema = pa.parquet.read_schema(path)
    assert schema.field("time").type == pa.timestamp("us", tz="UTC")
    assert schema.field("voltage").metadata == {b"signal": b"Pack.voltage", b"unit": b"V"}
    assert schema.field("time_").metadata[b"signal"] == b"Pack.time"
    choices = json.loads(schema.field("state_text").metadata[b"choices"])
    assert choices == {"0": "idle", "1": "charge", "7": "not available"}
    assert schema.metadata == {
        b"layout": b"1", b"tool": b"test", b"log": b"a.log", b"dbc": b"battery.dbc",
        b"dbc_sha256": load(dbc).sha256.encode(), b"message": b"Pack", b"can_id": b"100",
        b"extended": b"false",
    }  # fmt: skip
    assert rows(tmp_path / "out", "Energy")[0]["total"] == 2**64 - 1


def test_numbers_that_come_again_are_a_dictionary(tmp_path: Path, dbc: Path) -> None:
    """What the first rows say decides, for real numbers of many bits; the values are the same."""
    raws = [(n % 7, n) for n in range(3000)]
    log = write_log(tmp_path / "a.log", [line(0, pack(voltage=a, current=b)) for a, b in raws])
    export(log, dbc, tmp_path / "out", all_values=True)
    (path,) = (tmp_path / "out").rglob("*.parquet")
    with pa.parquet.ParquetFile(path) as file:
        group = file.metadata.row_group(0)
        columns = [group.column(number) for number in range(group.num_columns)]
        found = {each.path_in_schema: each.has_dictionary_page for each in columns}
        table = file.read()
    assert (found["voltage"], found["current"], found["soc"]) == (True, False, False)
    assert table["voltage"].to_pylist() == [a * 0.1 for a, _ in raws]
    assert table["current"].to_pylist() == [b * 0.1 for _, b in raws]


def test_integers_beyond_64_bits_are_exact(tmp_path: Path, dbc: Path) -> None:
    """As their digits: a float64 would not hold them."""
    log = write_log(tmp_path / "a.log", [line(1, "102#FFFFFFFFFFFFFFFF")])
    export(log, dbc, tmp_path / "out")
    export(log, dbc, tmp_path / "wide", wide_us=10**6, max_age_s=1.0)
    assert rows(tmp_path / "out", "Huge")[0]["scaled"] == str((2**64 - 1) * 1000)
    (path,) = (tmp_path / "wide").rglob("*.parquet")
    assert pa.parquet.ParquetFile(path).read()["Huge.scaled"].to_pylist() == [
        str((2**64 - 1) * 1000)
    ]


def test_a_message_without_signals_has_its_times(tmp_path: Path, dbc: Path) -> None:
    """That it came is all that can be said about it."""
    log = write_log(tmp_path / "a.log", [line(1, "103#0000000000000000")])
    export(log, dbc, tmp_path / "out")
    export(log, dbc, tmp_path / "wide", wide_us=10**6)
    assert [list(row) for row in rows(tmp_path / "out", "Bare")] == [["time", "channel"]]


def test_midnight_parts_the_files_and_a_mixed_up_clock_loses_nothing(
    tmp_path: Path, dbc: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Days are those of the log, UTC; rows of a day keep their order; late rows get a part."""
    times = [86_399.9, 86_400.0, 86_399.95, 5 * 86_400.0, 9 * 86_400.0, 20 * 86_400.0, 1.0]
    log = write_log(tmp_path / "b.log", [line(at, pack(soc=n)) for n, at in enumerate(times)])
    monkeypatch.setattr(module, "scan", lambda path: scan(path, chunk_frames=1))
    export(log, dbc, tmp_path / "out")
    found = {
        str(path.relative_to(tmp_path / "out" / "message=Pack")): (
            pa.parquet.ParquetFile(path).read()["soc"].to_pylist()
        )
        for path in (tmp_path / "out").rglob("*.parquet")
    }
    assert found == {
        "date=2023-11-15/b.log.parquet": [0, 2], "date=2023-11-15/b.log~2.parquet": [6],
        "date=2023-11-16/b.log.parquet": [1], "date=2023-11-20/b.log.parquet": [3],
        "date=2023-11-24/b.log.parquet": [4], "date=2023-12-05/b.log.parquet": [5],
    }  # fmt: skip


def test_times_that_are_noise_are_refused(
    tmp_path: Path, dbc: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A log whose times lie everywhere must not fill the disk with files."""
    monkeypatch.setattr(export_tables, "MOST_FILES", 10)
    log = write_log(tmp_path / "a.log", [line(n * 86_400, pack()) for n in range(12)])
    database = load(dbc)
    (tmp_path / "work").mkdir()
    task = Task(
        str(log), "a", str(dbc), database.sha256, Options(), str(tmp_path / "work"), versions("t")
    )
    outcome = export_log(task)
    assert outcome == Failed(str(log), "makes more than 10 files: its times are noise", final=True)
    assert list((tmp_path / "work").iterdir()) == []


def a_task(tmp_path: Path, dbc: Path, **changes: Any) -> Task:  # noqa: ANN401 - as Task
    """Build the task of a log of one frame."""
    log = write_log(tmp_path / "a.log", [line(1, pack())])
    (tmp_path / "work").mkdir(exist_ok=True)
    made = Task(
        str(log), "a", str(dbc), load(dbc).sha256, Options(), str(tmp_path / "work"), versions("t")
    )
    return made._replace(**changes)


def test_a_worker_with_another_dbc_or_version_says_so(tmp_path: Path, dbc: Path) -> None:
    """Its files would differ; trying again would not help."""
    other = export_log(a_task(tmp_path, dbc, dbc_sha256="0" * 64))
    assert isinstance(other, Failed)
    assert other.reason.endswith("not the same file on this machine")
    assert other.final
    old = export_log(a_task(tmp_path, dbc, versions=("t", "pyarrow 1.0")))
    assert isinstance(old, Failed)
    assert "the exporter pyarrow 1.0: their files would differ" in old.reason


def test_a_folder_that_is_gone_may_come_back(tmp_path: Path, dbc: Path) -> None:
    """A file system that is not there for a moment is worth another try."""
    outcome = export_log(a_task(tmp_path, dbc, work=str(tmp_path / "none")))
    assert isinstance(outcome, Failed)
    assert not outcome.final


def test_a_clock_that_is_noise_makes_no_wide_table(
    tmp_path: Path, dbc: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It goes back some times: each time a new stretch. Always: it is no clock."""
    monkeypatch.setattr(export_wide, "MOST_STRETCHES", 3)
    write_log(tmp_path / "b.log", [line(10 * (n % 2), pack(soc=n)) for n in range(6)])
    task = a_task(tmp_path, dbc, path=str(tmp_path / "b.log"), options=Options(wide_us=10**6))
    assert isinstance(export_log(task), Exported)
    write_log(tmp_path / "b.log", [line(10 * (n % 2), pack(soc=n)) for n in range(9)])
    outcome = export_log(task)
    assert isinstance(outcome, Failed)
    assert outcome.reason == "its clock goes back more than 3 times; no wide table"


def test_a_log_of_very_many_channels_makes_no_wide_table(
    tmp_path: Path, dbc: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names that are noise must not fill the memory; one of them can be chosen."""
    monkeypatch.setattr(export_wide, "MOST_CHANNELS", 2)
    log = write_log(tmp_path / "b.log", [line(n, pack(), f"can{n}") for n in range(3)])
    chosen = Options(wide_us=10**6, channel="can2")
    task = a_task(tmp_path, dbc, path=str(log), options=Options(wide_us=10**6))
    outcome = export_log(task)
    assert isinstance(outcome, Failed)
    assert outcome.reason == "more than 2 channels; choose one with --channel"
    assert isinstance(export_log(task._replace(options=chosen)), Exported)


def test_bad_lines_and_frames_are_counted_with_their_numbers(tmp_path: Path, dbc: Path) -> None:
    """Nothing is dropped in silence."""
    log = write_log(
        tmp_path / "a.log",
        [line(1, pack()), "noise", line(2, "100#00"), line(3, cell(3, 0)), line(4, "7FF#00"),
         line(5, "100#R"), line(6, pack(), "can1")],
    )  # fmt: skip
    entry = export(log, dbc, tmp_path / "out", channel="can0")
    assert {key: entry[key] for key in ("frames", "decoded", "other_channels", "not_wanted")} == {
        "frames": 5, "decoded": 1, "other_channels": 1, "not_wanted": 1,
    }  # fmt: skip
    assert entry["bad_lines"] == {
        "format": {"count": 1, "first": [2]}, "remote frame": {"count": 1, "first": [6]},
    }  # fmt: skip
    assert entry["refused"] == {"Pack": {"length": 1}, "Cells": {"mux": 1}}


def test_a_log_without_channels_is_of_one_bus(tmp_path: Path, dbc: Path) -> None:
    """Its frames are those of the channel that is asked for, and say that it had no name."""
    entry = export(unnamed(tmp_path), dbc, tmp_path / "out", channel="can3")
    assert (entry["decoded"], entry["other_channels"]) == (1, 0)
    assert [row["channel"] for row in rows(tmp_path / "out", "Pack")] == [""]


def test_chosen_signals_alone_are_written(tmp_path: Path, dbc: Path) -> None:
    """A message without a wanted signal makes no file."""
    log = write_log(tmp_path / "a.log", [line(1, pack()), line(2, cell(0, 1))])
    export(log, dbc, tmp_path / "out", signals=("Cells.cell_1",))
    (path,) = (tmp_path / "out").rglob("*.parquet")
    assert pa.parquet.read_schema(path).names == ["time", "channel", "cell_1"]


def test_the_folder_is_one_data_set(tmp_path: Path, dbc: Path) -> None:
    """Readers of hive-like folders see message and date as columns, and nothing else of ours."""
    log = write_log(tmp_path / "a.log", [line(1, pack(soc=5)), line(90_000, pack(soc=6))])
    export(log, dbc, tmp_path / "out")
    found = pa.dataset.dataset(tmp_path / "out", format="parquet", partitioning="hive").to_table()
    assert found["message"].to_pylist() == ["Pack", "Pack"]
    assert found["date"].to_pylist() == ["2023-11-15", "2023-11-16"]
    assert found["soc"].to_pylist() == [5, 6]


def test_csv_says_the_same(tmp_path: Path, dbc: Path) -> None:
    """Empty is unknown; numbers have all their digits."""
    log = write_log(tmp_path / "a.log", [line(1.5, pack(voltage=3, soc=255, state=7))])
    export(log, dbc, tmp_path / "out", format="csv")
    (path,) = (tmp_path / "out").rglob("*.csv")
    with path.open(encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["time"] == "2023-11-15 00:00:01.500000Z"
    assert float(row["voltage"]) == 3 * 0.1
    assert (row["soc"], row["state_text"], row["channel"]) == ("", "not available", "can0")


@pytest.mark.parametrize("pieces", [1, 7])
def test_the_same_log_makes_the_same_bytes(
    tmp_path: Path, dbc: Path, monkeypatch: pytest.MonkeyPatch, pieces: int
) -> None:
    """Whatever the size of the pieces in which it is read, packed or not."""
    lines = [
        line(n / 7, pack(soc=n % 101), f"can{n % 5 % 2}") if n % 3 else line(n / 7, cell(n % 2, n))
        for n in range(5000)
    ]
    plain = write_log(tmp_path / "a.log", lines)
    first = export(plain, dbc, tmp_path / "first")
    packed = tmp_path / "packed" / "a.log"
    packed.parent.mkdir()
    packed.write_bytes(gzip.compress(plain.read_bytes()) if pieces == 1 else plain.read_bytes())
    if pieces > 1:
        monkeypatch.setattr(module, "scan", lambda path: scan(path, chunk_frames=pieces))
    second = export(packed, dbc, tmp_path / "second")
    assert second["files"] == first["files"]


def test_the_rows_are_those_of_the_live_codec(tmp_path: Path) -> None:
    """Value by value, over a whole log."""
    log = ROOT / "tests" / "data" / "ess_bau" / "half_minute.log"
    dbc = ROOT / "dbc" / "ess_bau.dbc"
    export(log, dbc, tmp_path)
    assert compare(log, load(dbc), tmp_path) > 1000


@pytest.mark.parametrize("seed", range(12))
def test_random_databases_group_by_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """FD and classical, nested pages, refused frames: rows wait as frames, and none is lost."""
    monkeypatch.setattr(export_plan, "GROUP_ROWS", (16, 48))
    monkeypatch.setattr(module, "scan", lambda path: scan(path, chunk_frames=61))
    path = tmp_path / "x.dbc"
    made = dbcs.dbc(seed)
    path.write_text(made.text, encoding="utf-8")
    lines = [
        f"({each.at_s:.6f}) can0 {each.can_id:0{8 if each.extended else 3}X}"
        f"{'#' if len(each.data) <= 8 else '##0'}{each.data.hex().upper()}\n"
        for each in dbcs.frames(made, seed, 700)
    ]
    log = write_log(tmp_path / "a.log", lines)
    database = load(path)
    entry = export(log, path, tmp_path / "out")
    told = live_rows(log, database)
    assert {name: len(rows(tmp_path / "out", name)) for name in told} == {
        name: len(each) for name, each in told.items()
    }
    compare(log, database, tmp_path / "out")
    decoded = sum(map(len, told.values()))
    refused = sum(sum(each.values()) for each in entry["refused"].values())
    assert entry["decoded"] == decoded
    assert entry["decoded"] + refused + entry["not_wanted"] == entry["frames"] > 600


def test_a_group_without_a_row_makes_no_file(
    tmp_path: Path, dbc: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Frames of an unknown page are counted, but neither make nor number a file."""
    monkeypatch.setattr(export_tables, "DAYS_OPEN", 1)
    days = [line(0, cell(9, 1)), line(86_400, cell(1, 1)), line(1, cell(1, 2))]
    log = write_log(tmp_path / "a.log", days)
    entry = export(log, dbc, tmp_path / "out")
    assert [each["path"] for each in entry["files"]] == [
        "message=Cells/date=2023-11-15/a.log.parquet",
        "message=Cells/date=2023-11-16/a.log.parquet",
    ]
    assert (entry["refused"], entry["decoded"]) == ({"Cells": {"mux": 1}}, 2)
