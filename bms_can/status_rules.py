"""How an operating status follows from signals: the values of a profile's rule. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum


class OperatingStatus(IntEnum):
    """The platform's operating_status (platform page 获取BMS状态)."""

    POWERED_DOWN = 1  # contactor open, 下电
    IDLE = 2  # contactor closed, 静置
    CHARGING = 3
    DISCHARGING = 4


@dataclass(frozen=True, slots=True)
class ContactorSignal:
    """One contactor's feedback: raw values that mean closed, and those that mean open."""

    signal: str
    closed: frozenset[int | float]
    open: frozenset[int | float]


@dataclass(frozen=True, slots=True)
class ContactorRule:
    """Whether the pack is on the terminals, from one or more contactors.

    `series` True: all must be closed to be closed, one open is open (main plus and main minus).
    `series` False: one closed is closed, all must be open to be open (parallel strings).
    """

    signals: tuple[ContactorSignal, ...]
    series: bool


@dataclass(frozen=True, slots=True)
class CurrentRule:
    """Pack current; times `sign` it is in A, positive charging. Below `dead_band_a` [A]: idle.

    A change of direction is taken over after `hold_s` [s]. Current through an open contactor is a
    contradiction, and the status unknown, unless `ignored_when_open`.
    """

    signal: str
    sign: float
    dead_band_a: float
    hold_s: float = 0.0
    ignored_when_open: bool = False


@dataclass(frozen=True, slots=True)
class StateSignal:
    """One enumerated signal that says it all: raw value -> status; others are unknown."""

    signal: str
    states: Mapping[int | float, OperatingStatus]


@dataclass(frozen=True, slots=True)
class StatusRule:
    """Either `state`, or `contactor` with `current`, or `current` alone.

    `at_rest`: what a battery that has no contactor feedback is while no current flows; None:
    unknown. `unknown`: why a battery that only tells values has no status at all.
    """

    state: StateSignal | None = None
    contactor: ContactorRule | None = None
    current: CurrentRule | None = None
    at_rest: OperatingStatus | None = None
    unknown: str = ""

    def signals(self) -> tuple[str, ...]:
        """Names of all signals that the status rests on."""
        found: list[str] = [] if self.state is None else [self.state.signal]
        if self.contactor is not None:
            found += [contactor.signal for contactor in self.contactor.signals]
        if self.current is not None:
            found.append(self.current.signal)
        return tuple(found)
