"""A simulated battery as a thing: contactors, current, faults. Pure; time is an argument.

It answers commands as a battery management system does: accepting is not doing, a latched fault
opens the contactor and keeps it open until a reset, and only if its cause is gone.
"""

from enum import Enum
from typing import NamedTuple

from bms_can.misbehaviour import HEALTHY, Misbehaviour
from bms_can.pack_alarms import PackAlarms
from bms_can.pack_cells import FULL_PCT, Cells, PackSettings
from bms_can.profile import CommandCode


class Phase(Enum):
    """What the contactors do. STUCK: opened by command, but still closed."""

    OPEN = "open"
    PRECHARGING = "precharging"
    CLOSED = "closed"
    OPENING = "opening"
    STUCK = "stuck"


class Feedback(Enum):
    """What the contactors' feedback contacts say."""

    OPEN = "open"
    CLOSED = "closed"
    PARTIAL = "partial"


class Refusal(Enum):
    """Why a command was not accepted."""

    NONE = "none"
    LOCAL_MODE = "local_mode"
    EMERGENCY_STOP = "emergency_stop"
    FAULT_LATCHED = "fault_latched"
    IN_PROGRESS = "in_progress"
    CAUSE_PRESENT = "cause_present"
    OTHER = "other"


class Answer(NamedTuple):
    """The battery's answer to a command; `accepted` says nothing about its effect."""

    code: CommandCode
    accepted: bool
    refusal: Refusal = Refusal.NONE


PRECHARGE_FAULT = "precharge_fault"
STUCK_FAULT = "contactor_stuck_fault"
EMERGENCY_STOP_FAULT = "emergency_stop_fault"
CHARGE_PROHIBITED = "charge_prohibited"
DISCHARGE_PROHIBITED = "discharge_prohibited"
WORST_LEVEL = 3

CARRYING = frozenset({Phase.CLOSED, Phase.STUCK})
PENDING = {
    Phase.PRECHARGING: CommandCode.CLOSE_CONTACTOR,
    Phase.OPENING: CommandCode.OPEN_CONTACTOR,
}


