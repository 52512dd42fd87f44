"""What the kernel says about a network interface: state, bit rate, error counters. Pure.

Python reads the kernel's own answer (rtnetlink, RTM_NEWLINK), so that the box needs no `ip` and no
process for each look. Layouts and numbers: linux/rtnetlink.h, linux/if_link.h, linux/can/netlink.h.
A number that an interface does not have is None, never 0: a vcan has no state and no bit rate.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

NEW_LINK, NETLINK_ERROR = 16, 2
HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence, port
INFO = struct.Struct("=BBHiII")  # family, pad, device type, index, flags, change
ATTRIBUTE = struct.Struct("=HH")  # length with this header, type
TYPE_MASK = 0x3FFF  # the two upper bits of a type are flags
VIRTUAL = frozenset({"vcan", "vxcan"})
UP, ECHO = 0x1, 0x40000  # IFF_UP, IFF_ECHO

# Attributes of a link, of its LINKINFO, and of the INFO_DATA of a CAN device.
NAME, MTU, TX_QUEUE, LINK_INFO, STATS, CARRIER = 3, 4, 13, 18, 23, 33
KIND, DATA, DEVICE_STATS = 1, 2, 3
BIT_TIMING, CAN_STATE, CONTROL_MODE, RESTART_MS, RESTART, BUS_ERRORS, DATA_TIMING = (
    1,
    4,
    5,
    6,
    7,
    8,
    9,
)

STATES = ("ERROR-ACTIVE", "ERROR-WARNING", "ERROR-PASSIVE", "BUS-OFF", "STOPPED", "SLEEPING")
MODES = {
    0x1: "LOOPBACK",
    0x2: "LISTEN-ONLY",
    0x4: "TRIPLE-SAMPLING",
    0x8: "ONE-SHOT",
    0x10: "BERR-REPORTING",
    0x20: "FD",
    0x40: "PRESUME-ACK",
    0x80: "FD-NON-ISO",
    0x100: "CC-LEN8-DLC",
}
# Counters of every interface (struct rtnl_link_stats64, u64) by position, and of a CAN device.
LINK_COUNTERS = {
    "rx_packets": 0,
    "tx_packets": 1,
    "rx_errors": 4,
    "tx_errors": 5,
    "rx_dropped": 6,
    "tx_dropped": 7,
    "rx_over_errors": 11,
}
DEVICE_COUNTERS = (
    "bus_error",
    "error_warning",
    "error_passive",
    "bus_off",
    "arbitration_lost",
    "restarts",
)


@dataclass(frozen=True, slots=True)
class LinkState:
    """One interface at one moment. None: it has no such thing, or does not tell.

    Attributes:
        name, index: of the interface; a recreated one has another index.
        kind: "can", "vcan", "vxcan", "slcan", ...; "" for plain network devices.
        up: it is set up (administratively).
        echo: the driver gives a sent frame back when it was sent; where it does not (slcan), the
            kernel does so when it was queued, which proves nothing.
        carrier: frames can get through; False in bus-off, and when an adapter lost its bus.
        state: of the CAN controller, one of `STATES`.
        bitrate, data_bitrate: [bit/s]; `sample_point_pct`: [%].
        restart_ms: after so long the kernel leaves bus-off by itself [ms]; 0: never.
        tx_queue: length of the transmit queue in frames.
        mtu: 16 for classical CAN, 72 for CAN FD [byte].
        modes: control modes that are on, such as "LISTEN-ONLY".
        tx_errors, rx_errors: error counters of the controller (TEC, REC).
        counters: see `LINK_COUNTERS` and `DEVICE_COUNTERS`, as far as it has them.
    """

    name: str
    index: int
    kind: str = ""
    up: bool = False
    echo: bool = False
    carrier: bool | None = None
    state: str | None = None
    bitrate: int | None = None
    data_bitrate: int | None = None
    sample_point_pct: float | None = None
    restart_ms: int | None = None
    tx_queue: int | None = None
    mtu: int | None = None
    modes: tuple[str, ...] = ()
    tx_errors: int | None = None
    rx_errors: int | None = None
    counters: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def trouble(self) -> str:
        """Why nothing can be sent or heard now, "" while that is possible."""
        if not self.up:
            return "the interface is down"
        if self.state == "BUS-OFF":
            return "bus-off"
        if self.state in {"STOPPED", "SLEEPING"}:
            return f"the controller is {self.state.lower()}"
        return "no carrier" if self.carrier is False else ""

    @property
    def mute(self) -> str:
        """Why nothing can be sent though all can be heard, "" while that is possible."""
        return "the controller only listens (LISTEN-ONLY)" if "LISTEN-ONLY" in self.modes else ""

    @property
    def true_echo(self) -> bool:
        """Whether a frame that comes back was sent. On a virtual bus it is sent by being taken."""
        return self.echo or self.kind in VIRTUAL


def ask_link(name: str) -> bytes:
    """Return the request for one interface, by its name."""
    return request(18, 0, INFO.pack(0, 0, 0, 0, 0, 0) + attribute(NAME, name.encode() + b"\0"))


def ask_up(index: int, *, up: bool) -> bytes:
    """Return the request that sets an interface up or down."""
    return request(NEW_LINK, 4, INFO.pack(0, 0, 0, index, UP if up else 0, UP))


def request(kind: int, flags: int, body: bytes) -> bytes:
    """Return a netlink request with a body; `flags` beside NLM_F_REQUEST."""
    return HEADER.pack(HEADER.size + len(body), kind, 1 | flags, 1, 0) + body


def attribute(kind: int, value: bytes) -> bytes:
    """Return one attribute, padded."""
    return (ATTRIBUTE.pack(ATTRIBUTE.size + len(value), kind) + value).ljust(
        _padded(ATTRIBUTE.size + len(value)), b"\0"
    )


def error_of(answer: bytes) -> int | None:
    """Return the error number in an answer (0: done), None if it is no such answer."""
    if len(answer) < HEADER.size + 4 or HEADER.unpack_from(answer)[1] != NETLINK_ERROR:
        return None
    return -int(struct.unpack_from("=i", answer, HEADER.size)[0])


def parse_link(answer: bytes) -> LinkState | None:
    """Return what the kernel's answer says; None if it does not describe an interface."""
    start = HEADER.size + INFO.size
    if len(answer) < start or HEADER.unpack_from(answer)[1] != NEW_LINK:
        return None
    end = min(len(answer), HEADER.unpack_from(answer)[0])
    _, _, _, index, flags, _ = INFO.unpack_from(answer, HEADER.size)
    link = _attributes(answer[start:end])
    info = _attributes(link.get(LINK_INFO, b""))
    kind = _text(info.get(KIND))
    can = _attributes(info.get(DATA, b"")) if CAN_STATE in _attributes(info.get(DATA, b"")) else {}
    timing, data_timing = can.get(BIT_TIMING), can.get(DATA_TIMING)
    point = _number(timing, "=I", 4)
    return LinkState(
        name=_text(link.get(NAME)),
        index=index,
        kind=kind,
        up=bool(flags & UP),
        echo=bool(flags & ECHO),
        carrier=None if (found := _number(link.get(CARRIER), "=B")) is None else bool(found),
        state=_state(_number(can.get(CAN_STATE), "=I")),
        bitrate=_number(timing, "=I") or None,
        data_bitrate=_number(data_timing, "=I") or None,
        sample_point_pct=None if not point else point / 10,
        restart_ms=_number(can.get(RESTART_MS), "=I"),
        tx_queue=_number(link.get(TX_QUEUE), "=I"),
        mtu=_number(link.get(MTU), "=I"),
        modes=_modes(_number(can.get(CONTROL_MODE), "=I", 4)),
        tx_errors=_number(can.get(BUS_ERRORS), "=H"),
        rx_errors=_number(can.get(BUS_ERRORS), "=H", 2),
        counters=MappingProxyType(_counters(link, info) if can else _counters(link, {})),
    )


