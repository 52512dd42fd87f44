"""What a held request is made of: the plan of a profile, what commands ask, holds. Values only."""

from dataclasses import dataclass, field
from typing import NamedTuple

from bms_can.frame import Frame


class HeldPlan(NamedTuple):
    """What a battery wants to hear.

    Attributes:
        message: its name in the DBC.
        rest: the frame that asks for nothing but open contactors, at_s 0.
        period_s: time between two frames [s].
        only_at_start: names of interlock conditions that a close needs, but a hold does not.
    """

    message: str
    rest: Frame
    period_s: float
    only_at_start: frozenset[str] = frozenset()


@dataclass(slots=True)
class Asked:
    """What one command wants to be sent, and what came of it.

    Attributes:
        holds: a close: from its first frame on its frame is in force until the hold ends.
        opens: an open: it ends a hold, and goes out even if nothing else may.
        frame: what is sent, `count` times; a hold has no count.
        expires_s: no first frame from here on [s]; without `opens` no further frame either.
        proof_s: an unproven hold ends so long after its first frame [s].
        frames: those that were sent, the first `count` of them.
        refused: why no (further) frame of it goes out; of an open: why the last try failed.
        returned: its newest frame came back from the bus; None while that is not known.
    """

    command_id: str
    frame: Frame
    expires_s: float
    count: int = 1
    holds: bool = False
    opens: bool = False
    proof_s: float = 0.0
    frames: list[Frame] = field(default_factory=list)
    refused: str = ""
    returned: bool | None = None


class Hold(NamedTuple):
    """Closed is in force. `since_s`: its first frame [s]; `proven`: the battery showed it."""

    asked: Asked
    since_s: float
    proven: bool = False


class Ended(NamedTuple):
    """A hold that is over: when [s], after how long [s], and why."""

    command_id: str
    at_s: float
    held_s: float
    proven: bool
    reason: str
