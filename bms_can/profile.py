"""What the signals of a battery mean: the values of a profile, checked and frozen. Pure.

The file format is docs/profile.md; reading it is profile_load.py. Signals are named
"Message.Signal" everywhere. Choices and raw values of the file are sets of raw values here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum

from bms_can.frame import Frame
from bms_can.guard import GuardEntry
from bms_can.heartbeat import HeartbeatPlan
from bms_can.held_plan import HeldPlan
from bms_can.status_rules import (
    ContactorRule,
    ContactorSignal,
    CurrentRule,
    OperatingStatus,
    StateSignal,
    StatusRule,
)

__all__ = [
    "COMMAND_KEYS",
    "ActiveWhen",
    "AlarmRule",
    "CommandCode",
    "CommandPlan",
    "Condition",
    "Confirmation",
    "ContactorRule",
    "ContactorSignal",
    "CurrentRule",
    "IntegrityRule",
    "InterlockRules",
    "OperatingStatus",
    "Profile",
    "SignalLimits",
    "StateSignal",
    "StatusRule",
    "TelemetryField",
]


class CommandCode(IntEnum):
    """The platform's commands (platform page 下发BMS控制)."""

    FAULT_RESET = 1
    CLOSE_CONTACTOR = 2
    OPEN_CONTACTOR = 3


COMMAND_KEYS = {
    "fault_reset": CommandCode.FAULT_RESET,
    "close_contactor": CommandCode.CLOSE_CONTACTOR,
    "open_contactor": CommandCode.OPEN_CONTACTOR,
}


@dataclass(frozen=True, slots=True)
class Condition:
    """A signal has one of these raw values. A stale or unknown signal fulfils nothing."""

    signal: str
    values: frozenset[int | float]
    name: str = ""

    @property
    def message(self) -> str:
        """Name of the message that carries the signal."""
        return self.signal.split(".", 1)[0]


@dataclass(frozen=True, slots=True)
class ActiveWhen:
    """When an alarm signal is active. Exactly one field is set; all None means: not zero.

    Attributes:
        values: one of these raw values.
        mask: one of these bits is set in the raw value.
        at_least: physical value >= this.
        at_most: physical value <= this.
    """

    values: frozenset[int | float] | None = None
    mask: int | None = None
    at_least: float | None = None
    at_most: float | None = None


@dataclass(frozen=True, slots=True)
class AlarmRule:
    """One alarm. `level` None: the raw value is the level (1..3).

    `blocks_close`: this alarm keeps the contactor from being closed.
    """

    key: str
    signal: str
    when: ActiveWhen
    level: int | None
    label_zh: str
    label_en: str
    blocks_close: bool = True


@dataclass(frozen=True, slots=True)
class TelemetryField:
    """A platform field: value = signal * factor + offset, in `unit`.

    `array`: several signals, in order, make a list.
    """

    name: str
    signals: tuple[str, ...]
    factor: float = 1.0
    offset: float = 0.0
    unit: str = ""
    array: bool = False


@dataclass(frozen=True, slots=True)
class IntegrityRule:
    """Rolling counter and checksum of a message: names of the signals, or None.

    `algorithm` is a key of integrity.ALGORITHMS. `modulo`: number of counter values.
    """

    message: str
    counter: str | None
    modulo: int
    checksum: str | None
    algorithm: str | None


@dataclass(frozen=True, slots=True)
class Confirmation:
    """What the BMS's own frames must show before a command counts as done. All parts must hold.

    Attributes:
        statuses: operating_status is one of these (empty: does not matter).
        alarms_cleared: none of these alarm keys is active.
        conditions: these signals have these values.
        frames: consecutive fresh frames in which it holds.
        window_s: time allowed from the first frame sent [s].
        hold_s: it must still hold this long after [s].
    """

    statuses: frozenset[OperatingStatus]
    alarms_cleared: tuple[str, ...]
    conditions: tuple[Condition, ...]
    frames: int
    window_s: float
    hold_s: float


