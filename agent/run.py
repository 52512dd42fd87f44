"""One command under way: what the executor remembers of it between two steps."""

from dataclasses import dataclass, field

from bms_can.commands import Command, CommandState
from bms_can.frame import Frame, frame_text
from bms_can.interlocks import Check
from bms_can.profile import CommandPlan
from bms_can.status import BmsStatus
from bms_can.table import Watch


@dataclass(slots=True)
class Run:
    """A command in flight. Times are monotonic [s].

    Attributes:
        state: as journalled.
        cancelled: the platform asked for its withdrawal.
        accepted_s: when it was accepted.
        frames: frames handed to the bus so far.
        sent_s: when the first one was.
        next_s: when the next repetition is due.
        trouble: what went wrong with its frames without ending it, "" while nothing did.
        unproven: why an echo of its frames does not show that they were on the bus, "" if it does.
        effect: watches for the proof; `answer` and `refusal` for what the BMS says.
    """

    command: Command
    plan: CommandPlan | None
    state: CommandState
    accepted_s: float
    cancelled: bool = False
    frames: list[Frame] = field(default_factory=list)
    sent_s: float = 0.0
    next_s: float = 0.0
    trouble: str = ""
    unproven: str = ""
    effect: Watch | None = None
    answer: Watch | None = None
    refusal: Watch | None = None

    @property
    def remarks(self) -> str:
        """What is to be said about its frames, whatever comes of them."""
        return "; ".join(text for text in (self.unproven, self.trouble) if text)


@dataclass(slots=True)
class Aftermath:
    """A command whose outcome is watched after its own time: a hold, or an interrupted one.

    Attributes:
        good: frames that show the effect; `bad`: frames that show its absence.
        start_s: when the watch began [s].
        listened_s: for how long the BMS was heard since [s].
    """

    command: Command
    plan: CommandPlan
    state: CommandState
    good: Watch
    bad: Watch
    start_s: float
    listened_s: float = 0.0
    looked_s: float = 0.0


def checks_evidence(checks: tuple[Check, ...]) -> list[dict[str, object]]:
    """Return interlock verdicts in the form of the journal and the wire."""
    return [
        {
            "rule": check.rule,
            "passed": check.passed,
            "subject": check.subject,
            "value": check.value,
            "age_s": None if check.age_s is None else round(check.age_s, 4),
            "wanted": check.wanted,
        }
        for check in checks
    ]


def frames_evidence(frames: list[Frame]) -> list[dict[str, object]]:
    """Return frames with their monotonic time, in the form of the journal and the wire."""
    return [
        {
            "at_s": round(frame.at_s, 6),
            "frame": frame_text(frame.can_id, frame.extended, frame.data),
        }
        for frame in frames
    ]


def status_evidence(status: BmsStatus) -> dict[str, object]:
    """Return what the battery shows, in the form of the journal and the wire."""
    return {
        "operating_status": None if status.operating is None else int(status.operating),
        "contactor": status.contactor.value,
        "alarms": [alarm.key for alarm in status.alarms],
        "age_s": None if status.age_s is None else round(status.age_s, 4),
    }
