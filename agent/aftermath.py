"""What happens to commands after their own time: the hold watch, and what a restart left open.

A restart sends nothing. What had not reached the point of sending is over; what had reached it may
be on the bus, so it is `unknown` until the battery's own frames show the effect or, for a whole
window in which the battery was heard, do not. Silence settles nothing.
"""

from collections.abc import Mapping

from agent.clock import Clock
from agent.device import Device
from agent.record import Recorder
from agent.run import Aftermath, Run, frames_evidence
from bms_can.commands import MAY_HAVE_SENT, Command, CommandState, Reason
from bms_can.confirmation import effect_seen, messages_of, missing_proof
from bms_can.profile import CommandCode, CommandPlan
from bms_can.signals import Signals
from bms_can.status import derive_status

INTERRUPTED = "the agent restarted or its journal failed"
LONGEST_STEP_S = 1.0  # a pause of this process is no time in which the BMS was heard


class Aftermaths:
    """Watches commands that are no longer in flight. Belongs to the control thread."""

    def __init__(self, device: Device, record: Recorder, clock: Clock) -> None:
        self._device = device
        self._record = record
        self._clock = clock
        self._open: list[Aftermath] = []

    def resume(self) -> None:
        """Settle what the journal holds of an earlier life. Sends nothing.

        Raises:
            JournalFailed: try again later; what was written stays written.
        """
        entries = self._record.journal.unfinished(self._device.uid)
        newest = max((each.seq for each in entries if each.state in MAY_HAVE_SENT), default=0)
        for entry in entries:
            plan = self._device.profile.commands.get(entry.command.code)
            run = Run(entry.command, plan, entry.state, self._clock.monotonic_s())
            if entry.state is CommandState.SUCCEEDED and entry.seq < newest:
                detail = "lasted until another command went out, shortly before the interruption"
                self._record.advance(run, CommandState.HELD, Reason.SUPERSEDED, detail)
            elif entry.state is CommandState.SUCCEEDED:
                self._end_or_watch(run, plan)
            elif entry.state in MAY_HAVE_SENT:
                self._mark_unknown(run)
                self._end_or_watch(run, plan)
            else:
                detail = f"{INTERRUPTED} before any frame went out"
                self._record.advance(run, CommandState.EXPIRED, Reason.INTERRUPTED, detail)

    def hold(self, command: Command, plan: CommandPlan) -> None:
        """Watch whether the effect of a command that succeeded lasts."""
        self._open.append(self._watch(command, plan, CommandState.SUCCEEDED))

    def supersede(self, by: Command) -> None:
        """Another command goes out: what is watched now can no longer be told apart from it."""
        for each in list(self._open):
            held_s = self._clock.monotonic_s() - each.start_s
            if each.state is CommandState.SUCCEEDED:
                detail = f"lasted {held_s:.1f} s, until command {by.id} went out"
                self._end(each, CommandState.HELD, Reason.SUPERSEDED, detail)
            else:
                detail = f"its effect was not seen before command {by.id} went out"
                self._end(each, CommandState.FAILED, Reason.SUPERSEDED, detail)

    def unsure_of_close(self) -> bool:
        """Tell whether an interrupted close may still show its effect."""
        closing = CommandCode.CLOSE_CONTACTOR
        return any(
            each.state is CommandState.UNKNOWN and each.command.code is closing
            for each in self._open
        )

    def step(self) -> None:
        """Look at every watch once."""
        now_s = self._clock.monotonic_s()
        for each in list(self._open):
            self._count_listening(each, now_s)
            if each.state is CommandState.SUCCEEDED:
                self._look_at_hold(each, now_s)
            else:
                self._look_at_unknown(each, now_s)

    def drop(self) -> None:
        """Forget all watches; the journal still knows the commands."""
        for each in self._open:
            self._unwatch(each)
        self._open.clear()

    def _mark_unknown(self, run: Run) -> None:
        if run.state is not CommandState.UNKNOWN:
            detail = f"{INTERRUPTED}; frames may have reached the bus"
            self._record.advance(run, CommandState.UNKNOWN, Reason.INTERRUPTED, detail)

    def _end_or_watch(self, run: Run, plan: CommandPlan | None) -> None:
        if plan is not None:
            self._open.append(self._watch(run.command, plan, run.state))
        elif run.state is CommandState.UNKNOWN:
            detail = "the profile no longer has this command: its effect cannot be judged"
            reason = Reason.INCONSISTENT_PARAMETERS
            self._record.advance(run, CommandState.FAILED, reason, detail)

    def _look_at_hold(self, each: Aftermath, now_s: float) -> None:
        table, confirmed = self._device.table, each.plan.confirmed
        good, bad = table.look(each.good), table.look(each.bad)
        held_s = now_s - each.start_s
        if bad.streak >= confirmed.frames:
            seen = missing_proof(each.plan, table.snapshot(), self._device.profile, now_s)
            detail = f"lasted less than {held_s:.1f} s: {seen}"
            evidence = {"contradicted_by": frames_evidence(list(bad.frames))}
            self._end(each, CommandState.REVERTED, Reason.REVERTED, detail, evidence)
        elif held_s >= confirmed.hold_s and good.streak >= confirmed.frames:
            evidence = {"confirmed_by": frames_evidence(list(good.frames))}
            self._end(each, CommandState.HELD, None, f"still so after {held_s:.1f} s", evidence)

    def _look_at_unknown(self, each: Aftermath, now_s: float) -> None:
        table, confirmed = self._device.table, each.plan.confirmed
        good = table.look(each.good)
        if good.streak >= confirmed.frames:
            evidence = {"confirmed_by": frames_evidence(list(good.frames))}
            detail = "its effect is on the bus, seen after the interruption"
            self._end(each, CommandState.SUCCEEDED, Reason.INTERRUPTED, detail, evidence)
            self.hold(each.command, each.plan)
        elif each.listened_s >= confirmed.window_s:
            seen = missing_proof(each.plan, table.snapshot(), self._device.profile, now_s)
            detail = f"listened for {each.listened_s:.1f} s after the interruption: {seen}"
            self._end(each, CommandState.FAILED, Reason.NO_EFFECT, detail)

    def _count_listening(self, each: Aftermath, now_s: float) -> None:
        """Add the time since the last look, if the BMS was heard; after a silence count anew."""
        if self._is_heard(self._device.table.snapshot(), now_s):
            each.listened_s += min(now_s - each.looked_s, LONGEST_STEP_S)
        elif each.good.counts:
            table, old = self._device.table, each.good
            each.good = table.watch(old.messages, old.predicate, now_s)
            table.unwatch(old)
        each.looked_s = now_s

    def _is_heard(self, signals: Signals, now_s: float) -> bool:
        return not derive_status(signals, self._device.profile, now_s).disconnected

    def _watch(self, command: Command, plan: CommandPlan, state: CommandState) -> Aftermath:
        profile, table = self._device.profile, self._device.table
        now_s = self._clock.monotonic_s()

        def there(signals: Signals, at_s: float) -> bool:
            return effect_seen(plan, signals, profile, at_s)

        def gone(signals: Signals, at_s: float) -> bool:
            """Silence contradicts nothing."""
            return self._is_heard(signals, at_s) and not there(signals, at_s)

        messages = messages_of(plan, profile)
        good = table.watch(messages, there, now_s)
        bad = table.watch(messages, gone, now_s)
        return Aftermath(command, plan, state, good, bad, now_s, looked_s=now_s)

    def _end(
        self,
        each: Aftermath,
        state: CommandState,
        reason: Reason | None,
        detail: str,
        evidence: Mapping[str, object] | None = None,
    ) -> None:
        self._record.advance(each, state, reason, detail, evidence)
        self._open.remove(each)
        self._unwatch(each)

    def _unwatch(self, each: Aftermath) -> None:
        self._device.table.unwatch(each.good)
        self._device.table.unwatch(each.bad)
