"""Own frames on their way back from the bus. Belongs to the control thread.

"Sent" is proven by the echo alone (reliability rule 21). Every frame is awaited, also a repetition
and also one whose command has ended meanwhile: a frame that does not come back may wait in a queue
and go out minutes later, so the transmit path counts as unsafe until a person has looked.
"""

from dataclasses import dataclass, field

from agent.device import Device
from bms_can.frame import Frame

ECHO_S = 0.05  # reliability rule 21c
# On a busy box the thread that receives may lag behind. So a frame is missing only when the receive
# queue was seen empty after its time; or, where that does not come about, after this much looking.
LONGEST_WAIT_S = 0.5
LONGEST_LOOK_S = 0.02  # a pause of this process is no time in which an echo could be heard
LOST = f"no echo within {ECHO_S * 1000:g} ms: the frame may still wait in a queue"


@dataclass(slots=True, eq=False)
class OnWay:
    """A frame that has not come back yet.

    Attributes:
        sent_s: when it was handed to the bus [s].
        looked_s, listened_s: the last look, and for how long we have looked [s].
    """

    frame: Frame
    sent_s: float
    looked_s: float
    listened_s: float = field(default=0.0, init=False)

    def listen(self, now_s: float) -> None:
        """Count the time since the last look, as far as an echo could have been heard in it."""
        self.listened_s += min(now_s - self.looked_s, LONGEST_LOOK_S)
        self.looked_s = now_s

    def missing(self, drained_s: float) -> bool:
        """Tell whether it does not come any more; `drained_s`: see Port."""
        return drained_s > self.sent_s + ECHO_S or self.listened_s > LONGEST_WAIT_S


@dataclass(slots=True, eq=False)
class _Awaited(OnWay):
    """A frame of a command."""

    command_id: str


class Echoes:
    """The frames of one device that must come back; none where its bus gives no echo."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._awaited: list[_Awaited] = []

    @property
    def awaited(self) -> bool:
        """Whether a frame is still on its way."""
        return bool(self._awaited)

    def expect(self, frame: Frame, command_id: str, now_s: float) -> None:
        """A frame was handed to the bus at `now_s` [s]."""
        if self._device.echo:
            self._awaited.append(_Awaited(frame, now_s, now_s, command_id))

    def look(self, now_s: float) -> None:
        """Let go of what came back; latch `unsafe` when a frame did not in time."""
        control = self._device.control
        drained_s = control.drained_s  # before the look at what came: it may come in between
        for each in list(self._awaited):
            each.listen(now_s)
            if control.echoed(each.frame):
                self._awaited.remove(each)
            elif each.missing(drained_s):
                self._awaited.remove(each)
                control.unsafe = control.unsafe or f"command {each.command_id}: {LOST}"

    def returned(self, frame: Frame) -> bool | None:
        """Tell whether a frame came back; None while it may yet. Without echoes: yes."""
        if any(each.frame is frame for each in self._awaited):
            return None
        return not self._device.echo or self._device.control.echoed(frame)
