"""The flight recorder: each command and each alarm edge has its frames, whatever the disk does."""

import json
import logging
import resource
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from agent import cli
from agent.clock import FakeClock, SystemClock
from agent.errors import JournalFailed
from agent.journal import Journal
from agent.journal_rows import Event, Stamp
from agent.recorder import FOLDER, LATE_S, FlightRecorder
from agent.recording import RecorderRules
from agent.recording_file import PART
from bms_can.alarms import LOST, ActiveAlarm
from bms_can.candump import candump_frames
from bms_can.commands import Command, CommandState, Reason
from bms_can.errors import BadLogLine
from bms_can.frame import Frame
from bms_can.profile import CommandCode
from bms_can.profile_load import load_profile
from bms_can.shipped import profile_path
from bms_can.simulator import Simulator
from bms_can.status import BmsStatus, Contactor
from bms_can.timeline import Timeline

UID, OTHER = "BAT-1", "BAT-2"
RULES = RecorderRules(30.0, 20.0, 8 * 1024 * 1024)
TICK_S = 0.05


def status(*keys: str) -> BmsStatus:
    """Return a status with these alarms on."""
    alarms = tuple(ActiveAlarm(key, 1, key, key, blocks_close=True) for key in keys)
    return BmsStatus(
        operating=None,
        alarms=alarms,
        alarm_count=len(alarms),
        disconnected=LOST.key in keys,
        contactor=Contactor.UNKNOWN,
        current_a=None,
        age_s=None,
        why="",
    )


class FailingJournal(Journal):
    """The real journal; while `broken` it cannot be read."""

    broken = False

    def log(self, after_seq: int = 0, limit: int = 1000) -> list[Event]:
        """See Journal."""
        if self.broken:
            raise JournalFailed("disk I/O error")
        return super().log(after_seq, limit)


class Bench:
    """A recorder, its journal, and a bus with a frame every `TICK_S`."""

    def __init__(self, state_dir: Path, rules: RecorderRules = RULES) -> None:
        self.clock = FakeClock(auto=True)
        self.journal = FailingJournal(state_dir / "journal.db", Stamp.of(self.clock))
        channels = {UID: "can0", OTHER: "can 1"}
        self.recorder = FlightRecorder(state_dir, rules, channels, self.journal, self.clock)
        self.sent: dict[str, list[Frame]] = {UID: [], OTHER: []}
        self._ticks = 0

    @property
    def now_s(self) -> float:
        """The moment."""
        return self.clock.monotonic_s()

    def pass_time(self, seconds: float, uid: str = UID) -> None:
        """Let the bus talk, and the recorder look once a second."""
        end_s = self.now_s + seconds
        while self.now_s < end_s:
            self.clock.advance(TICK_S)
            self._ticks += 1
            frame = Frame(self.now_s, 0x100, extended=False, data=self._ticks.to_bytes(4))
            self.sent[uid].append(frame)
            self.recorder.tap(uid)((frame,))
            if self._ticks % 20 == 0:
                self.recorder.step()

    def command(self, identity: str, uid: str = UID) -> float:
        """Accept a command; return when."""
        code = CommandCode.CLOSE_CONTACTOR
        command = Command(identity, code, uid, "op", 1, self.now_s + 10, self.clock.boot_id())
        self.journal.accept(command, Stamp.of(self.clock))
        return self.now_s

    def alarms(self, *keys: str) -> float:
        """Have these alarms on; return when."""
        self.recorder.look(UID, status(*keys))
        return self.now_s

    def expected(self, since_s: float, until_s: float, uid: str = UID) -> list[bytes]:
        """Return the data of the frames of a time, both ends included."""
        return [frame.data for frame in self.sent[uid] if since_s <= frame.at_s <= until_s]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """Return a bench on an empty state directory."""
    bench = Bench(tmp_path)
    with closing(bench.journal):
        yield bench


