"""The simulated world: one true time, one seed, everything else follows.

A step is one of: a thread of the agent runs to its next wait; one planned event happens (a tick of
the battery, an arrival on the network, an operator, a fault). The invariants are checked after it.
"""

import hashlib
import heapq
import itertools
import logging
from collections import Counter, deque
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import NamedTuple

import can

from agent.errors import JournalFailed
from agent.local import BadRequest
from bms_can.pack import Phase
from tests.hostile import HostileBus, Link
from tests.simulation.battery import TICK_S, Battery, Noise
from tests.simulation.box import Box, loaded
from tests.simulation.clocks import BoxClock, PlatformClock
from tests.simulation.disk import Disk
from tests.simulation.faults import FAULTS, Undo
from tests.simulation.fibres import Crash, Fibre, Ready
from tests.simulation.invariants import CLOSE, OPEN, RESET, Issued, Limits, Violation
from tests.simulation.kinds import PLAIN, Kind
from tests.simulation.ledger import Ledger
from tests.simulation.net import LONGEST_TRANSIT_S, Network, Weather
from tests.simulation.platform import Platform, Request

HOLD_CHANCE = 0.02
LIFE_MS = {RESET: 30_000, CLOSE: 10_000, OPEN: 60_000}
LAST_LINES = 400
QUIET_S = 3.0
DOZE_S = LONGEST_TRANSIT_S + 1.0
FAVOURED_SHARE = 0.6
BUS_FIBRES = ("can-rx", "request")  # they never wait for the disk


class Planned(NamedTuple):
    """An event to come."""

    at_s: float
    order: int
    name: str
    action: Callable[[], None]
    bus: bool


class SimLink(Link):
    """The interface of the box, with a look at each frame that it takes."""

    world: "World"

    def take(self, message: can.Message, sender: HostileBus) -> None:
        """See Link."""
        vital = bytes(message.data) != self.world.kind.rest  # which comes ten times a second
        if vital:
            self.world.hook("before send")
        taken = len(self.handed)
        super().take(message, sender)
        if len(self.handed) > taken:
            self.world.note(f"frame {bytes(message.data).hex()}")
            self.world.invariants.handed(message)
        if vital:
            self.world.hook("after send")


