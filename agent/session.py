"""One command on the bus: first frame, echo, repetitions, answer, effect. Time is an argument.

Each method looks once and returns the next step of the command, or None while there is none.
Repetitions are a lease: a fixed number of frames, never past the command's life.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from agent.device import Device
from agent.run import Run, frames_evidence
from bms_can.commands import CommandState, Reason
from bms_can.confirmation import effect_seen, messages_of, missing_proof, proof_of
from bms_can.errors import FrameRefused, SendFailed
from bms_can.profile import CommandCode, CommandPlan, Condition
from bms_can.signals import Signals
from bms_can.table import Watch

ECHO_S = 0.05  # reliability rule 21c


class Step(NamedTuple):
    """The next state of a command, with what goes into the record."""

    state: CommandState
    reason: Reason | None = None
    detail: str = ""
    evidence: Mapping[str, object] | None = None


class Session:
    """Puts commands of one device on its bus and watches what comes of them.

    Args:
        device: the battery and its way to the bus.
        stops: tells whether a session of this kind must send no more repetitions.
    """

    def __init__(self, device: Device, stops: Callable[[CommandCode], bool]) -> None:
        self._device = device
        self._stops = stops
        self._counter = 0

    def begin(self, run: Run, plan: CommandPlan, now_s: float) -> Step | None:
        """Start to watch, then send the first frame. None means that the echo is awaited."""
        self._watch(run, plan, now_s)
        run.sent_s = now_s
        return self._put_on_bus(run, plan, now_s)

    def await_echo(self, run: Run, now_s: float) -> Step | None:
        """A frame is sent when it has come back from the bus; else nobody knows where it is."""
        evidence = {"frames": frames_evidence(run.frames), "echo": self._device.echo}
        if not self._device.echo or self._device.control.echoed(run.frames[0]):
            return Step(CommandState.SENT, evidence=evidence)
        if now_s - run.sent_s <= ECHO_S:
            return None
        detail = f"no echo within {ECHO_S * 1000:g} ms: the frame may still wait in a queue"
        self._device.control.unsafe = f"command {run.command.id}: {detail}"
        return Step(CommandState.FAILED, Reason.SEND_FAILED, detail, evidence)

    def await_effect(self, run: Run, plan: CommandPlan, now_s: float) -> Step | None:
        """Look for the effect, a refusal, an answer or the end of the window; else repeat."""
        effect = self._frames_of(run.effect, plan.confirmed.frames)
        if effect is not None:
            evidence = {"confirmed_by": effect, "frames": frames_evidence(run.frames)}
            return Step(CommandState.SUCCEEDED, evidence=evidence)
        refusal = self._frames_of(run.refusal, 1)
        if refusal is not None:
            detail = "the BMS answered that it will not do it"
            evidence = {"answer": refusal, "frames": frames_evidence(run.frames)}
            return Step(CommandState.FAILED, Reason.BLOCKED_BY_PROCESS, detail, evidence)
        if now_s - run.sent_s >= plan.confirmed.window_s:
            return self._timed_out(run, plan, now_s)
        answer = self._frames_of(run.answer, 1)
        if run.state is CommandState.SENT and answer is not None:
            return Step(CommandState.ACKNOWLEDGED, evidence={"answer": answer})
        return self._repeat(run, plan, now_s)

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
        detail = f"{words}; after {plan.confirmed.window_s:g} s {seen}"
        evidence = {"frames": frames_evidence(run.frames)}
        return Step(CommandState.TIMED_OUT, Reason.NO_EFFECT, detail, evidence)

    def _repeat(self, run: Run, plan: CommandPlan, now_s: float) -> Step | None:
        if len(run.frames) >= plan.repeat or now_s < run.next_s:
            return None
        if now_s >= run.command.deadline_s or self._stops(run.command.code):
            run.next_s = float("inf")
            return None
        return self._put_on_bus(run, plan, now_s)

    def _put_on_bus(self, run: Run, plan: CommandPlan, now_s: float) -> Step | None:
        frame = plan.frames[self._counter % len(plan.frames)]._replace(at_s=now_s)
        evidence = {"frames": frames_evidence(run.frames)}
        try:
            self._device.control.send(frame, now_s)
        except FrameRefused as error:
            return Step(CommandState.FAILED, Reason.GUARD_REFUSED, str(error), evidence)
        except SendFailed as error:
            return Step(CommandState.FAILED, Reason.SEND_FAILED, str(error), evidence)
        self._counter += 1
        run.frames.append(frame)
        run.next_s = now_s + plan.period_s
        return None

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
