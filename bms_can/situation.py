"""What the interlocks look at, and what a rule says about it. Values only."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from bms_can.commands import Reason
from bms_can.profile import CommandCode
from bms_can.signals import Signals
from bms_can.status import BmsStatus


class Check(NamedTuple):
    """The verdict of one rule.

    Attributes:
        rule: its name.
        passed: whether it lets the command through.
        reason: what a refusal by it is called.
        subject: the signal, message or setting it looked at.
        value: what it saw, as text; "unknown" for a value that is stale or was never heard.
        age_s: age of what it saw [s], None where that has no age.
        wanted: what it wanted to see.
    """

    rule: str
    passed: bool
    reason: Reason
    subject: str
    value: str
    age_s: float | None
    wanted: str


@dataclass(frozen=True, slots=True)
class Sent:
    """A command that went out earlier, for the rate limits. `at_s` monotonic [s]."""

    code: CommandCode
    at_s: float


@dataclass(frozen=True, slots=True)
class Situation:
    """All that the rules look at.

    Attributes:
        now_s: the moment [s].
        signals: newest values.
        status: the battery status derived from them.
        read_only: the device is configured to listen only.
        lockout: reason of the local lock-out, "" while there is none.
        tx_unsafe: why sending is not safe, "" while it is.
        bus: why a frame could be late or lost on the bus (down, bus-off, error-passive, ...), ""
            while the controller is error-active or the bus cannot tell.
        foreign: control frame of another master, "" while none was heard.
        journal: why the journal cannot be trusted, "" while it can.
        held_by: command that holds the request closed, "" while it is at rest or there is none.
        request: why a held request is not sent regularly, "" while it is or there is none.
        sent: commands that went out earlier.
    """

    now_s: float
    signals: Signals
    status: BmsStatus
    read_only: bool = False
    lockout: str = ""
    tx_unsafe: str = ""
    bus: str = ""
    foreign: str = ""
    journal: str = ""
    held_by: str = ""
    request: str = ""
    sent: Sequence[Sent] = ()
