"""The journal: durable, once, in legal steps, and telling when it was altered."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from threading import Thread

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from agent.clock import FakeClock
from agent.errors import IllegalTransition, JournalFailed, UnknownCommand
from agent.journal import Journal
from agent.journal_rows import Lockout, Stamp
from agent.payload import rfc3339
from bms_can.commands import FINAL, LONGEST_LIFE_S, NEXT, Command, CommandState, Reason
from bms_can.profile import CommandCode

S = CommandState
CLOCK = FakeClock()
STAMP = Stamp.of(CLOCK)
STRAIGHT = (S.GATED, S.SENDING, S.SENT, S.ACKNOWLEDGED, S.SUCCEEDED, S.HELD)


def command(
    identity: str = "c1", code: CommandCode = CommandCode.CLOSE_CONTACTOR, uid: str = "BAT"
) -> Command:
    """Return a command; the deadline has more digits than JSON keeps."""
    return Command(identity, code, uid, "op", 1, 1010.1234567891, "boot-1")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return the journal's file."""
    return tmp_path / "state" / "journal.db"


@pytest.fixture
def journal(path: Path) -> Iterator[Journal]:
    """Return an empty journal."""
    with closing(Journal(path, STAMP)) as opened:
        yield opened


def live(journal: Journal, identity: str, *states: CommandState) -> None:
    """Accept a command and lead it through states."""
    journal.accept(command(identity), STAMP)
    for state in states:
        journal.advance(identity, state, STAMP)


def alter(path: Path, *statements: str) -> None:
    """Change the file behind the journal's back, as somebody with a shell could."""
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("DROP TRIGGER event_is_never_changed")
        db.execute("DROP TRIGGER event_is_only_pruned")
        for statement in statements:
            db.execute(statement)


def test_a_command_is_accepted_once(journal: Journal) -> None:
    """A known id gets the stored entry, whatever state it is in by now."""
    first = journal.accept(command(), STAMP)
    assert (first.new, first.conflict, first.state) == (True, False, S.ACCEPTED)
    journal.advance("c1", S.REJECTED, STAMP, reason=Reason.LOCAL_LOCKOUT, detail="closed by hand")
    again = journal.accept(command(), STAMP)
    assert (again.new, again.conflict, again.state) == (False, False, S.REJECTED)
    assert (again.reason, again.detail) == (Reason.LOCAL_LOCKOUT, "closed by hand")
    assert again.command == command()


@pytest.mark.parametrize("other", [command(code=CommandCode.OPEN_CONTACTOR), command(uid="OTHER")])
def test_same_id_for_something_else(journal: Journal, other: Command) -> None:
    """The id of another intent is a conflict: the stored entry comes back, recorded once."""
    journal.accept(command(), STAMP)
    for _ in range(3):
        entry = journal.accept(other, STAMP)
        assert entry.conflict
        assert entry.command == command()
    assert [event.kind for event in journal.events("c1")] == ["command", "conflict"]
    assert journal.verify() == []


def test_the_whole_life(journal: Journal, path: Path) -> None:
    """Each step is kept with its evidence, also over a restart."""
    live(journal, "c1", S.GATED)
    evidence = {"checks": [{"value": 1.5, "passed": True}], "frame": "18FF0001#00"}
    journal.advance("c1", S.SENDING, STAMP, evidence=evidence)
    journal.close()
    with closing(Journal(path, STAMP)) as again:
        states = [event.state for event in again.events("c1")]
        assert states == [S.ACCEPTED, S.GATED, S.SENDING]
        assert again.events("c1")[-1].evidence == evidence
        assert [entry.command.id for entry in again.unfinished("BAT")] == ["c1"]
        assert again.unfinished("OTHER") == []
        entry = again.entry("c1")
        assert entry is not None
        assert entry.state is S.SENDING
        assert not again.journal_lost
        assert again.verify() == []


@pytest.mark.parametrize("before", list(S))
@pytest.mark.parametrize("after", list(S))
def test_only_legal_steps(path: Path, before: CommandState, after: CommandState) -> None:
    """A step that is not in the table is refused and writes nothing."""
    with closing(Journal(path, STAMP)) as journal:
        live(journal, "c1", *way_to(before))
        head = journal.head()
        if after in NEXT[before]:
            assert journal.advance("c1", after, STAMP).state is after
        else:
            with pytest.raises(IllegalTransition, match=f"{before} -> {after}"):
                journal.advance("c1", after, STAMP)
            assert journal.head() == head
        assert journal.verify() == []


