"""One command on the bus: first frame, echo, repetitions, answer, effect.

Each method looks once and returns the next step of the command, or None while there is none.
Repetitions are a lease: a fixed number of frames, never past the command's life. The clock is read
right before each frame, so that whatever took its time before is counted.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from agent.clock import Clock
from agent.device import Device
from agent.echoes import LOST, Echoes
from agent.run import Run, frames_evidence
from bms_can.commands import Command, CommandState, Reason
from bms_can.confirmation import effect_seen, messages_of, missing_proof, proof_of
from bms_can.errors import FrameRefused, SendFailed
from bms_can.profile import CommandCode, CommandPlan, Condition
from bms_can.signals import Signals
from bms_can.table import Watch

NEVER_S = float("inf")
HELD_UP_S = 0.005  # a send takes well below a millisecond
UNPROVEN = "no echo proves it: the adapter took the frame, and may still hold it"
AGAIN_S = 0.5  # between two tries of an open that the bus did not take


class Step(NamedTuple):
    """The next state of a command, with what goes into the record."""

    state: CommandState
    reason: Reason | None = None
    detail: str = ""
    evidence: Mapping[str, object] | None = None


def life_over(command: Command, clock: Clock) -> Step | None:
    """Return how a command ends whose life is over before any frame; None while it lives."""
    now_s, boot_id = clock.monotonic_s(), clock.boot_id()
    if not command.expired(now_s, boot_id):
        return None
    detail = f"its life ended {now_s - command.deadline_s:.3f} s ago; no frame went out"
    if boot_id != command.boot_id:
        detail = "it was taken before this start of the machine; no frame went out"
    return Step(CommandState.EXPIRED, Reason.TIME_LIMIT_OVER, detail)


class Session:
    """Puts commands of one device on its bus and watches what comes of them.

    Args:
        device: the battery and its way to the bus.
        stops: tells whether a session of this kind must send no more repetitions.
        clock: time.

    Attributes:
        echoes: own frames on their way back.
    """

    def __init__(self, device: Device, stops: Callable[[CommandCode], bool], clock: Clock) -> None:
        self._device = device
        self._stops = stops
        self._clock = clock
        self._counter = 0
        self.echoes = Echoes(device)

    def withdraw(self, _run: Run) -> bool:
        """Tell whether no frame of a command went out, nor ever will; see HeldSession."""
        return True

    def supersede(self, _run: Run, _by: Command) -> None:
        """A command in flight loses its place to an open; see HeldSession."""

    def may_be_so(self, _code: CommandCode) -> bool:
        """Tell whether an effect that is seen can be there to stay; see HeldSession."""
        return True

    def begin(self, run: Run, plan: CommandPlan) -> Step | None:
        """Start to watch, then send the first frame.

        None means that the echo is awaited; or, without a frame in `run.frames`, that the bus did
        not take the first frame of an open, and it is tried again.
        """
        self.close(run)
        run.sent_s = self._clock.monotonic_s()
        self._watch(run, plan, run.sent_s)
        over = life_over(run.command, self._clock)
        if over is not None:
            return over
        try:
            self._put_on_bus(run, plan)
        except FrameRefused as error:
            return Step(CommandState.FAILED, Reason.GUARD_REFUSED, str(error))
        except SendFailed as error:
            return self._not_taken(run, plan, error)
        self._note_hold_up(run, plan)
        return None

    def _note_hold_up(self, run: Run, plan: CommandPlan) -> None:
        """What came while the send was held up came before the frame left: it proves nothing."""
        now_s = self._clock.monotonic_s()
        if now_s - run.sent_s > HELD_UP_S:
            self.close(run)
            run.sent_s = now_s
            self._watch(run, plan, now_s)
        if now_s >= run.command.deadline_s:
            run.trouble = "the process was held up: the frame left as the command's life ended"

    def _not_taken(self, run: Run, plan: CommandPlan, error: SendFailed) -> Step | None:
        """Return how a command ends whose first frame nobody took; None: an open tries again.

        A bus that is being reopened takes frames a moment later. Only an open, the safe direction,
        waits for that, and never beyond its window.
        """
        waited_s = run.sent_s - run.accepted_s
        opening = run.command.code is CommandCode.OPEN_CONTACTOR
        if opening and waited_s < plan.confirmed.window_s:
            run.trouble = f"at first the bus did not take it: {error}"
            run.next_s = run.sent_s + AGAIN_S
            return None
        tried = f"; tried for {waited_s:.1f} s" if run.trouble else ""
        return Step(CommandState.FAILED, Reason.SEND_FAILED, f"{error}{tried}")

    def await_echo(self, run: Run, plan: CommandPlan) -> Step | None:
        """A frame is sent when it has come back from the bus; else nobody knows where it is."""
        if not run.frames:
            waits = self._clock.monotonic_s() < run.next_s
            return None if waits else self.begin(run, plan)
        returned = self.echoes.returned(run.frames[0])
        if returned is None:
            return None
        proves = self._device.echo_proves
        run.unproven = "" if proves else UNPROVEN
        evidence = {"frames": frames_evidence(run.frames), "echo": proves}
        if returned:
            return Step(CommandState.SENT, None, run.remarks, evidence)
        return Step(CommandState.FAILED, Reason.SEND_FAILED, LOST, evidence)

    def await_effect(self, run: Run, plan: CommandPlan) -> Step | None:
        """Look for the effect, a refusal, an answer or the end of the window; else repeat."""
        frames = {"frames": frames_evidence(run.frames)}
        effect = self._frames_of(run.effect, plan.confirmed.frames)
        if effect is not None:
            evidence = {"confirmed_by": effect, **frames}
            return Step(CommandState.SUCCEEDED, None, run.remarks, evidence)
        refusal = self._frames_of(run.refusal, 1)
        if refusal is not None:
            detail = "the BMS answered that it will not do it"
            evidence = {"answer": refusal, **frames}
            return Step(CommandState.FAILED, Reason.BLOCKED_BY_PROCESS, detail, evidence)
        now_s = self._clock.monotonic_s()
        if now_s - run.sent_s >= plan.confirmed.window_s:
            return self._timed_out(run, plan, now_s)
        answer = self._frames_of(run.answer, 1)
        if run.state is CommandState.SENT and answer is not None:
            return Step(CommandState.ACKNOWLEDGED, evidence={"answer": answer})
        if len(run.frames) < plan.repeat and now_s >= run.next_s:
            self._repeat(run, plan, now_s)
        return None

    def close(self, run: Run) -> None:
        """Stop watching."""
        for watch in (run.effect, run.answer, run.refusal):
            if watch is not None:
                self._device.table.unwatch(watch)

    def _timed_out(self, run: Run, plan: CommandPlan, now_s: float) -> Step:
        signals = self._device.table.snapshot()
        seen = missing_proof(plan, signals, self._device.profile, now_s)
        answered = run.state is CommandState.ACKNOWLEDGED
        words = "the BMS acknowledged it" if answered else "the BMS did not acknowledge it"
        if plan.acknowledged is None:
            words = "no answer is defined"
        parts = (words, f"after {plan.confirmed.window_s:g} s {seen}", run.remarks)
        detail = "; ".join(part for part in parts if part)
        evidence = {"frames": frames_evidence(run.frames)}
        return Step(CommandState.TIMED_OUT, Reason.NO_EFFECT, detail, evidence)

    def _repeat(self, run: Run, plan: CommandPlan, now_s: float) -> None:
        """Send the next frame of the lease; one that does not go out never ends the command.

        The first frame is out: what the battery makes of it is still to be seen. Only an open,
        the safe direction, tries the same frame again.
        """
        if self.echoes.awaited:
            return
        if self._stops(run.command.code) or life_over(run.command, self._clock) is not None:
            run.next_s = NEVER_S
            return
        try:
            self._put_on_bus(run, plan)
        except (FrameRefused, SendFailed) as error:
            run.trouble = f"frame {len(run.frames) + 1} of {plan.repeat} did not go out: {error}"
            opening = run.command.code is CommandCode.OPEN_CONTACTOR
            run.next_s = now_s + plan.period_s if opening else NEVER_S

    def _put_on_bus(self, run: Run, plan: CommandPlan) -> None:
        """Send one frame.

        Raises:
            FrameRefused, SendFailed: it was not sent.
        """
        now_s = self._clock.monotonic_s()
        frame = plan.frames[self._counter % len(plan.frames)]._replace(at_s=now_s)
        self._device.control.send(frame, now_s)
        self.echoes.expect(frame, run.command.id, self._clock.monotonic_s())
        self._counter += 1
        run.frames.append(frame)
        run.next_s = now_s + plan.period_s

    def _watch(self, run: Run, plan: CommandPlan, now_s: float) -> None:
        profile, table = self._device.profile, self._device.table

        def shows_effect(signals: Signals, at_s: float) -> bool:
            return effect_seen(plan, signals, profile, at_s)

        run.effect = table.watch(messages_of(plan, profile), shows_effect, now_s)
        run.answer = self._watch_condition(plan.acknowledged, now_s)
        run.refusal = self._watch_condition(plan.refused, now_s)

    def _watch_condition(self, condition: Condition | None, now_s: float) -> Watch | None:
        if condition is None:
            return None

        def shows(signals: Signals, _at_s: float) -> bool:
            sample = signals.samples.get(condition.signal)
            return sample is not None and sample.raw in condition.values

        proof = proof_of(condition.signal, self._device.profile)
        return self._device.table.watch(frozenset({proof}), shows, now_s)

    def _frames_of(self, watch: Watch | None, enough: int) -> list[dict[str, object]] | None:
        """Return the frames that fulfil a watch, None while there are not enough."""
        if watch is None:
            return None
        seen = self._device.table.look(watch)
        return frames_evidence(list(seen.frames)) if seen.streak >= enough else None
