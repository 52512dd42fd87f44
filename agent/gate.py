"""Judges commands against the interlocks, with all that the box knows at the moment."""

from collections import deque
from collections.abc import Callable, Iterable
from datetime import datetime

from agent.clock import Clock
from agent.device import Device
from agent.journal import Journal
from bms_can.commands import CommandState, Reason
from bms_can.interlocks import Check, Sent, Situation, judge
from bms_can.profile import CommandCode
from bms_can.status import derive_status

REMEMBERED = 64  # more than any rate limit counts


class Gate:
    """The interlocks of one device, applied to now.

    Args:
        device: the battery.
        lockout: returns the reason of the local lock-out, "" while there is none.
        doubt: returns why the journal's memory cannot be trusted, "" while it can.
        sent: commands that went out before this start, see `sent_before`.

    Attributes:
        sent: commands that went out, for the rate limits.
        journal_fault: why the journal cannot be used, "" while it can.
    """

    def __init__(
        self,
        device: Device,
        lockout: Callable[[], str],
        doubt: Callable[[], str] = str,
        sent: Iterable[Sent] = (),
    ) -> None:
        self._device = device
        self._lockout = lockout
        self._doubt = doubt
        self.sent: deque[Sent] = deque(sent, REMEMBERED)
        self.journal_fault = ""

    def situation(self, now_s: float) -> Situation:
        """Return all that the rules look at, as it is now."""
        device = self._device
        signals = device.table.snapshot()
        since_s = device.listening_since_s
        return Situation(
            now_s=now_s,
            signals=signals,
            status=derive_status(signals, device.profile, now_s, listening_since_s=since_s),
            read_only=device.read_only,
            lockout=self._lockout(),
            tx_unsafe=device.control.unsafe,
            foreign=device.control.foreign,
            journal=self.journal_fault or self._doubt(),
            sent=tuple(self.sent),
        )

    def checks(self, code: CommandCode, situation: Situation) -> tuple[Check, ...]:
        """Return the verdict of every rule."""
        return judge(code, situation, self._device.profile)

    def stops(self, code: CommandCode) -> bool:
        """Tell whether a session that has begun must send no further repetition."""
        if code is CommandCode.OPEN_CONTACTOR:
            return False
        control = self._device.control
        return bool(self._lockout() or control.unsafe or control.foreign or self.journal_fault)

    @staticmethod
    def words(check: Check) -> str:
        """Say in one line why a rule refused."""
        age = "" if check.age_s is None else f", {check.age_s:.3f} s old"
        if check.reason is Reason.LOCAL_LOCKOUT:
            return f"local lock-out: {check.value}"
        return f"{check.rule}: {check.subject} is {check.value}{age}; wanted {check.wanted}"


def sent_before(journal: Journal, device_uid: str, clock: Clock) -> list[Sent]:
    """Return the commands that went out earlier, for the rate limits.

    Monotonic time of an earlier start of the machine says nothing now. Such a command is at least
    as old as this start, and older if the wall clock says so.
    """
    now_s, wall = clock.monotonic_s(), clock.wall()
    found = []
    for entry in reversed(journal.recent(REMEMBERED)):
        if entry.command.device_uid != device_uid:
            continue
        for event in journal.events(entry.command.id):
            if event.state is not CommandState.SENDING:
                continue
            age_s = (wall - datetime.fromisoformat(event.wall)).total_seconds()
            here = event.boot_id == clock.boot_id()
            at_s = event.monotonic_s if here else min(0.0, now_s - age_s)
            found.append(Sent(entry.command.code, at_s))
    return found