def way_to(state: CommandState) -> tuple[CommandState, ...]:
    """Return a legal way from accepted to `state`."""
    ways: dict[CommandState, tuple[CommandState, ...]] = {S.ACCEPTED: ()}
    todo = [S.ACCEPTED]
    while todo:
        at = todo.pop(0)
        for following in sorted(NEXT[at] - ways.keys()):
            ways[following] = (*ways[at], following)
            todo.append(following)
    return ways[state]


def test_each_write_returns_what_is_kept(journal: Journal) -> None:
    """The entry that a write returns is the one that a later look finds."""
    accepted = journal.accept(command(), STAMP)
    assert accepted._replace(new=False) == journal.entry("c1")
    assert journal.advance("c1", S.GATED, STAMP) == journal.entry("c1")
    assert [event.detail for event in journal.events("c1")] == ["", ""]
    terms = journal.events("c1")[0].evidence
    assert sorted(terms) == ["boot_id", "code", "deadline_s", "device_uid", "issued_by", "version"]
    why = Reason.LOCAL_LOCKOUT
    last = journal.advance("c1", S.REJECTED, STAMP, reason=why, detail="closed by hand")
    assert last == journal.entry("c1")
    assert (last.reason, last.detail) == (why, "closed by hand")


def test_unknown_command(journal: Journal) -> None:
    """A step of a command that was never accepted is a bug."""
    with pytest.raises(UnknownCommand, match="nobody"):
        journal.advance("nobody", S.GATED, STAMP)
    assert journal.entry("nobody") is None


def test_reports_stay_until_they_are_done(journal: Journal) -> None:
    """Steps wait in order, each until the platform has it; notes are no steps."""
    live(journal, "c1", S.GATED)
    journal.note("start", STAMP, {"version": "1"})
    first, second = journal.unreported("BAT")
    assert (first.state, second.state) == (S.ACCEPTED, S.GATED)
    journal.reported(first.seq)
    assert journal.unreported("BAT") == [second]
    assert journal.unreported("OTHER") == []
    journal.reported(second.seq)
    journal.reported(second.seq)
    assert journal.unreported("BAT") == []


def test_recent_is_newest_first(journal: Journal) -> None:
    """The newest step decides the order."""
    for identity in ("a", "b", "c"):
        live(journal, identity)
    journal.advance("a", S.EXPIRED, STAMP)
    assert [entry.command.id for entry in journal.recent(2)] == ["a", "c"]


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("UPDATE event SET detail='x' WHERE seq=3", "row 3: was altered"),
        ("UPDATE event SET evidence='{' WHERE seq=1", "row 1: was altered"),
        ("UPDATE event SET state='held' WHERE seq=2", "row 2: was altered"),
        ("UPDATE event SET monotonic_s=1 WHERE seq=2", "row 2: was altered"),
        ("UPDATE event SET hash=prev_hash WHERE seq=2", "row 2: was altered"),
        ("DELETE FROM event WHERE seq=2", "row 2: is missing, 3 follows"),
        ("DELETE FROM event WHERE seq=1", "row 1: is missing, 2 follows"),
        ("DELETE FROM event WHERE seq=7", "end: last row is 6, not the head 7"),
        ("DELETE FROM event", "end: last row is 0, not the head 7"),
        ("UPDATE event SET seq=8 WHERE seq=7", "row 7: is missing, 8 follows"),
        (
            """INSERT INTO event SELECT 8,kind,device_uid,command_id,state,reason,detail,evidence,
            wall,monotonic_s,boot_id,hash,hash FROM event WHERE seq=7""",
            "row 8: was altered",
        ),
        ("UPDATE command SET state='rejected'", "kept state is not that of its last row"),
        ("UPDATE command SET code=3", "kept terms are not those of its first row"),
        ("UPDATE command SET deadline_s=9e9", "kept terms are not those of its first row"),
        ("DELETE FROM command", "command c1: is not kept"),
        ("UPDATE meta SET value='5' WHERE key='head_seq'", "end: last row is 7"),
        ("UPDATE meta SET value='x' WHERE key='base_hash'", "row 1: does not follow"),
    ],
)
def test_alterations_are_found(path: Path, statement: str, told: str) -> None:
    """A changed, missing, added or cut-off row is named; no agent starts on such a journal."""
    with closing(Journal(path, STAMP)) as journal:
        live(journal, "c1", *STRAIGHT)
        alter(path, statement)
        assert any(told in line for line in journal.verify())
    with closing(Journal(path, STAMP)) as journal:
        assert journal.journal_lost
        assert journal.forgetful(STAMP.monotonic_s, STAMP.boot_id)
    assert path.with_name("journal.db.corrupt-1").exists()


