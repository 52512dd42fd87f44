"""The life of a command on the box, one step at a time.

accepted -> gated -> sending -> sent -> [acknowledged] -> succeeded -> held | reverted

Rules (docs/safety.md):
* The row `sending` is durable before the first frame; offers, expiry and interlocks are looked at
  again after that write, because a slow disk makes old checks stale. Between the last check and the
  frame nothing waits for the disk.
* One command in flight. An open that can still go out takes the place of anything else, nothing
  takes its own.
* "Sent" needs the echo of the frame; "succeeded" needs newer frames of the BMS. Close is never
  repeated by itself. An open is a no-op only if no close can still be on its way.
* A restart sends nothing (agent/aftermath.py).

Not thread-safe except `offer`; everything else belongs to the control thread of its device.
"""

import queue
from collections.abc import Callable
from typing import NamedTuple

from agent.aftermath import Aftermaths
from agent.clock import Clock
from agent.device import Device
from agent.errors import JournalFailed
from agent.gate import Gate
from agent.journal import Journal
from agent.record import Recorder
from agent.run import Run, checks_evidence, frames_evidence, status_evidence
from agent.session import Session, Step, life_over
from bms_can.commands import FINAL, Command, CommandState, Reason
from bms_can.confirmation import effect_seen
from bms_can.interlocks import must_wait_for_current, refusal
from bms_can.profile import CommandCode, CommandPlan
from bms_can.status import derive_status

FAST_S, IDLE_S = 0.005, 0.1
OPEN_MARGIN_S = 0.5  # an open that waits for the current goes out this long before its life ends


class Offer(NamedTuple):
    """A command from the platform; `cancelled`: the platform wants it withdrawn."""

    command: Command
    cancelled: bool = False


