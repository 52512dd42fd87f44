"""The command line: help that teaches, quick start, exit codes, pipes."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from agent.cli import build_parser, main

ROOT = Path(__file__).parents[2]
LOG = ROOT / "tests" / "data" / "ess_bau" / "half_minute.log"
COMMANDS = ("run", "check", "replay", "simulate", "demo")
EVERY = (*COMMANDS, "status", "commands", "why", "lockout", "unlatch")
HEAVY = {
    "agent.config", "agent.wiring", "apscheduler", "asyncio", "bms_can.codec", "can", "cantools",
    "fastapi", "httpx", "rich", "sqlalchemy", "sqlite3", "ssl", "uvicorn",
}  # fmt: skip


def run(*words: str) -> "subprocess.CompletedProcess[str]":
    """Run `bms-agent` as a process."""
    command = [sys.executable, "-m", "agent", *words]
    return subprocess.run(  # noqa: S603 - our own program
        command, capture_output=True, text=True, check=False, cwd=ROOT, timeout=60
    )


def leave(*words: str) -> int:
    """Run a command line that argparse ends; return the exit code."""
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_help_shows_where_to_start(capsys: pytest.CaptureFixture[str]) -> None:
    """The first help names the commands, the way in and the exit codes."""
    assert leave("--help") == 0
    shown = capsys.readouterr().out
    assert all(f"\n    {command} " in shown for command in EVERY)
    assert "start here" in shown
    assert "78 wrong configuration" in shown


@pytest.mark.parametrize("command", EVERY)
def test_help_of_each_command(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each command explains itself in full sentences of its own, and takes 100 columns."""
    assert leave(command, "--help") == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"usage: bms-agent {command}")
    assert max(map(len, shown.splitlines())) <= 100


@pytest.mark.parametrize("command", COMMANDS)
def test_help_holds_lines_to_type(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Its examples are lines that the parser itself takes."""
    leave(command, "--help")
    shown = capsys.readouterr().out.partition("example")[2].splitlines()
    lines = [line.split() for line in shown if line.strip().startswith("bms-agent ")]
    assert lines
    for words in lines:
        known = words[1 : words.index("coverage")] if "coverage" in words else words[1:]
        known = [word for word in known if not word.startswith("(")]
        found, _ = build_parser().parse_known_args(known)
        assert found.command == command


@pytest.mark.parametrize("words", [["--help"], ["replay", "--help"], ["run", "--help"]])
def test_help_imports_nothing_heavy(words: list[str]) -> None:
    """Help needs argparse and little else, so that it is quick on a small box."""
    code = (
        "import sys\n"
        "from agent.cli import main\n"
        "try:\n    main(sys.argv[1:])\n"
        "except SystemExit:\n    print('\\n'.join(sys.modules), file=sys.stderr)"
    )
    command = [sys.executable, "-c", code, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)  # noqa: S603 - our own program
    assert set(done.stderr.split()) & HEAVY == set()


def test_replay_needs_no_platform_client() -> None:
    """Replaying without --sync loads neither HTTP client nor database nor scheduler."""
    code = (
        "import sys\n"
        "from agent.cli import main\n"
        f"main(['replay', {str(LOG)!r}, '--profile', 'ess_bau'])\n"
        "print('\\n'.join(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert set(done.stderr.split()) & {"httpx", "apscheduler", "agent.journal", "rich"} == set()


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["fly"],
        ["run"],
        ["replay"],
        ["replay", "x.log", "--as-fast", "--log-clock"],
        ["simulate", "--bitrate", "fast"],
        ["demo", "--no-such"],
        ["lockout", "perhaps", "x.toml"],
    ],
)
def test_wrong_usage_is_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Argparse's own code, and the usage of the command on stderr."""
    assert leave(*words) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("usage: bms-agent")


@pytest.mark.parametrize(
    "words",
    [
        ["run", "/no/such.toml"],
        ["check", "/no/such.toml"],
        ["check", str(ROOT / "dbc" / "ess_bau.dbc")],
        ["replay", str(LOG)],
        ["replay", str(LOG), "--profile", "no_such_battery"],
        ["replay", str(LOG), "--dbc", "/no/such.dbc"],
        ["replay", "/no/such.log", "--profile", "ess_bau"],
        ["simulate", "--profile", "no_such_battery"],
        ["simulate", "--fault", "no_such_fault"],
        ["simulate", "--option", "port"],
        ["demo", "--fault", "no_such_fault"],
    ],
)
def test_wrong_input_is_78(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """EX_CONFIG, and each line on stderr names the file or option that is wrong."""
    assert main(words) == os.EX_CONFIG
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.strip()
    assert "Traceback" not in shown.err


def test_both_names_of_the_program_do_the_same() -> None:
    """`bms-agent` and `python -m agent` list the same faults; exit 0."""
    script = Path(sys.executable).with_name("bms-agent")
    by_script = subprocess.run(  # noqa: S603 - our own program
        [str(script), "simulate", "--list"], capture_output=True, text=True, check=False, cwd=ROOT
    )
    by_module = run("simulate", "--list")
    assert (by_script.returncode, by_script.stdout) == (by_module.returncode, by_module.stdout)
    assert by_module.returncode == 0
    assert "ignore_close" in by_module.stdout


@pytest.mark.parametrize(
    "words",
    [
        ["replay", str(LOG), "--profile", "ess_bau"],
        ["replay", str(LOG), "--profile", "ess_bau", "--json"],
        ["check", "dbc/ess_bau.toml"],
        ["simulate", "--list"],
    ],
)
def test_a_closed_pipe_is_no_accident(words: list[str]) -> None:
    """`bms-agent ... | head -1`: exit 1, nothing on stderr, however short the output is."""
    process = subprocess.Popen(  # noqa: S603 - our own program
        [sys.executable, "-m", "agent", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
    )
    assert process.stdout is not None
    process.stdout.close()
    _, shown = process.communicate(timeout=60)
    assert (process.returncode, shown) == (1, b"")


def test_an_interrupt_is_130(tmp_path: Path) -> None:
    """Ctrl-C during a replay on the log's clock ends it with the shell's code, without a trace."""
    log = tmp_path / "slow.log"
    log.write_text("(0.0) can0 100#00\n(900.0) can0 100#00\n", encoding="ascii")
    command = [sys.executable, "-m", "agent", "replay", str(log), "--profile", "ess_bau"]
    process = subprocess.Popen(  # noqa: S603 - our own program
        [*command, "--log-clock"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT
    )
    assert process.stdout is not None
    assert b"not heard yet" in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, shown = process.communicate(timeout=60)
    assert (process.returncode, shown) == (130, b"")