def test_rewritten_history_is_found_by_its_states(path: Path) -> None:
    """Even a row with a right hash is found if its state may not follow."""
    with closing(Journal(path, STAMP)) as journal:
        live(journal, "c1", S.GATED)
        alter(
            path,
            "DELETE FROM command",
            "DELETE FROM event WHERE seq=2",
            "DELETE FROM unreported WHERE seq=2",
            "UPDATE meta SET value='1' WHERE key='head_seq'",
            "UPDATE meta SET value=(SELECT hash FROM event WHERE seq=1) WHERE key='head_hash'",
        )
        assert journal.verify() == ["command c1: is not kept", "row 2: is missing"]


def test_rows_cannot_be_changed_by_accident(journal: Journal, path: Path) -> None:
    """The file itself refuses to change or delete a row."""
    live(journal, "c1")
    with closing(sqlite3.connect(path)) as db:
        for statement in ("UPDATE event SET detail='x'", "DELETE FROM event"):
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                db.execute(statement)


@pytest.mark.parametrize("garbage", [b"not a database at all" * 100, b"\x00" * 8192])
def test_corrupt_file_is_put_aside(path: Path, garbage: bytes) -> None:
    """A corrupt journal is kept aside, an empty one starts, and it says that it is forgetful."""
    path.parent.mkdir()
    for number in range(1, 6):
        path.write_bytes(garbage[:100] + bytes([number]) + garbage)
        clock = FakeClock()
        if garbage[0] == 0:
            path.write_bytes(b"SQLite format 3\x00" + garbage)
        with closing(Journal(path, Stamp.of(clock))) as journal:
            assert journal.journal_lost
            assert journal.recent(1) == []
            assert journal.log()[0].kind == "journal-lost"
            assert journal.forgetful(clock.monotonic_s(), clock.boot_id())
    kept = sorted(file.name for file in path.parent.glob("*.corrupt-?"))
    assert kept == ["journal.db.corrupt-3", "journal.db.corrupt-4", "journal.db.corrupt-5"]


def test_damage_inside_the_file_is_found(path: Path) -> None:
    """A page overwritten with rubbish does not pass the check at the start."""
    with closing(Journal(path, STAMP)) as journal:
        for number in range(50):
            live(journal, f"c{number}", *STRAIGHT)
    with path.open("r+b") as file:
        file.seek(4096 * 5)
        file.write(b"\xa5" * 4096 * 3)
    with closing(Journal(path, STAMP)) as journal:
        assert journal.journal_lost


def test_forgetful_for_the_longest_life(path: Path) -> None:
    """After a loss the journal is forgetful for the longest life of a command, over restarts."""
    path.parent.mkdir()
    path.write_bytes(b"rubbish" * 1000)
    clock = FakeClock(monotonic_s=5000.0)
    Journal(path, Stamp.of(clock)).close()
    clock.advance(LONGEST_LIFE_S - 1)
    with closing(Journal(path, Stamp.of(clock))) as journal:
        assert not journal.journal_lost
        assert journal.forgetful(clock.monotonic_s(), clock.boot_id())
        clock.reboot(monotonic_s=10.0)
        assert journal.forgetful(clock.monotonic_s(), clock.boot_id())
        clock.advance(LONGEST_LIFE_S - 11.0)
        assert journal.forgetful(clock.monotonic_s(), clock.boot_id())
        clock.advance(1.0)
        assert not journal.forgetful(clock.monotonic_s(), clock.boot_id())
        clock.reboot("boot-3", monotonic_s=1.0)
        assert not journal.forgetful(clock.monotonic_s(), clock.boot_id())


