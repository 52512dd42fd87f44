"""Runs the whole agent, as `agent.wiring` builds it, on the clock of a log.

What is replaced, and nothing else: the clock, the bus, the wire to the platform, the scheduler's
threads, the local door and the source of chance (`agent.outside`). Journal and queue are real files
in a folder of their own.
"""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from agent import wiring
from agent.config import CanConfig, Config, DeviceConfig, PlatformConfig
from agent.errors import AgentError
from agent.keys import Secret
from agent.local import LocalDoor
from agent.outside import Outside
from agent.recording import RecorderRules
from agent.site import SiteRules
from agent.sqlite_file import MIB
from agent.supervisor import LOOK_S, Supervisor
from agent.travel.bus import Bus, LogSource, SimulatorSource, StagePort
from agent.travel.platform import URL, Platform, StageCloud
from agent.travel.schedule import StageSchedule
from agent.travel.seen import SIMULATOR, Outcome, Scenario
from agent.travel.stage import Stage, StageClock
from bms_can.database import Database
from bms_can.errors import BadInput
from bms_can.frame import Frame
from bms_can.misbehaviour import misbehaviour
from bms_can.profile import Profile
from bms_can.simulator import Simulator

UID = "replay"
EPOCH_IS_PLAUSIBLE_S = 1_000_000_000  # below this a log's time is relative, not an epoch
DAY_ZERO = datetime(2026, 1, 1, tzinfo=UTC)  # the time of day of a log that does not tell it
MEMORY = Path("/dev/shm")  # noqa: S108 - a folder of our own is made in it
CHANCE = 0.5
DOOR = "door"

Loaded = tuple[Profile, Database]


def travel(loaded: Loaded, frames: Iterator[Frame], scenario: Scenario) -> Outcome:
    """Run the agent over a log.

    Args:
        loaded: the battery; its frames are told by its channel.
        frames: of the log, all channels.
        scenario: what else happens.

    Raises:
        BadInput: the log holds no frame of the battery.
    """
    profile = loaded[0]
    ours = (each for each in frames if profile.channel in (None, each.channel) or not each.channel)
    first = next(ours, None)
    if first is None:
        raise BadInput(profile.name, ["the log holds no frame of its channel"])
    run = _Travel(loaded, scenario, first.at_s).run
    end_s = None if scenario.seconds is None else first.at_s + scenario.seconds
    if scenario.battery == SIMULATOR:
        last_s = max((each.at_s for each in ours), default=first.at_s) if end_s is None else end_s
        return run(_simulated(loaded, scenario, first), lambda: last_s)
    source = LogSource(_with(first, ours))
    return run(source, lambda: source.end_s if end_s is None else min(source.end_s, end_s))


@contextmanager
def _quiet() -> Iterator[None]:
    """Let the agent log nothing: what it would tell an operator of a site is no news here."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


def _with(first: Frame, rest: Iterator[Frame]) -> Iterator[Frame]:
    yield first
    yield from rest


def _simulated(loaded: Loaded, scenario: Scenario, first: Frame) -> SimulatorSource:
    simulator = Simulator(*loaded, now_s=first.at_s)
    simulator.pack.misbehave(misbehaviour(scenario.faults))
    simulator.pack.request_current(scenario.current_a)
    return SimulatorSource(simulator)


class _Travel:
    """One run."""

    def __init__(self, loaded: Loaded, scenario: Scenario, first_s: float) -> None:
        self._loaded = loaded
        self._scenario = scenario
        self._first_s = first_s
        self._stage = Stage(first_s)
        epoch = first_s >= EPOCH_IS_PLAUSIBLE_S
        wall = datetime.fromtimestamp(first_s, UTC) if epoch else DAY_ZERO
        self._clock = StageClock(self._stage, wall)
        self._platform = Platform(self._stage, wall, scenario.commands)

    def run(self, source: LogSource | SimulatorSource, end_s: Callable[[], float]) -> Outcome:
        """Run until the end [s]; of a log it is known only when it is there."""
        where = MEMORY if MEMORY.is_dir() else None
        with TemporaryDirectory(prefix="bms-replay-", dir=where) as folder, _quiet():
            system = self._build(Path(folder), Bus(self._stage, source))
            try:
                self._stage.run(end_s)
            finally:
                self._stage.close()
                system.outbox.close()
                system.journal.close()
        platform = self._platform
        return Outcome(
            source.count,
            round(self._stage.now_s - self._first_s, 6),
            tuple(platform.reports),
            tuple(platform.alarms),
            platform.commands,
        )

    def _build(self, folder: Path, bus: Bus) -> wiring.System:
        stage, clock = self._stage, self._clock
        outside = Outside(
            cloud=lambda *_: StageCloud(self._platform, clock),
            open_port=lambda *_: StagePort(bus, stage),
            schedule=lambda *_: StageSchedule(stage, clock),
            door=LocalDoor,  # built and never run: it is a socket
            chance=lambda: CHANCE,
            load_profile=lambda _: self._loaded,
        )
        system = wiring.build(self._config(folder), clock, outside)
        workers = [each for each in system.supervisor.workers if each.name != DOOR]
        system.supervisor.workers = workers
        for worker in workers:
            stage.add(worker.name, worker.run)
        stage.add("main", lambda: self._supervise(system.supervisor))
        return system

    def _supervise(self, supervisor: Supervisor) -> None:
        never = threading.Event()
        while True:
            self._clock.wait(never, LOOK_S)
            supervisor.look(self._stage.alive)
            if supervisor.failure:
                raise AgentError(supervisor.failure)

    def _config(self, folder: Path) -> Config:
        scenario = self._scenario
        read_only = scenario.battery != SIMULATOR and not scenario.commands
        profile = Path(self._loaded[0].path)
        can = CanConfig("socketcan", "replay", None, fd=False, options={})
        platform = PlatformConfig(
            url=URL,
            ca_file=None,
            sync_period_s=scenario.sync_period_s,
            deadline_s=15.0,
            poll_wait_s=25,
            key_file=folder / "key",
            key=Secret("no-secret"),
        )
        return Config(
            path=folder / "agent.toml",
            platform=platform,
            devices=(DeviceConfig(UID, profile, can, read_only),),
            state_dir=folder,
            log_level="warning",
            journal_max_bytes=64 * MIB,
            outbox_max_bytes=16 * MIB,
            site=SiteRules(),
            recorder=RecorderRules(max_bytes=0),
        )