class Pack:
    """One battery. Everything acts at the time of the last `step` or `command`.

    Attributes:
        phase: what the contactors do.
        remote: the remote/local switch.
        emergency_stop: the button is pressed.
        cells: charge, voltage, temperature.
        misbehaviour: what goes wrong now; change it with `misbehave`.
    """

    def __init__(self, settings: PackSettings | None = None, *, now_s: float = 0.0) -> None:
        self.settings = settings or PackSettings()
        self.phase = Phase.OPEN
        self.remote = True
        self.emergency_stop = False
        self.cells = Cells(self.settings)
        self.misbehaviour = HEALTHY
        self._alarms = PackAlarms()
        self._requested_a = 0.0
        self._now_s = now_s
        self._since_s = now_s
        self._due_s: float | None = None

    # --- what happens to it

    def step(self, now_s: float) -> None:
        """Let time pass until `now_s` [s]; an earlier time changes nothing."""
        while self._due_s is not None and self._due_s <= now_s:
            self._integrate(self._due_s)
            self._arrive()
        self._integrate(now_s)

    def command(self, code: CommandCode, now_s: float) -> Answer | None:
        """Take one command; None: it was ignored without an answer."""
        self.step(now_s)
        if code in self.misbehaviour.ignore:
            return None
        if code is CommandCode.OPEN_CONTACTOR:
            self._open()
            return Answer(code, accepted=True)
        reset = code is CommandCode.FAULT_RESET
        refusal = self._reset() if reset else self._close()
        return Answer(code, refusal is Refusal.NONE, refusal)

    def switch(self, code: CommandCode) -> None:
        """The battery opens or closes by itself, as one does that takes no commands."""
        if code is CommandCode.OPEN_CONTACTOR:
            self._open()
        elif code is CommandCode.CLOSE_CONTACTOR:
            self._close()

    def request_current(self, current_a: float) -> None:
        """The inverter asks for a current [A], positive charging; it flows only while closed."""
        self._requested_a = current_a

    def raise_alarm(self, key: str, level: int = 1, *, latched: bool = False) -> None:
        """Raise an alarm. A latched one is a fault: it also opens the contactor."""
        self._alarms.put(key, level, latched=latched)
        if latched:
            self._open()

    def clear_alarm(self, key: str) -> None:
        """The cause of an alarm is gone; a latched alarm still waits for a fault reset."""
        self._alarms.clear(key)

    def press_emergency_stop(self) -> None:
        """Press the button: the contactor opens and a fault is latched."""
        self.emergency_stop = True
        self.raise_alarm(EMERGENCY_STOP_FAULT, WORST_LEVEL, latched=True)

    def release_emergency_stop(self) -> None:
        """Release the button; the fault stays until it is reset."""
        self.emergency_stop = False
        self.clear_alarm(EMERGENCY_STOP_FAULT)

    def misbehave(self, wrong: Misbehaviour = HEALTHY) -> None:
        """Change what goes wrong; without an argument everything is repaired."""
        self.misbehaviour = wrong
        if self.phase is Phase.STUCK and not wrong.welded:
            self._enter(Phase.OPEN)
            self.clear_alarm(STUCK_FAULT)
        if self.phase is Phase.CLOSED:
            self._due_s = self._revert_s()

    # --- what can be seen of it

    @property
    def feedback(self) -> Feedback:
        """Feedback of the contactors."""
        if self.phase is Phase.PRECHARGING:
            return Feedback.PARTIAL
        if self.phase is Phase.OPEN:
            return Feedback.OPEN
        flap_s = self.misbehaviour.flap_s
        flapped = flap_s is not None and int((self._now_s - self._since_s) / flap_s) % 2
        return Feedback.OPEN if flapped else Feedback.CLOSED

    @property
    def current_a(self) -> float:
        """Current that flows [A], positive charging."""
        if self.phase not in CARRYING:
            return 0.0
        low_a, high_a = -self.discharge_limit_a, self.charge_limit_a
        return min(max(self._requested_a, low_a), high_a)

    @property
    def charge_limit_a(self) -> float:
        """Largest charging current [A]."""
        return 0.0 if self._prohibited(CHARGE_PROHIBITED) else self.settings.max_current_a

    @property
    def discharge_limit_a(self) -> float:
        """Largest discharging current [A], as a positive number."""
        return 0.0 if self._prohibited(DISCHARGE_PROHIBITED) else self.settings.max_current_a

    @property
    def voltage_v(self) -> float:
        """Voltage of the string [V], measured on the cells' side of the contactor."""
        return self.cells.voltage_v(self.current_a)

    @property
    def pending(self) -> CommandCode | None:
        """The close or open under way."""
        return PENDING.get(self.phase)

    @property
    def alarms(self) -> dict[str, int]:
        """Level by key of all alarms that are on."""
        found = self._alarms.levels
        for key in (CHARGE_PROHIBITED, DISCHARGE_PROHIBITED):
            if self._prohibited(key):
                found.setdefault(key, 1)
        return found

    @property
    def reset_required(self) -> bool:
        """A latched fault waits for a reset."""
        return self._alarms.latched

    # --- inside

    def _prohibited(self, key: str) -> bool:
        charging = key == CHARGE_PROHIBITED
        soc_pct = self.cells.soc_pct
        at_the_end = soc_pct >= FULL_PCT if charging else soc_pct <= 0
        return at_the_end or key in self._alarms

    def _close(self) -> Refusal:
        refusal = self._refusal()
        if refusal is Refusal.NONE and self.phase is Phase.OPEN:
            duration_s = self.settings.precharge_s + self.misbehaviour.slow_s
            self._enter(Phase.PRECHARGING, duration_s)
        return refusal

    def _refusal(self) -> Refusal:
        """Return the first reason against a close."""
        reasons = (
            (Refusal.LOCAL_MODE, not self.remote),
            (Refusal.EMERGENCY_STOP, self.emergency_stop),
            (Refusal.FAULT_LATCHED, self.reset_required),
            (Refusal.IN_PROGRESS, self.pending is not None),
            (Refusal.OTHER, self.misbehaviour.refuse_close),
        )
        return next((reason for reason, holds in reasons if holds), Refusal.NONE)

    def _open(self) -> None:
        if self.phase in {Phase.PRECHARGING, Phase.CLOSED}:
            self._enter(Phase.OPENING, self.settings.opening_s + self.misbehaviour.slow_s)

    def _reset(self) -> Refusal:
        if not self.remote:
            return Refusal.LOCAL_MODE
        return Refusal.NONE if self._alarms.reset() else Refusal.CAUSE_PRESENT

    def _enter(self, phase: Phase, duration_s: float | None = None) -> None:
        self.phase = phase
        self._since_s = self._now_s
        self._due_s = None if duration_s is None else self._now_s + duration_s

    def _arrive(self) -> None:
        """End a phase that had a duration."""
        if self.phase is Phase.CLOSED:
            self._open()
        elif self.phase is Phase.OPENING and self.misbehaviour.welded:
            self._enter(Phase.STUCK)
            self.raise_alarm(STUCK_FAULT, WORST_LEVEL, latched=True)
        elif self.phase is Phase.OPENING:
            self._enter(Phase.OPEN)
        elif self.misbehaviour.precharge_fails:
            self._enter(Phase.OPEN)
            self.raise_alarm(PRECHARGE_FAULT, WORST_LEVEL, latched=True)
            self.clear_alarm(PRECHARGE_FAULT)
        else:
            self._enter(Phase.CLOSED)
            self._due_s = self._revert_s()

    def _revert_s(self) -> float | None:
        after_s = self.misbehaviour.reverts_after_s
        return None if after_s is None else self._since_s + after_s

    def _integrate(self, now_s: float) -> None:
        """Let the present current flow until `now_s`."""
        if now_s > self._now_s:
            self.cells.carry(self.current_a, now_s - self._now_s)
            self._now_s = now_s
