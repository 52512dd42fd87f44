"""The battery on the bus: the pack simulator, and what happens to its frames on the way."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

import can

from bms_can.database import Database
from bms_can.frame import Frame
from bms_can.pack import Pack
from bms_can.profile import Profile
from bms_can.simulator import Simulator
from tests.hostile import (
    Link,
    data_message,
    error_message,
    flipped,
    remote_message,
    resized,
    twin,
)

TICK_S = 0.1
CONTROL_ID = 0x1811F4E5


@dataclass(slots=True)
class Noise:
    """What happens to frames on the way to the box: chances 0..1 for each frame.

    Attributes:
        cut: nothing arrives.
        lose, flip, repeat, resize, remote, twin: what their names say.
        errors: error frames each tick; `babble`: frames with random identifiers each tick.
    """

    cut: bool = False
    lose: float = 0.0
    flip: float = 0.0
    repeat: float = 0.0
    resize: float = 0.0
    remote: float = 0.0
    twin: float = 0.0
    errors: int = 0
    babble: int = 0


class Battery:
    """A pack with its bus.

    Args:
        parts: profile and database of the battery.
        link: the interface of the box on that bus.
        random: a source of chance.
        now_s: start [s].
        control_id: never babbled.

    Attributes:
        noise: the state of the bus.
        simulator: the pack's own computer.
    """

    def __init__(
        self,
        parts: tuple[Profile, Database],
        link: Link,
        random: Random,
        now_s: float,
        control_id: int = CONTROL_ID,
    ) -> None:
        self._parts = parts
        self._control_id = control_id
        self._link = link
        self._random = random
        self.noise = Noise()
        self.simulator = self._computer(None, now_s)

    def reboot(self, now_s: float) -> None:
        """Restart the pack's computer: counters begin anew, the contactors stay as they are."""
        self.simulator = self._computer(self.simulator.pack, now_s)

    def _computer(self, pack: Pack | None, now_s: float) -> Simulator:
        """Return the pack's computer; it sends what decides, no telemetry: that only costs time."""
        profile, database = self._parts
        simulator = Simulator(profile, database, pack, now_s=now_s)
        vital = {*profile.required, "BAU_Ack"}
        senders = [each for each in simulator._senders if each.message.name in vital]
        simulator._senders = senders
        return simulator

    def hear(self, message: can.Message, now_s: float) -> None:
        """Hear a frame that really went out."""
        if self.noise.cut:
            return
        frame = Frame(now_s, message.arbitration_id, message.is_extended_id, bytes(message.data))
        self.simulator.hear(frame, now_s)

    def tick(self, now_s: float) -> None:
        """Send what is due."""
        frames = self.simulator.due_frames(now_s)
        if self.noise.cut:
            return
        for frame in frames:
            message = data_message(frame.can_id, frame.data, extended=frame.extended)
            for each in self._on_the_way(message):
                self._link.deliver(each)
        for _ in range(self.noise.errors):
            self._link.deliver(error_message())
        for _ in range(self.noise.babble):
            self._link.deliver(random_message(self._random, self._control_id))

    def _on_the_way(self, message: can.Message) -> list[can.Message]:
        noise, chance = self.noise, self._random.random
        if noise.lose and chance() < noise.lose:
            return []
        changes: tuple[tuple[float, Callable[[], can.Message]], ...] = (
            (noise.flip, lambda: flipped(message, self._random)),
            (noise.resize, lambda: resized(message, self._random.choice((0, 1, 7, 12, 64)))),
            (noise.remote, lambda: remote_message(message.arbitration_id, extended=True)),
            (noise.twin, lambda: twin(message)),
        )
        for share, change in changes:
            if share and chance() < share:
                return [change()]
        return [message, message] if noise.repeat and chance() < noise.repeat else [message]


def random_message(random: Random, control_id: int = CONTROL_ID) -> can.Message:
    """Return a frame that says nothing, but never our control identifier."""
    extended = random.random() < 0.5
    can_id = random.getrandbits(29 if extended else 11)
    can_id = 0 if can_id == control_id else can_id
    return data_message(can_id, random.randbytes(random.randrange(9)), extended=extended)