def recordings(state_dir: Path) -> list[Path]:
    """Return what is in the folder, by name."""
    return sorted((state_dir / FOLDER).iterdir())


def one(state_dir: Path, part: str) -> Path:
    """Return the only complete recording with this in its name."""
    (found,) = [
        path for path in recordings(state_dir) if part in path.name and path.suffix == ".log"
    ]
    return found


def frames_in(path: Path) -> list[Frame]:
    """Return the frames of a recording; every line is good."""
    entries = list(candump_frames(path.read_text().splitlines()))
    assert not [each for each in entries if isinstance(each, BadLogLine)]
    return [each for each in entries if isinstance(each, Frame)]


def data_in(path: Path) -> list[bytes]:
    """Return the data of the frames of a recording."""
    return [frame.data for frame in frames_in(path)]


def test_a_command_has_its_frames(bench: Bench, tmp_path: Path) -> None:
    """A recording holds exactly the frames from 30 s before to 20 s after the command."""
    bench.pass_time(60)
    at_s, wall = bench.command("c1"), bench.clock.wall()
    bench.pass_time(25)
    path = one(tmp_path, "")
    stamp, rest = path.name.split("_", 1)
    told = datetime.strptime(stamp, "%Y%m%dT%H%M%S.%fZ").replace(tzinfo=UTC)
    assert rest == "BAT-1.command.c1.log"
    assert abs((told - wall).total_seconds()) < 0.002
    assert data_in(path) == bench.expected(at_s - 30, at_s + 20)
    assert bench.recorder.counts()["kept"] == 1


def test_times_are_wall_times(bench: Bench, tmp_path: Path) -> None:
    """A frame's time is its wall time; a step of the wall clock does not tear a recording."""
    bench.pass_time(40)
    at_s, wall_s = bench.command("c1"), bench.clock.wall().timestamp()
    bench.pass_time(5)
    bench.clock.step_wall(-1e6)
    bench.pass_time(20)
    frames = frames_in(one(tmp_path, "c1"))
    times = [frame.at_s for frame in frames]
    wanted = [frame.at_s - at_s + wall_s for frame in bench.sent[UID] if at_s - 30 <= frame.at_s]
    assert times == pytest.approx(wanted[: len(times)], abs=2e-6)
    assert {frame.channel for frame in frames} == {"can0"}


def test_a_refused_command_too(bench: Bench, tmp_path: Path) -> None:
    """Each accepted command is recorded once, also one that no frame followed."""
    bench.pass_time(10)
    bench.command("c1")
    stamp = Stamp.of(bench.clock)
    bench.journal.advance("c1", CommandState.REJECTED, stamp, reason=Reason.LOCAL_LOCKOUT)
    bench.pass_time(25)
    bench.command("c1")
    bench.pass_time(25)
    assert len(recordings(tmp_path)) == 1


def test_commands_of_an_earlier_start_are_over(tmp_path: Path) -> None:
    """A restart records nothing for commands that it finds in the journal."""
    first = Bench(tmp_path)
    first.command("c1")
    first.journal.close()
    again = Bench(tmp_path)
    with closing(again.journal):
        again.pass_time(5)
    assert not (tmp_path / FOLDER).exists()


def test_each_device_for_itself(bench: Bench, tmp_path: Path) -> None:
    """Devices have their own rings and recordings, at the same time."""
    bench.pass_time(3)
    bench.pass_time(3, OTHER)
    bench.command("c1")
    bench.command("c2", OTHER)
    bench.command("c3", "STRANGER")
    for uid in 2 * (UID, OTHER):
        bench.pass_time(4, uid)
    bench.recorder.end()
    for uid, name in ((UID, "BAT-1.command.c1"), (OTHER, "BAT-2.command.c2")):
        assert data_in(one(tmp_path, name)) == bench.expected(0, bench.now_s, uid)
    assert {frame.channel for frame in frames_in(one(tmp_path, "BAT-2"))} == {"can_1"}
    assert len(recordings(tmp_path)) == 2


