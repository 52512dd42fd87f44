"""Commands of a battery with a held request: their frames go out in the thread that sends it.

The same life as in a plain session; what differs is who sends, and that a close which succeeded
goes on being sent until its hold ends.
"""

from collections.abc import Callable

from agent.clock import Clock
from agent.device import Device
from agent.echoes import LOST
from agent.held import RequestSender
from agent.run import Run, frames_evidence
from agent.session import Session, Step, life_over
from bms_can.commands import Command, CommandState, Reason
from bms_can.held_plan import Asked
from bms_can.profile import CommandCode, CommandPlan

CLOSE, OPEN = CommandCode.CLOSE_CONTACTOR, CommandCode.OPEN_CONTACTOR


class HeldSession(Session):
    """See Session; `sender` sends."""

    def __init__(
        self,
        device: Device,
        stops: Callable[[CommandCode], bool],
        clock: Clock,
        sender: RequestSender,
    ) -> None:
        super().__init__(device, stops, clock)
        self._sender = sender
        self._asked: Asked | None = None
        self._watched = False

    def begin(self, run: Run, plan: CommandPlan) -> Step | None:
        """Start to watch, then ask for frames. None: they come with the next period."""
        run.sent_s = self._clock.monotonic_s()
        self._watch(run, plan, run.sent_s)
        over = life_over(run.command, self._clock)
        if over is not None:
            return over
        code = run.command.code
        self._asked = Asked(
            run.command.id,
            plan.frames[0],
            run.command.deadline_s,
            count=plan.repeat,
            holds=code is CLOSE,
            opens=code is OPEN,
            proof_s=plan.confirmed.window_s,
        )
        self._watched = False
        self._sender.ask(self._asked)
        return None

    def await_echo(self, run: Run, plan: CommandPlan) -> Step | None:
        """A frame is sent when it has come back from the bus."""
        refused, returned = self._look(run, plan)
        if not run.frames:
            return self._not_sent(run, plan, refused)
        if returned is None and not (refused and run.command.code is CLOSE):
            return None
        evidence = {"frames": frames_evidence(run.frames), "echo": self._device.echo_proves}
        if returned:
            return Step(CommandState.SENT, None, run.trouble, evidence)
        detail = LOST if returned is False else f"the request fell back to rest: {refused}"
        return Step(CommandState.FAILED, Reason.SEND_FAILED, detail, evidence)

    def await_effect(self, run: Run, plan: CommandPlan) -> Step | None:
        """As in a plain session; a close whose hold has ended has failed, whatever is seen."""
        if run.command.code is CLOSE and self._asked is not None:
            seen = self._sender.seen(self._asked)
            if not seen.in_force:
                detail = f"the request fell back to rest: {seen.refused}"
                evidence = {"frames": frames_evidence(run.frames)}
                return Step(CommandState.FAILED, Reason.INTERRUPTED, detail, evidence)
        return super().await_effect(run, plan)

    def close(self, run: Run) -> None:
        """Stop watching; a close that succeeded goes on, anything else of the command ends."""
        super().close(run)
        asked = self._asked
        if asked is None or asked.command_id != run.command.id:
            return
        self._asked = None
        if asked.holds and run.state is CommandState.SUCCEEDED:
            self._sender.prove(asked.command_id)
        else:
            self._sender.end(asked.command_id, f"the command is {run.state}")

    def withdraw(self, run: Run) -> bool:
        """Take the command back; tell whether no frame of it went out, nor ever will."""
        asked = self._asked
        if asked is None or asked.command_id != run.command.id:
            return True
        return self._sender.withdraw(asked, "withdrawn")

    def supersede(self, run: Run, by: Command) -> None:
        """End what the command began, at once: what takes its place opens."""
        self._sender.end(run.command.id, f"command {by.id} opens")
        if self._asked is not None and self._asked.command_id == run.command.id:
            run.frames = list(self._sender.seen(self._asked).frames)

    def may_be_so(self, code: CommandCode) -> bool:
        """Closed is there to stay only while it is held, open only while it is not."""
        held_by, _ = self._sender.at_rest()
        return self._sender.holds() if code is CLOSE else code is not OPEN or not held_by

    def _repeat(self, run: Run, plan: CommandPlan, now_s: float) -> None:
        """The sender repeats."""

    def _look(self, run: Run, plan: CommandPlan) -> tuple[str, bool | None]:
        """Take over what was sent; what came before the first frame proves nothing."""
        if self._asked is None:
            return "it was not asked for", None
        seen = self._sender.seen(self._asked)
        run.frames = list(seen.frames)
        if run.frames and not self._watched:
            self._watched = True
            super().close(run)
            run.sent_s = run.frames[0].at_s
            self._watch(run, plan, run.sent_s)
        return seen.refused, seen.returned

    def _not_sent(self, run: Run, plan: CommandPlan, refused: str) -> Step | None:
        """Return how a command ends of which no frame goes out; None while one may. Opens wait."""
        if not refused:
            return None
        waited_s = self._clock.monotonic_s() - run.accepted_s
        if run.command.code is OPEN and waited_s < plan.confirmed.window_s:
            run.trouble = f"at first the bus did not take it: {refused}"
            return None
        over = life_over(run.command, self._clock)
        return over or Step(CommandState.FAILED, Reason.SEND_FAILED, refused)