class Executor:
    """Carries out the commands of one device.

    Args:
        device, clock: the battery with its way to the bus; time.
        journal: durable record; nothing goes out that is not in it.
        gate: judges commands against the interlocks.
        on_event: called after each new row, so that the platform hears of it at once.
        session: in place of a plain one.
    """

    def __init__(
        self,
        device: Device,
        journal: Journal,
        clock: Clock,
        gate: Gate,
        on_event: Callable[[], None],
        session: Session | None = None,
    ) -> None:
        self._device = device
        self._clock = clock
        self._gate = gate
        self._record = Recorder(journal, clock, on_event)
        self._session = session or Session(device, gate.stops, clock)
        self._aftermaths = Aftermaths(device, self._record, clock)
        self._offers: queue.SimpleQueue[Offer] = queue.SimpleQueue()
        self._current: Run | None = None
        self._resumed = False

    def offer(self, offer: Offer) -> None:
        """Hand in a command; may be called from any thread, with the same one again and again."""
        self._offers.put(offer)

    @property
    def busy(self) -> bool:
        """Whether a command is in flight."""
        return self._current is not None

    def step(self) -> float:
        """Do what is due; return when to be called again at the latest [s from now]."""
        try:
            if not self._resumed:
                self._resume()
            self._session.echoes.look(self._clock.monotonic_s())
            self._take_offers()
            self._go_on()
            self._aftermaths.step()
        except JournalFailed as error:
            # As after a crash: what was in flight is settled from the journal once it works again.
            self._gate.journal_fault = str(error)
            if self._current is not None:
                self._let_go(self._current)
            self._aftermaths.drop()
            self._resumed = False
        return FAST_S if self.busy or self._session.echoes.awaited else IDLE_S

    def _resume(self) -> None:
        """Settle what the journal left open; after a fault, show that it takes rows again."""
        self._aftermaths.resume()
        if self._gate.journal_fault:
            self._record.note_fault(self._device.uid, self._gate.journal_fault)
            self._gate.journal_fault = ""
        self._resumed = True

    def _take_offers(self) -> None:
        while True:
            try:
                offer = self._offers.get_nowait()
            except queue.Empty:
                return
            self._take(offer)

    def _take(self, offer: Offer) -> None:
        current, command = self._current, offer.command
        if current is not None and _same_intent(current.command, command):
            current.cancelled = current.cancelled or offer.cancelled
        elif self._record.accept(command):
            plan = self._device.profile.commands.get(command.code)
            now_s = self._clock.monotonic_s()
            self._admit(Run(command, plan, CommandState.ACCEPTED, now_s, offer.cancelled))

    def _admit(self, run: Run) -> None:
        """Give a new command the place in flight, or say why not."""
        current = self._current
        end = self._early_end(run)
        if end is not None:
            self._apply(run, end)
        elif current is None:
            self._current = run
        elif not _takes_place(run, current):
            detail = f"command {current.command.id} is under way"
            reason = Reason.COMMAND_ALREADY_IN_EXECUTION
            self._apply(run, Step(CommandState.REJECTED, reason, detail))
        elif not _closes(current) and (no_op := self._no_op(run)) is not None:
            self._apply(run, no_op)
        else:
            self._session.supersede(current, run.command)
            self._apply(current, _superseded(current, run.command))
            self._current = run

    def _go_on(self) -> None:
        """Advance the command in flight as far as it goes without waiting."""
        while (run := self._current) is not None:
            step = self._next(run)
            if step is not None:
                self._apply(run, step)
            elif self._current is run:
                return

    def _next(self, run: Run) -> Step | None:
        if run.state is CommandState.ACCEPTED:
            return self._judge(run)
        assert run.plan is not None  # noqa: S101 - a command without a plan is never gated
        if run.state is CommandState.SENDING:
            return self._sending(run, run.plan)
        if run.state is CommandState.GATED:
            return self._write_then_send(run, run.plan)
        return self._session.await_effect(run, run.plan)

    def _apply(self, run: Run, step: Step) -> None:
        """Write a step; let go of the command, in flight or not, when its own time is over."""
        if run.state is not step.state:
            self._record.advance(run, step.state, step.reason, step.detail, step.evidence)
        if step.state is CommandState.SUCCEEDED and run.plan is not None:
            self._aftermaths.hold(run.command, run.plan)
        if step.state is CommandState.SUCCEEDED or step.state in FINAL:
            self._let_go(run)

    def _early_end(self, run: Run) -> Step | None:
        """Return how a command ends that was withdrawn or is too old; None if it may go on."""
        if run.cancelled:
            reason = Reason.CANCELLED_BY_PLATFORM
            return Step(CommandState.CANCELLED, reason, "withdrawn before any frame")
        return life_over(run.command, self._clock)

    def _judge(self, run: Run) -> Step | None:
        end = self._early_end(run) or self._no_op(run)
        if end is not None:
            return end
        box = self._gate.box()
        now_s = self._clock.monotonic_s()
        situation = self._gate.situation(now_s, box)
        checks = self._gate.checks(run.command.code, situation)
        evidence = {"interlocks": checks_evidence(checks)}
        refused = refusal(checks)
        if refused is not None:
            words = self._gate.words(refused)
            return Step(CommandState.REJECTED, refused.reason, words, evidence)
        if _opens(run):
            load = must_wait_for_current(situation, self._device.profile)
            if load is not None and now_s < self._latest_open_s(run):
                return None
            if load is not None:
                evidence["under_load"] = checks_evidence((load,))
        return Step(CommandState.GATED, evidence=evidence)

    def _latest_open_s(self, run: Run) -> float:
        end_s = run.accepted_s + self._device.profile.interlocks.open_wait_s
        return min(end_s, run.command.deadline_s - OPEN_MARGIN_S)

    def _no_op(self, run: Run) -> Step | None:
        """Return the end of a command whose effect the bus shows already, and for good."""
        now_s = self._clock.monotonic_s()
        if run.plan is None or self._device.read_only:
            return None
        unsure = self._gate.may_be_closing(now_s) or self._aftermaths.unsure_of_close()
        if (_opens(run) and unsure) or not self._session.may_be_so(run.command.code):
            return None
        signals, profile = self._device.table.snapshot(), self._device.profile
        if not effect_seen(run.plan, signals, profile, now_s):
            return None
        seen = {"status": status_evidence(derive_status(signals, profile, now_s))}
        return Step(CommandState.SUCCEEDED, Reason.NO_OP, "already so; no frame was sent", seen)

    def _write_then_send(self, run: Run, plan: CommandPlan) -> Step | None:
        """Durable row first, then look at everything once more, then the first frame.

        Returns None when an open that came meanwhile has taken the command's place.
        """
        end = self._early_end(run)
        if end is not None:
            return end
        self._record.advance(run, CommandState.SENDING)
        self._take_offers()
        if self._current is not run:
            return None
        end = self._changed_meanwhile(run)
        if end is not None:
            return end
        self._gate.remember(run.command.code, self._clock.monotonic_s())
        step = self._session.begin(run, plan)
        if run.frames:
            self._aftermaths.supersede(run.command)
        return Step(CommandState.SENDING) if step is None else step

    def _sending(self, run: Run, plan: CommandPlan) -> Step | None:
        """Wait for the echo; the first frame of an open may still be on its way to the bus."""
        early = not run.frames
        end = self._early_end(run) if early else None
        gone = end is not None and not self._session.withdraw(run)  # its frame left just now
        step = self._session.await_echo(run, plan) if end is None or gone else end
        if early and run.frames:
            self._gate.left(run.command.code, run.frames[0].at_s)
            self._aftermaths.supersede(run.command)
        return step

    def _changed_meanwhile(self, run: Run) -> Step | None:
        """Judge a command for the last time before its frame; None if it may go out."""
        box = self._gate.box()  # may wait for the disk, so before the last look at the clock
        end = self._early_end(run)
        if end is not None:
            return end
        situation = self._gate.situation(self._clock.monotonic_s(), box)
        checks = self._gate.checks(run.command.code, situation)
        refused = refusal(checks)
        if refused is None:
            return None
        evidence = {"interlocks": checks_evidence(checks)}
        words = f"changed while it was being written: {self._gate.words(refused)}"
        return Step(CommandState.REJECTED, refused.reason, words, evidence)

    def _let_go(self, run: Run) -> None:
        self._session.close(run)
        if self._current is run:
            self._current = None


def _same_intent(one: Command, other: Command) -> bool:
    return (one.id, one.code, one.device_uid) == (other.id, other.code, other.device_uid)


def _opens(run: Run) -> bool:
    return run.command.code is CommandCode.OPEN_CONTACTOR


def _closes(run: Run) -> bool:
    return run.command.code is CommandCode.CLOSE_CONTACTOR


def _takes_place(run: Run, current: Run) -> bool:
    """Tell whether a new command ends the one in flight: only an open that the profile has."""
    return _opens(run) and not _opens(current) and run.plan is not None


def _superseded(run: Run, by: Command) -> Step:
    """Return how a command ends whose place an open takes."""
    if not run.frames:
        detail = f"open {by.id} takes its place; no frame went out"
        return Step(CommandState.CANCELLED, Reason.SUPERSEDED, detail)
    detail = f"{len(run.frames)} frames went out; open {by.id} came before the effect was seen"
    evidence = {"frames": frames_evidence(run.frames)}
    return Step(CommandState.FAILED, Reason.SUPERSEDED, detail, evidence)
