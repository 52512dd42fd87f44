"""`bms-agent export`: from logs to tables, again and again, and what it says about them."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from agent.cli import main
from tests.bms_can.columnar.battery import line, pack, steady_log, write_dbc, write_log

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def dbc(tmp_path: Path) -> Path:
    """Give the battery's DBC."""
    return write_dbc(tmp_path)


def export(capsys: Capture, *words: str | Path, code: int = 0) -> tuple[str, str]:
    """Run the command; return what it said on stdout and stderr."""
    assert main(["export", *map(str, words)]) == code
    return capsys.readouterr()


def table(out: Path) -> list[dict[str, Any]]:
    """Return the rows of the only file."""
    (path,) = out.rglob("*.parquet")
    rows: list[dict[str, Any]] = pq.ParquetFile(path).read().to_pylist()
    return rows


def test_a_second_run_does_what_is_new_or_has_changed(
    tmp_path: Path, dbc: Path, capsys: Capture
) -> None:
    """Whatever is done stays done; a changed log, a lost file, another DBC are done anew."""
    logs = [steady_log(tmp_path / f"{name}.log", 50) for name in "ab"]
    words: list[str | Path] = [*logs, "--dbc", dbc, "-o", tmp_path / "out"]
    out, _ = export(capsys, *words)
    assert out.endswith("2 logs exported, 0 unchanged, 0 failed\n")
    assert f"{logs[0]}: 50 frames, 50 decoded, 50 rows in 2 files" in out
    out, _ = export(capsys, *words)
    assert out.endswith("0 logs exported, 2 unchanged, 0 failed\n")
    steady_log(logs[0], 60)
    next((tmp_path / "out").rglob("b.log.parquet")).unlink()
    out, _ = export(capsys, *words)
    assert out.endswith("2 logs exported, 0 unchanged, 0 failed\n")
    dbc.write_text(dbc.read_text().replace("(0.1,0)", "(0.2,0)"))
    out, err = export(capsys, logs[0], "--dbc", dbc, "-o", tmp_path / "out")
    assert out.endswith("1 logs exported, 0 unchanged, 0 failed\n")
    assert "1 logs in this folder were decoded with another DBC" in err


def test_a_bad_log_is_named_and_the_rest_goes_on(
    tmp_path: Path, dbc: Path, capsys: Capture
) -> None:
    """Exit 1; the good one is there."""
    good, bad = steady_log(tmp_path / "good.log", 9), tmp_path / "bad.blf"
    bad.write_bytes(b"\x00" * 100)
    out, err = export(capsys, bad, good, "--dbc", dbc, "-o", tmp_path / "out", code=1)
    assert out.endswith("1 logs exported, 0 unchanged, 1 failed\n")
    assert f"{bad}: " in err
    assert list((tmp_path / "out").rglob("good.log.parquet"))


def test_what_is_lost_is_said(tmp_path: Path, dbc: Path, capsys: Capture) -> None:
    """Lines, frames and numbers that are not in the tables, each with its reason."""
    log = write_log(tmp_path / "a.log", [line(1, pack(soc=200)), "?", line(2, "100#00")])
    out, _ = export(capsys, log, "--dbc", dbc, "-o", tmp_path / "out")
    assert "1 lines without a data frame: format (first: 2)" in out
    assert "Pack: frames not decoded: length 1" in out
    assert "Pack.soc: 1 numbers outside of the DBC's range are null (--all-values)" in out


def test_a_wide_table_holds_the_last_values_and_forgets_old_ones(
    tmp_path: Path, dbc: Path, capsys: Capture
) -> None:
    """By the cycle time of the DBC: 3 s for Pack; null before and after, and between channels."""
    log = write_log(
        tmp_path / "a.log",
        [line(0.5, pack(soc=40)), line(1.2, pack(soc=41)), line(1.4, pack(soc=200), "can1"),
         line(9.9, "7FF#")],
    )  # fmt: skip
    export(capsys, log, "--dbc", dbc, "-o", tmp_path / "out", "--wide", "1s", "--channel", "can0")
    rows = table(tmp_path / "out")
    assert [(row["time"].second, row["Pack.soc"]) for row in rows] == [
        (1, 40), (2, 41), (3, 41), (4, 41),
    ]  # fmt: skip
    assert {row["Energy.total"] for row in rows} == {None}
    assert {row["Pack.state_text"] for row in rows} == {"idle"}
    export(
        capsys, log, "--dbc", dbc, "-o", tmp_path / "two", "--wide", "1s", "--max-age", "1",
        "--signal", "soc", "--channel", "can0",
    )  # fmt: skip
    assert [row["Pack.soc"] for row in table(tmp_path / "two")] == [40, 41]


