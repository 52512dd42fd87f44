"""Judges commands against the interlocks, with all that the box knows at the moment."""

from collections import deque
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import NamedTuple

from agent.clock import Clock
from agent.device import Device
from agent.journal import Journal
from agent.journal_rows import Event
from bms_can.commands import Reason
from bms_can.interlocks import Check, Sent, Situation, judge
from bms_can.profile import CommandCode
from bms_can.status import derive_status

REMEMBERED = 64  # more than any rate limit counts
# After a close a battery may still be about to act; an open that turns out unneeded does no harm.
CLOSE_MAY_COME_S = 60.0


class Box(NamedTuple):
    """What the box itself says about sending; reading it may wait for the disk.

    Attributes:
        lockout: reason of the local lock-out, "" while there is none.
        journal: why the journal cannot be trusted, "" while it can.
    """

    lockout: str
    journal: str


class Gate:
    """The interlocks of one device, applied to now.

    Args:
        device: the battery.
        lockout: returns the reason of the local lock-out, "" while there is none.
        doubt: returns why the journal's memory cannot be trusted, "" while it can.
        sent: commands that went out before this start, see `sent_before`.

    Attributes:
        sent: closes and resets that went out, for the rate limits.
        journal_fault: why the journal cannot be used, "" while it can.
        request: returns who holds the request closed, and why it is not sent; ("", "") at rest.
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
        self.request: Callable[[], tuple[str, str]] = lambda: ("", "")

    def box(self) -> Box:
        """Return what the box says about sending.

        Raises:
            JournalFailed: nobody knows.
        """
        return Box(self._lockout(), self.journal_fault or self._doubt())

    def situation(self, now_s: float, box: Box | None = None) -> Situation:
        """Return all that the rules look at, as it is now.

        Args:
            now_s: the moment [s].
            box: as read just before; without it it is read here, which may take a while.

        Raises:
            JournalFailed: `box` was not given and cannot be read.
        """
        box = box or self.box()
        device = self._device
        signals = device.table.snapshot()
        since_s = device.listening_since_s
        held_by, request = self.request()
        return Situation(
            now_s=now_s,
            signals=signals,
            status=derive_status(signals, device.profile, now_s, listening_since_s=since_s),
            read_only=device.read_only,
            lockout=box.lockout,
            tx_unsafe=device.control.unsafe,
            bus=device.bus_doubt() or device.control.stuck,
            foreign=device.control.foreign,
            journal=box.journal,
            held_by=held_by,
            request=request,
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
        bus = control.unsafe or control.stuck or control.foreign or self._device.bus_doubt()
        return bool(bus or self._lockout() or self.journal_fault)

    def remember(self, code: CommandCode, now_s: float) -> None:
        """Count a command that goes out; opens are not limited, so they push nothing out."""
        if code is not CommandCode.OPEN_CONTACTOR:
            self.sent.append(Sent(code, now_s))

    def left(self, code: CommandCode, at_s: float) -> None:
        """Its first frame left later than it was counted: limits count from the frame."""
        if self.sent and self.sent[-1].code is code:
            self.sent[-1] = Sent(code, at_s)

    def may_be_closing(self, now_s: float) -> bool:
        """Tell whether a close may be on its way though the contactor still shows open.

        One of ours went out a short while ago or may wait in a queue, or there is another master.
        """
        if self._device.control.unsafe or self._device.control.foreign:
            return True
        closes = (each for each in self.sent if each.code is CommandCode.CLOSE_CONTACTOR)
        return any(now_s - each.at_s < CLOSE_MAY_COME_S for each in closes)

    @staticmethod
    def words(check: Check) -> str:
        """Say in one line why a rule refused."""
        age = "" if check.age_s is None else f", {check.age_s:.3f} s old"
        if check.reason is Reason.LOCAL_LOCKOUT:
            return f"local lock-out: {check.value}"
        if check.reason is Reason.READ_ONLY:  # the reason stands before it wherever it is shown
            return check.value
        subject = "" if check.subject == check.rule else f"{check.subject} is "
        return f"{check.rule}: {subject}{check.value}{age}; wanted {check.wanted}"


def sent_before(journal: Journal, device_uid: str, clock: Clock) -> list[Sent]:
    """Return the closes and resets that went out earlier, for the rate limits, oldest first.

    The frame left after its row `sending`, however slow the disk was with that, and before the next
    row of its command; where there is none, before now.
    """
    found = [
        Sent(code, _left_s(event, journal, clock))
        for code in (CommandCode.FAULT_RESET, CommandCode.CLOSE_CONTACTOR)
        for event in journal.sendings(device_uid, code, REMEMBERED)
    ]
    return sorted(found, key=lambda each: each.at_s)


def _left_s(sending: Event, journal: Journal, clock: Clock) -> float:
    """Return the latest time at which the frame of a row `sending` can have left [s].

    Monotonic time of an earlier start of the machine says nothing now. Such a frame is at least as
    old as this start, and older if the wall clock says so.
    """
    now_s, boot_id = clock.monotonic_s(), clock.boot_id()
    rows = (row for row in journal.events(sending.command_id or "") if row.seq > sending.seq)
    after = next(rows, None)
    if sending.boot_id == boot_id:
        return now_s if after is None or after.boot_id != boot_id else after.monotonic_s
    if after is None:
        return 0.0
    age_s = (clock.wall() - datetime.fromisoformat(after.wall)).total_seconds()
    return min(0.0, now_s - age_s)
