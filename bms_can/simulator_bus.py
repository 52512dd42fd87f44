"""Puts a simulated battery on a bus: a loop that sends what is due and listens in between."""

import threading
from collections.abc import Callable

from bms_can.bus import Port
from bms_can.simulator import Simulator

LONGEST_WAIT_S = 0.05  # how soon the end, or something told, is noticed [s]


def run(
    port: Port, simulator: Simulator, clock_s: Callable[[], float], stop: threading.Event
) -> None:
    """Be a battery on `port` until `stop` is set.

    Frames go out on the beat of the clock, so that periods do not drift with the time spent here.

    Args:
        port: an open bus; hear no own frames on it.
        simulator: the battery, made with the time of the same clock.
        clock_s: monotonic clock [s].
        stop: ends it, within a twentieth of a second.

    Raises:
        BusDown: the interface failed.
        SendFailed: the interface did not take a frame.
    """
    while not stop.is_set():
        for frame in simulator.due_frames(clock_s()):
            port.send(frame)
        wait_s = min(max(simulator.next_due_s - clock_s(), 0.0), LONGEST_WAIT_S)
        heard = port.receive(wait_s)
        if heard is not None:
            simulator.hear(heard, clock_s())
