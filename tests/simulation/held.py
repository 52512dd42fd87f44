"""The promises of a held request (ADR 0014), judged on the wire; nothing of bms_can is used.

H0 no frame, but those of an open, in the first second of a process or beside another master; H1 a
closed frame belongs to the newest command, a close that this process wrote down as `sending`, and
to no command whose closed frames had ended; H2 none once the control loop has looked at a reason
against it; H3 at most one on its way; H4 none when that loop has not ended a pass for the lease;
H5 none after a gap; H6 a box that was started anew leaves the battery open. What is told here from
the profile: identifiers, bits, limits, periods.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import ClassVar

import can

from bms_can.pack import Phase
from tests.simulation.invariants import (
    CLOSE,
    ON_THE_BUS,
    OPEN,
    REPEAT,
    RESET,
    ROUNDING_S,
    Invariants,
)
from tests.simulation.ledger import Step
from tests.simulation.witness import CLOSED as IS_CLOSED
from tests.simulation.witness import OPEN as IS_OPEN
from tests.simulation.witness import Facts, Seen, Witness

REQUEST = 0x210, False
STATE, PACK = 0x220, 0x233
REST = bytes(8)
KINDS = {REST: "rest", b"\1" + bytes(7): "closed", b"\4" + bytes(7): "reset"}
LISTEN_S = LEASE_S = 1.0
JUDGED_S = 0.05  # the control loop judges a hold at most so often
GAP_S = 0.3
LASTING = ON_THE_BUS | {"succeeded", "held"}
STANDBY, CLOSED_STATES, OPEN_STATES = 5, {7, 8, 9}, {0, 1, 2, 3, 5, 10}
# *_error and emergency_shutoff
_ERRORS = sum(1 << bit for bit in (10, 11, 12, *range(16, 29), 30))


class HeldWitness(Witness):
    """What a foxBMS 2 said: its frames have neither checksum nor counter.

    Attributes:
        alarm_s, away_s: since when each of its state messages shows an error, or is not closed [s].
    """

    limits: ClassVar[Mapping[int, float]] = {STATE: 0.5, PACK: 0.5}

    def __init__(self) -> None:
        super().__init__()
        self.alarm_s: float | None = None
        self.away_s: float | None = None

    def hear(self, message: can.Message, now_s: float) -> None:
        """See Witness."""
        data, can_id = bytes(message.data), message.arbitration_id
        if can_id not in self.limits or message.is_extended_id or len(data) != 8:
            return
        self.keep(can_id, int.from_bytes(data, "little"), now_s)
        if can_id != STATE:
            return
        seen = self.frames[STATE][-1]
        self.alarm_s = (self.alarm_s or now_s) if seen.word & _ERRORS else None
        self.away_s = None if _contactor(seen) == IS_CLOSED else self.away_s or now_s

    def stale_s(self, now_s: float) -> float | None:
        """Return since when a required message is too old [s]; None: none is."""
        ends = [self.frames[each][-1].at_s + self.limits[each] for each in self.frames]
        return min((end_s for end_s in ends if end_s + ROUNDING_S < now_s), default=None)

    def facts(self, now_s: float) -> Facts:
        """See Witness. `pending` 0: it is in standby; no current flows while it is open."""
        seen = self._fresh(STATE, now_s)
        if seen is None:
            return Facts(None, None, None, None, None, None, None, None)
        errors = bool(seen.word & _ERRORS)
        standby = seen.bits(0, 4) == STANDBY
        return Facts(
            contactor=_contactor(seen),
            pending=0 if standby else 1,
            remote=True,
            stopped=False,
            current_a=0.0,
            alarms=errors,
            faults=errors,
            reset_required=False,
        )

    def proofs(self, code: int, after_s: float) -> list[bool]:
        """See Witness."""
        seen = self.since(STATE, after_s)
        if code == RESET:
            return [not each.word & _ERRORS for each in seen]
        wanted = IS_CLOSED if code == CLOSE else IS_OPEN
        return [_contactor(each) == wanted for each in seen]


class HeldInvariants(Invariants):
    """See the header.

    Attributes:
        closed_by: command whose closed frames go out now, "" at rest.
        over: commands whose closed frames have ended.
        began_in: process that wrote a command's row `sending`; `ended_s`: when a row said that it
            is not in force any more [s]; `proven_s`: when one said that it is [s].
    """

    new_witness = HeldWitness
    control = REQUEST

    def __post_init__(self) -> None:
        """Nothing has gone out."""
        super().__post_init__()
        self.closed_by = ""
        self.over: set[str] = set()
        self.began_in: dict[str, int] = {}
        self.ended_s: dict[str, float] = {}
        self.proven_s: dict[str, float] = {}
        self.booted_s = self.passed_s = self.lockout_s = 0.0
        self.last_s = float("-inf")

    def booted(self) -> None:
        """A new process holds nothing."""
        super().booted()
        self.over.add(self.closed_by)
        self.closed_by, self.last_s = "", float("-inf")
        self.booted_s = self.passed_s = self.now_s()

    def passed(self) -> None:
        """See Invariants."""
        self.passed_s = self.now_s()

    def locked_out(self) -> None:
        """See Invariants."""
        self.lockout_s = self.now_s()

    def latches_cleared(self) -> None:
        """A person has looked at the bus; frames at rest may still come back."""
        rest = [each for each in self.outstanding if each[1] == REST]
        super().latches_cleared()
        self.outstanding += rest

    def awaited(self) -> Iterable[tuple[str, bytes]]:
        """See Invariants: the newest first, as older ones at rest may be lost for good."""
        return reversed(self.outstanding)

    def doubted(self) -> bool:
        """See Invariants: one at rest does no harm."""
        return any(data != REST for _, data in self.outstanding)

    def battery(self, phase: Phase) -> None:
        """See Invariants: the box was started anew when all was healed, so it is open."""
        self._must(phase is Phase.OPEN, "H6", f"the battery is left {phase.value}")

    def handed(self, message: can.Message) -> None:
        """The agent handed a frame to its bus."""
        now_s, data = self.now_s(), bytes(message.data)
        kind = KINDS.get(data, "")
        listed = (message.arbitration_id, message.is_extended_id) == REQUEST and bool(kind)
        self._must(listed, "I9", f"frame {message} is not listed")
        for step in self.ledger.new_steps():
            self._step(step)
        under_way = self._under_way()
        if under_way != OPEN:
            self._must(now_s - self.booted_s >= LISTEN_S - ROUNDING_S, "H0", "did not listen first")
            self._must(not self.witness.foreign, "H0", "a frame beside another master")
        if kind == "closed":
            self._closed(self.ledger.last_sending, data, now_s)
        else:
            self._not_closed(kind, under_way, data)
        self.last_s = now_s

    def _under_way(self) -> int:
        """Return the code of the command that this process sends now, 0 for none."""
        newest = self.ledger.last_sending
        if not newest or self.began_in[newest] != self.process:
            return 0
        sending = self.ledger.steps[newest][-1].state in ON_THE_BUS
        return self.issued[newest].code if sending else 0

    def _not_closed(self, kind: str, under_way: int, data: bytes) -> None:
        if self.closed_by:
            self.over.add(self.closed_by)
            self.closed_by = ""
        newest = self.ledger.last_sending
        if kind == "reset":
            self._must(under_way == RESET, "H1", f"a reset frame while {under_way} is under way")
            self._of_session(newest, RESET, data)
        elif under_way == OPEN and self._wants_more(newest):
            self._of_session(newest, OPEN, data)
        else:
            self.outstanding.append(("", data))

    def _wants_more(self, command_id: str) -> bool:
        """Tell whether a frame at rest counts as one of an open; after those it is at rest."""
        sent = self.sent.get(command_id)
        in_life = self.now_s() < self.issued[command_id].end_s
        return in_life and (sent is None or sent.frames < REPEAT)

    def _closed(self, newest: str, data: bytes, now_s: float) -> None:
        self._must(newest, "H1", "closed without any command")
        code = self.issued[newest].code
        self._must(code == CLOSE, "H1", f"closed, but the newest command is {code}")
        began_in = self.began_in[newest]
        self._must(began_in == self.process, "H1", "closed for a command of an earlier process")
        self._must(newest not in self.over, "H1", f"{newest} closes again after its end")
        self._must(not self.doubted(), "H3", "an earlier closed frame did not come back")
        self._must(now_s - self.last_s <= GAP_S + ROUNDING_S, "H5", "closed after a gap")
        hung_s = now_s - self.passed_s
        self._must(
            hung_s <= LEASE_S + ROUNDING_S, "H4", f"the control loop hangs for {hung_s:.3f} s"
        )
        known = [
            f"closed {now_s - since_s:.3f} s after: {reason}"
            for reason, since_s in self._reasons(newest, now_s)
            if self.passed_s > since_s + JUDGED_S + ROUNDING_S
        ]
        self._must(not known, "H2", ", ".join(known))
        if self.closed_by == newest:
            self.outstanding.append((newest, data))
        else:
            gated = [step for step in self.ledger.steps[newest] if step.state == "gated"]
            audited = bool(gated) and "interlocks" in gated[-1].evidence
            self._must(audited, "I4", "the row `gated` with its interlocks is missing")
            state = self.ledger.steps[newest][-1].state
            self._must(state == "sending", "H1", f"the first closed frame while {state}")
            self._of_session(newest, CLOSE, data)
        self.closed_by = newest

    def _reasons(self, command_id: str, now_s: float) -> Iterator[tuple[str, float]]:
        """Yield what speaks against a hold, and since when [s]."""
        witness = self.witness
        assert isinstance(witness, HeldWitness)
        if self.ledger.lockout():
            yield "lock-out", max(self.lockout_s, self.booted_s)
        stale_s = witness.stale_s(now_s)
        if stale_s is not None:
            yield "stale", stale_s
        if witness.alarm_s is not None:
            yield "alarm", witness.alarm_s
        proven_s, away_s = self.proven_s.get(command_id), witness.away_s
        if proven_s is not None and away_s is not None:
            yield "closed no more", max(proven_s, away_s)
        if command_id in self.ended_s:
            yield "the command has ended", self.ended_s[command_id]

    def _step(self, step: Step) -> None:
        super()._step(step)
        if step.state == "sending":
            self.began_in[step.command_id] = self.process
        if step.state == "succeeded":
            self.proven_s[step.command_id] = self.now_s()
        if step.command_id in self.began_in and step.state not in LASTING:
            self.ended_s.setdefault(step.command_id, self.now_s())


def _contactor(seen: Seen) -> int | None:
    """Return what a state message says: a connected string is closed, whatever the state."""
    state, strings = seen.bits(0, 4), seen.bits(4, 4)
    if strings or state in CLOSED_STATES:
        return IS_CLOSED
    return IS_OPEN if state in OPEN_STATES else None