def test_a_new_journal_is_not_forgetful(journal: Journal) -> None:
    """A box that starts for the first time obeys."""
    assert not journal.forgetful(0.0, "boot-1")


def fill(journal: Journal) -> None:
    """Write far more than the quota."""
    for number in range(1000):
        journal.note("filler", STAMP, {"text": "x" * 4000, "number": number})


def test_full_journal_fails_closed(path: Path) -> None:
    """At the quota writing fails with our error, reading goes on, and nothing half is left."""
    with closing(Journal(path, STAMP, max_bytes=16 * 4096)) as journal:
        journal.accept(command(), STAMP)
        with pytest.raises(JournalFailed, match="full"):
            fill(journal)
        entry = journal.entry("c1")
        assert entry is not None
        assert journal.verify() == []


def test_unusable_path(tmp_path: Path) -> None:
    """A place where no file can be is our error, not SQLite's."""
    (tmp_path / "file").write_text("")
    with pytest.raises(JournalFailed):
        Journal(tmp_path / "file" / "journal.db", STAMP)
    (tmp_path / "folder").mkdir()
    with pytest.raises(JournalFailed):
        Journal(tmp_path / "folder", STAMP)


def test_journal_of_a_newer_agent(journal: Journal, path: Path) -> None:
    """A file of another version is neither used nor put aside."""
    journal.close()
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(JournalFailed, match="another version"):
        Journal(path, STAMP)
    assert path.exists()


def test_a_failed_connection_is_replaced(journal: Journal, path: Path) -> None:
    """After an error the next use works on a new connection."""
    journal.accept(command(), STAMP)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("ALTER TABLE unreported RENAME TO hidden")
        with pytest.raises(JournalFailed, match="unreported"):
            journal.advance("c1", S.GATED, STAMP)
        other.execute("ALTER TABLE hidden RENAME TO unreported")
    assert journal.advance("c1", S.GATED, STAMP).state is S.GATED
    assert journal.verify() == []


def test_written_with_full_synchronisation(journal: Journal, path: Path) -> None:
    """The settings that keep rows over a power cut are in force."""
    with journal._file.reading() as db:
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert db.execute("PRAGMA synchronous").fetchone() == (2,)
        assert db.execute("PRAGMA wal_autocheckpoint").fetchone() == (256,)
    assert path.exists()


def test_lockout_survives_restart(journal: Journal, path: Path) -> None:
    """The local lock-out is kept until somebody clears it, and both are recorded."""
    assert journal.lockout() is None
    journal.set_lockout("work on the rack", "zhang", STAMP)
    journal.close()
    with closing(Journal(path, STAMP)) as again:
        lockout = again.lockout()
        assert lockout is not None
        assert lockout == Lockout("work on the rack", "zhang", rfc3339(STAMP.wall))
        assert again.meta("lockout") is not None  # beside the file that outlives the journal
        again.clear_lockout("li", STAMP)
        assert again.lockout() is None
        rows = [(event.kind, event.device_uid, event.evidence) for event in again.log()]
        assert rows == [
            ("lockout-set", "", lockout._asdict()),
            ("lockout-cleared", "", {"who": "li"}),
        ]
        assert again.meta("lockout") is None


def test_a_note_is_of_no_device_unless_it_says_so(journal: Journal) -> None:
    """An audit row keeps its body, and the device if there is one."""
    for uid in ((), ("BAT",)):
        journal.note("start", STAMP, {"version": "1"}, *uid)
    found = [(event.kind, event.device_uid, event.evidence) for event in journal.log()]
    assert found == [("start", "", {"version": "1"}), ("start", "BAT", {"version": "1"})]


@pytest.mark.parametrize("gone", ["lockout.json", "journal.db"])
def test_a_lockout_outlives_either_file(journal: Journal, path: Path, gone: str) -> None:
    """The lock-out is kept twice: the loss of one file opens nothing."""
    journal.set_lockout("work on the rack", "zhang", STAMP)
    journal.close()
    (path.parent / gone).unlink()
    with closing(Journal(path, STAMP)) as again:
        lockout = again.lockout()
        assert lockout is not None
        assert lockout.reason == "work on the rack"


