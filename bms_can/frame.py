"""The CAN data frame as the core sees it. Remote and error frames never become one."""

from typing import NamedTuple


class Frame(NamedTuple):
    """One received or to-be-sent CAN data frame.

    Attributes:
        at_s: time of reception [s], monotonic on a live bus, the log's own time on replay.
        can_id: 11 or 29 bit identifier without flag bits.
        extended: True for a 29-bit identifier. 0x100 standard and 0x100 extended differ.
        data: payload, 0..8 bytes (classical) or 0..64 (FD).
        channel: name of the bus it was heard on, "" where there is only one.
        own: sent by the socket that heard it (True), or by somebody else (False); None: the
            interface does not tell.
    """

    at_s: float
    can_id: int
    extended: bool
    data: bytes
    channel: str = ""
    own: bool | None = None


def frame_text(can_id: int, extended: bool, data: bytes) -> str:  # noqa: FBT001 - frame's own fields
    """Return the compact candump form, `18FF50E5#0102` or `123#0102`."""
    width = 8 if extended else 3
    return f"{can_id:0{width}X}#{data.hex().upper()}"
