"""`bms-agent run` before and around the agent: exit codes, log lines for journald, no secrets."""

import io
import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.cli import main
from agent.cmd_run import EXIT_NO_STATE, EXIT_RUNNING, set_up_logging
from agent.keys import HideSecrets, Secret
from agent.lock import only_one

KEY = "emsk_abcdefgh_" + "s3cret" * 6
CONFIG = """\
[platform]
url = "http://127.0.0.1:9/api"
key_file = "box.key"
[agent]
state_dir = "state"
[[device]]
uid = "BAT-1"
profile = "ess_bau"
[device.can]
interface = "virtual"
channel = "cmd-run"
"""


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """Put the root logger back as it was."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Give a good configuration."""
    path = tmp_path / "agent.toml"
    path.write_text(CONFIG, encoding="utf-8")
    key = tmp_path / "box.key"
    key.touch(mode=0o600)
    key.write_text(KEY, encoding="ascii")
    return path


def test_a_second_agent_is_75(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Systemd may try again later; the first agent is not touched."""
    with only_one(config.parent / "state"):
        assert main(["run", str(config)]) == EXIT_RUNNING == os.EX_TEMPFAIL
    assert "another agent already uses" in capsys.readouterr().err


def test_a_state_directory_that_cannot_be_used_is_74(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file in its place, or a journal that is none: named, one line."""
    state = config.parent / "state"
    state.touch()
    assert main(["run", str(config)]) == EXIT_NO_STATE == os.EX_IOERR
    assert str(state) in capsys.readouterr().err
    state.unlink()
    (state / "journal.db").mkdir(parents=True)
    assert main(["run", str(config)]) == EXIT_NO_STATE
    (line,) = capsys.readouterr().err.splitlines()
    assert str(state) in line


def test_lines_for_journald(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each line, also of a traceback, starts with the priority of sd-daemon(3)."""
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    set_up_logging("debug", HideSecrets(Secret(KEY)))
    log = logging.getLogger("agent.test")
    for level in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL):
        log.log(level, "text")
    try:
        int("bang")
    except ValueError:
        log.exception("it went wrong")
    lines = stream.getvalue().splitlines()
    assert [line[:3] for line in lines[:5]] == ["<7>", "<6>", "<4>", "<3>", "<2>"]
    assert lines[0] == "<7>agent.test: text"
    assert len(lines) > 7
    assert all(line.startswith("<3>") for line in lines[5:])
    assert lines[-1].startswith("<3>ValueError: ")


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        """See io."""
        return True


def test_lines_for_people(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal a line begins with the time and says how grave it is."""
    stream = Terminal()
    monkeypatch.setattr("sys.stderr", stream)
    set_up_logging("info", HideSecrets(Secret(KEY)))
    logging.getLogger("agent.test").warning("text")
    assert re.fullmatch(r"\d{4}-\S+ \S+ WARNING agent.test: text\n", stream.getvalue())


@pytest.mark.parametrize("level", ["debug", "info", "warning", "error"])
def test_the_level_of_the_file_counts(level: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing below it is written."""
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    set_up_logging(level, HideSecrets(Secret(KEY)))
    for each in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR):
        logging.getLogger("agent.test").log(each, "text")
    levels = ["debug", "info", "warning", "error"]
    assert len(stream.getvalue().splitlines()) == len(levels) - levels.index(level)


def test_no_line_holds_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever logs it, as text, argument or error: it is hidden on the way out."""
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    set_up_logging("debug", HideSecrets(Secret(KEY)))
    log = logging.getLogger("foreign.library")
    log.warning("headers: %s", {"X-API-Key": KEY})
    log.warning("key " + KEY)  # noqa: G003 - as a careless library does
    try:
        int(KEY)
    except ValueError:
        log.exception("bad value")
    assert KEY not in stream.getvalue()
    assert "s3cret" not in stream.getvalue()
    assert len(stream.getvalue().splitlines()) > 4
