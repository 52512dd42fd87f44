"""What becomes of frames of a held request: back from the bus, for a command, in the journal."""

from collections.abc import Mapping
from dataclasses import dataclass

from agent.device import Device
from agent.echoes import OnWay
from bms_can.control import ControlPort
from bms_can.frame import Frame
from bms_can.held_plan import Ended

LISTENS = "listens for another master first"


def no_proof(device: Device) -> str:
    """Return why nobody can tell how many closed frames are on their way, "" if it can be told."""
    return "" if device.echo_proves else "the adapter's echo does not prove that a frame was sent"


@dataclass(slots=True, eq=False)
class Way(OnWay):
    """A frame of the request.

    Attributes:
        before: frames with these bytes that were awaited before it.
        clears: how often awaited frames had been forgotten then.
    """

    before: int
    clears: int

    def look(self, control: ControlPort, now_s: float, drained_s: float) -> bool | None:
        """Tell whether it came back; None while it may yet. Forgotten is not back."""
        self.listen(now_s)
        forgotten = control.clears != self.clears
        if not forgotten and control.outstanding(self.frame) <= self.before:
            return True
        return False if forgotten or self.missing(drained_s) else None


@dataclass(frozen=True, slots=True)
class Seen:
    """What has become of a command: its frames, why no more come, whether they came back.

    Attributes:
        in_force: its close is held.
    """

    frames: tuple[Frame, ...]
    refused: str
    returned: bool | None
    in_force: bool


def body_of(ended: Ended) -> Mapping[str, object]:
    """Return the end of a hold as a row of the journal has it."""
    return {
        "command": ended.command_id,
        "reason": ended.reason,
        "held_s": round(ended.held_s, 3),
        "proven": ended.proven,
        "at_s": round(ended.at_s, 6),
    }
