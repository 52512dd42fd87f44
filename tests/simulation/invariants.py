"""The promises, checked from the outside at every step: wire, records and witness, not our code.

I1 one session per id; I2 no frame past its deadline; I3 no close with an interlock false; I4 every
control frame has an earlier durable row; I5 no status older than its limit, silence is never 1;
I6 final states never change; I7 every accepted id ends in time; I8 every durable record reaches the
platform exactly once; I9 only listed frames; I10 the key is in no output. And: `sent` has its echo,
`succeeded` its newer frames, no thread dies.
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import ClassVar

import can

from bms_can.pack import Phase
from tests.simulation.clocks import BoxClock
from tests.simulation.ledger import Ledger, Step
from tests.simulation.net import LONGEST_TRANSIT_S
from tests.simulation.platform import Request
from tests.simulation.witness import CONTROL, Witness, crc8

RESET, CLOSE, OPEN = 1, 2, 3
REPEAT = 3
LIFE_CAP_S = {RESET: 60.0, CLOSE: 30.0, OPEN: 120.0}
WINDOW_S = {RESET: 10.0, CLOSE: 20.0, OPEN: 15.0}
SLACK_S = 60.0
LATCHED_AFTER_S = 8.0  # by then the box has written the doubt down, for its next start too
STALE_S = 30.0  # the platform shows nothing older
DEADLINE_S = 1.0  # the longest limit of a required message
ROUNDING_S = 1e-6
STEADY_S = 3.0
CLOSE_WINDOW_S, RESET_WINDOW_S = 600.0, 3600.0
TOLERANCE_S = 0.003  # the platform counts whole milliseconds
ON_THE_BUS = frozenset({"sending", "sent", "acknowledged"})
ENDED = frozenset({"held", "reverted", "rejected", "expired", "failed", "timed_out", "cancelled"})
SETTLES_BY_THE_BUS = frozenset({"unknown", "succeeded"})
FRAMES = {
    bytes.fromhex("020000000000"): OPEN,
    bytes.fromhex("010000000000"): CLOSE,
    bytes.fromhex("000100000000"): RESET,
}


class Violation(AssertionError):
    """A promise was broken."""


@dataclass(slots=True)
class Limits:
    """What the site allows: closes and resets in their windows, and their distance [s]."""

    close_max: int
    reset_max: int
    close_interval_s: float = 10.0


@dataclass(slots=True)
class Issued:
    """A command as the operator gave it; `end_s`: end of its life in true time [s]."""

    code: int
    end_s: float


@dataclass(slots=True)
class Sent:
    """What went out for a command.

    Attributes:
        process: of which run of the agent; `boot`: under which start of the machine.
        wall_off_s: how far the wall clock of the box was off then [s].
    """

    process: int
    first_s: float
    boot: str
    wall_off_s: float
    frames: int = 0
    echoes: int = 0


@dataclass(slots=True)
class Patience:
    """How long a command has been waiting [s]: the box up, and the battery heard as well."""

    state: str = ""
    up_s: float = 0.0
    heard_s: float = 0.0


@dataclass(slots=True)
class Invariants:
    """Everything an outsider knows.

    Attributes:
        ledger: the records.
        limits: of the site.
        clock: of the box; only its boots and its wall clock's error are looked at.
        now_s: true time [s].
        key: must appear nowhere.
        witness: frames that the running process heard.
        process: number of the run of the agent.
        issued: commands by id.
        latched: the bus was in doubt for long enough to be remembered over a restart.
        checks: how often each promise was really put to the test.
    """

    new_witness: ClassVar[type[Witness]] = Witness
    control: ClassVar[tuple[int, bool]] = CONTROL, True

    ledger: Ledger
    limits: Limits
    clock: BoxClock
    now_s: Callable[[], float]
    key: str
    witness: Witness = field(init=False)
    process: int = 0
    issued: dict[str, Issued] = field(default_factory=dict)
    sent: dict[str, Sent] = field(default_factory=dict)
    checks: dict[str, int] = field(default_factory=dict)
    waiting: dict[str, Patience] = field(default_factory=dict)
    outstanding: list[tuple[str, bytes]] = field(default_factory=list)
    latched_s: float = 0.0
    latched: bool = False
    last_connected_s: float = float("-inf")
    last_open_s: float = float("-inf")

    def __post_init__(self) -> None:
        self.witness = self.new_witness()

    # --- the wire

    def booted(self) -> None:
        """A new process of the agent knows nothing of what the last one heard."""
        self.process += 1
        self.witness = self.new_witness()
        self.outstanding.clear()
        self.latched_s = 0.0

    def latches_cleared(self) -> None:
        """A person has looked at the bus."""
        self.witness.foreign = self.latched = False
        self.latched_s = 0.0
        self.outstanding.clear()

    def heard(self, message: can.Message) -> None:
        """The box received a frame."""
        now_s, data = self.now_s(), bytes(message.data)
        if (message.arbitration_id, message.is_extended_id) == self.control:
            mine = next((each for each in self.awaited() if each[1] == data), None)
            if mine is None:
                self.witness.foreign = True
            else:
                self.outstanding.remove(mine)
                if mine[0] in self.sent:
                    self.sent[mine[0]].echoes += 1
            return
        self.witness.hear(message, now_s)
        if self.witness.connected(now_s):
            self.last_connected_s = now_s
            if self.witness.facts(now_s).contactor == 2:
                self.last_open_s = now_s

    def awaited(self) -> Iterable[tuple[str, bytes]]:
        """Return the frames on their way in the order in which they are looked at."""
        return self.outstanding

    def doubted(self) -> bool:
        """Tell whether a frame that could do harm has not come back."""
        return bool(self.outstanding)

    def passed(self) -> None:
        """The control loop has ended a pass."""

    def locked_out(self) -> None:
        """A person has set the lock-out."""

    def battery(self, phase: Phase) -> None:
        """All is healed and quiet: look at the contactors."""

    def handed(self, message: can.Message) -> None:
        """The agent handed a frame to its bus."""
        data = bytes(message.data)
        listed = message.arbitration_id == CONTROL and message.is_extended_id and len(data) == 8
        self._must(listed, "I9", f"frame {message} is not listed")
        code = FRAMES.get(data[:6])
        sealed = data[6] <= 0xF and data[7] == crc8(data[:7])
        if code is None or not sealed:
            raise Violation(f"I9: frame {data.hex()} is not listed")
        for step in self.ledger.new_steps():
            self._step(step)
        command_id = self.ledger.last_sending
        self._must(bool(command_id), "I4", "a control frame without any row `sending`")
        steps = self.ledger.steps[command_id]
        self._must(steps[-1].state in ON_THE_BUS, "I4", f"frame while {steps[-1].state}")
        gated = [step for step in steps if step.state == "gated"]
        audited = bool(gated) and "interlocks" in gated[-1].evidence
        self._must(audited, "I4", "the row `gated` with its interlocks is missing")
        self._of_session(command_id, code, data)

    def _of_session(self, command_id: str, code: int, data: bytes) -> None:
        now_s, issued = self.now_s(), self.issued[command_id]
        self._must(issued.code == code, "I1", f"{command_id} is {issued.code}, frame is {code}")
        sent = self.sent.get(command_id)
        if sent is None:
            self._first_frame(code, now_s)
            clock = self.clock
            sent = Sent(self.process, now_s, clock.boot_id(), clock.wall_off_s)
            self.sent[command_id] = sent
        self._must(sent.process == self.process, "I1", f"{command_id} sent again after a restart")
        sent.frames += 1
        self._must(sent.frames <= REPEAT, "I1", f"{sent.frames} frames for {command_id}")
        late_s = now_s - issued.end_s
        self._must(late_s <= TOLERANCE_S, "I2", f"{late_s:.3f} s after the end of {command_id}")
        if code != OPEN:
            self._must(not self.witness.foreign, "I3", "another master was heard")
            self._must(not self.doubted(), "I3", "an earlier frame did not come back")
            self._must(not self.latched, "I3", "nobody has looked since the bus was in doubt")
            self._must(not self.ledger.lockout(), "I3", "the local lock-out is set")
        self.outstanding.append((command_id, data))

    def _first_frame(self, code: int, now_s: float) -> None:
        if code != OPEN:
            window_s = CLOSE_WINDOW_S if code == CLOSE else RESET_WINDOW_S
            most = self.limits.close_max if code == CLOSE else self.limits.reset_max
            times = [
                each.first_s
                for key, each in self.sent.items()
                if self.issued[key].code == code and self._counts(each)
            ]
            recent = sum(now_s - at_s < window_s - TOLERANCE_S for at_s in times)
            self._must(recent < most, "I3", f"{recent} of the kind within {window_s:g} s")
            apart_s = min((now_s - at_s for at_s in times), default=float("inf"))
            apart = code != CLOSE or apart_s >= self.limits.close_interval_s - TOLERANCE_S
            self._must(apart, "I3", f"{apart_s:.3f} s after another close")
            self._must(self.witness.connected(now_s), "I3", "the battery is silent")
            self._must(self.witness.facts(now_s).remote is True, "I3", "not in remote mode")
        if code == CLOSE:
            self._must(self.witness.steady(now_s, STEADY_S - TOLERANCE_S), "I3", "not steady")
            facts = self.witness.facts(now_s)
            wanted = facts._replace(
                contactor=2, pending=0, remote=True, stopped=False, alarms=False, faults=False
            )._replace(reset_required=False)
            self._must(facts == wanted, "I3", f"{facts}")
            low = facts.current_a is not None and abs(facts.current_a) < 1
            self._must(low, "I3", f"current {facts.current_a}")

    def _counts(self, sent: Sent) -> bool:
        """Tell whether a rate limit can know of an earlier session.

        A known limit: how long the machine was off is told by its wall clock alone. If that one is
        set ahead over a reboot, what went out before seems to be long ago.
        """
        set_ahead = self.clock.wall_off_s > sent.wall_off_s
        return sent.boot == self.clock.boot_id() or not set_ahead

    # --- the records

    def step(self) -> None:
        """Look at what changed on the disks."""
        for step in self.ledger.new_steps():
            self._step(step)
        self.ledger.look_at_queue()
        for before, life in self.ledger.new_lives():
            if before is None or not before.finished or before.provisional:
                continue
            settled = before.state in SETTLES_BY_THE_BUS
            same = life.state == before.state
            self._must(same or settled, "I6", f"platform: {before.state} -> {life.state}")

    def _step(self, step: Step) -> None:
        steps = self.ledger.steps[step.command_id]
        before = steps[-2].state if len(steps) > 1 else ""
        self._must(before not in ENDED, "I6", f"{step.command_id}: {before} -> {step.state}")
        if before == "succeeded":
            self._must(step.state in {"held", "reverted"}, "I6", f"{before} -> {step.state}")
        self._must(step.command_id in self.issued, "I1", f"nobody gave {step.command_id}")
        sendings = sum(each.state == "sending" for each in steps)
        self._must(sendings <= 1, "I1", f"{step.command_id} was sent {sendings} times")
        if step.state == "sent":
            sent = self.sent.get(step.command_id)
            self._must(sent is not None and sent.echoes > 0, "I4", "`sent` without an echo")
        if step.state == "succeeded":
            self._succeeded(step)
        if step.state in ENDED:
            self.waiting.pop(step.command_id, None)
        else:
            self.waiting.setdefault(step.command_id, Patience())

    def _succeeded(self, step: Step) -> None:
        code, now_s = self.issued[step.command_id].code, self.now_s()
        if step.reason == "no-op":
            oldest_s = now_s - DEADLINE_S - ROUNDING_S  # a frame is stamped when it was read
            shown = self.witness.proofs(code, oldest_s)[-1:] == [True]
            self._must(shown, "proof", f"no-op of {code}, but the bus does not show it")
            return
        sent = self.sent.get(step.command_id)
        here = sent is not None and sent.process == self.process
        after_s = sent.first_s if sent is not None and here else float("-inf")
        good = sum(self.witness.proofs(code, after_s))
        self._must(good >= REPEAT, "proof", f"{good} newer frames show the effect of {code}")

    # --- time

    def second(self, shown: int | None, *, up: bool, disk: bool) -> None:
        """Look once a second.

        Args:
            shown: operating_status that operators see.
            up: the process runs.
            disk: it can write.
        """
        now_s = self.now_s()
        limit_s = STALE_S + DEADLINE_S + LONGEST_TRANSIT_S
        if shown is not None:
            silent_s = now_s - self.last_connected_s
            self._must(
                silent_s <= limit_s, "I5", f"{shown} shown after {silent_s:.1f} s of silence"
            )
        if shown == 1:
            age_s = now_s - self.last_open_s
            self._must(age_s <= limit_s, "I5", f"1 shown, last seen open {age_s:.1f} s ago")
        if not (up and disk):
            return
        doubt = self.witness.foreign or self.doubted()
        self.latched_s = self.latched_s + 1.0 if doubt else 0.0
        self.latched |= self.latched_s >= LATCHED_AFTER_S
        heard = self.witness.connected(now_s)
        for command_id, patience in self.waiting.items():
            self._be_patient(command_id, patience, heard=heard)

    def _be_patient(self, command_id: str, patience: Patience, *, heard: bool) -> None:
        state, code = self.ledger.steps[command_id][-1].state, self.issued[command_id].code
        if patience.state != state and state in SETTLES_BY_THE_BUS:
            patience.heard_s = 0.0
        patience.state = state
        patience.up_s += 1.0
        patience.heard_s += heard
        by_the_bus = state in SETTLES_BY_THE_BUS
        waited_s = patience.heard_s if by_the_bus else patience.up_s
        most_s = WINDOW_S[code] + SLACK_S + (0.0 if by_the_bus else LIFE_CAP_S[code])
        self._must(waited_s <= most_s, "I7", f"{command_id} {state} for {waited_s:.0f} s")

    # --- the network

    def request(self, request: Request) -> None:
        """A request leaves the box."""
        self._must(self.key.encode() not in request.body, "I10", "the key is in a body")
        self._must(self.key not in str(request.params), "I10", "the key is in a query")
        if request.path != "/bms-control/sync":
            return
        body, now_s = json.loads(request.body), self.now_s()
        operating, age_ms = body["operating_status"], body["age_ms"]
        if operating is None:
            return
        self._must(body["disconnected"] == 0, "I5", "disconnected with a status")
        true_age_s = self.witness.age_s(now_s)
        self._must(self.witness.connected(now_s), "I5", f"{operating} sent, {true_age_s:.3f} s old")
        told_s = age_ms / 1000
        self._must(told_s >= true_age_s - 0.01, "I5", f"said {told_s}, is {true_age_s:.3f} s old")
        facts = self.witness.facts(now_s)
        fits = facts.contactor == 2 if operating == 1 else facts.contactor == 1
        self._must(fits, "I5", f"status {operating} sent, contactor {facts.contactor}")

    # --- the end

    def finish(self) -> None:
        """Everything is healed and quiet: nothing may be missing, nothing may be double."""
        told = self.ledger.told()
        durable = {
            (step.command_id, step.state) for steps in self.ledger.steps.values() for step in steps
        }
        for entry in durable:
            count = sum((each[0], each[1]) == entry for each in told)
            self._must(count == 1, "I8", f"{entry} is {count} times on the platform")
        refused = [each for each in told if each[2]]
        self._must(not refused, "I8", f"refused by the platform: {refused}")
        reported = self.ledger.reported()
        lost = self.ledger.reports - set(reported)
        self._must(not lost, "I8", f"{len(lost)} reports lost")
        self._must(len(reported) == len(set(reported)), "I8", "a report stands twice")
        open_ids = [key for key in self.waiting if self.ledger.steps[key][-1].state not in ENDED]
        self._must(not open_ids, "I7", f"not ended: {open_ids}")

    def _must(self, holds: object, name: str, text: str) -> None:
        if not holds:
            raise Violation(f"{name}: {text}")
        self.checks[name] = self.checks.get(name, 0) + 1
