"""Frames taken as a block leave the agent as frames taken one by one would, whatever they are."""

from contextlib import suppress
from typing import Any, cast

from hypothesis import event, given, settings
from hypothesis import strategies as st

from agent.clock import FakeClock
from agent.control_loop import ControlLoop
from agent.device import Device
from agent.frame_ring import FrameRing
from bms_can.block import Block
from bms_can.bus import Port
from bms_can.control import ControlPort
from bms_can.errors import FrameRefused
from bms_can.families import TranslatingIntake
from bms_can.frame import Frame
from bms_can.guard import Guard
from bms_can.intake import Intake
from bms_can.signals import Signals
from bms_can.telling import telling
from tests.agent.rig import CLOSE, ess_bau
from tests.bms_can.build import Battery, block_of

PROFILE, DATABASE = ess_bau()
CONTROL = PROFILE.commands[CLOSE].frames[0]
PAGES, STRANGERS = (0, 1, 2), 4
TELLING = {DATABASE.messages[name].frame_id for name in telling(PROFILE)}


class DeafPort(Port):
    """Takes frames and has no bus."""

    def __init__(self) -> None:
        self.drained_s = 0.0

    def send(self, frame: Frame) -> None:
        """See Port."""


class Side:
    """What stands behind the bus, from the receiver's hands on."""

    def __init__(self, intake: Intake) -> None:
        self.intake = intake
        port = DeafPort()
        self.control = ControlPort(Guard(PROFILE.guard), lambda: port)
        self.ring = FrameRing(1e9)
        self.foreign: list[Frame] = []
        device = Device("B", PROFILE, intake, self.control, False, True, 0.0)  # noqa: FBT003 - fields in order
        nobody = cast("Any", None)  # observer and executor belong to another thread
        self.loop = ControlLoop(
            device, nobody, nobody, FakeClock(), self.foreign.append, self.ring.take_many
        )
        self.watch = intake.table.watch(frozenset(), lambda *_: True, 0.0)
        intake.table.unwatch(self.watch)

    def facts(self) -> tuple[object, ...]:
        """Return all that can be seen of it."""
        intake, table = self.intake, self.intake.table
        return (
            table.snapshot(),
            table.heard(),
            (intake.frames, intake.decoded, intake.unknown, intake.unknown_more, intake.bad),
            (intake.integrity.lost_by_message, intake.integrity.refused),
            (self.control.foreign, self.loop.foreign, self.foreign),
            self.control.outstanding(CONTROL),
            b"".join(self.ring.read(0).parts),
            (table.look(self.watch).counts, list(table.look(self.watch).frames)),
        )

    def watch_or_not(self, at_s: float, *, on: bool) -> None:
        """Begin or end a watch."""
        table, names = self.intake.table, {"BAU_State", "BAU_Energy", "BAU_CellVoltages"}
        table.unwatch(self.watch)
        if on:
            self.watch = table.watch(frozenset(names), all_young, at_s)

    def woken(self) -> bool:
        """Tell whether the control thread was woken since the last look."""
        was = self.loop._wake.is_set()
        self.loop._wake.clear()
        return was


def all_young(signals: Signals, now_s: float) -> bool:
    """Hold if every value is young: a condition that notices each time that is wrong."""
    return all(now_s - each.at_s < 0.3 for each in signals.samples.values())