class World:
    """One run.

    Args:
        seed: decides everything.
        folder: an empty folder for the files of box and platform.
        faults: mean distance of faults [s]; 0: none happen by themselves.
        operator: mean distance of commands [s]; 0: none come by themselves.
        kind: of battery.

    Attributes:
        now_s: true time [s].
        steps: taken so far.
        lines: the newest lines of the trace.
        tally: what happened, by name.
        favoured: faults that come more often than others.
    """

    HOOKS = (
        *("before journal", "after journal", "before queue", "after queue"),
        *("before send", "after send") * 3,
        *("request", "stored"),
    )

    def __init__(
        self,
        seed: int,
        folder: Path,
        *,
        faults: float = 0.0,
        operator: float = 0.0,
        kind: Kind = PLAIN,
    ) -> None:
        self.kind = kind
        self.seed = seed
        self.random = Random(seed)  # noqa: S311 - a simulation, no secret
        self.now_s = 0.0
        self.steps = 0
        self.lines: deque[str] = deque(maxlen=LAST_LINES)
        self.tally: Counter[str] = Counter()
        self.favoured: tuple[str, ...] = ()
        self._hash = hashlib.sha256()
        self._faults_s, self._operator_s = faults, operator
        self._plan: list[Planned] = []
        self._bus_plan: list[Planned] = []
        self._order = itertools.count()
        self._running: Fibre | None = None
        self._alone: Fibre | None = None
        self._armed: tuple[str, int] | None = None
        self._active: dict[str, Undo] = {}
        self._names: dict[str, str] = {}
        self._numbers = itertools.count(1)
        self._build(folder)

    def _build(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        true_s = lambda: self.now_s  # noqa: E731 - one word for it
        limits = Limits(self.random.choice((3, 30, 30)), self.random.choice((3, 30, 30)))
        settings: dict[str, object] = {
            "profile": self.kind.profile,
            "sync_period_s": self.random.choice((2, 10)),
            "recorder_bytes": 0,
            "close_max": limits.close_max,
            "reset_max": limits.reset_max,
        }
        grain_s = self.random.choice((0.0, 0.02, 0.05))
        self.box_clock = BoxClock(true_s, self.wait, grain_s)
        self.platform_clock = PlatformClock(true_s)
        self.platform = Platform(folder / "platform.db", self.platform_clock, true_s)
        self.box = Box(folder / "box", settings, self.platform.key, self.random)
        self.disk = Disk(self.hook, self.stall)
        self.network = Network(self.platform, self.random, self.later)
        self.network.sent, self.network.stored = self._sent, self._stored
        self.link = SimLink(true_s, self.wait)
        self.link.world = self
        state = self.box.config.state_dir
        ledger = Ledger(state / "journal.db", state / "queue.db", folder / "platform.db")
        self.invariants = self.kind.invariants(
            ledger, limits, self.box_clock, true_s, self.platform.key
        )
        self.link.heard.append(self.invariants.heard)
        parts = loaded(self.box.config.devices[0].profile)
        control_id, _ = self.kind.control
        self.battery = Battery(parts, self.link, self.random, self.now_s, control_id)
        self.link.listeners.append(lambda message: self.battery.hear(message, self.now_s))
        self._logs = _Logs(self)
        self._boot()
        self.later(TICK_S, "battery", self._battery_tick, bus=True)
        self.later(1.0, "second", self._second)
        if self._faults_s:
            self._plan_fault()
        if self._operator_s:
            self._plan_operator()

    # --- time

    def later(
        self, after_s: float, name: str, action: Callable[[], None], *, bus: bool = False
    ) -> None:
        """Plan an event; those of the bus also happen while a thread waits for the disk."""
        event = Planned(self.now_s + after_s, next(self._order), name, action, bus)
        heapq.heappush(self._bus_plan if bus else self._plan, event)

    def wait(self, ready: Ready, timeout_s: float) -> None:
        """Let the running thread wait; the world itself never waits."""
        if self._running is not None:
            self._running.wait(ready, self.now_s + timeout_s)

    def stall(self, seconds: float) -> None:
        """Let the running thread wait for the disk: meanwhile nothing moves but the bus."""
        fibre = self._running
        if fibre is None or self._alone is not None:
            return
        self._alone = fibre
        try:
            fibre.wait(lambda: False, self.now_s + seconds)
        finally:
            self._alone = None

    def step(self) -> None:
        """Take one step and check every promise."""
        self.steps += 1
        try:
            while (fibre := self._next_fibre()) is None and self._only_time_passes():
                continue
            if fibre is not None:
                self._resume(fibre)
            else:
                self._next_event()
        except Crash as crash:
            self.tally["crash at a hook"] += 1
            self.note(f"crash {crash}")
            self.crash(self.random.uniform(0.2, 4.0), reboot=self.random.random() < 0.2)
        self.invariants.step()

    def run(self, steps: int) -> None:
        """Take so many steps."""
        for _ in range(steps):
            self.step()

    def run_for(self, seconds: float) -> None:
        """Take steps until so much time has passed."""
        end_s = self.now_s + seconds
        while self.now_s < end_s:
            self.step()

    def _next_fibre(self) -> Fibre | None:
        if self._alone is not None:
            able = [each for each in self.box.fibres if self._may_run_now(each)]
        else:
            able = [each for each in self.box.fibres if each.runnable(self.now_s)]
        if not able:
            return None
        fibre = able[0] if len(able) == 1 else self.random.choice(able)
        if self._faults_s and self.random.random() < HOLD_CHANCE:
            fibre.hold_s = self.now_s + self.random.expovariate(50)
            return None
        return fibre

    def _may_run_now(self, fibre: Fibre) -> bool:
        mine = fibre is self._alone or fibre.name.startswith(BUS_FIBRES)
        return mine and fibre.runnable(self.now_s)

    def _resume(self, fibre: Fibre) -> None:
        self.note(fibre.name)
        self._running = fibre
        try:
            fibre.resume()
        finally:
            self._running = None
        if not fibre.ended:
            if fibre.name.startswith("control") and self._alone is not fibre:
                self.invariants.passed()
            return
        if isinstance(fibre.error, Violation):
            raise fibre.error
        raise Violation(f"I0: thread {fibre.name} ended: {fibre.error!r}") from fibre.error

    def _next_plan(self) -> list[Planned]:
        """Return the plan whose first event comes next; the battery's never ends."""
        ours = self._alone is None and self._plan and self._plan[0] < self._bus_plan[0]
        return self._plan if ours else self._bus_plan

    def _only_time_passes(self) -> bool:
        """Go on to the moment when a thread is due, if that comes before the next event."""
        alone = self._alone
        fibres = [
            each
            for each in self.box.fibres
            if not each.ended
            and (alone is None or each is alone or each.name.startswith(BUS_FIBRES))
        ]
        due_s = min((max(each.due_s, each.hold_s) for each in fibres), default=float("inf"))
        if due_s >= self._next_plan()[0].at_s:
            return False
        self.now_s = max(self.now_s, due_s)
        return True

    def _next_event(self) -> None:
        event = heapq.heappop(self._next_plan())
        self.now_s = max(self.now_s, event.at_s)
        self.note(event.name)
        event.action()

    # --- the trace

    def note(self, text: str) -> None:
        """Write a line of the trace."""
        line = f"{self.steps} {self.now_s:.6f} {text}"
        self._hash.update(line.encode())
        self.lines.append(line)

    @property
    def trace(self) -> str:
        """Hash of all lines so far: the same seed gives the same."""
        return self._hash.hexdigest()

    # --- what happens by itself

    def _battery_tick(self) -> None:
        self.battery.tick(self.now_s)
        self.later(TICK_S, "battery", self._battery_tick, bus=True)

    def _second(self) -> None:
        shown = None
        if self.platform.up:
            self.platform.tick()
            shown = self.platform.shown()
        up = self.box.system is not None
        self.invariants.second(shown, up=up, disk=not self.disk.fail and not self.disk.slow_s)
        self.later(1.0, "second", self._second)

    def _plan_fault(self) -> None:
        self.later(self.random.expovariate(1 / self._faults_s), "trouble", self._fault)

    def _fault(self) -> None:
        if not self._faults_s:
            return
        if self.favoured and self.random.random() < FAVOURED_SHARE:
            self.begin(self.random.choice(self.favoured))
        else:
            weights = [fault.weight for fault in FAULTS.values()]
            self.begin(self.random.choices(list(FAULTS), weights)[0])
        self._plan_fault()

    def begin(self, name: str) -> None:
        """Let a fault begin; it ends by itself."""
        if name in self._active:
            return
        self.tally[name] += 1
        self.note(f"fault {name}")
        fault = FAULTS[name]
        undo = fault.begin(self)
        if undo is not None:
            self._active[name] = undo
            after_s = self.random.expovariate(1 / fault.mean_s)
            self.later(after_s, f"end of {name}", lambda: self.end(name))

    def end(self, name: str) -> None:
        """Undo a fault."""
        undo = self._active.pop(name, None)
        if undo is not None:
            undo()

    def _plan_operator(self) -> None:
        self.later(self.random.expovariate(1 / self._operator_s), "operator", self._operate)

    def _operate(self) -> None:
        if not self._operator_s:
            return
        if self.platform.up:
            self._ask_something()
        self._plan_operator()

    def _ask_something(self) -> None:
        ids, chance = list(self.invariants.issued), self.random.random()
        if ids and chance < 0.12:
            self.platform.cancel(self.random.choice(ids[-3:]))
        elif chance < 0.2:
            self.platform.ask_sync()
        else:
            code = self._useful() if chance < 0.8 else self.random.choice((RESET, CLOSE, OPEN))
            life_ms = self.random.choice((None, None, None, 300, 2_000, 5_000, 29_000))
            self.issue(code, life_ms, twice=chance > 0.9)

    def _useful(self) -> int:
        """Return a command that changes something, or would."""
        pack = self.battery.simulator.pack
        if pack.reset_required:
            return RESET
        return CLOSE if pack.phase is Phase.OPEN else OPEN

    def issue(self, code: int, life_ms: int | None = None, *, twice: bool = False) -> str:
        """Give a command; return its id."""
        key = f"key-{next(self._numbers)}"
        command_id = self.platform.issue(code, life_ms, key)
        if twice and self.platform.issue(code, life_ms, key) != command_id:
            raise Violation("I1: the same key gave another id")
        end_s = self.now_s + (life_ms or LIFE_MS[code]) / 1000
        self.invariants.issued.setdefault(command_id, Issued(code, end_s))
        self.tally[f"command {code}"] += 1
        self._names[command_id] = key
        self.note(f"command {code} {key}")
        return command_id

    # --- the machine

    def _boot(self) -> None:
        if self.box.system is not None:
            return
        self.note("boot")
        try:
            self.box.boot(self.box_clock, self.link, self.network, self.disk, self.wait)
        except JournalFailed:
            self.box.crash()
            self.later(2.0, "boot again", self._boot)
            return
        self.invariants.booted()

    def crash(self, down_s: float, *, reboot: bool = False) -> None:
        """End the process now; it starts again after `down_s` [s]."""
        if self.box.system is None:
            return
        self.tally["processes"] += 1
        self._armed = None
        self._alone = None
        self.box.crash()
        for socket in list(self.link.sockets):
            socket.shutdown()
        if reboot:  # without power nobody says good-bye: the platform's polls stay half open
            self.link.queue.clear()
        else:
            self.platform.hang_up()

        def boot() -> None:
            if reboot:
                self.box_clock.reboot(0.9 * down_s)
            self._boot()

        self.later(down_s, "power", boot)

    def suspend(self, seconds: float) -> None:
        """Let the box sleep; the rest of the world goes on, and what is on its way arrives."""
        end_s = self.now_s + seconds
        for fibre in self.box.fibres:
            fibre.hold_s = end_s
        sleeper = self.invariants.process

        def leave_out_the_rest() -> None:  # ticks of a battery that nobody hears only cost steps
            if self.invariants.process == sleeper and self.box.system is not None:
                self.now_s = max(self.now_s, end_s)

        if seconds > DOZE_S:
            self.later(DOZE_S, "deep sleep", leave_out_the_rest)

    def arm(self, name: str, passes: int) -> None:
        """Let the process die when it comes to a hook, after so many passes."""
        self._armed = (name, passes)

    def hook(self, name: str) -> None:
        """A place where the process may die."""
        if self._armed is None or self._armed[0] != name or self._running is None:
            return
        left = self._armed[1]
        self._armed = (name, left - 1) if left else None
        if not left:
            raise Crash(name)

    # --- people at the site

    def door(self, request: dict[str, object]) -> None:
        """Ask the agent's local door; a refusal is an answer."""
        if self.box.system is None or self._alone is not None:
            return
        try:
            self.box.door[str(request["do"])](request)
        except (BadRequest, JournalFailed):
            self.tally["door refused"] += 1

    def set_lockout(self) -> None:
        """A person locks remote commands out."""
        self.door({"do": "lockout-set", "reason": "work on the rack", "who": "a fitter"})
        self.invariants.locked_out()

    def clear_lockout(self) -> None:
        """The person is done."""
        self.door({"do": "lockout-clear", "who": "a fitter"})

    def clear_latches(self) -> None:
        """A person has checked the bus, and there is no frame of ours left in its queue."""
        if self.box.system is None:
            return
        self.link.queue.clear()
        self.door({"do": "clear-latches", "who": "a fitter"})
        control = self.box.agent.device.control
        if not control.unsafe and not control.foreign:
            self.invariants.latches_cleared()

    # --- the end

    def heal(self) -> None:
        """End every fault, and let nobody do anything any more."""
        self._faults_s = self._operator_s = 0.0
        for name in list(self._active):
            self.end(name)
        self._armed = None
        self.disk.fail, self.disk.slow_s = "", 0.0
        self.network.weather = Weather()
        self.battery.noise = Noise()
        self.clear_lockout()
        self.crash(1.0)

    def finish(self, longest_s: float = 400.0) -> None:
        """Heal, wait until all is quiet, and look whether anything is missing."""
        self.heal()
        end_s, quiet_s = self.now_s + longest_s, 0.0
        while self.now_s < end_s and quiet_s < QUIET_S:
            self.run_for(1.0)
            quiet_s = 0.0 if self._restless() else quiet_s + 1.0
        self.invariants.battery(self.battery.simulator.pack.phase)
        self.invariants.finish()

    def _restless(self) -> bool:
        """Tell whether a command is open somewhere, or a record is not delivered."""
        ledger = self.invariants.ledger
        lives = any(not life.finished for life in ledger.lives.values())
        return bool(lives or self.invariants.waiting or ledger.unreported())

    def close(self) -> None:
        """Let go of threads and files."""
        self.box.crash()
        self._logs.close()
        self.invariants.ledger.close()
        if self.platform.up:
            self.platform.stop()

    def _sent(self, request: Request) -> None:
        self.note(f"request {request.path}")
        self.invariants.request(request)
        self.hook("request")

    def _stored(self, request: Request) -> None:
        self.note(f"stored {request.path}")
        if self._armed is not None and self._armed[0] == "stored":
            self._armed = None
            self.tally["crash at a hook"] += 1
            self.crash(self.random.uniform(0.2, 4.0))


class _Logs(logging.Handler):
    """Reads every line that the agent or the platform logs."""

    def __init__(self, world: World) -> None:
        super().__init__(logging.DEBUG)
        self._world = world
        self._loggers = [logging.getLogger(name) for name in ("agent", "bms_can", "ems")]
        for logger in self._loggers:
            logger.addHandler(self)
            logger.setLevel(logging.DEBUG)
            logger.propagate = False

    def emit(self, record: logging.LogRecord) -> None:
        """Look for the key; count the line."""
        text = self.format(record)
        self._world.tally["log lines"] += 1
        if self._world.invariants.key in text:
            raise Violation("I10: the key is in the log")

    def close(self) -> None:
        """Leave the loggers as they were."""
        for logger in self._loggers:
            logger.removeHandler(self)
            logger.setLevel(logging.NOTSET)
            logger.propagate = True
        super().close()
