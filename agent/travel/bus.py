"""The bus of a replay: what comes from a log, or from a simulated battery that also hears."""

from collections import deque
from collections.abc import Iterator, Sequence
from math import inf
from typing import Protocol, cast

import can

from agent.travel.stage import Stage
from bms_can.frame import Frame
from bms_can.port import Port
from bms_can.simulator import Simulator

ON_WIRE_S = 0.0005  # a frame of 29-bit identifier and 8 bytes takes about half of it at 500 kbit/s


class Source(Protocol):
    """Where frames come from."""

    @property
    def next_s(self) -> float:
        """When the next frame comes [s]; infinite: none any more."""

    def due(self, now_s: float) -> Sequence[Frame]:
        """Return the frames that have come by now."""

    def hear(self, frame: Frame, now_s: float) -> None:
        """Take a frame that the agent sent."""


class LogSource:
    """Frames of a log. It is a recording: what the agent sends changes nothing in it.

    A frame that stands before its predecessor in time comes right after it, as on a live bus.

    Attributes:
        count: frames that have come so far.
        end_s: time of the newest frame that is known of [s]: the replay goes on until then.
    """

    def __init__(self, frames: Iterator[Frame]) -> None:
        self._frames = frames
        self._next = next(frames, None)
        self.count = 0
        self.next_s = inf if self._next is None else self._next.at_s
        self.end_s = self.next_s

    def due(self, now_s: float) -> Sequence[Frame]:
        """See Source."""
        found = []
        while self._next is not None and self.next_s <= now_s:
            found.append(self._next._replace(at_s=now_s))
            self._next = next(self._frames, None)
            if self._next is None:
                self.next_s = inf
            else:
                self.next_s = self.end_s = max(self._next.at_s, self.next_s)
        self.count += len(found)
        return found

    def hear(self, frame: Frame, now_s: float) -> None:
        """See Source."""


class SimulatorSource:
    """Frames of a simulated battery, which acts on commands.

    Attributes:
        count: frames that have come so far.
    """

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator
        self.count = 0

    @property
    def next_s(self) -> float:
        """See Source."""
        return self._simulator.next_due_s

    def due(self, now_s: float) -> Sequence[Frame]:
        """See Source."""
        found = self._simulator.due_frames(now_s) if now_s >= self.next_s else []
        self.count += len(found)
        return found

    def hear(self, frame: Frame, now_s: float) -> None:
        """See Source."""
        self._simulator.hear(frame, now_s)


class Bus:
    """One bus for all ports that are opened in turn."""

    def __init__(self, stage: Stage, source: Source) -> None:
        self._stage = stage
        self._source = source
        self._on_wire: deque[Frame] = deque()

    def receive(self, timeout_s: float) -> Sequence[Frame]:
        """Return what has come, after at most so long [s]."""
        found = self._at_hand()
        end_s = self._stage.now_s + timeout_s
        while not found and self._stage.now_s < end_s:
            self._stage.wait_until(self._is_due, min(end_s, self._next_s()))
            found = self._at_hand()
        return found

    def send(self, frame: Frame) -> None:
        """Put a frame on the bus: a moment later the battery hears it, and it comes back."""
        self._on_wire.append(frame._replace(at_s=self._stage.now_s + ON_WIRE_S, own=True))

    def _next_s(self) -> float:
        return min(self._source.next_s, self._on_wire[0].at_s if self._on_wire else inf)

    def _is_due(self) -> bool:
        return self._next_s() <= self._stage.now_s

    def _at_hand(self) -> list[Frame]:
        now_s, found = self._stage.now_s, []
        while self._on_wire and self._on_wire[0].at_s <= now_s:
            frame = self._on_wire.popleft()
            self._source.hear(frame, now_s)
            found.append(frame)
        return found + list(self._source.due(now_s))


class StagePort(Port):
    """An open port on a bus of a stage."""

    def __init__(self, bus: Bus, stage: Stage) -> None:
        super().__init__(cast("can.BusABC", None), lambda: stage.now_s)  # no use of it is left
        self._line = bus
        self._stage = stage

    def receive_many(self, timeout_s: float) -> Sequence[Frame]:
        """See Port."""
        found = self._line.receive(timeout_s)
        if not found:
            self.drained_s = self._stage.now_s
        return found

    def receive(self, timeout_s: float) -> Frame | None:
        """See Port; one frame of those that have come is not enough for a stage."""
        raise NotImplementedError

    def send(self, frame: Frame) -> None:
        """See Port."""
        self._line.send(frame)

    def close(self) -> None:
        """See Port."""
