"""What the local door answers: what the parts of the agent say, and honest when they cannot."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agent import local_handlers
from agent.errors import JournalFailed
from agent.journal import Journal
from agent.journal_rows import Stamp
from agent.local import BadRequest
from agent.local_handlers import MAX_REASON, MOST_COMMANDS, NOBODY_KNOWS, handlers
from agent.recording_file import PART
from bms_can.commands import Command, CommandState, Reason
from tests.agent.rig import CLOSE, HELD_S, OPEN, UID, WARM_UP_S, Rig

TALLY = {"kept": 3, "lost": 1}
Ask = Callable[..., dict[str, Any]]


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    """Return a box with a battery that has been heard long enough."""
    rig = Rig(tmp_path)
    rig.run(WARM_UP_S)
    yield rig
    rig.stop()


def asking(rig: Rig) -> Ask:
    """Return what asks the running agent, past the socket."""

    def asked(do: str, **more: object) -> dict[str, Any]:
        parts = {UID: (rig.device, rig.gate)}
        every = handlers(parts, rig.journal, rig.clock, rig.folder / "recordings", lambda: TALLY)
        return dict(every[do]({"do": do, **more}))

    return asked


@pytest.fixture
def ask(rig: Rig) -> Ask:
    """Return what asks the agent of a warm battery."""
    return asking(rig)


@pytest.fixture
def cold(tmp_path: Path) -> Iterator[Rig]:
    """Return a box that has heard nothing yet: enough for what is in the journal."""
    rig = Rig(tmp_path)
    yield rig
    rig.stop()


@pytest.fixture
def ask_cold(cold: Rig) -> Ask:
    """Return what asks the agent that has heard nothing yet."""
    return asking(cold)


def accept(journal: Journal, rig: Rig, *identities: str) -> None:
    """Write commands down."""
    for identity in identities:
        command = Command(identity, CLOSE, UID, "op", 1, 0.0, "boot-1")
        journal.accept(command, Stamp.of(rig.clock))


def break_journal(rig: Rig) -> None:
    """Let nobody read the journal any more."""
    rig.journal.close()
    for path in rig.folder.glob("journal.db*"):
        path.unlink()
    (rig.folder / "journal.db").mkdir()


# --- status


def test_status_of_a_healthy_battery(ask: Ask) -> None:
    """Everything that the agent sees of a battery, and how its recorder does."""
    answer = ask("status")
    device = answer["devices"][UID]
    assert answer["recorder"] == TALLY
    assert (device["operating_status"], device["alarm_status"], device["alarms"]) == (1, 0, [])
    assert (device["disconnected"], device["why"]) == (0, "")
    assert device["battery"] == "ess_bau"
    assert 0 <= device["age_s"] < 1
    assert device["frames"] > 0
    assert device["bad_frames"] == {}
    assert device["telemetry"]["total_voltage"] > 0
    flags = ("lockout", "read_only", "tx_unsafe", "foreign_master", "journal")
    assert not any(device[flag] for flag in flags)


def test_status_before_anything_was_heard(ask_cold: Ask) -> None:
    """Unknown is null, never 0."""
    device = ask_cold("status")["devices"][UID]
    known = (device["operating_status"], device["alarm_status"], device["age_s"])
    assert known == (None, None, None)
    assert device["why"]


def test_status_of_a_battery_in_trouble(rig: Rig, ask: Ask) -> None:
    """Alarms, lock-out, foreign master and silence are all there."""
    rig.pack.raise_alarm("machine_fault", 3, latched=True)
    rig.lock_out("cell change")
    rig.master_elsewhere()
    rig.run(1.0)
    device = ask("status")["devices"][UID]
    assert device["alarms"] == ["machine_fault"]
    assert "cell change" in device["lockout"]
    assert device["foreign_master"]
    rig.clock.advance(5.0)
    device = ask("status")["devices"][UID]
    assert (device["disconnected"], device["operating_status"]) == (1, None)


def test_status_without_a_journal(rig: Rig, ask: Ask) -> None:
    """A failed journal does not hide the battery; the lock-out is then unknown, not absent."""
    break_journal(rig)
    device = ask("status")["devices"][UID]
    assert device["operating_status"] == 1
    assert device["lockout"] == NOBODY_KNOWS
    assert device["journal"]


# --- would it be allowed now?


def test_a_close_that_would_be_allowed(rig: Rig, ask: Ask) -> None:
    """Every rule is shown with what it saw; nothing is sent."""
    verdict = ask("judge", command="close_contactor")["devices"][UID]
    assert (verdict["allowed"], verdict["because"]) == (True, "")
    assert len(verdict["interlocks"]) > 5
    assert all(check["passed"] for check in verdict["interlocks"])
    assert rig.wire.taken == []


def test_a_close_that_would_be_refused(rig: Rig, ask: Ask) -> None:
    """The first rule that refuses is named in words; opening stays allowed."""
    rig.lock_out("cell change")
    verdict = ask("judge", command="close_contactor")["devices"][UID]
    assert not verdict["allowed"]
    assert "cell change" in verdict["because"]
    assert ask("judge", command="open_contactor")["devices"][UID]["allowed"]


def test_a_judgement_without_a_journal(rig: Rig, ask: Ask) -> None:
    """Nobody knows whether there is a lock-out: a close would be refused."""
    break_journal(rig)
    verdict = ask("judge", command="close_contactor")["devices"][UID]
    assert not verdict["allowed"]
    assert "unknown" in verdict["because"]


@pytest.mark.parametrize("command", ["", "close", None, 1, ["close_contactor"]])
def test_no_such_command(ask_cold: Ask, command: object) -> None:
    """A command that there is not is told, with those that there are."""
    with pytest.raises(BadRequest, match="close_contactor"):
        ask_cold("judge", command=command)


# --- the past


def test_list_of_commands(rig: Rig, ask: Ask) -> None:
    """Newest first, no more than asked for, with where each stands."""
    first = rig.offer(CLOSE)
    rig.run(HELD_S)
    rig.lock_out()
    second = rig.offer(CLOSE)
    rig.run(1.0)
    newest, older = ask("commands")["commands"]
    assert (newest["id"], newest["state"]) == (second, CommandState.SUCCEEDED)
    assert newest["reason"] == Reason.NO_OP
    assert (older["id"], older["state"], older["reason"]) == (first, CommandState.HELD, None)
    assert (older["device_uid"], older["command"]) == (UID, "close_contactor")
    assert older["issued_by"] == "operator"
    assert [each["id"] for each in ask("commands", limit=1)["commands"]] == [second]


@pytest.mark.parametrize("limit", [0, -1, MOST_COMMANDS + 1, True, "5", 1.5, None])
def test_no_such_limit(ask_cold: Ask, limit: object) -> None:
    """A limit that is none is refused."""
    with pytest.raises(BadRequest, match="limit"):
        ask_cold("commands", limit=limit)


def test_life_of_a_command(rig: Rig, ask: Ask) -> None:
    """Each step is told with its evidence and its time."""
    identity = rig.offer(CLOSE)
    rig.run(HELD_S)
    answer = ask("events", id=identity)
    states = [event["state"] for event in answer["events"]]
    assert answer["id"] == identity
    assert states[:4] == ["accepted", "gated", "sending", "sent"]
    assert states[-1] == "held"
    times = [event["monotonic_s"] for event in answer["events"]]
    assert times == sorted(times)
    assert {event["boot_id"] for event in answer["events"]} == {"boot-1"}
    assert answer["events"][1]["evidence"]["interlocks"]


def test_the_start_of_an_id_is_enough(cold: Rig, ask_cold: Ask) -> None:
    """An id may be cut short as long as it means one command."""
    accept(cold.journal, cold, "3f2a-1", "3f2b-1")
    assert ask_cold("events", id="3f2a")["id"] == "3f2a-1"


def test_an_ambiguous_id(cold: Rig, ask_cold: Ask) -> None:
    """If several are meant, they are named; a few of them if there are many."""
    accept(cold.journal, cold, "3f2a-1", "3f2b-1")
    with pytest.raises(BadRequest, match=r"2 commands .* \"3f2\": 3f2b-1, 3f2a-1$"):
        ask_cold("events", id="3f2")
    accept(cold.journal, cold, *(f"3f2c-{number}" for number in range(10)))
    with pytest.raises(BadRequest, match=r"12 commands .*, \.\.\.$"):
        ask_cold("events", id="3f2")


def test_a_whole_id_is_never_ambiguous(cold: Rig, ask_cold: Ask) -> None:
    """An id that is the start of another one means itself."""
    accept(cold.journal, cold, "c1", "c11")
    assert ask_cold("events", id="c1")["id"] == "c1"


def test_an_old_id(cold: Rig, ask_cold: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    """A whole id is found at any age, its start only among the newest commands."""
    monkeypatch.setattr(local_handlers, "MOST_COMMANDS", 3)
    accept(cold.journal, cold, "old-1", "new-1", "new-2", "new-3")
    assert ask_cold("events", id="old-1")["id"] == "old-1"
    with pytest.raises(BadRequest, match="no command"):
        ask_cold("events", id="old")


def test_an_unknown_id(ask_cold: Ask) -> None:
    """An id that no command has is told."""
    with pytest.raises(BadRequest, match='no command has an id that starts with "nope"'):
        ask_cold("events", id="nope")


@pytest.mark.parametrize("asked", ["close", "Close", "contactor", "reset"])
def test_a_command_s_name_in_short_gets_a_hint(ask_cold: Ask, asked: str) -> None:
    """`why close` means no id: the whole name is told."""
    whole = "fault_reset" if asked == "reset" else "close_contactor"
    with pytest.raises(BadRequest, match=f"no command has an id .* why {whole}"):
        ask_cold("events", id=asked)


def test_recording_of_a_command(cold: Rig, ask_cold: Ask) -> None:
    """A command's raw frames are named: none, being written, complete."""
    accept(cold.journal, cold, "c1")
    assert ask_cold("events", id="c1")["recording"] is None
    folder = cold.folder / "recordings"
    folder.mkdir()
    assert ask_cold("events", id="c1")["recording"] is None
    name = f"20260102T030405.000Z_{UID}.command.c1.log"
    (folder / (name + PART)).touch()
    wanted = {"file": str(folder / name), "complete": False}
    assert ask_cold("events", id="c1")["recording"] == wanted
    (folder / (name + PART)).rename(folder / name)
    assert ask_cold("events", id="c1")["recording"] == wanted | {"complete": True}


