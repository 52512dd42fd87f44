"""bms-agent simulate: a simulated battery on a real or virtual CAN bus."""

import signal
import sys
import threading
from argparse import Namespace
from collections.abc import Iterator
from contextlib import closing, contextmanager

from agent.clock import SystemClock
from agent.options import bus_options
from bms_can import simulator_bus
from bms_can.bus import BusSettings, open_port
from bms_can.database import Database, fd_forms
from bms_can.errors import BadInput, BadValue, BusDown, SendFailed
from bms_can.misbehaviour import NAMED, misbehaviour
from bms_can.profile import Profile
from bms_can.profile_load import load_profile
from bms_can.shipped import profile_path
from bms_can.simulator import Simulator


def main(arguments: Namespace) -> int:
    """Simulate until Ctrl-C, SIGTERM or --seconds."""
    if arguments.list:
        print("\n".join(NAMED))  # noqa: T201 - the command's output
        return 0
    clock = SystemClock()
    profile, database = load_profile(profile_path(arguments.profile))
    simulator = _simulator(arguments, profile, database, clock.monotonic_s())
    options, forms = bus_options(arguments.option), fd_forms(database)
    settings = BusSettings(
        arguments.interface,
        arguments.channel,
        arguments.bitrate,
        fd=bool(forms),
        options=options,
        forms=forms,
    )
    where = f"{settings.interface} {settings.channel}"
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    try:
        with closing(open_port(settings, clock.monotonic_s, own_frames=False)) as port:
            note = f"; {simulator.note}" if simulator.note else ""
            print(f"simulating {arguments.profile} on {where}{note}", flush=True)  # noqa: T201 - the command's output
            with _ending(stop, arguments.seconds):
                simulator_bus.run(port, simulator, clock.monotonic_s, stop)
    except (BusDown, SendFailed) as error:
        print(f"bms-agent simulate: {error}", file=sys.stderr)  # noqa: T201 - the command's output
        return 1
    print(f"heard: {dict(simulator.heard)}")  # noqa: T201 - the command's output
    return 0


def _simulator(
    arguments: Namespace, profile: Profile, database: Database, now_s: float
) -> Simulator:
    simulator = Simulator(profile, database, now_s=now_s)
    try:
        simulator.pack.misbehave(misbehaviour(arguments.fault))
    except BadValue as error:
        raise BadInput("--fault", [str(error)]) from error
    simulator.pack.request_current(arguments.current_a)
    return simulator


@contextmanager
def _ending(stop: threading.Event, seconds: float | None) -> Iterator[None]:
    """Set `stop` after so many seconds; the timer outlives nothing."""
    timer = threading.Timer(seconds or 0.0, stop.set)
    if seconds is not None:
        timer.start()
    try:
        yield
    finally:
        timer.cancel()
