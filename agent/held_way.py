"""What becomes of frames of a held request: back from the bus, for a command, in the journal."""

from collections.abc import Mapping
from dataclasses import dataclass

from agent.device import Device
from agent.echoes import ECHO_S, LONGEST_LOOK_S, LONGEST_WAIT_S
from bms_can.control import ControlPort
from bms_can.frame import Frame
from bms_can.held_plan import Ended

LISTENS = "listens for another master first"


def no_proof(device: Device) -> str:
    """Return why nobody can tell how many closed frames are on their way, "" if it can be told."""
    return "" if device.echo_proves else "the adapter's echo does not prove that a frame was sent"


@dataclass(slots=True, eq=False)
class Way:
    """A frame on its way back.

    Attributes:
        before: frames with these bytes that were awaited before it.
        clears: how often awaited frames had been forgotten then.
        looked_s, listened_s: the last look, and for how long we have looked [s].
    """

    frame: Frame
    before: int
    clears: int
    looked_s: float
    listened_s: float = 0.0

    def look(self, control: ControlPort, now_s: float, drained_s: float) -> bool | None:
        """Tell whether it came back; None while it may yet. Forgotten is not back."""
        self.listened_s += min(now_s - self.looked_s, LONGEST_LOOK_S)
        self.looked_s = now_s
        forgotten = control.clears != self.clears
        if not forgotten and control.outstanding(self.frame) <= self.before:
            return True
        missing = drained_s > self.frame.at_s + ECHO_S or self.listened_s > LONGEST_WAIT_S
        return False if forgotten or missing else None


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
