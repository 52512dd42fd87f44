"""Kill the box at random moments and look at what it left: the engine behind `make crash`.

One life is a forked child: journal, outbox and executor on a real disk, battery and clock in the
process, and a pipe to this process as the wire. What was written to the pipe is out, whatever
becomes of the writer. The child is killed with SIGKILL; the next life starts on the same files with
the same commands offered again, as the platform does, and some new ones. After `LIVES` lives the
last one runs to its end, and files and wire are held against each other.

Run it as `python -m tests.system.crash KILLS SEED SECONDS`; it prints one line of JSON and stops
after that time, whatever is left to do. bench/crash.py runs several at once and adds them up.
"""

import gc
import json
import os
import random
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from statistics import median

from agent.clock import FakeClock
from agent.journal import Journal
from agent.journal_rows import Stamp
from bms_can.frame import Frame
from bms_can.pack import Phase
from bms_can.profile import CommandCode, Profile
from bms_can.simulator import Simulator
from tests.agent.rig import (
    CLOSE,
    CONTROL_ID,
    OPEN,
    RESET,
    Rig,
    new_battery,
    quick_profile,
    rebased,
    with_rules,
)
from tests.system.crash_look import Life, Remains, Sent

LIVES = 50  # until the files are looked at, and new ones begun
LONGEST_DELAY_S = 0.03
COMMITS = 12  # on a slow disk the longest delay is the time of so many commits
FROM_THE_FORK = 0.2  # this part of the kills may hit the start of the agent too
REBOOTS = 0.15  # this part of the lives begins with a start of the machine
NEW, OLD = 3, 8  # commands offered in a life: new ones, one by one, and old ones again
USEFUL = 0.8  # this part of the new ones has something to do
ROUNDS, ROUND_S = 40, 0.4
LIFE_SPAN_S = 100.0  # fake time that a life may use up at the most
SETTLE_ROUNDS = 60
HEARD_S = 0.25  # by then every message has come


@dataclass(slots=True)
class Figures:
    """What all kills together showed."""

    seed: int
    longest_ms: float = 0.0
    kills: int = 0
    lives: int = 0
    reboots: int = 0
    commands: int = 0
    sessions: int = 0
    frames: int = 0
    rows: int = 0
    unknown: int = 0
    unknown_on_wire: int = 0
    last_row: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)
    seconds: float = 0.0


@cache
def crash_profile() -> Profile:
    """Return our default battery with short waits and no limits, so that much goes out."""
    profile = with_rules(
        quick_profile(window_s=4.0, hold_s=0.5),
        steady_s=0.0,
        close_interval_s=0.0,
        close_max=10**6,
        reset_max=10**6,
    )
    guard = tuple(replace(entry, per_minute=10**4) for entry in profile.guard)
    return replace(profile, guard=guard)