def test_numbers_are_reserved_once(journal: Journal, path: Path) -> None:
    """A block is never given twice, also after a restart, and respects its floor."""
    assert journal.reserve("sequence", 1000) == 1
    journal.close()
    with closing(Journal(path, STAMP)) as again:
        assert again.reserve("sequence", 1000) == 1001
        assert again.reserve("sequence", 10, at_least=5000) == 5000
        assert again.reserve("sequence", 10) == 5010
        assert again.reserve("other", 10) == 1


def test_prune_keeps_what_matters(path: Path) -> None:
    """Only old, reported rows of finished commands go; the ids stay; the chain still holds."""
    clock = FakeClock()
    with closing(Journal(path, Stamp.of(clock))) as journal:
        live(journal, "old", S.REJECTED)
        live(journal, "open")
        clock.advance(100 * 86_400)
        live(journal, "young", S.REJECTED)
        limit = clock.wall() - timedelta(days=50)
        assert journal.prune(limit) == 0  # not reported yet
        for event in journal.unreported("BAT"):
            journal.reported(event.seq)
        assert journal.prune(clock.wall() - timedelta(days=200)) == 0  # nothing is that old
        assert journal.prune(limit) == 2
        assert journal.prune(limit) == 0
        assert journal.events("old") == []
        assert journal.accept(command("old"), STAMP).state is S.REJECTED
        assert journal.verify() == []
        journal.advance("open", S.EXPIRED, Stamp.of(clock))
        assert journal.verify() == []


def test_meta_values(journal: Journal) -> None:
    """Small values are kept and replaced."""
    assert journal.meta("x") is None
    journal.set_meta("x", "1")
    journal.set_meta("x", "2")
    assert journal.meta("x") == "2"


def test_many_threads(journal: Journal) -> None:
    """One id from eight threads is accepted once; the chain holds."""
    news: list[bool] = []

    def deliver() -> None:
        news.extend(journal.accept(command(f"c{n}"), STAMP).new for n in range(20))

    threads = [Thread(target=deliver) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert news.count(True) == 20
    assert journal.verify() == []


class JournalLife(RuleBasedStateMachine):
    """The journal against a model of it, with restarts in between."""

    make_path: Callable[[], Path]

    def __init__(self) -> None:
        super().__init__()
        self.path = type(self).make_path()
        self.journal = Journal(self.path, STAMP)
        self.model: dict[str, list[CommandState]] = {}

    @initialize()
    def begin(self) -> None:
        """Start empty."""
        assert self.journal.recent(1) == []

    @rule(identity=st.sampled_from("abc"))
    def accept(self, identity: str) -> None:
        """Deliver a command, again and again."""
        entry = self.journal.accept(command(identity), STAMP)
        assert entry.new == (identity not in self.model)
        assert entry.state == self.model.setdefault(identity, [S.ACCEPTED])[-1]

    @rule(identity=st.sampled_from("abc"), state=st.sampled_from(list(S)))
    def advance(self, identity: str, state: CommandState) -> None:
        """Try any step."""
        states = self.model.get(identity)
        try:
            self.journal.advance(identity, state, STAMP)
        except UnknownCommand:
            assert states is None
        except IllegalTransition:
            assert states is not None
            assert state not in NEXT[states[-1]]
        else:
            assert states is not None
            states.append(state)

    @rule()
    def restart(self) -> None:
        """Close and open again."""
        self.journal.close()
        self.journal = Journal(self.path, STAMP)

    @invariant()
    def agrees(self) -> None:
        """Journal and model say the same, and the chain holds."""
        for identity, states in self.model.items():
            assert [event.state for event in self.journal.events(identity)] == states
        unfinished = {entry.command.id for entry in self.journal.unfinished("BAT")}
        assert unfinished == {key for key, has in self.model.items() if has[-1] not in FINAL}
        assert self.journal.verify() == []

    def teardown(self) -> None:
        """Close."""
        self.journal.close()


def test_against_a_model(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Any order of deliveries, steps and restarts leaves what the model has."""
    JournalLife.make_path = staticmethod(lambda: tmp_path_factory.mktemp("life") / "journal.db")
    JournalLife.TestCase.settings = settings(max_examples=40, stateful_step_count=15, deadline=None)
    JournalLife.TestCase("runTest").runTest()