def test_wide_tables_keep_channels_apart(tmp_path: Path, dbc: Path, capsys: Capture) -> None:
    """Two batteries with one DBC on two buses are two tables."""
    log = write_log(
        tmp_path / "a.log",
        [line(n / 10, pack(soc=n % 2 * 50 + 1), f"can{n % 2}") for n in range(100)],
    )
    export(capsys, log, "--dbc", dbc, "-o", tmp_path / "out", "--wide", "500ms")
    found = {
        path.parts[-3]: set(pq.ParquetFile(path).read()["Pack.soc"].to_pylist())
        for path in (tmp_path / "out").rglob("*.parquet")
    }
    assert found == {"channel=can0": {1}, "channel=can1": {51}}


def test_a_name_that_is_no_text_is_refused(tmp_path: Path, dbc: Path, capsys: Capture) -> None:
    """Bytes that are no UTF-8, or a line break: it could not be told apart in the manifest."""
    for name in ("a\udcff.log", "a\n.log"):
        log = steady_log(tmp_path / name, 3)
        _, err = export(capsys, log, "--dbc", dbc, "-o", tmp_path / "out", code=os.EX_CONFIG)
        assert "rename it first" in err


@pytest.mark.parametrize("name", ["zstd", "snappy", "none"])
def test_compression(tmp_path: Path, dbc: Path, capsys: Capture, name: str) -> None:
    """As asked for; the values are the same."""
    log = steady_log(tmp_path / "a.log", 100)
    words = ("--dbc", dbc, "-o", tmp_path / "out", "--message", "Pack", "--compression", name)
    export(capsys, log, *words)
    (path,) = (tmp_path / "out").rglob("*.parquet")
    used = pq.ParquetFile(path).metadata.row_group(0).column(2).compression
    assert used == {"none": "UNCOMPRESSED"}.get(name, name.upper())
    assert len(table(tmp_path / "out")) == 66


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--engine", "dask"], "--engine dask and --scheduler ADDRESS go together"),
        (["--scheduler", "x"], "--engine dask and --scheduler ADDRESS go together"),
        (["--jobs", "0"], "--jobs must be at least 1"),
        (["--max-age", "1"], "--max-age is for --wide"),
        (["--wide", "1x"], "--wide 1x: no unit 'x'"),
        (["--wide", "1s", "--max-age", "nan"], "--max-age must be positive"),
        (["--message", "Pak"], "--message Pak: not in the DBC; near: Pack"),
    ],
)
def test_wrong_usage_is_refused_in_words(
    tmp_path: Path, dbc: Path, capsys: Capture, words: list[str], told: str
) -> None:
    """Before anything is written."""
    log = steady_log(tmp_path / "a.log", 3)
    _, err = export(capsys, log, "--dbc", dbc, "-o", tmp_path / "out", *words, code=os.EX_CONFIG)
    assert told in err
    assert not (tmp_path / "out").exists()


def test_every_log_that_is_not_there_is_said(tmp_path: Path, dbc: Path, capsys: Capture) -> None:
    """All at once, and nothing is exported."""
    words = (tmp_path / "a", tmp_path / "b", tmp_path, "--dbc", dbc, "-o", tmp_path / "out")
    _, err = export(capsys, *words, code=os.EX_CONFIG)
    assert err.count("No such file") == 2
    assert "is a folder" in err


WITHOUT = """
import sys
sys.modules[sys.argv.pop(1)] = None
from agent.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize(
    ("package", "extra"), [("pyarrow", "replay"), ("numpy", "replay"), ("distributed", "cluster")]
)
def test_a_missing_extra_is_one_sentence(
    tmp_path: Path, dbc: Path, package: str, extra: str
) -> None:
    """With the command that mends it."""
    log = steady_log(tmp_path / "a.log", 3)
    words = [package, "export", log, "--dbc", dbc, "-o", tmp_path / "out"]
    words += ["--engine", "dask", "--scheduler", "127.0.0.1:9"]
    done = subprocess.run(  # noqa: S603 - our own words
        [sys.executable, "-c", WITHOUT, *map(str, words)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f'{package} is missing; install the extra: pip install "bms-can-agent[{extra}]"\n'
    )