def pool() -> list[Frame]:
    """Return frames of all kinds: each is a frame that a bus may carry at any time."""
    battery = Battery(PROFILE, DATABASE)
    good = [battery.frame("BAU_State", 0.0) for _ in range(6)]
    good += [battery.frame("BAU_State", 0.0, contactor_status="closed") for _ in range(3)]
    good += [battery.frame("BAU_Electrical", 0.0, total_current=10 * n) for n in range(3)]
    good += [battery.frame("BAU_Energy", 0.0, soc=soc) for soc in (10, 20)]
    good += [battery.frame("BAU_CellVoltages", 0.0, page=page) for page in PAGES]
    good += [Frame(0.0, 0x300 + n, n % 2 == 0, bytes([n] * 8)) for n in range(STRANGERS)]
    broken = good[0]._replace(data=bytes(8))
    twin = good[0]._replace(can_id=good[0].can_id & 0x7FF, extended=False)
    short = [each._replace(data=each.data[:5]) for each in (good[0], good[9], good[-5], good[-1])]
    no_page = good[-5]._replace(data=b"\x63" + bytes(7))
    return [*good, broken, twin, *short, no_page, CONTROL, CONTROL._replace(data=bytes(8))]


POOL = pool()
RUN = st.lists(
    st.tuples(st.integers(0, len(POOL) - 1), st.sampled_from([0.0, 0.001, 0.001, 0.01, 0.6])),
    max_size=25,
)
# Of messages on which no status rests: such blocks wait for a look.
DULL = [at for at, frame in enumerate(POOL) if frame.can_id not in TELLING]
DULL_RUN = st.lists(
    st.tuples(st.sampled_from(DULL), st.sampled_from([0.001, 0.01, 0.6])), max_size=25
)
STEP = st.tuples(
    st.sampled_from(["run"] * 6 + ["send", "watch", "look", "glance"]),
    st.one_of(RUN, DULL_RUN, DULL_RUN),
)


class Pair:
    """One side takes blocks, the other one each frame by itself; time and script are the same."""

    def __init__(self) -> None:
        self.sides = Side(Intake(PROFILE, DATABASE)), Side(Intake(PROFILE, DATABASE))
        self.at_s = 1.0
        self.watched = False

    def act(self, what: str) -> None:
        """Do what the control thread does between two looks at the bus."""
        if what == "glance":
            assert self.sides[0].intake.stated() == self.sides[1].intake.stated()
        if what == "look":
            assert self.sides[0].facts() == self.sides[1].facts()
        if what == "watch":
            self.watched = not self.watched
        for side in self.sides:
            if what == "send":
                side.control.clear()
                with suppress(FrameRefused):  # too often in a minute
                    side.control.send(CONTROL, self.at_s)
            if what == "watch":
                side.watch_or_not(self.at_s, on=self.watched)

    def hear(self, run: list[tuple[int, float]]) -> None:
        """Hand on frames of the pool, each so long [s] after the one before."""
        frames = []
        for pick, gap_s in run:
            self.at_s += gap_s
            frames.append(POOL[pick]._replace(at_s=self.at_s))
        if frames:
            block = block_of(frames)
            event(f"block: {isinstance(block, Block)}")
            self.sides[0].loop.take_many(block)
        for frame in frames:
            self.sides[1].loop.take(frame)
        assert self.sides[0].woken() == self.sides[1].woken()


@settings(deadline=None)
@given(st.lists(STEP, min_size=3, max_size=12))
def test_a_block_is_taken_as_its_frames_are(
    script: list[tuple[str, list[tuple[int, float]]]],
) -> None:
    """Values, times, counters, checksums, loss, strangers, echoes, foreign masters, recorder."""
    pair = Pair()
    for what, run in script:
        pair.act(what)
        pair.hear(run)
    pair.act("look")


def test_a_family_sees_every_frame_of_a_block() -> None:
    """Only the family knows what a frame is: a block is no way past it."""
    shown: list[Frame] = []

    class Family:
        def translate(self, frame: Frame) -> Frame | None:
            shown.append(frame)
            return frame

    battery = Battery(PROFILE, DATABASE)
    frames = [battery.frame("BAU_State", float(n)) for n in range(4)]
    intake = TranslatingIntake(PROFILE, DATABASE, Family())
    block = block_of(frames)
    assert isinstance(block, Block)
    assert intake.take_many(block)
    assert shown == frames
    assert intake.table.heard()["BAU_State"].count == 4
