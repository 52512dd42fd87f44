"""`bms-agent replay` says the same frame by frame and on columns."""

import gzip
import os
from argparse import Namespace
from pathlib import Path
from random import Random

import pytest

from agent.cli import main
from agent.replay_lane import COLUMNAR, SCALAR, lane_of
from bms_can.profile_load import load_profile
from bms_can.shipped import profile_path

ROOT = Path(__file__).parents[2]
LOG = ROOT / "tests" / "data" / "ess_bau" / "half_minute.log"
PROFILES = ROOT / "tests" / "data" / "profiles"
ODD_LINES = (
    "",
    "# a comment",
    "(1.5) can0 123#R",
    "(1.5) can0 20000080#0011223344556677",
    "(1.5) can0 123#112233445566778899",
    "(1.5) can0 FFFFFFFF#00",
    "(nonsense) can0 123#00",
    "what is this",
    " (1780000003.000000)  can0  123   [2]  11 22",
    "(1780000003.100000) can1 18F101F4#0011",
    "(1780000003.200000) can0 123##1112233445566778899AABBCC",
)
Capture = pytest.CaptureFixture[str]


def both(capsys: Capture, *words: str | Path) -> str:
    """Run both lanes, as text and as JSON; return the JSON of the columns."""
    assert said(capsys, SCALAR, *words) == said(capsys, COLUMNAR, *words)
    document = said(capsys, COLUMNAR, *words, "--json")
    assert said(capsys, SCALAR, *words, "--json") == document
    return document[1]


def said(capsys: Capture, lane: str, *words: str | Path) -> tuple[int, str]:
    """Run one lane; return its exit code and what it printed."""
    code = main(["replay", *map(str, words), "--lane", lane])
    return code, capsys.readouterr().out


def damaged(path: Path, seed: int) -> Path:
    """Write our log with odd lines in it, other channels, and frames cut or changed."""
    random = Random(seed)  # noqa: S311 - test data
    lines = []
    for line in LOG.read_text(encoding="ascii").splitlines():
        if random.random() < 0.02:
            lines.append(random.choice(ODD_LINES))
        if random.random() < 0.02:
            line = line[:-2]  # noqa: PLW2901 - the damage
        if random.random() < 0.02:
            at = random.randrange(len(line))
            line = line[:at] + random.choice("0123456789ABCDEF# ") + line[at + 1 :]  # noqa: PLW2901
        lines.append(line.replace("can0", "can1") if random.random() < 0.05 else line)
    path.write_text("\r\n".join(lines), encoding="ascii")
    return path


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(("--profile", "ess_bau"), id="profile"),
        pytest.param(("--dbc", ROOT / "dbc" / "ess_bau.dbc"), id="coverage-only"),
        pytest.param(("--profile", "ess_bau", "--channel", "can1"), id="other-channel"),
    ],
)
def test_the_same_words(capsys: Capture, words: tuple[str | Path, ...]) -> None:
    """A recording in order: text and JSON are the same, byte for byte."""
    assert '"frames": 1559' in both(capsys, LOG, *words)


@pytest.mark.parametrize(
    "seed", [0, 1, *(pytest.param(seed, marks=pytest.mark.proof) for seed in range(2, 12))]
)
def test_the_same_words_on_damaged_logs(capsys: Capture, tmp_path: Path, seed: int) -> None:
    """Odd lines, cut frames, two channels, packed: the same counts, line numbers and changes."""
    log = damaged(tmp_path / "odd.log", seed)
    packed = tmp_path / "odd.log.gz"
    packed.write_bytes(gzip.compress(log.read_bytes()))
    plain = both(capsys, log, "--profile", "ess_bau", "--channel", "can0")
    assert '"remote frame"' in plain or '"format"' in plain
    again = both(capsys, packed, "--profile", "ess_bau", "--channel", "can0")
    assert again.replace(str(packed), str(log)) == plain


def test_a_cut_archive(capsys: Capture, tmp_path: Path) -> None:
    """What can be unpacked of a damaged archive counts, on both lanes."""
    packed = tmp_path / "cut.log.gz"
    whole = gzip.compress(LOG.read_bytes())
    packed.write_bytes(whole[: len(whole) // 2])
    assert "damaged archive" in both(capsys, packed, "--profile", "ess_bau")


def chosen(**changes: object) -> Namespace:
    """Return arguments of the command."""
    return Namespace(**{"log": LOG, "lane": "auto", "sync": None, "log_clock": False} | changes)


def test_columns_where_they_fit(tmp_path: Path) -> None:
    """By itself a log goes on columns, unless something needs each frame or it is no candump."""
    profile = load_profile(profile_path("ess_bau"))[0]
    other = tmp_path / "a.asc"
    other.write_text("date\n", encoding="ascii")
    assert lane_of(chosen(), profile) == COLUMNAR
    assert lane_of(chosen(lane=SCALAR), profile) == SCALAR
    assert lane_of(chosen(sync="http://x"), profile) == SCALAR
    assert lane_of(chosen(log_clock=True), profile) == SCALAR
    assert lane_of(chosen(log=other), profile) == SCALAR


def test_columns_that_cannot_be_had_are_refused(capsys: Capture) -> None:
    """Asked for by name they are given or refused, never silently replaced."""
    words = ["replay", str(LOG), "--profile", "ess_bau", "--lane", COLUMNAR, "--log-clock"]
    assert main(words) == os.EX_CONFIG
    assert "look at each frame" in capsys.readouterr().err


REAL = (
    ("01-kona-ev-2019", "candump.log", "pcan.loadable.dbc", "kona_ev_2019"),
    ("02-orion2-zero-ev", "candump-2025-11-22_161709.log", "ZeroEvDBC_onlyBMS_DU.dbc",
     "orion2_zero_ev"),
    ("03-tesla-s-2015-savvycan", "candump.log", "tesla_powertrain.dbc", ""),
    ("04-foxbms2", "candump.log", "foxbms-1.11-2026-04.dbc", "foxbms2_state"),
)  # fmt: skip


@pytest.mark.shared
@pytest.mark.parametrize(("folder", "log", "dbc", "profile"), REAL, ids=[each[0] for each in REAL])
def test_the_same_words_on_real_logs(
    capsys: Capture, folder: str, log: str, dbc: str, profile: str
) -> None:
    """Every recorded log: the same timeline, coverage and doubts on both lanes."""
    place = os.environ.get("BMS_REAL_LOGS", "")
    if not place:
        pytest.skip("BMS_REAL_LOGS does not name the folder with the real logs (make real-logs)")
    pair = Path(place) / "pairs" / folder
    words: list[str | Path] = [pair / log, "--dbc", pair / dbc]
    both(capsys, *words)
    if profile:
        both(capsys, *words, "--profile", PROFILES / f"{profile}.toml")
    for other in sorted((Path(place) / "logs").glob("*.log")):
        both(capsys, other, "--dbc", pair / dbc)
