"""`bms-agent play`: the log's own pace without drift, and no surprise for a real bus."""

import os
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.cli import build_parser, main
from agent.clock import FakeClock
from agent.cmd_play import SOCKETCAN, control_ids, harmless
from agent.play import CONTROL, FLEXIBLE, OTHER_CHANNEL, TICK_S, Choice, Pace, PaceRules, Player
from bms_can.bus import BusSettings, open_port
from bms_can.errors import BadLogLine, SendFailed
from bms_can.frame import Frame
from bms_can.profile_load import load_profile
from bms_can.shipped import profile_path

EPOCH_S = 1_780_000_000.0
LOG = Path(__file__).parents[1] / "data" / "ess_bau" / "half_minute.log"


def frame(at_s: float, can_id: int = 0x100, data: bytes = b"\1", channel: str = "can0") -> Frame:
    """Build a frame of a log."""
    return Frame(at_s, can_id, False, data, channel)  # noqa: FBT003 - the frame's own order


class SlowClock(FakeClock):
    """A fake clock on which every wait lasts a little longer than asked, as on a real machine."""

    def __init__(self, over_s: float) -> None:
        super().__init__()
        self._over_s = over_s
        self._now_s = 1000.0

    def monotonic_s(self) -> float:
        """See Clock."""
        return self._now_s

    def wait(self, event: threading.Event, timeout_s: float) -> bool:
        """See Clock."""
        self._now_s += timeout_s + self._over_s
        return event.is_set()


class Line:
    """A bus that notes when it was given which frame."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self.sent: list[tuple[float, Frame]] = []
        self.full = 0

    def send(self, each: Frame) -> None:
        """Take a frame, or refuse it while the queue is full."""
        if self.full:
            self.full -= 1
            raise SendFailed("no buffer space")
        self.sent.append((self._clock.monotonic_s(), each))

    @property
    def times(self) -> list[float]:
        """When frames went out, from the first one on [s]."""
        return [round(at_s - self.sent[0][0], 6) for at_s, _ in self.sent]


def player(
    clock: FakeClock, line: Line, rules: PaceRules | None = None, **choice: object
) -> Player:
    """Build a player onto one line."""
    chosen = Choice({"": line.send}, **choice)  # type: ignore[arg-type]  # names of its fields
    return Player(clock, chosen, rules or PaceRules(), threading.Event())


@pytest.mark.parametrize("count", [100_000, pytest.param(1_000_000, marks=pytest.mark.proof)])
def test_many_frames_without_drift(count: int) -> None:
    """After 10^6 frames, each wait a little too long, the last one is at most a tick late."""
    clock = SlowClock(0.0004)
    newest: list[float] = [0.0]
    start_s = clock.monotonic_s()

    def send(each: Frame) -> None:
        newest[0] = (clock.monotonic_s() - start_s) - (each.at_s - EPOCH_S)

    one = Player(clock, Choice({"": send}), PaceRules(), threading.Event())
    same = frame(0.0)
    one.play(same._replace(at_s=EPOCH_S + 0.00123 * index) for index in range(count))
    assert one.tally.sent == count
    assert one.tally.late == 0
    assert -1e-6 < newest[0] <= TICK_S
    assert one.tally.worst_s <= TICK_S


@given(
    st.lists(st.floats(0.0, 0.5), min_size=1, max_size=60),
    st.floats(0.0, 0.003),
    st.sampled_from((0.001, 0.01)),
)
def test_never_early_and_in_order(gaps: list[float], over_s: float, tick_s: float) -> None:
    """No frame goes out before its time; each is late by one slow wake-up at the most."""
    clock = SlowClock(over_s)
    line = Line(clock)
    times, at_s = [], 50.0
    for gap_s in gaps:
        at_s += gap_s
        times.append(at_s)
    player(clock, line, PaceRules(tick_s)).play(frame(each) for each in times)
    start_s = line.sent[0][0]
    assert [each.at_s for _, each in line.sent] == times
    for sent_s, each in line.sent:
        lateness_s = (sent_s - start_s) - (each.at_s - times[0])
        assert -1e-9 < lateness_s <= over_s + 1e-9


def test_late_frames_are_counted() -> None:
    """A machine that oversleeps by 5 ms sends late, says how often and how late, and catches up."""
    clock = SlowClock(0.005)
    line = Line(clock)
    one = player(clock, line)
    one.play(frame(0.1 * index) for index in range(11))
    assert one.tally.late == 10
    assert one.tally.worst_s == pytest.approx(0.005)
    assert line.times[-1] == pytest.approx(1.005)


def test_long_gaps_can_be_left_out() -> None:
    """With a limit of 2 s a gap of an hour costs a tick; what follows keeps its own distances."""
    clock = FakeClock(auto=True)
    line = Line(clock)
    log = [frame(each) for each in (0.0, 1.0, 3601.0, 3602.5)]
    player(clock, line, PaceRules(skip_s=2.0)).play(log)
    assert line.times == [0.0, 1.0, 1.001, 2.501]


def test_a_step_back_begins_anew() -> None:
    """Two recordings in one file follow each other; a little disorder is sent at once, in order."""
    clock = FakeClock(auto=True)
    line = Line(clock)
    player(clock, line).play([frame(each) for each in (100.0, 100.5, 100.48, 3.0, 3.5)])
    assert line.times == [0.0, 0.5, 0.5, 0.501, 1.001]


def test_times_can_be_ignored() -> None:
    """Without the log's times frames go out at once, or a fixed time apart; none is late."""
    clock = FakeClock(auto=True)
    line = Line(clock)
    log = [frame(each) for each in (0.0, 10.0, 20.0)]
    player(clock, line, PaceRules(apart_s=0.0)).play(log)
    assert line.times == [0.0, 0.0, 0.0]
    fixed = Line(clock)
    player(clock, fixed, PaceRules(apart_s=0.02)).play(log)
    assert fixed.times == [0.0, 0.02, 0.04]


