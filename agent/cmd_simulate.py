"""bms-agent simulate: a simulated battery on a real or virtual CAN bus."""

import signal
import sys
import threading
from argparse import Namespace

from agent.clock import SystemClock
from bms_can import simulator_bus
from bms_can.bus import BusSettings, open_port
from bms_can.errors import BadInput, BadValue, BusDown, SendFailed
from bms_can.misbehaviour import NAMED, misbehaviour
from bms_can.profile_load import load_profile
from bms_can.shipped import profile_path
from bms_can.simulator import Simulator


def main(arguments: Namespace) -> int:
    """Simulate until Ctrl-C, SIGTERM or --seconds."""
    if arguments.list:
        print("\n".join(NAMED))  # noqa: T201 - the command's output
        return 0
    profile, database = load_profile(profile_path(arguments.profile))
    clock = SystemClock()
    simulator = Simulator(profile, database, now_s=clock.monotonic_s())
    try:
        simulator.pack.misbehave(misbehaviour(arguments.fault))
    except BadValue as error:
        raise BadInput("--fault", [str(error)]) from error
    simulator.pack.request_current(arguments.current_a)
    settings = BusSettings(arguments.interface, arguments.channel, arguments.bitrate)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    if arguments.seconds is not None:
        threading.Timer(arguments.seconds, stop.set).start()
    try:
        port = open_port(settings, clock.monotonic_s, own_frames=False)
        print(f"simulating {profile.name} on {settings.interface} {settings.channel}", flush=True)  # noqa: T201 - the command's output
        simulator_bus.run(port, simulator, clock.monotonic_s, stop)
        port.close()
    except (BusDown, SendFailed) as error:
        print(f"bus: {error}", file=sys.stderr)  # noqa: T201 - the command's output
        return 1
    print(f"heard: {dict(simulator.heard)}")  # noqa: T201 - the command's output
    return 0
