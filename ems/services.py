"""What the routes work with, built once in app.py."""

from dataclasses import dataclass, field
from typing import cast

from starlette.requests import Request

from ems.arms_store import ArmStore
from ems.clock import EmsClock, rfc3339
from ems.commands_store import CommandStore
from ems.database import Database
from ems.fleet_store import FleetStore
from ems.hub import Hub
from ems.journal_heads import JournalHeads
from ems.metrics import Metrics
from ems.rates import KeyRates, Limits, Refusals
from ems.registry import Registry
from ems.results_store import ResultStore
from ems.status_store import StatusStore


@dataclass(frozen=True, slots=True)
class Settings:
    """What can be set. Times in seconds.

    Args:
        stale_after_s: a status older than this is shown as unknown.
        sync_wait_s: how long PUT without a body waits for the device.
        select_s: how long a close waits armed for its confirmation (devices with two steps).
        tick_s: period of the housekeeping.
        save_s: period in which heartbeats and the wall time are written down.
        limits: how often callers may call.
    """

    stale_after_s: float = 30.0
    sync_wait_s: float = 5.0
    select_s: float = 10.0
    tick_s: float = 1.0
    save_s: float = 5.0
    limits: Limits = field(default_factory=Limits)


class Services:
    """Stores, clocks and waiters of one platform."""

    def __init__(self, database: Database, clock: EmsClock, settings: Settings) -> None:
        self.database = database
        self.clock = clock
        self.settings = settings
        self.hub = Hub()
        self.metrics = Metrics()
        self.rates = KeyRates()
        self.refusals = Refusals(settings.limits.refused_per_min)
        self.registry = Registry(database, clock)
        self.statuses = StatusStore(database, clock, round(settings.stale_after_s * 1000))
        self.heads = JournalHeads(database)
        self.fleet = FleetStore(database, self.statuses)
        self.arms = ArmStore(database, clock, round(settings.select_s * 1000))
        self.commands = CommandStore(database, clock, self.arms)
        self.results = ResultStore(database, clock, self.commands)
        self._heard_ms: dict[str, int] = {}  # device -> wall time of its last call
        self._saved_ms: dict[str, int] = {}

    def heard(self, device_uid: str) -> None:
        """Note that a device called."""
        self._heard_ms[device_uid] = self.clock.wall_ms()

    def heartbeat(self, device_uid: str) -> str | None:
        """Return when a device called last, if it did since the start."""
        return rfc3339(self._heard_ms.get(device_uid))

    def save_heartbeats(self) -> None:
        """Write down the calls since the last time."""
        heard_ms = dict(self._heard_ms)
        news = {uid: at for uid, at in heard_ms.items() if self._saved_ms.get(uid) != at}
        self.registry.save_heartbeats(news)
        self._saved_ms = heard_ms


def services(request: Request) -> Services:
    """Return the services of the application that serves this request."""
    return cast("Services", request.app.state.services)