def test_passes_follow_each_other() -> None:
    """A second pass begins a tick after the last frame of the first, on the same schedule."""
    clock = SlowClock(0.0005)
    line = Line(clock)
    one = player(clock, line, most=5)
    for _ in range(3):
        one.play([frame(7.0), frame(7.5)])
    assert one.done
    assert line.times == pytest.approx([0.0, 0.5, 0.501, 1.001, 1.002], abs=TICK_S)


def test_each_channel_has_its_own_way() -> None:
    """Channels of the log go where they are assigned; those that are not are left out, counted."""
    clock = FakeClock(auto=True)
    one, other = Line(clock), Line(clock)
    choice = Choice({"can0": one.send, "can1": other.send})
    each = Player(clock, choice, PaceRules(), threading.Event())
    each.play(frame(0.0, channel=name) for name in ("can0", "can1", "can2", "can0"))
    assert (len(one.sent), len(other.sent)) == (2, 1)
    assert each.tally.left_out == {OTHER_CHANNEL: 1}


def test_what_is_left_out_is_counted() -> None:
    """Control frames, FD frames on a classical bus and lines without a data frame."""
    clock = FakeClock(auto=True)
    line = Line(clock)
    one = player(clock, line, control=frozenset({(0x200, False)}))
    log = [frame(0.0), frame(0.0, 0x200), frame(0.0, data=bytes(12))]
    one.play([*log, BadLogLine(4, "remote frame", "123#R")])
    assert len(line.sent) == 1
    assert one.tally.left_out == {CONTROL: 1, FLEXIBLE: 1, "remote frame": 1}


def test_a_full_queue_costs_time_not_frames() -> None:
    """A frame that the interface does not take is tried again; none is lost or sent twice."""
    clock = FakeClock(auto=True)
    line = Line(clock)
    line.full = 3
    one = player(clock, line)
    one.play([frame(0.0), frame(1.0)])
    assert [each.at_s for _, each in line.sent] == [0.0, 1.0]
    assert one.tally.full == 3


def test_a_bus_that_takes_nothing_ends_the_play() -> None:
    """After a second of full queue the play ends with the interface's words."""
    clock = FakeClock(auto=True)
    line = Line(clock)
    line.full = 10**9
    with pytest.raises(SendFailed, match="no buffer space"):
        player(clock, line).play([frame(0.0)])
    assert clock.monotonic_s() == pytest.approx(1001.0, abs=0.01)


def test_stop_ends_a_long_wait() -> None:
    """Ctrl-C in the middle of a gap of an hour: nothing more is sent."""
    clock, stop = FakeClock(auto=True), threading.Event()
    line = Line(clock)

    def send(each: Frame) -> None:
        line.send(each)
        stop.set()

    Player(clock, Choice({"": send}), PaceRules(), stop).play([frame(0.0), frame(3600.0)])
    assert len(line.sent) == 1


@given(st.lists(st.floats(0, 1e10), max_size=40), st.booleans())
def test_due_times_never_go_back(times: list[float], skips: bool) -> None:  # noqa: FBT001 - drawn
    """Whatever the log's times do, due times only grow: frames keep the order of the file."""
    pace = Pace(PaceRules(skip_s=1.0 if skips else None), 5.0)
    due = [pace.due(each) for each in times]
    assert due == sorted(due)


