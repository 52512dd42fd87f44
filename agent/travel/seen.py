"""What a replay of the whole agent shows, and what it is asked to do. Pure values.

Times are seconds since the log's first frame.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from bms_can.profile import COMMAND_KEYS, CommandCode

LOG, SIMULATOR = "log", "simulator"
BATTERIES = (LOG, SIMULATOR)
WORDS = {code: word for word, code in COMMAND_KEYS.items()}
LIVES_S = {
    CommandCode.FAULT_RESET: 30.0,
    CommandCode.CLOSE_CONTACTOR: 10.0,
    CommandCode.OPEN_CONTACTOR: 60.0,
}


class Asked(NamedTuple):
    """A command that is given at `at_s` [s] and lives so long [s]."""

    at_s: float
    code: CommandCode
    life_s: float

    def values(self) -> dict[str, object]:
        """Return it for JSON."""
        return {"at_s": self.at_s, "command": WORDS[self.code], "life_s": self.life_s}


class ReportSeen(NamedTuple):
    """A status that reached the platform; None: unknown."""

    at_s: float
    operating_status: int | None
    alarm_status: int | None
    disconnected: int

    def values(self) -> dict[str, object]:
        """Return it for JSON."""
        return self._asdict()

    def words(self) -> str:
        """Return what it says, without its time."""
        status = "unknown" if self.operating_status is None else str(self.operating_status)
        alarms = "unknown" if self.alarm_status is None else str(self.alarm_status)
        lost = ", disconnected" if self.disconnected else ""
        return f"operating_status {status}, alarm_status {alarms}{lost}"


class AlarmSeen(NamedTuple):
    """An alarm that came (`on`) or went."""

    at_s: float
    key: str
    on: bool
    level: int

    def values(self) -> dict[str, object]:
        """Return it for JSON."""
        return self._asdict()

    def words(self) -> str:
        """Return what it says, without its time."""
        return f"{self.key} (level {self.level}) {'on' if self.on else 'off'}"


class StepSeen(NamedTuple):
    """A step of a command, with its reason where there is one."""

    at_s: float
    state: str
    reason: str | None

    def values(self) -> dict[str, object]:
        """Return it for JSON."""
        return self._asdict()

    def words(self) -> str:
        """Return what it says, without its time."""
        return self.state if self.reason is None else f"{self.state} ({self.reason})"


class CommandSeen(NamedTuple):
    """A command and its steps."""

    asked: Asked
    steps: tuple[StepSeen, ...]


@dataclass(frozen=True, slots=True)
class Scenario:
    """What is to be replayed beside the log.

    Attributes:
        battery: `LOG`: the frames are the log's; `SIMULATOR`: those of a simulated battery, and the
            log only gives the clock.
        commands: given on the way.
        sync_period_s: between two reports [s].
        seconds: end after so long [s]; None: with the log.
        faults: what the simulated battery does wrong.
        current_a: through the simulated battery once it is closed, positive charging [A].
    """

    battery: str = LOG
    commands: tuple[Asked, ...] = ()
    sync_period_s: float = 10.0
    seconds: float | None = None
    faults: tuple[str, ...] = ()
    current_a: float = 0.0

    def values(self) -> Mapping[str, object]:
        """Return it for JSON, without the commands."""
        simulator = {"faults": list(self.faults), "current_a": self.current_a}
        return {
            "battery": self.battery,
            "sync_period_s": self.sync_period_s,
            "seconds": self.seconds,
            **({"simulator": simulator} if self.battery == SIMULATOR else {}),
        }


@dataclass(frozen=True, slots=True)
class Outcome:
    """What happened.

    Attributes:
        frames: of the battery; `seconds`: of its time [s].
        reports, alarms, commands: in order; as expected: None where nothing is said about them.
    """

    frames: int
    seconds: float
    reports: tuple[ReportSeen, ...]
    alarms: tuple[AlarmSeen, ...]
    commands: tuple[CommandSeen, ...]
