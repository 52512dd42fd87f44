"""bms-agent status, commands, why, lockout, unlatch: with a running agent and without one."""

import json
import os
import pwd
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from agent import cli
from agent.clock import FakeClock, SystemClock
from agent.errors import JournalFailed
from agent.journal import Journal
from agent.journal_rows import Stamp
from agent.local import LocalDoor
from agent.local_handlers import handlers
from agent.lock import only_one
from agent.recorder import FOLDER
from agent.sqlite_file import MIB
from bms_can.commands import Command, CommandState, Reason
from bms_can.profile import CommandCode
from tests.agent.rig import CLOSE, HELD_S, UID, WARM_UP_S, Rig

CONFIG = """
[platform]
url = "https://ems.example/wad/ems/v1/api"
key_file = "key"
[agent]
state_dir = "{state_dir}"
[[device]]
uid = "BAT-1"
profile = "ess_bau"
[device.can]
interface = "virtual"
channel = "test-cmd-local"
"""
NO_AGENT = 69
TALLY = {"kept": 2, "lost": 0, "cut": 0, "torn": 0, "deleted": 0, "trouble": ""}
PATIENCE_S = 10.0


class Shell:
    """A person at the command line."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.state_dir = folder / "state"
        self.state_dir.mkdir()
        self._capsys = capsys
        key = folder / "key"
        key.write_text("emsk_0123456789abcdef\n")
        key.chmod(0o600)
        self.config = folder / "agent.toml"
        self.config.write_text(CONFIG.format(state_dir=self.state_dir))

    def run(self, *words: str) -> tuple[int, str, str]:
        """Run a command; return its exit code, output and errors."""
        code = cli.main([*words, str(self.config)])
        out, err = self._capsys.readouterr()
        return code, out, err

    def wrong_usage(self, *words: str) -> str:
        """Run a command that is no command; return what it says."""
        with pytest.raises(SystemExit) as ended:
            cli.main([*words, str(self.config)])
        assert ended.value.code == 2
        return self._capsys.readouterr().err

    def json(self, *words: str) -> dict[str, Any]:
        """Run a command with --json that succeeds; return its document."""
        code, out, err = self.run(*words, "--json")
        assert (code, err) == (0, "")
        return dict(json.loads(out))


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Shell:
    """Return a shell; no agent has ever run here."""
    return Shell(tmp_path, capsys)


@contextmanager
def running(rig: Rig) -> Iterator[None]:
    """Run the local door of an agent, under the lock that an agent holds."""
    parts = {UID: (rig.device, rig.gate)}
    answers = handlers(parts, rig.journal, rig.clock, rig.folder / FOLDER, lambda: TALLY)
    clock, never = SystemClock(), threading.Event()
    door = LocalDoor(rig.folder, answers, clock)
    thread = threading.Thread(target=door.run)
    with only_one(rig.folder):
        thread.start()
        while door.beats == 0 and thread.is_alive():
            clock.wait(never, 0.001)
        try:
            yield
        finally:
            door.stop()
            thread.join(PATIENCE_S)


@pytest.fixture
def rig(shell: Shell) -> Iterator[Rig]:
    """Return a running agent with a warm battery."""
    rig = Rig(shell.state_dir)
    rig.run(WARM_UP_S)
    with running(rig):
        yield rig
    rig.stop()


@pytest.fixture
def journal(shell: Shell) -> Iterator[Journal]:
    """Return the journal that an agent left, with one rejected command in it."""
    clock = FakeClock()
    with closing(Journal(shell.state_dir / "journal.db", Stamp.of(clock))) as journal:
        command = Command("3f2a-1", CommandCode.CLOSE_CONTACTOR, UID, "op", 1, 1010.0, "boot-1")
        journal.accept(command, Stamp.of(clock))
        reason = Reason.LOCAL_LOCKOUT
        stamp = Stamp.of(clock)
        journal.advance("3f2a-1", CommandState.REJECTED, stamp, reason=reason, detail="by hand")
        yield journal


# --- with a running agent


def test_status(rig: Rig, shell: Shell) -> None:
    """What the agent sees, as text and as JSON."""
    code, out, _ = shell.run("status")
    assert code == 0
    assert "BAT-1  battery ess_bau" in out
    assert "operating_status  1" in out
    assert "2 kept, 0 lost" in out
    document = shell.json("status")
    assert document["devices"][UID]["operating_status"] == 1
    assert document["recorder"] == TALLY
    assert rig.wire.taken == []


def test_why_would_a_close_be_allowed(rig: Rig, shell: Shell) -> None:
    """The judgement for now, rule by rule."""
    assert "would be allowed" in shell.run("why", "close_contactor")[1]
    rig.lock_out("cell change")
    code, out, _ = shell.run("why", "close_contactor")
    assert code == 0
    assert "would be REFUSED: local lock-out: cell change" in out
    assert "BLOCKS" in out
    assert not shell.json("why", "close_contactor")["devices"][UID]["allowed"]


def test_why_a_command_ended_so(rig: Rig, shell: Shell) -> None:
    """The life of a command with its evidence, and where its raw frames are."""
    identity = rig.offer(CLOSE, "3f2a-9")
    rig.run(HELD_S)
    name = f"20260102T030405.000Z_{UID}.command.{identity}.log"
    (rig.folder / FOLDER).mkdir()
    (rig.folder / FOLDER / name).touch()
    code, out, _ = shell.run("why", "3f2a")
    assert code == 0
    lines = out.splitlines()
    assert lines[:2] == [f"command {identity}", f"recording: {rig.folder / FOLDER / name}"]
    for words in ("    +0.000 s  accepted", "pass ", "frames ", "came back from the bus", "held"):
        assert words in out
    assert shell.json("why", "3f2a")["recording"]["complete"]


def test_commands(rig: Rig, shell: Shell) -> None:
    """The list, newest first, as long as wanted."""
    assert shell.run("commands")[1] == "no command was ever received\n"
    for number in range(3):
        rig.offer(CLOSE, f"c{number}")
        rig.run(0.1)
    code, out, _ = shell.run("commands", "--limit", "2")
    assert code == 0
    assert len(out.splitlines()) == 2
    assert len(shell.json("commands")["commands"]) == 3


def test_lockout_of_a_running_agent(rig: Rig, shell: Shell) -> None:
    """Set, shown and cleared; it is in force at once."""
    me = pwd.getpwuid(os.getuid()).pw_name
    assert shell.run("lockout", "show")[1] == "no local lock-out\n"
    code, out, _ = shell.run("lockout", "set", "--reason", "cell change, Li")
    assert code == 0
    assert out.startswith("LOCKED OUT since ")
    assert out.endswith(f" by {me}: cell change, Li\n")
    assert rig.gate.box().lockout == "cell change, Li"
    assert shell.json("lockout", "show")["lockout"]["who"] == me
    assert shell.run("lockout", "clear")[:2] == (0, "no local lock-out\n")
    assert rig.gate.box().lockout == ""


def test_unlatch(rig: Rig, shell: Shell) -> None:
    """What was latched is shown and gone."""
    assert shell.run("unlatch")[:2] == (0, "BAT-1: nothing was latched\n")
    rig.device.control.unsafe = "a frame was lost"
    assert shell.run("unlatch")[:2] == (0, "BAT-1: a frame was lost\n")
    assert not rig.device.control.unsafe


def test_an_ambiguous_id(rig: Rig, shell: Shell) -> None:
    """If an id means several commands they are named, and the command fails."""
    for number in range(2):
        rig.offer(CLOSE, f"c-{number}")
        rig.run(0.1)
    code, out, err = shell.run("why", "c-")
    assert (code, out) == (1, "")
    assert "2 commands" in err
    assert "c-0" in err


def test_a_journal_that_fails(rig: Rig, shell: Shell) -> None:
    """The agent answers that it cannot, and goes on."""
    rig.journal.close()
    for path in rig.folder.glob("journal.db*"):
        path.unlink()
    (rig.folder / "journal.db").mkdir()
    code, _, err = shell.run("lockout", "set", "--reason", "cell change")
    assert code == 1
    assert "NOT SAFELY SET" in err
    code, _, err = shell.run("commands")
    assert code == 1
    assert "journal cannot be used" in err
    assert "unknown: the journal cannot be read" in shell.run("status")[1]


# --- without one


@pytest.mark.parametrize("words", [["status"], ["why", "open_contactor"], ["unlatch"]])
@pytest.mark.usefixtures("journal")
def test_what_needs_an_agent(shell: Shell, words: list[str]) -> None:
    """What only a running agent knows is not invented."""
    code, out, err = shell.run(*words)
    assert (code, out) == (NO_AGENT, "")
    assert "no agent answers" in err


@pytest.mark.parametrize(
    "words",
    [["commands"], ["why", "3f2a"], ["lockout", "show"], ["lockout", "set", "--reason", "x"]],
)
def test_where_no_agent_ever_was(shell: Shell, words: list[str]) -> None:
    """A mistyped state directory gets no journal, and nobody believes in a lock-out there."""
    code, out, _ = shell.run(*words)
    assert (code, out) == (NO_AGENT, "")
    assert list(shell.state_dir.iterdir()) == []


@pytest.mark.usefixtures("journal")
def test_the_past_without_an_agent(shell: Shell) -> None:
    """Commands and their lives come from the journal."""
    assert "3f2a-1" in shell.run("commands")[1]
    _, out, _ = shell.run("why", "3f2a")
    assert "recording: none" in out
    assert "rejected  local-lockout" in out
    assert "by hand" in out


def test_lockout_without_an_agent(shell: Shell, journal: Journal) -> None:
    """A lock-out set while the agent is down is there when it starts."""
    assert shell.run("lockout", "set", "--reason", "cell change")[0] == 0
    lockout = journal.lockout()
    assert lockout is not None
    assert lockout.reason == "cell change"
    assert shell.run("lockout", "show")[1].startswith("LOCKED OUT")
    assert shell.run("lockout", "clear")[0] == 0
    assert journal.lockout() is None


@pytest.mark.usefixtures("journal")
def test_an_agent_that_does_not_answer(shell: Shell) -> None:
    """While an agent holds the directory nobody else writes its journal."""
    with only_one(shell.state_dir):
        code, out, err = shell.run("lockout", "set", "--reason", "cell change")
    assert (code, out) == (1, "")
    assert "another agent already uses" in err


def test_an_old_command(shell: Shell, journal: Journal) -> None:
    """A command whose steps were pruned is known all the same."""
    wall = FakeClock().wall().replace(year=2030)
    for event in journal.unreported(UID):
        journal.reported(event.seq)
    assert journal.prune(wall) > 0
    code, out, _ = shell.run("why", "3f2a-1")
    assert code == 0
    assert "older than the audit trail" in out


def test_the_journal_s_own_quota(shell: Shell, journal: Journal) -> None:
    """Without an agent the configured quota holds, not a usual one: a larger one is used."""
    text = shell.config.read_text()
    shell.config.write_text(text.replace("[agent]", "[agent]\njournal_max_mib = 4"))
    stamp = Stamp.of(FakeClock())
    with closing(Journal(shell.state_dir / "journal.db", stamp, 4 * MIB)) as full:
        for size in (200_000, 5_000, 1, 1):
            with suppress(JournalFailed):
                while True:
                    full.note("test", stamp, {"text": size * "x"})
    code, _, err = shell.run("lockout", "set", "--reason", "cell change")
    assert (code, "full" in err) == (1, True)
    shell.config.write_text(text.replace("[agent]", "[agent]\njournal_max_mib = 16"))
    assert shell.run("lockout", "set", "--reason", "cell change")[0] == 0
    assert journal.lockout() is not None


# --- usage, persons, configuration


@pytest.mark.parametrize(
    "words",
    [
        ["lockout"],
        ["lockout", "set"],
        ["lockout", "set", "--reason"],
        ["lockout", "set", "--reason", "  "],
        ["lockout", "show", "--reason", "x"],
        ["lockout", "unset"],
        ["commands", "--limit", "0"],
        ["commands", "--limit", "501"],
        ["commands", "--limit", "-1"],
        ["commands", "--limit", "many"],
        ["why"],
    ],
    ids=" ".join,
)
def test_wrong_usage(shell: Shell, words: list[str]) -> None:
    """What makes no sense ends with 2 before anything is touched."""
    assert "usage:" in shell.wrong_usage(*words)
    assert list(shell.state_dir.iterdir()) == []


def test_wrong_usage_names_the_reason(shell: Shell) -> None:
    """A lock-out without a reason says what is missing."""
    assert "--reason" in shell.wrong_usage("lockout", "set")


def test_no_configuration(shell: Shell) -> None:
    """A configuration that is not there ends with 78."""
    shell.config.unlink()
    assert shell.run("status")[0] == 78


@pytest.mark.parametrize("words", [["status"], ["run"], ["lockout", "show"], ["check"]])
def test_a_state_directory_with_a_long_name(shell: Shell, words: list[str]) -> None:
    """No socket can be there: a mistake in the configuration, not a crash of the agent."""
    shell.config.write_text(CONFIG.format(state_dir="/tmp/" + 100 * "x"))  # noqa: S108 - never made
    code, out, err = shell.run(*words)
    assert code == 78
    assert "state_dir: is too long" in out + err


def who(shell: Shell) -> str:
    """Return who is told to have set a lock-out."""
    assert shell.run("lockout", "set", "--reason", "x")[0] == 0
    return str(shell.json("lockout", "show")["lockout"]["who"])


Uid = Callable[[int], None]


@pytest.fixture
def be(monkeypatch: pytest.MonkeyPatch) -> Uid:
    """Return what makes this process somebody else in its own eyes."""
    return lambda uid: monkeypatch.setattr(os, "getuid", lambda: uid)


@pytest.mark.usefixtures("journal")
def test_the_person_behind_sudo(shell: Shell, monkeypatch: pytest.MonkeyPatch, be: Uid) -> None:
    """The record names the person, not only root; a name that anybody could set does not count."""
    monkeypatch.setenv("SUDO_USER", "li")
    be(0)
    assert who(shell) == "li as root"
    be(65534)
    assert "li" not in who(shell)
    monkeypatch.delenv("SUDO_USER")
    monkeypatch.setenv("LOGNAME", "boss")
    be(0)
    assert who(shell) == "root"


@pytest.mark.usefixtures("journal")
def test_a_person_without_a_name(shell: Shell, be: Uid) -> None:
    """In a container a user may have no name; the number says enough."""
    be(4_123_456)
    assert who(shell) == "uid 4123456"
