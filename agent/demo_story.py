"""The story of the demonstration: each step does something and names the proof that must follow.

Proof is only what the platform's documented interface says. A step whose proof does not come ends
the story, and says which proof is missing.
"""

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from typing import Any

from agent.demo_operator import Operator, Refused
from bms_can.commands import Reason
from bms_can.pack import Pack
from bms_can.simulator import Simulator

CLOSE, OPEN, RESET = 2, 3, 1
CURRENT_A = 50.0
WARNING, FAULT = "cell_high_temp_alarm", "contactor_fault"
LOOK_S = 0.1
STEADY_S = 3.5  # a little more than the interlock `steady_s` of the battery
STATUS_S = 10.0  # for a change of the battery to reach the platform
COMMAND_S = 45.0  # for the whole life of a command
DECISIONS = 3  # a busy machine can hold up the battery's frames; then a close is refused, rightly
ENDED = ("held", "reverted", "rejected", "expired", "failed", "timed_out", "cancelled")
PROVEN = "held"  # the effect was seen, and it lasted


@dataclass(frozen=True, slots=True)
class Line:
    """Something to show. `kind`: "step", "curl", "seen", "proof", "missing"."""

    kind: str
    text: str


class Unproven(Exception):
    """The proof of a step did not come."""


@dataclass(frozen=True, slots=True)
class Play:
    """What the steps need.

    Attributes:
        wait: lets so many seconds pass, and raises if the end was asked for.
        now_s: monotonic clock [s].
        warning, fault: alarms of this battery: one that does not open it, one that does.
        hears_requests: it must have heard regular requests for a while before it can be closed.
        can_reset: its profile has a fault reset; without one no fault is latched in the story.
    """

    operator: Operator
    simulator: Simulator
    wait: Callable[[float], None]
    now_s: Callable[[], float]
    warning: str = field(default=WARNING, kw_only=True)
    fault: str = field(default=FAULT, kw_only=True)
    hears_requests: bool = field(default=False, kw_only=True)
    can_reset: bool = field(default=True, kw_only=True)

    def story(self) -> Iterator[Line]:
        """Play all steps and yield what happens.

        Raises:
            Unproven: a proof is missing.
            Refused: the platform refused a call.
        """
        yield Line("step", "The battery is heard: contactor open, no alarm")
        yield Line("curl", self.operator.shell_variables())
        yield Line("curl", self.operator.curl_status())
        yield self._see("powered down", operating_status=1, alarm_status=0, disconnected=0)
        yield Line("seen", f"a close needs {STEADY_S:g} s of frames without a gap first")
        self.wait(STEADY_S)
        yield from self._command("Close the contactor", CLOSE, operating_status=2)
        yield from self._battery("The inverter charges with 50 A", set_current(CURRENT_A), 3)
        yield from self._battery("The inverter discharges with 50 A", set_current(-CURRENT_A), 4)
        yield from self._battery("The current goes back to zero", set_current(0.0), 2)
        yield Line("step", "An alarm that opens nothing: the contactor stays closed")
        self.simulator.tell(lambda pack: pack.raise_alarm(self.warning, 2))
        yield self._see("one alarm", operating_status=2, alarm_status=1)
        self.simulator.tell(lambda pack: pack.clear_alarm(self.warning))
        yield self._see("no alarm", operating_status=2, alarm_status=0)
        if self.can_reset:
            yield from self._fault()
        yield from self._command("Open the contactor", OPEN, operating_status=1)

    def _fault(self) -> Iterator[Line]:
        yield Line("step", "A fault is latched: the battery opens by itself")
        self.simulator.tell(lambda pack: pack.raise_alarm(self.fault, 3, latched=True))
        yield self._see("open, one alarm", operating_status=1, alarm_status=1)
        yield from self._refused("Close is refused while the fault is latched", CLOSE)
        self.simulator.tell(lambda pack: pack.clear_alarm(self.fault))
        yield from self._command("Reset the fault", RESET, operating_status=1, alarm_status=0)
        yield from self._command(
            "Close again: a new decision, a new command", CLOSE, operating_status=2
        )

    def _battery(self, text: str, action: Callable[[Pack], None], status: int) -> Iterator[Line]:
        yield Line("step", text)
        self.simulator.tell(action)
        yield self._see("the platform shows it", operating_status=status)

    def _command(self, text: str, command: int, **wanted: int) -> Iterator[Line]:
        yield Line("step", text)
        record = yield from self._decide(command)
        if record["state"] != PROVEN:
            raise Unproven(f"{text}: no proof; {outcome(record)}")
        yield Line("seen", f"{_ladder(record)}")
        yield self._see("the platform shows the effect", **wanted)

    def _decide(self, command: int) -> Generator[Line, None, dict[str, Any]]:
        """Give a command, anew after a gap in the battery's frames; return the last record."""
        decisions = 0
        while True:
            yield Line("curl", self.operator.curl_send(command))
            command_id = self.operator.send(command)
            yield Line("curl", self.operator.curl_command(command_id))
            record = self._until_ended(command_id)
            decisions += 1
            if decisions == DECISIONS or not self._passes(record):
                return record
            yield Line("seen", f"{outcome(record)}; a person waits and decides again")
            self.wait(STEADY_S)

    def _passes(self, record: dict[str, Any]) -> bool:
        """Tell whether a command ended only by what passes: a gap in the frames of either side.

        On a busy machine our requests are irregular; a battery that minds is in error for a while.
        """
        reason = (record.get("events") or [{}])[-1].get("reason")
        ends = {("rejected", Reason.BLOCKED_BY_HEALTH), ("failed", Reason.INTERRUPTED)}
        not_ready = ("rejected", Reason.BLOCKED_BY_INTERLOCKING)
        found = (record["state"], reason)
        return found in ends or (self.hears_requests and found == not_ready)

    def _refused(self, text: str, command: int) -> Iterator[Line]:
        yield Line("step", text)
        yield Line("curl", self.operator.curl_send(command))
        record = self._until_ended(self.operator.send(command))
        if record["state"] != "rejected":
            raise Unproven(f"{text}: it should have been rejected; {outcome(record)}")
        yield Line("proof", outcome(record))

    def _until_ended(self, command_id: str) -> dict[str, Any]:
        """Return the record of a command when it has ended, or when that took too long."""
        end_s = self.now_s() + COMMAND_S
        while True:
            record = self.operator.command(command_id)
            if record["state"] in ENDED or self.now_s() > end_s:
                return record
            self.wait(LOOK_S)

    def _see(self, words: str, **wanted: int | None) -> Line:
        """Wait until the platform's status has these values."""
        end_s = self.now_s() + STATUS_S
        while True:
            status = self.operator.status()
            if all(status.get(key) == value for key, value in wanted.items()):
                shown = ", ".join(f"{key} {status[key]}" for key in wanted)
                return Line("proof", f"{words}: {shown}")
            if self.now_s() > end_s:
                shown = ", ".join(f"{key} {status.get(key)}" for key in wanted)
                asked = ", ".join(f"{key} {value}" for key, value in wanted.items())
                raise Unproven(f"{words}: the platform shows {shown}, not {asked}")
            self.wait(LOOK_S)


def set_current(current_a: float) -> Callable[[Pack], None]:
    """Return the action of an inverter that asks for a current [A], positive charging."""
    return lambda pack: pack.request_current(current_a)


def outcome(record: dict[str, Any]) -> str:
    """Return how a command ended, and why, in one line."""
    events = record.get("events") or [{}]
    last = events[-1]
    why = ": ".join(word for word in (last.get("reason"), last.get("detail")) if word)
    return f"the command is {record['state']}" + (f" ({why})" if why else "")


def _ladder(record: dict[str, Any]) -> str:
    return " -> ".join(event["state"] for event in record.get("events", []))


__all__ = ["Line", "Play", "Refused", "Unproven", "outcome", "set_current"]
