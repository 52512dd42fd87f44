"""Opens a bus by its settings: SocketCAN by our own fast path, all others by python-can's."""

import os
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

import can

from bms_can.can_frame import Form
from bms_can.errors import BusDown
from bms_can.netlink import is_there
from bms_can.port import Port
from bms_can.socketcan import SocketCanPort

__all__ = ["BusSettings", "Port", "open_port"]


# Interfaces whose Bus may be read in one thread while another one sends; others get a lock.
THREAD_SAFE = frozenset({"socketcan", "virtual", "udp_multicast"})

# python-can's bus between processes. It refuses `receive_own_messages`, yet the kernel always gives
# own datagrams back (IP_MULTICAST_LOOP). No frame leaves the machine unless `hop_limit` is set.
SOCKETCAN = "socketcan"
MOST_FILTERS = 512  # CAN_RAW_FILTER_MAX
MULTICAST = "udp_multicast"
MULTICAST_ARGUMENTS = {"hop_limit": 0}
MULTICAST_ALL = {
    socket.AF_INET: (socket.IPPROTO_IP, 49),
    socket.AF_INET6: (socket.IPPROTO_IPV6, 29),
}
DATAGRAM = 65536
HINTS = {
    "msgpack not installed": 'install the extra: pip install "bms-can-agent[demo]"',
    "The serial module is not installed": 'install it: pip install "python-can[serial]"',
    "could not create or configure socket": "this machine has no route for multicast; as root:"
    " ip link set lo multicast on && ip route add 239.0.0.0/8 dev lo",
}


@dataclass(frozen=True, slots=True)
class BusSettings:
    """Which bus to open.

    Attributes:
        interface: python-can's name, such as "socketcan" or "virtual".
        channel: such as "can0".
        bitrate: [bit/s], for interfaces that set it themselves; SocketCAN does not.
        fd: whether CAN FD frames are wanted.
        options: further arguments of python-can's Bus for this interface.
        name: what frames carry as their channel.
        filters: only data frames with these (id, extended) are wanted, None: all. Used where the
            kernel filters (SocketCAN); there no other frame costs this process anything.
        forms: how frames with these (id, extended) go out, see Port.
    """

    interface: str
    channel: str
    bitrate: int | None = None
    fd: bool = False
    options: Mapping[str, object] = field(default_factory=dict)
    name: str = ""
    filters: frozenset[tuple[int, bool]] | None = None
    forms: Mapping[tuple[int, bool], Form] = field(default_factory=dict)

    def arguments(self) -> dict[str, object]:
        """Return the arguments for python-can's Bus."""
        found: dict[str, object] = {}
        if self.bitrate is not None:
            found["bitrate"] = self.bitrate
        if self.fd:
            found["fd"] = True
        if self.interface == MULTICAST:
            found |= MULTICAST_ARGUMENTS
        if self.interface == SOCKETCAN and self.filters and len(self.filters) <= MOST_FILTERS:
            found["can_filters"] = [_filter(*each) for each in sorted(self.filters)]
        # What the bus is was judged by its own fields: no option may say otherwise.
        return found | dict(self.options) | {"interface": self.interface, "channel": self.channel}


def open_port(
    settings: BusSettings, clock_s: Callable[[], float], *, own_frames: bool = True
) -> Port:
    """Open a bus.

    Args:
        settings: which one.
        clock_s: monotonic clock [s] that stamps the frames.
        own_frames: hear our own frames too: they are the proof of transmission.

    Raises:
        BusDown: it cannot be opened now.
    """
    kind = can.Bus if settings.interface in THREAD_SAFE else can.ThreadSafeBus
    own = {} if settings.interface == MULTICAST else {"receive_own_messages": own_frames}
    fast = settings.interface == SOCKETCAN
    try:
        if fast and not is_there(settings.channel):  # python-can would leave a socket open
            raise BusDown(f"{SOCKETCAN} {settings.channel}: no interface with this name")
        bus = kind(**own, **settings.arguments())  # type: ignore[arg-type]  # options come from a file
        if settings.interface == MULTICAST:
            _hear_one_group(bus.fileno())
        port = _port(bus, clock_s, settings)
    except (can.CanError, OSError, ValueError, TypeError, ImportError) as error:
        # python-can raises each of these for a missing interface, driver or option (trap 2).
        hint = HINTS.get(str(error))
        words = f"{error}; {hint}" if hint else str(error)
        raise BusDown(f"{settings.interface} {settings.channel}: {words}") from error
    port.forms = settings.forms
    return port


def _port(bus: can.BusABC, clock_s: Callable[[], float], settings: BusSettings) -> Port:
    if settings.interface != SOCKETCAN:
        return Port(bus, clock_s, settings.name)
    name, channel = settings.name, settings.channel
    return SocketCanPort(bus, clock_s, name, channel=channel, fd_frames=settings.fd)


def _hear_one_group(fd: int) -> None:
    """Let a multicast socket hear its own group only (ip(7), IP_MULTICAST_ALL; Linux).

    Without this it gets the frames of every group that any process of this machine has joined on
    the same port: two channels would be one bus, with the battery of each on both.
    """
    with socket.socket(fileno=os.dup(fd)) as shared:
        with suppress(OSError):  # a system that knows no such option
            shared.setsockopt(*MULTICAST_ALL[shared.family], 0)
        with suppress(BlockingIOError):  # what came before that may be of any group
            while shared.recv(DATAGRAM, socket.MSG_DONTWAIT):
                pass


def _filter(can_id: int, extended: bool) -> can.typechecking.CanFilter:  # noqa: FBT001 - frame's own field
    """Return python-can's form of "exactly this identifier of this kind"."""
    mask = 0x1FFFFFFF if extended else 0x7FF
    return {"can_id": can_id, "can_mask": mask, "extended": extended}