# --- lock-out and latches


def test_lockout(rig: Rig, ask: Ask) -> None:
    """Set, shown, in force, cleared, and both in the record with who did it."""
    assert ask("lockout") == {"lockout": None}
    lockout = ask("lockout-set", reason=" cell change ", who="li")["lockout"]
    assert (lockout["reason"], lockout["who"]) == ("cell change", "li")
    assert ask("lockout")["lockout"] == lockout
    rig.offer(CLOSE, "c1")
    rig.run(1.0)
    assert rig.journal.entry("c1").reason is Reason.LOCAL_LOCKOUT  # type: ignore[union-attr]  # it is there
    assert ask("lockout-clear", who="wang") == {"lockout": None}
    assert ask("lockout") == {"lockout": None}
    kinds = {
        event.kind: event.evidence["who"] for event in rig.journal.log() if "lockout" in event.kind
    }
    assert kinds == {"lockout-set": "li", "lockout-cleared": "wang"}


def test_clear_without_a_lockout(cold: Rig, ask_cold: Ask) -> None:
    """There is nothing to clear, and nothing to write down."""
    before = cold.journal.head()
    assert ask_cold("lockout-clear", who="li") == {"lockout": None}
    assert cold.journal.head() == before


@pytest.mark.parametrize(
    "text", ["", "  ", None, 5, ["x"], "x" * (MAX_REASON + 1), "two\nlines", "\x1b[2J", "\ud800"]
)
@pytest.mark.parametrize("key", ["reason", "who"])
def test_texts_that_are_none(cold: Rig, ask_cold: Ask, key: str, text: object) -> None:
    """A lock-out needs a reason and a person in plain words; nothing is set without."""
    with pytest.raises(BadRequest, match=key):
        ask_cold("lockout-set", **({"reason": "work", "who": "li"} | {key: text}))
    assert cold.journal.lockout() is None