def test_two_commands_share_a_recording(bench: Bench, tmp_path: Path) -> None:
    """A command inside another's recording prolongs it, and both names lead to it."""
    bench.pass_time(35)
    first_s = bench.command("c1")
    bench.pass_time(15)
    second_s = bench.command("c2")
    bench.pass_time(25)
    assert one(tmp_path, "c1").samefile(one(tmp_path, "c2"))
    assert data_in(one(tmp_path, "c1")) == bench.expected(first_s - 30, second_s + 20)


def test_an_alarm_that_comes_and_goes(bench: Bench, tmp_path: Path) -> None:
    """Edges near each other are one recording, named by the first."""
    bench.pass_time(35)
    came_s = bench.alarms("hot")
    bench.pass_time(8)
    gone_s = bench.alarms()
    bench.pass_time(25)
    path = one(tmp_path, "")
    assert path.name.endswith("_BAT-1.alarm.hot.log")
    assert data_in(path) == bench.expected(came_s - 30, gone_s + 20)


def test_neighbours_share_an_end(bench: Bench, tmp_path: Path) -> None:
    """An alarm's recording begins where the last one ended: no frame twice, none missing."""
    bench.pass_time(35)
    came_s = bench.alarms("hot")
    bench.pass_time(30)
    gone_s = bench.alarms()
    bench.pass_time(25)
    first, second = recordings(tmp_path)
    assert data_in(first) + data_in(second) == bench.expected(came_s - 30, gone_s + 20)
    assert data_in(first) == bench.expected(came_s - 30, came_s + 20)


def test_a_late_edge_after_the_end(bench: Bench, tmp_path: Path) -> None:
    """An edge after the end of a recording that is still open begins another one."""
    bench.pass_time(35)
    came_s = bench.alarms("hot")
    bench.pass_time(19.8)
    bench.clock.advance(0.4)
    gone_s = bench.alarms()
    bench.pass_time(25)
    first, second = recordings(tmp_path)
    assert data_in(first) == bench.expected(came_s - 30, came_s + 20)
    assert data_in(second) == bench.expected(came_s + 20.0001, gone_s + 20)


def test_a_command_in_an_alarm_s_time(bench: Bench, tmp_path: Path) -> None:
    """A command ends an alarm's recording and has its own whole time before."""
    bench.pass_time(35)
    came_s = bench.alarms("hot")
    bench.pass_time(10)
    at_s = bench.command("c1")
    bench.pass_time(30)
    alarm, command = recordings(tmp_path)
    assert data_in(command) == bench.expected(at_s - 30, at_s + 20)
    assert data_in(alarm)[: 40 * 20] == bench.expected(came_s - 30, came_s + 10)[: 40 * 20]


def test_an_alarm_in_a_command_s_time(bench: Bench, tmp_path: Path) -> None:
    """What happens after a command stands in its own recording."""
    bench.pass_time(35)
    at_s = bench.command("c1")
    bench.pass_time(10)
    came_s = bench.alarms("hot")
    bench.pass_time(30)
    assert data_in(one(tmp_path, "")) == bench.expected(at_s - 30, came_s + 20)


def test_a_silent_bus(bench: Bench, tmp_path: Path) -> None:
    """Loss of the BMS is an edge; what was heard before is kept, and silence ends by itself."""
    bench.pass_time(5)
    heard = len(bench.sent[UID])
    bench.alarms(LOST.key)
    for _ in range(23):
        bench.clock.advance(1)
        bench.recorder.step()
    path = one(tmp_path, "bms_communication_lost")
    assert len(frames_in(path)) == heard


def test_nothing_known_is_no_edge(bench: Bench, tmp_path: Path) -> None:
    """Before the first look there is no status, and nothing to record."""
    bench.recorder.look(UID, None)
    bench.pass_time(3)
    assert not (tmp_path / FOLDER).exists()


