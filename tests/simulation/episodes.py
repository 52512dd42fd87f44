"""Many short runs: each seed is a world of its own, so that a fault found replays in seconds."""

import multiprocessing
import tempfile
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from random import Random

from tests.simulation.invariants import Violation
from tests.simulation.kinds import KINDS, PLAIN, Kind, kind_of
from tests.simulation.world import World

EPISODE_STEPS = 2500
WORLDS_A_JOB = 4  # handed out at a time
MEMORY_DISK = Path("/dev/shm")  # noqa: S108 - durability itself is not what is tested here

Say = Callable[[str], None]


@dataclass(slots=True)
class Found:
    """A promise that was broken."""

    seed: int
    step: int
    text: str
    lines: list[str]
    kind: str = "plain"

    def __str__(self) -> str:
        tail = "\n".join(f"    {line}" for line in self.lines[-30:])
        again = f"python -m bench.simulate --kind {self.kind} --seed {self.seed} --episodes 1"
        return f"seed {self.seed}, step {self.step}: {self.text}\n{tail}\n  again: {again}"


@dataclass(slots=True)
class Summary:
    """What the runs did.

    Attributes:
        steps: all of them; `simulated_s`: time that passed in the worlds [s].
        tally: faults, commands, processes; `checks`: by promise; `ends`: last states of commands.
        traces: hash of each run.
    """

    steps: int = 0
    simulated_s: float = 0.0
    episodes: int = 0
    frames: int = 0
    tally: Counter[str] = field(default_factory=Counter)
    checks: Counter[str] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)
    found: list[Found] = field(default_factory=list)
    traces: list[str] = field(default_factory=list)

    def add(self, other: "Summary") -> None:
        """Count another one in."""
        self.steps += other.steps
        self.simulated_s += other.simulated_s
        self.episodes += other.episodes
        self.frames += other.frames
        for mine, its in (
            (self.tally, other.tally),
            (self.checks, other.checks),
            (self.ends, other.ends),
        ):
            mine.update(its)
        self.found += other.found
        self.traces += other.traces


def episode(
    seed: int,
    summary: Summary,
    steps: int = 0,
    favoured: tuple[str, ...] = (),
    kind: Kind = PLAIN,
) -> None:
    """Run one world to its end.

    Args:
        seed: decides everything.
        summary: takes the counts, and a violation if there is one.
        steps: before everything is healed; 0: as many as its kind has.
        favoured: faults that come more often than others; then there are many, and many commands.
        kind: of battery.
    """
    mood = Random(seed)  # noqa: S311 - a simulation, no secret
    faults_s, operator_s = mood.choice((3.0, 6.0, 12.0, 30.0)), mood.choice((3.0, 6.0, 12.0))
    if favoured:
        faults_s = operator_s = 3.0
    where = MEMORY_DISK if MEMORY_DISK.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="sim-", dir=where) as folder:
        world = World(seed, Path(folder), faults=faults_s, operator=operator_s, kind=kind)
        try:
            world.favoured = favoured
            world.run(steps or kind.steps)
            world.finish()
        except Violation as violation:
            found = Found(seed, world.steps, str(violation), list(world.lines), kind.name)
            summary.found.append(found)
        finally:
            world.close()
    _count(summary, world)


def _count(summary: Summary, world: World) -> None:
    summary.episodes += 1
    summary.steps += world.steps
    summary.simulated_s += world.now_s
    summary.frames += len(world.link.handed)
    summary.tally.update(world.tally)
    summary.checks.update(world.invariants.checks)
    summary.traces.append(world.trace)
    for steps in world.invariants.ledger.steps.values():
        summary.ends[f"{steps[-1].state} {steps[-1].reason}".strip()] += 1


def one(seed: int, kind: str = "") -> Summary:
    """Run one world in a process of its own; the seed chooses its kind, if nobody else does."""
    summary = Summary()
    episode(seed, summary, kind=KINDS[kind] if kind else kind_of(seed))
    return summary


def many(
    seed: int,
    steps: int,
    *,
    episodes: int | None = None,
    jobs: int = 2,
    say: Say = lambda _: None,
    kind: str = "",
) -> Summary:
    """Run worlds with seeds from `seed` on until so many steps are done.

    Args:
        seed: of the first world.
        steps: at least so many.
        episodes: exactly so many worlds instead.
        jobs: processes at a time.
        say: called with each broken promise.
        kind: of all worlds; "": the seed of each chooses.
    """
    total = Summary()
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn")) as pool:
        for first in count(seed, jobs * WORLDS_A_JOB):
            left = (steps - total.steps + EPISODE_STEPS - 1) // EPISODE_STEPS
            wanted = left if episodes is None else episodes - total.episodes
            if wanted <= 0:
                return total
            last = first + min(wanted, jobs * WORLDS_A_JOB)
            for summary in pool.map(partial(one, kind=kind), range(first, last)):
                total.add(summary)
                for found in summary.found:
                    say(str(found))
    return total