def test_a_lockout_that_cannot_be_written(cold: Rig, ask_cold: Ask) -> None:
    """Nobody may believe in a lock-out that is not safely there."""
    break_journal(cold)
    with pytest.raises(BadRequest, match="NOT SAFELY SET"):
        ask_cold("lockout-set", reason="work", who="li")


def test_a_lockout_that_cannot_be_cleared(
    cold: Rig, ask_cold: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody may believe that a lock-out is gone while it is in force."""

    def refuse(_who: str, _stamp: Stamp) -> None:
        raise JournalFailed("database or disk is full")

    cold.lock_out()
    monkeypatch.setattr(cold.journal, "clear_lockout", refuse)
    with pytest.raises(BadRequest, match="not cleared: database or disk is full"):
        ask_cold("lockout-clear", who="li")
    assert ask_cold("lockout")["lockout"]


def test_latches(rig: Rig, ask: Ask) -> None:
    """A foreign master and a lost frame are forgotten by a person's word, which is recorded."""
    rig.master_elsewhere()
    rig.device.control.unsafe = "a frame was lost"
    (found,) = ask("clear-latches", who="li")["cleared"].values()
    assert "a frame was lost" in found
    assert len(found) == 2
    note = rig.journal.log()[-1]
    assert (note.kind, note.device_uid, note.evidence["who"]) == ("latches-cleared", UID, "li")
    rig.offer(OPEN)
    assert not rig.device.control.foreign
    assert not rig.device.control.unsafe


def test_no_latches(cold: Rig, ask_cold: Ask) -> None:
    """Where nothing is latched nothing is recorded."""
    before = cold.journal.head()
    assert ask_cold("clear-latches", who="li") == {"cleared": {UID: []}}
    assert cold.journal.head() == before


def test_latches_without_a_journal(cold: Rig, ask_cold: Ask) -> None:
    """A word that cannot be recorded clears nothing."""
    cold.device.control.unsafe = "a frame was lost"
    break_journal(cold)
    with pytest.raises(JournalFailed):
        ask_cold("clear-latches", who="li")
    assert cold.device.control.unsafe
