"""A bus that does what real ones do and python-can's virtual one cannot (traps 1 to 7)."""

from collections import deque
from collections.abc import Iterable

import can

Event = can.Message | Exception | None


class HostileBus(can.BusABC):
    """Plays a script of messages, errors and silences; fails sends on demand.

    Args:
        script: what `recv` does, one entry a call; silence for ever after the last.

    Attributes:
        send_error: what `send` raises; None: it takes the message.
        shutdown_error: what `shutdown` raises; None: it ends.
        echo: give own messages back, behind the script.
        sent: messages taken; `timeouts_s`: of each `recv` [s].
        closed: whether it was shut down.
    """

    def __init__(self, script: Iterable[Event] = ()) -> None:
        super().__init__(channel="hostile")
        self.channel_info = "hostile"
        self.script: deque[Event] = deque(script)
        self.send_error: Exception | None = None
        self.shutdown_error: Exception | None = None
        self.echo = False
        self.sent: list[can.Message] = []
        self.closed = False
        self.timeouts_s: list[float | None] = []

    def recv(self, timeout: float | None = None) -> can.Message | None:
        """Play the next entry; a silence takes no time."""
        self.timeouts_s.append(timeout)
        event = self.script.popleft() if self.script else None
        if isinstance(event, Exception):
            raise event
        return event

    def send(self, msg: can.Message, timeout: float | None = None) -> None:  # noqa: ARG002 - python-can's signature
        """Take a message or raise `send_error`."""
        if self.send_error is not None:
            raise self.send_error
        self.sent.append(msg)
        if self.echo:
            self.script.append(msg)

    def shutdown(self) -> None:
        """Close, then raise `shutdown_error`."""
        super().shutdown()
        self.closed = True
        if self.shutdown_error is not None:
            raise self.shutdown_error


def data_message(
    can_id: int = 0x100, data: bytes = b"\x01", *, extended: bool = False
) -> can.Message:
    """Build a data frame."""
    return can.Message(arbitration_id=can_id, is_extended_id=extended, data=data)


def error_message() -> can.Message:
    """Build an error frame: nobody acknowledged."""
    return can.Message(arbitration_id=0x20, is_error_frame=True, data=bytes(8), check=False)


def remote_message(can_id: int = 0x100) -> can.Message:
    """Build a remote frame."""
    return can.Message(arbitration_id=can_id, is_remote_frame=True, is_extended_id=False, dlc=2)