def _attributes(data: bytes) -> dict[int, bytes]:
    """Return attributes by type; what does not fit ends the list."""
    found, at = {}, 0
    while at + ATTRIBUTE.size <= len(data):
        length, kind = ATTRIBUTE.unpack_from(data, at)
        if length < ATTRIBUTE.size or at + length > len(data):
            break
        found[kind & TYPE_MASK] = data[at + ATTRIBUTE.size : at + length]
        at += _padded(length)
    return found


def _padded(length: int) -> int:
    return (length + 3) & ~3


def _text(value: bytes | None) -> str:
    return "" if value is None else value.split(b"\0")[0].decode("ascii", "replace")


def _number(value: bytes | None, form: str, offset: int = 0) -> int | None:
    if value is None or len(value) < offset + struct.calcsize(form):
        return None
    return int(struct.unpack_from(form, value, offset)[0])


def _state(number: int | None) -> str | None:
    if number is None:
        return None
    return STATES[number] if number < len(STATES) else f"state {number}"


def _modes(flags: int | None) -> tuple[str, ...]:
    return tuple(name for bit, name in MODES.items() if (flags or 0) & bit)


def _counters(link: Mapping[int, bytes], info: Mapping[int, bytes]) -> dict[str, int]:
    found = {}
    for name, position in LINK_COUNTERS.items():
        number = _number(link.get(STATS), "=Q", 8 * position)
        if number is not None:
            found[name] = number
    for position, name in enumerate(DEVICE_COUNTERS):
        number = _number(info.get(DEVICE_STATS), "=I", 4 * position)
        if number is not None:
            found[name] = number
    return found