@pytest.fixture
def network(tmp_path: Path) -> Path:
    """Give a /sys/class/net with a vcan0 and a real can0 that somebody called vcan1."""
    net = tmp_path / "net"
    net.mkdir()
    for name, place in (("vcan0", "devices/virtual/net/vcan0"), ("vcan1", "devices/pci0/vcan1")):
        (tmp_path / place).mkdir(parents=True)
        (net / name).symlink_to(tmp_path / place)
    return net


def test_what_is_surely_no_wire(network: Path) -> None:
    """Vcan by name and by Linux' word; a renamed adapter, can0 and other drivers are wires."""
    assert harmless("virtual", "x", network)
    assert harmless("udp_multicast", "239.0.0.1", network)
    assert harmless(SOCKETCAN, "vcan0", network)
    assert harmless(SOCKETCAN, "vcan7", network)  # not there: opening it will say so
    assert not harmless(SOCKETCAN, "vcan1", network)
    assert not harmless(SOCKETCAN, "can0", network)
    assert not harmless("pcan", "PCAN_USBBUS1", network)
    assert not harmless("slcan", "vcan0", network)


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """Run a play that must not begin; return what it says."""
    assert main(["play", str(LOG), *words]) == os.EX_CONFIG
    shown = capsys.readouterr()
    assert shown.out == ""
    return shown.err


def test_a_real_bus_needs_a_word(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is opened on an interface that may be a wire, and the reason is told."""
    said = refused(capsys, "-c", "can0")
    assert "can0 is not known to be virtual" in said
    assert "--yes-this-bus" in said
    assert "can1 is not known" in refused(capsys, "can1=can0", "vcan0=can1")


def test_yes_this_bus_opens_it(capsys: pytest.CaptureFixture[str]) -> None:
    """With the word given the interface is opened: here there is none, which is another error."""
    assert main(["play", str(LOG), "-c", "no_such_can9", "--yes-this-bus"]) == 1
    assert "no_such_can9" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        pytest.param((), "say where to", id="nowhere"),
        pytest.param(("vcan0",), "must be WRITE=LOG", id="no-log-side"),
        pytest.param(("=can0",), "must be WRITE=LOG", id="no-write-side"),
        pytest.param(("-i", "virtual", "-c", "x", "-x"), "no local loopback", id="loopback"),
    ],
)
def test_what_makes_no_sense(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...], said: str
) -> None:
    """A combination that cannot be meant is refused with its reason."""
    assert said in refused(capsys, *words)


@pytest.mark.parametrize(
    "words", [("-l", "0"), ("-l", "x"), ("-g", "-1"), ("-s", "x"), ("-n", "0")]
)
def test_numbers_are_checked(words: tuple[str, ...]) -> None:
    """A number that cannot be meant is wrong usage."""
    with pytest.raises(SystemExit) as ended:
        build_parser().parse_args(["play", "a.log", "-c", "vcan0", *words])
    assert ended.value.code == 2


def test_two_buses_become_one_only_by_name(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """With -c alone the first frame that would mix them ends the play; named channels are meant."""
    log = tmp_path / "two.log"
    lines = ["(1.0) can0 123#00", "(1.1) can1 124#00", "(1.2) can1 123#01", "(1.3) can0 123#02", ""]
    log.write_text("\n".join(lines), encoding="ascii")
    words = ["play", "-i", "virtual", "-t", "-c", "mixed", str(log)]
    assert main(words) == os.EX_CONFIG
    shown = capsys.readouterr()
    assert shown.out == "played      2 frames\n"
    assert "0x123 comes on can0 and on can1" in shown.err
    assert "say mixed=can0 or mixed=can1" in shown.err
    assert main(["play", "-i", "virtual", "-t", str(log), "mixed=can0", "mixed=can1"]) == 0
    assert capsys.readouterr().out == "played      4 frames\n"
    assert main(["play", "-i", "virtual", "-t", "-c", "mixed", str(log), "other=can1"]) == 0


def test_on_a_virtual_bus(capsys: pytest.CaptureFixture[str]) -> None:
    """The whole command: frames arrive in order, control frames only when they are wanted."""
    port = open_port(BusSettings("virtual", "play"), lambda: 0.0)
    words = ["play", str(LOG), "-i", "virtual", "-c", "play", "-t", "--profile", "ess_bau"]
    try:
        assert main(words) == 0
        said = capsys.readouterr().out
        heard = []
        while (each := port.receive(0.0)) is not None:
            heard.append((each.can_id, each.extended))
    finally:
        port.close()
    control = control_ids(load_profile(profile_path("ess_bau"))[0])
    assert control
    assert not control & set(heard)
    assert f"played      {len(heard)} frames" in said
    assert "x control frame" in said
    assert main([*words, "--with-control", "-n", "3", "-v"]) == 0
    assert "played      3 frames" in capsys.readouterr().out