class Case:
    """One box from its first start to the look at its files."""

    def __init__(
        self, folder: Path, chance: random.Random, figures: Figures, until_s: float
    ) -> None:
        self._folder = folder
        self._until_s = until_s
        self._chance = chance
        self._figures = figures
        self._clock = FakeClock()
        self._battery: Simulator = new_battery(self._clock.monotonic_s())
        self._codes: dict[str, CommandCode] = {}
        self._offered: list[str] = []
        self._lives: list[Life] = []

    def run(self, kills: int) -> None:
        """Kill it so many times, let it settle, then look."""
        while sum(life.killed for life in self._lives) < kills and (
            time.perf_counter() < self._until_s
        ):
            self._next_life(NEW, ROUNDS, may_die=True)
        self._next_life(0, SETTLE_ROUNDS, may_die=False)
        self._figures.violations += self._look()

    def _new_commands(self, count: int) -> list[str]:
        """Return the next ids of the platform; the first mostly has something to do."""
        self._battery.pack.step(self._clock.monotonic_s())
        useful = CLOSE if self._battery.pack.phase is Phase.OPEN else OPEN
        found = []
        for _ in range(count):
            code = self._chance.choice((CLOSE, OPEN, RESET))
            identity = f"id-{len(self._codes)}"
            self._codes[identity] = useful if self._chance.random() < USEFUL else code
            found.append(identity)
        return found

    def _next_life(self, new: int, rounds: int, *, may_die: bool) -> None:
        life = self._start_of_life()
        self._lives.append(life)
        offers = self._offered[-OLD:], self._new_commands(new)
        delay_s = self._chance.uniform(0.0, self._figures.longest_ms / 1000)
        from_the_fork = self._chance.random() < FROM_THE_FORK
        seed = self._chance.getrandbits(32)
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reader)
            self._live(writer, *offers, rounds, seed)
        os.close(writer)
        with os.fdopen(reader, "rb") as pipe:
            if may_die:
                if not from_the_fork:
                    pipe.readline()
                time.sleep(delay_s)
                os.kill(child, signal.SIGKILL)
            _, status = os.waitpid(child, 0)
            life.killed = os.WIFSIGNALED(status)
            self._read_wire(life, pipe.read())
        self._figures.kills += life.killed
        self._figures.lives += 1
        if not may_die and not life.done:
            life.failure = life.failure or "the last life did not reach its end"

    def _start_of_life(self) -> Life:
        """Move the clock on, or start the machine anew; the battery goes with it."""
        if self._lives and self._chance.random() < REBOOTS:
            number = len(self._lives) + 1  # the first start is boot-1: no two may share a name
            self._clock.reboot(f"boot-{number}", self._chance.uniform(1.0, 500.0))
            self._battery = rebased(self._battery.pack, self._clock.monotonic_s())
            self._figures.reboots += 1
        else:
            self._clock.advance(LIFE_SPAN_S)
        return Life(self._clock.boot_id(), self._clock.monotonic_s(), LIFE_SPAN_S)

    def _read_wire(self, life: Life, written: bytes) -> None:
        """Take what the child put on the wire, and let our battery hear it too."""
        for line in written.decode().splitlines():
            word, *rest = line.split(" ")
            if word == "failed":
                life.failure = json.loads(" ".join(rest))
            elif word == "offered" and rest[0] not in self._offered:
                self._offered.append(rest[0])
            elif word == "done":
                life.done = True
            elif word == "frame":
                sent = Sent(rest[0], float(rest[1]), bytes.fromhex(rest[2]))
                life.frames.append(sent)
                self._battery.due_frames(sent.at_s)
                frame = Frame(sent.at_s, CONTROL_ID, extended=True, data=sent.data)
                self._battery.hear(frame, sent.at_s)

    # --- in the child

    def _live(self, pipe: int, old: list[str], new: list[str], rounds: int, seed: int) -> None:
        """Be the box until killed; never return."""
        chance = random.Random(seed)  # noqa: S311 - shuffles offers
        try:
            rig = Rig(self._folder, crash_profile(), clock=self._clock, simulator=self._battery)

            def put(frame: Frame) -> None:
                current = rig.executor._current
                name = "nobody" if current is None else current.command.id
                os.write(pipe, f"frame {name} {frame.at_s!r} {frame.data.hex()}\n".encode())

            rig.wire.on_take = put
            rig.run(HEARD_S)
            os.write(pipe, b"ready\n")
            for number in range(rounds):
                offers = [*old, *new[: number + 1]]
                for identity in chance.sample(offers, len(offers)):
                    os.write(pipe, f"offered {identity}\n".encode())
                    rig.offer(self._codes[identity], identity)
                rig.run(ROUND_S)
            os.write(pipe, b"done\n")
        except BaseException:  # noqa: BLE001 - whatever it is, the parent has to see it
            os.write(pipe, f"failed {json.dumps(traceback.format_exc())}\n".encode())
        finally:
            os._exit(0)

    # --- the look at what is left

    def _look(self) -> Iterator[str]:
        """Count what is left; yield everything that is not as it must be."""
        path = self._folder / "journal.db"
        remains = Remains(path, self._lives)
        self._count(remains)
        repeat = max(plan.repeat for plan in crash_profile().commands.values())
        yield from remains.mistakes(repeat, self._offered[-OLD:])
        with closing(Journal(path, Stamp.of(self._clock))) as journal:
            yield from journal.verify()

    def _count(self, remains: Remains) -> None:
        figures, on_wire = self._figures, remains.sessions().keys()
        figures.commands += len({row.command_id for row in remains.rows})
        figures.rows += len(remains.rows)
        figures.sessions += len(on_wire)
        figures.frames += sum(len(life.frames) for life in self._lives)
        figures.unknown += len(remains.unknown())
        figures.unknown_on_wire += len(remains.unknown() & on_wire)
        figures.last_row += remains.last_rows()


def longest_delay_s() -> float:
    """Return how long a life may last, so that kills hit all of it also on a slow disk [s]."""
    clock = FakeClock()
    with (
        tempfile.TemporaryDirectory(prefix="crash-") as folder,
        closing(Journal(Path(folder) / "journal.db", Stamp.of(clock))) as journal,
    ):
        times_s = []
        for number in range(15):
            started_s = time.perf_counter()
            journal.set_meta("number", str(number))
            times_s.append(time.perf_counter() - started_s)
    return max(LONGEST_DELAY_S, COMMITS * median(times_s))


def crash(kills: int, seed: int, seconds: float) -> Figures:
    """Kill so many times, or for so long [s].

    The seed decides commands, delays and starts of the machine; where a delay ends in the life of
    the child is up to the machine.
    """
    figures = Figures(seed, longest_ms=1000 * longest_delay_s())
    started_s = time.perf_counter()
    chance = random.Random(seed)  # noqa: S311 - a test that can be repeated
    crash_profile()
    gc.freeze()  # what is here now is never looked at again in a child
    until_s = started_s + seconds
    while figures.kills < kills and time.perf_counter() < until_s:
        with tempfile.TemporaryDirectory(prefix="crash-") as folder:
            case = Case(Path(folder), chance, figures, until_s)
            case.run(min(LIVES, kills - figures.kills))
    figures.seconds = time.perf_counter() - started_s
    return figures


if __name__ == "__main__":
    found = crash(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))
    sys.stdout.write(json.dumps({name: getattr(found, name) for name in Figures.__slots__}) + "\n")
