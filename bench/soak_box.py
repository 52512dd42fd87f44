"""The agent as `bms-agent run` starts it, on a datagram socket in place of a CAN socket.

`python -m bench.soak_box CONFIG PORT PEER`: frames come to PORT of 127.0.0.1 and go to PEER. So the
product's own receive path runs where the kernel has no CAN.
"""

import socket
import sys
from collections.abc import Callable

from agent import cli, wiring
from bench.live_ways import our_port
from bms_can.bus import BusSettings
from bms_can.port import Port
from bms_can.rawcan import FrameReader

HOST = "127.0.0.1"


def opener(port: int, peer: int) -> Callable[[BusSettings, Callable[[], float]], Port]:
    """Return what opens the bus in place of `open_port`."""

    def open_port(_settings: BusSettings, _clock_s: Callable[[], float]) -> Port:
        wire = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        wire.bind((HOST, port))
        wire.connect((HOST, peer))
        made = our_port(wire)
        # A datagram does not say who sent it, so that our own frame must not count as another's.
        made._reader = FrameReader(wire.fileno(), tells_own=False)  # noqa: SLF001 - see above
        return made

    return open_port


def main() -> int:
    """Run from the command line."""
    config, port, peer = sys.argv[1:]
    vars(wiring)["open_port"] = opener(int(port), int(peer))  # `wiring.build` looks it up there
    return cli.main(["run", config])


if __name__ == "__main__":
    sys.exit(main())
