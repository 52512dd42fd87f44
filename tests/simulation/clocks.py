"""The clocks of the box and of the platform, made of the one true time of the simulated world."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from agent.control_loop import LEAST_GAP_S
from tests.simulation.fibres import Ready

LEAST_S = 1e-9  # what is less may vanish when times of two clocks are rounded
START = datetime(2026, 3, 1, tzinfo=UTC)

Wait = Callable[[Ready, float], None]


class BoxClock:
    """The agent's Clock. `wall_off_s` steps its time of day; a reboot sets the other one anew.

    Args:
        true_s: the one true time [s].
        wait: lets it pass.
        grain_s: a wait that nothing ends early lasts at least so long: a slow machine [s].
    """

    def __init__(self, true_s: Callable[[], float], wait: Wait, grain_s: float = 0.0) -> None:
        self._grain_s = grain_s
        self._true_s = true_s
        self._wait = wait
        self._boot_s = -1000.0
        self._boots = 1
        self.wall_off_s = 0.0

    def monotonic_s(self) -> float:
        """See agent.clock.Clock."""
        return self._true_s() - self._boot_s

    def wall(self) -> datetime:
        """See agent.clock.Clock."""
        return START + timedelta(seconds=self._true_s() + self.wall_off_s)

    def boot_id(self) -> str:
        """See agent.clock.Clock."""
        return f"boot-{self._boots}"

    def wait(self, event: threading.Event, timeout_s: float) -> bool:
        """See agent.clock.Clock."""
        if not event.is_set() and timeout_s != LEAST_GAP_S:  # that one only spares a real processor
            least_s = LEAST_S if timeout_s > 0 else 0.0
            self._wait(event.is_set, max(timeout_s, self._grain_s, least_s))
        return event.is_set()

    def reboot(self, up_s: float) -> None:
        """Start the machine anew; its clock has counted `up_s` [s] when the process starts."""
        self._boots += 1
        self._boot_s = self._true_s() - up_s


class PlatformClock:
    """The platform's EmsClock."""

    def __init__(self, true_s: Callable[[], float]) -> None:
        self._true_s = true_s
        self._boot_s = -50_000.0
        self._boots = 1
        self.wall_off_s = 0.0

    def wall_ms(self) -> int:
        """See ems.clock.EmsClock."""
        return round((START.timestamp() + self._true_s() + self.wall_off_s) * 1000)

    def monotonic_ms(self) -> int:
        """See ems.clock.EmsClock."""
        return int((self._true_s() - self._boot_s) * 1000)

    def boot_id(self) -> str:
        """See ems.clock.EmsClock."""
        return f"platform-boot-{self._boots}"

    def reboot(self) -> None:
        """Start the machine anew."""
        self._boots += 1
        self._boot_s = self._true_s() - 30.0
