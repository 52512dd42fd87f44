"""The box: the agent as agent.wiring builds it, its threads as fibres, on the simulated world.

What is replaced, and nothing else: the clock, the socket of the bus, the client's wire, the
scheduler's threads, and the source of chance.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from random import Random

from agent import wiring
from agent.clock import Clock
from agent.cloud import Cloud
from agent.config import Config, load
from agent.errors import AgentError
from agent.keys import Secret
from agent.local import Handler
from agent.supervisor import LOOK_S
from agent.wiring import System
from agent.wiring_device import Link as AgentLink
from bms_can.bus import BusSettings, Port
from bms_can.database import Database
from bms_can.errors import BusDown
from bms_can.profile import Profile
from bms_can.profile_load import load_profile
from tests.hostile import Link
from tests.simulation.disk import Disk
from tests.simulation.fibres import Fibre, Ready
from tests.simulation.net import Network, SimCloud

MIN_GAP_S = 0.5
NOT_SIMULATED = frozenset({"door"})  # its socket; what it answers is asked for directly

CONFIG = """
[platform]
url = "http://127.0.0.1:1/wad/ems/v1/api"
key_file = "key"
sync_period_s = {sync_period_s}
[agent]
state_dir = "state"
[recorder]
max_bytes = {recorder_bytes}
[site]
override = "simulation: more commands in less time"
close_max = {close_max}
close_interval_s = 10
reset_max = {reset_max}
[[device]]
uid = "A"
profile = "{profile}"
read_only = false
[device.can]
interface = "socketcan"
channel = "can0"
"""

Wait = Callable[[Ready, float], None]


class ProcessEnded(AgentError):
    """The supervisor ended the process; the text says why."""


class SimSchedule:
    """Stands for APScheduler: each job is a fibre that runs it each period and when woken."""

    def __init__(self, clock: Clock, on_error: Callable[[BaseException], None]) -> None:
        self._clock = clock
        self.on_error = on_error
        self.jobs: dict[str, tuple[float, Callable[[], object], float]] = {}
        self._woken: set[str] = set()
        self._finished_s: dict[str, float] = {}

    def every(self, period_s: float, job: Callable[[], object], name: str, first_s: float) -> None:
        """See agent.schedule.Schedule."""
        self.jobs[name] = (period_s, job, first_s)
        self._finished_s[name] = self._clock.monotonic_s()

    def wake(self, name: str) -> None:
        """See agent.schedule.Schedule."""
        self._woken.add(name)

    def clock_stepped(self) -> None:
        """See agent.schedule.Schedule."""
        self._woken |= set(self.jobs)

    def overdue(self, allowance_s: float) -> list[str]:
        """See agent.schedule.Schedule."""
        now_s = self._clock.monotonic_s()
        return [
            name
            for name, (period_s, _, _) in self.jobs.items()
            if now_s - self._finished_s[name] > period_s + allowance_s
        ]

    def body(self, name: str, wait: Wait) -> Callable[[], None]:
        """Return the body of a job's fibre."""
        period_s, job, first_s = self.jobs[name]

        def run() -> None:
            wait(lambda: name in self._woken, first_s)
            while True:
                self._woken.discard(name)
                job()
                self._finished_s[name] = self._clock.monotonic_s()
                wait(lambda: False, MIN_GAP_S)
                wait(lambda: name in self._woken, period_s - MIN_GAP_S)

        return run


class _NoDoor:
    """Stands for the local door's thread."""

    beats = 0

    def run(self) -> None:
        """Do nothing."""

    def stop(self) -> None:
        """Do nothing."""


@cache
def loaded(path: Path) -> tuple[Profile, Database]:
    """Read a profile once for all boots."""
    return load_profile(path)


class Box:
    """The machine at the site.

    Args:
        folder: holds its configuration and state.
        settings: values for `CONFIG`.
        key: of the device.
        random: its source of chance.

    Attributes:
        system: the agent, None while no process runs.
        fibres: its threads.
        door: what its local door answers.
    """

    def __init__(self, folder: Path, settings: dict[str, object], key: str, random: Random) -> None:
        folder.mkdir()
        key_file = folder / "key"
        key_file.write_text(key + "\n", encoding="ascii")
        key_file.chmod(0o600)
        file = folder / "agent.toml"
        file.write_text(CONFIG.format(**settings), encoding="utf-8")
        self.config: Config = load(file, {})
        self._random = random
        self.system: System | None = None
        self.fibres: list[Fibre] = []
        self.door: Mapping[str, Handler] = {}

    @property
    def agent(self) -> AgentLink:
        """The parts of the one device; there must be a process."""
        assert self.system is not None
        return self.system.links[0]

    def boot(self, clock: Clock, link: Link, network: Network, disk: Disk, wait: Wait) -> None:
        """Start the process."""

        def cloud(_url: str, key: Secret, its_clock: Clock, *_: object) -> Cloud:
            return SimCloud(key.reveal(), its_clock, network, wait)

        def open_port(_settings: BusSettings, clock_s: Callable[[], float]) -> Port:
            try:
                return Port(link.open(), clock_s)
            except OSError as error:
                raise BusDown(str(error)) from error

        seams = {"Cloud": cloud, "open_port": open_port, "Schedule": SimSchedule}
        seams |= {"LocalDoor": self._door}
        with _replaced(wiring, seams | {"load_profile": loaded, "random": self._random}):
            system = wiring.build(self.config, clock)
        disk.attach(system.journal._file, "journal")
        disk.attach(system.outbox._file, "queue")
        receiver = system.links[0].receiver
        receiver._pause = lambda stop, seconds: wait(stop.is_set, seconds)
        self.system = system
        self.fibres = self._threads(system, clock, wait)

    def _door(self, _state_dir: Path, answers: Mapping[str, Handler], *_: object) -> object:
        self.door = answers
        return _NoDoor()

    def _threads(self, system: System, clock: Clock, wait: Wait) -> list[Fibre]:
        schedule = system.schedule
        assert isinstance(schedule, SimSchedule)
        workers = [each for each in system.supervisor.workers if each.name not in NOT_SIMULATED]
        system.supervisor.workers = workers
        fibres = [Fibre(each.name, each.run) for each in workers]
        fibres += [Fibre(f"job {name}", schedule.body(name, wait)) for name in schedule.jobs]
        supervisor = system.supervisor

        def main() -> None:
            while not supervisor._stop.is_set():
                clock.wait(supervisor._stop, LOOK_S)
                supervisor.look({each.name for each in fibres if not each.ended})
            raise ProcessEnded(supervisor._failure)

        fibres.append(Fibre("main", main))
        return fibres

    def crash(self) -> None:
        """End the process as `kill -9` does: nothing gets a chance to tidy up."""
        for fibre in self.fibres:
            fibre.kill()
        self.fibres = []
        if self.system is not None:
            self.system.journal.close()
            self.system.outbox.close()
        self.system = None


@contextmanager
def _replaced(module: object, seams: dict[str, object]) -> Iterator[None]:
    before = {name: getattr(module, name) for name in seams}
    for name, value in seams.items():
        setattr(module, name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(module, name, value)
