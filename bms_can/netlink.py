"""Asks the kernel about an interface, and sets it up or down. The only use of rtnetlink.

Reading needs no right. Setting needs CAP_NET_ADMIN, which the agent does not have as shipped
(docs/operations.md says how to give it).
"""

import errno
import os
import socket
from pathlib import Path

from bms_can.errors import BusDown
from bms_can.link import LinkState, ask_link, ask_up, error_of, parse_link

ANSWER_BYTES = 32768
INTERFACES = Path("/sys/class/net")
STATUS = Path("/proc/self/status")
NET_ADMIN = 1 << 12  # CAP_NET_ADMIN, linux/capability.h
# An answer comes in 20 us, but waits for who holds the kernel's lock on all interfaces: a modem,
# an adapter being unplugged. Much of that wait is within send(), which no time-out ends: who asks
# before it sends a frame looks at the clock afterwards.
READ_WAIT_S, SET_WAIT_S = 0.05, 1.0


def is_there(channel: str) -> bool:
    """Return whether there is an interface of this name; True where it cannot be told.

    Not by if_nametoindex(): for a name that it does not know the kernel starts modprobe (if this
    process has CAP_NET_ADMIN), and CPython holds all threads of the process up meanwhile.
    """
    return not INTERFACES.is_dir() or (INTERFACES / channel).exists()


def read_link(channel: str) -> LinkState | None:
    """Return the state of an interface; None if there is none of this name, or nobody to ask."""
    try:
        return parse_link(_ask(ask_link(channel), READ_WAIT_S))
    except OSError:  # no such family here (another system), or the sandbox forbids it
        return None


def set_up(channel: str, *, up: bool) -> None:
    """Set an interface up or down. Down throws away what waits in its transmit queue.

    Raises:
        BusDown: it is not there, or this process may not do that.
    """
    link = read_link(channel)
    if link is None:
        raise BusDown(f"{channel}: no such interface")
    try:
        number = error_of(_ask(ask_up(link.index, up=up), SET_WAIT_S))
    except OSError as error:
        raise BusDown(f"{channel}: {error}") from error
    if number:
        needs = " (needs CAP_NET_ADMIN)" if number == errno.EPERM else ""
        raise BusDown(f"{channel}: {os.strerror(number)}{needs}")


def may_set() -> bool | None:
    """Return whether this process may set interfaces up and down; None where it cannot be told."""
    try:
        lines = STATUS.read_text(encoding="ascii", errors="replace").splitlines()
        rights = next(line.split()[1] for line in lines if line.startswith("CapEff:"))
    except (OSError, StopIteration):
        return None
    return bool(int(rights, 16) & NET_ADMIN)


def _ask(request: bytes, wait_s: float) -> bytes:
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as kernel:
        kernel.settimeout(wait_s)
        kernel.send(request)
        return kernel.recv(ANSWER_BYTES)