@dataclass(frozen=True, slots=True)
class CommandPlan:
    """How one command goes out. Built and checked at load, never at run time.

    Attributes:
        frames: the frame for each value of the rolling counter (one where there is none), at_s 0.
        repeat: how many frames one session sends, each with the next counter value.
        period_s: time between them [s].
        acknowledged: the BMS's answer, where it gives one.
        refused: the BMS's answer that it will not do it, where it gives one.
        confirmed: the effect that must be seen.
    """

    code: CommandCode
    message: str
    frames: tuple[Frame, ...]
    repeat: int
    period_s: float
    acknowledged: Condition | None
    refused: Condition | None
    confirmed: Confirmation


@dataclass(frozen=True, slots=True)
class InterlockRules:
    """When a command may go out (reliability rules 12 to 14).

    Attributes:
        remote: the remote/local switch, None where the battery has none.
        conditions: further signals that must have these values for a close.
        tolerated_alarms: alarm keys that do not block a close.
        steady_s: every required message without a gap for this long before a close [s].
        close_interval_s: closes are at least this far apart [s].
        close_max, close_window_s: at most so many closes within the window [s].
        reset_max, reset_window_s: the same for fault resets.
        open_max_current_a: above this an open waits [A]; None: never waits.
        open_wait_s: longest wait, then it opens under load [s].
    """

    remote: Condition | None = None
    conditions: tuple[Condition, ...] = ()
    tolerated_alarms: frozenset[str] = frozenset()
    steady_s: float = 3.0
    close_interval_s: float = 10.0
    close_max: int = 3
    close_window_s: float = 600.0
    reset_max: int = 3
    reset_window_s: float = 3600.0
    open_max_current_a: float | None = None
    open_wait_s: float = 7.0


@dataclass(frozen=True, slots=True)
class SignalLimits:
    """Corrections to the DBC: sentinels ("not available") and the true range [DBC unit]."""

    sentinels: frozenset[int | float] = frozenset()
    minimum: float | None = None
    maximum: float | None = None


@dataclass(frozen=True, slots=True)
class Profile:
    """A battery: its DBC and what its signals mean.

    Attributes:
        path, dbc_path: the files it came from; dbc_sha256 of the DBC as read.
        channel: only frames heard on this channel of a log count; None: all.
        required: messages that must be fresh for any statement about the battery.
        deadlines_s: longest allowed age [s] by message, for every message that the profile uses,
            and by "Message.Signal" for signals on one of several multiplexer pages.
        wanted: names of all signals that the profile uses, by message.
        commands: empty for a battery that can only be read.
        read_only_reason: why there are no commands, for people.
        source: where the facts come from; verified: on which frames they were checked. For people.
        family: entry point of the code that translates this battery's frames; "": none.
        family_options: what that code is told (section [family]).
        simulator: free values for the simulator (section [simulator]).
        heartbeat: the cyclic frame that the battery wants, None: it wants none.
        held: the request that is sent all the time, None: commands are sent once.
    """

    name: str
    path: str
    dbc_path: str
    dbc_sha256: str
    description: str
    maker: str
    channel: str | None
    required: tuple[str, ...]
    deadlines_s: Mapping[str, float]
    status: StatusRule
    alarms: tuple[AlarmRule, ...]
    telemetry: tuple[TelemetryField, ...]
    integrity: Mapping[str, IntegrityRule]
    limits: Mapping[str, SignalLimits]
    commands: Mapping[CommandCode, CommandPlan]
    interlocks: InterlockRules
    guard: tuple[GuardEntry, ...]
    wanted: Mapping[str, tuple[str, ...]]
    read_only_reason: str = ""
    source: str = ""
    verified: str = ""
    family: str = ""
    family_options: Mapping[str, object] = field(default_factory=dict)
    simulator: Mapping[str, object] = field(default_factory=dict)
    heartbeat: HeartbeatPlan | None = None
    held: HeldPlan | None = None

    def status_signals(self) -> tuple[str, ...]:
        """Return the names of all signals that a status rests on, alarms among them, each once."""
        alarms = [alarm.signal for alarm in self.alarms]
        return tuple(dict.fromkeys((*self.status.signals(), *alarms)))

    def deadline_s(self, signal: str) -> float:
        """Return the longest allowed age of a signal's value [s]."""
        own = self.deadlines_s.get(signal)
        return self.deadlines_s[signal.split(".", 1)[0]] if own is None else own