def test_a_journal_that_cannot_be_read(bench: Bench, tmp_path: Path) -> None:
    """A command that came while the journal failed is recorded once it works again."""
    bench.pass_time(35)
    at_s = bench.command("c1")
    bench.journal.broken = True
    bench.pass_time(LATE_S - 2)
    bench.journal.broken = False
    bench.pass_time(15)
    assert data_in(one(tmp_path, "c1")) == bench.expected(at_s - 30, at_s + 20)


def test_a_disk_that_takes_nothing(
    bench: Bench, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Trouble costs the recording, is counted and told once; the next one is kept."""
    (tmp_path / FOLDER).touch()
    bench.pass_time(5)
    for _ in range(2):
        bench.command(f"c{bench.now_s}")
        bench.pass_time(2)
    counts = bench.recorder.counts()
    assert (counts["lost"], counts["kept"]) == (2, 0)
    assert "File exists" in str(counts["trouble"])
    assert len(caplog.records) == 1
    (tmp_path / FOLDER).unlink()
    bench.command("good")
    bench.pass_time(25)
    assert data_in(one(tmp_path, "good"))
    assert (bench.recorder.tally.kept, bench.recorder.tally.trouble) == (1, "")


@contextmanager
def no_file_grows_beyond(size: int) -> Iterator[None]:
    """Have the kernel refuse to write further, as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_disk_that_fills_up(bench: Bench, tmp_path: Path) -> None:
    """A recording that cannot be completed leaves nothing; an alarm's frames go to the next one."""
    bench.pass_time(35)
    bench.alarms("hot")
    bench.pass_time(5)
    assert recordings(tmp_path)[0].name.endswith(PART)
    bench.recorder.tap(UID)((Frame(bench.now_s, 0x100, extended=False, data=b""),))
    with no_file_grows_beyond(100):
        bench.recorder.step()
    assert recordings(tmp_path) == []
    assert bench.recorder.tally.lost == 1
    gone_s = bench.alarms()
    bench.pass_time(25)
    found = frames_in(one(tmp_path, "hot"))
    assert len(found) == len(bench.expected(gone_s - 30, gone_s + 20)) + 1


def test_a_recording_too_large(tmp_path: Path) -> None:
    """One recording cannot take the whole quota: it ends early, and that is counted."""
    bench = Bench(tmp_path, RecorderRules(30.0, 20.0, 240_000))  # 30,000 for each of two devices
    with closing(bench.journal):
        bench.pass_time(35)
        bench.command("c1")
        bench.pass_time(25)
    assert 0 < one(tmp_path, "c1").stat().st_size <= 30_000
    assert (bench.recorder.tally.cut, bench.recorder.tally.kept) == (1, 1)


def test_the_quota_is_held(tmp_path: Path) -> None:
    """An alarm that flaps for ever fills no disk, and does not push a command's frames out."""
    rules = RecorderRules(5.0, 5.0, 150_000)
    bench = Bench(tmp_path, rules)
    with closing(bench.journal):
        bench.pass_time(10)
        bench.command("c1")
        bench.pass_time(20)
        most = 0
        for number in range(60):
            bench.alarms(*(["hot"] if number % 2 else []))
            bench.pass_time(6)
            most = max(most, sum(path.stat().st_size for path in recordings(tmp_path)))
    assert rules.max_bytes / 2 < most <= rules.max_bytes
    assert data_in(one(tmp_path, "command.c1"))
    assert bench.recorder.tally.deleted > 10


def test_a_writer_that_is_too_late(bench: Bench) -> None:
    """Frames that the ring lost before they were written are counted as a torn recording."""
    bench.pass_time(5)
    bench.command("c1")
    bench.pass_time(2)
    frame = Frame(bench.now_s, 0x100, extended=False, data=bytes(8))
    take = bench.recorder.tap(UID)
    for _ in range(2):
        for _ in range(220_000):  # more than 4 MiB
            take((frame,))
        bench.recorder.step()
    bench.pass_time(25)
    assert (bench.recorder.tally.torn, bench.recorder.tally.kept) == (1, 1)


def test_switched_off(tmp_path: Path) -> None:
    """With a quota of 0 nothing is kept in memory and nothing on disk."""
    bench = Bench(tmp_path, RecorderRules(30.0, 20.0, 0))
    with closing(bench.journal):
        bench.pass_time(5)
        bench.command("c1")
        bench.alarms("hot")
        bench.pass_time(60)
        bench.recorder.end()
    assert not (tmp_path / FOLDER).exists()


def test_the_thread(tmp_path: Path) -> None:
    """The thread keeps what a crash left, records, and completes what is open when it ends."""
    left = "20260102T030405.000Z_BAT-1.command.c0.log"
    (tmp_path / FOLDER).mkdir()
    (tmp_path / FOLDER / (left + PART)).write_text("(0000000001.000000) can0 123#01\n(000")
    clock = SystemClock()
    with closing(Journal(tmp_path / "journal.db", Stamp.of(clock))) as journal:
        recorder = FlightRecorder(tmp_path, RULES, {UID: "can0"}, journal, clock)
        thread = threading.Thread(target=recorder.run)
        thread.start()
        frame = Frame(clock.monotonic_s(), 0x100, extended=False, data=b"\x01")
        recorder.tap(UID)((frame,))
        command = Command("c1", CommandCode.FAULT_RESET, UID, "op", 1, 0.0, clock.boot_id())
        journal.accept(command, Stamp.of(clock))
        recorder.stop()
        thread.join(10)
        assert not thread.is_alive()
    assert recorder.beats >= 0
    assert len(frames_in(one(tmp_path, "c0"))) == 1
    assert data_in(one(tmp_path, "c1")) == [b"\x01"]


def test_what_cannot_be_rescued(
    bench: Bench, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Trouble with what a crash left is told, and the agent starts."""
    (tmp_path / FOLDER / ("x.log" + PART)).mkdir(parents=True)
    bench.recorder.stop()
    bench.recorder.run()
    assert "cannot keep" in caplog.text


def test_an_empty_folder_is_no_news(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """A start without anything to rescue says nothing."""
    caplog.set_level(logging.INFO)
    bench.recorder.stop()
    bench.recorder.run()
    assert caplog.records == []


def test_replay_reads_it(bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`bms-agent replay` finds in a recording what the battery did, at the right distances."""
    profile, database = load_profile(profile_path("ess_bau"))
    battery = Simulator(profile, database, now_s=bench.now_s)
    close = profile.commands[CommandCode.CLOSE_CONTACTOR].frames[0]
    take, sent = bench.recorder.tap(UID), list[Frame]()
    command_s = bench.now_s + 5
    while bench.now_s < command_s + 9:
        bench.clock.advance(0.01)
        if not sent or sent[-1].at_s < command_s <= bench.now_s:
            bench.recorder.step()
            if sent:
                bench.command("c1")
                battery.hear(close, bench.now_s)
                sent.append(close._replace(at_s=bench.now_s))
                take((sent[-1],))
        for frame in battery.due_frames(bench.now_s):
            sent.append(frame)
            take((frame,))
        if int(bench.now_s * 100) % 100 == 0:
            bench.recorder.step()
    bench.recorder.end()
    code = cli.main(["replay", str(one(tmp_path, "c1")), "--profile", "ess_bau", "--json"])
    replayed = json.loads(capsys.readouterr().out)
    assert code == 0
    wanted = [
        (change.rel_s, change.status.operating) for change in Timeline(profile, database).run(sent)
    ]
    found = [(each["rel_s"], each["operating_status"]) for each in replayed["timeline"]]
    assert [state for _, state in wanted][-1] == 2
    assert [state for _, state in found] == [state for _, state in wanted]
    assert [at_s for at_s, _ in found] == pytest.approx([at_s for at_s, _ in wanted], abs=1e-3)
