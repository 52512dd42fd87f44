"""`bms-agent demo` around its story: extras, folders, a platform that does not start."""

import sys
from argparse import Namespace
from pathlib import Path

import pytest

from agent import demo_stage
from agent.cli import build_parser, main
from agent.cmd_demo import _folder
from agent.demo_stage import StageFailed, stage
from agent.demo_story import Line
from agent.demo_view import MARKS, PlainView
from bms_can.misbehaviour import HEALTHY


def test_without_its_extra_it_names_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A base install has no platform: one line says what to install."""
    monkeypatch.setitem(sys.modules, "fastapi", None)
    assert main(["demo", "--once", "--plain"]) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "fastapi is missing" in shown.err
    assert 'pip install "bms-can-agent[demo]"' in shown.err


def test_files_go_away_unless_wanted(tmp_path: Path) -> None:
    """A temporary folder without --keep; with it, a folder for its owner only, that stays."""
    with _folder(None) as folder:
        assert folder.is_dir()
    assert not folder.exists()
    with _folder(tmp_path / "kept") as folder:
        (folder / "file").touch()
    assert (tmp_path / "kept" / "file").exists()
    assert (tmp_path / "kept").stat().st_mode & 0o777 == 0o700


def test_a_platform_that_cannot_start_is_no_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its own words are shown, exit 1."""
    (tmp_path / "ems.db").mkdir()
    assert main(["demo", "--once", "--plain", "--keep", str(tmp_path)]) == 1
    shown = capsys.readouterr()
    assert shown.err.startswith("bms-agent demo: ")
    assert shown.out == ""


def test_a_platform_that_never_listens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stage gives up, and leaves no process behind."""
    monkeypatch.setattr(demo_stage, "START_S", 0.0)
    with pytest.raises(StageFailed, match="did not start"), stage(tmp_path, "ess_bau", HEALTHY):
        pytest.fail("the stage was set")


def test_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    """Each kind of line has its mark; a step is set off by an empty line."""
    with PlainView() as view:
        for kind in MARKS:
            view.show(Line(kind, f"a {kind}"))
            view.refresh()
    assert capsys.readouterr().out.splitlines() == [
        "", "== a step", " $ a curl", "   a seen", "ok a proof", "!! a missing",
    ]  # fmt: skip


def test_options() -> None:
    """Nothing is demanded; several faults may be given."""
    found = build_parser().parse_args(["demo", "--fault", "slow=2", "--fault", "no_ack"])
    assert isinstance(found, Namespace)
    assert (found.once, found.plain, found.keep) == (False, False, None)
    assert found.fault == ["slow=2", "no_ack"]
