"""Kill -9 at random moments: what is wrong afterwards? `python -m bench.crash N [SEED] [SECONDS]`.

See tests/system/crash.py for what one life is. Two processes; the exit code says whether anything
was found. N is the number of kills, SECONDS ends it earlier.
"""

import json
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

DEFAULT, FOREVER_S = 1000, 1e9
PROCESSES = 2
SUMS = (
    *("kills", "lives", "reboots", "commands", "sessions", "frames", "rows"),
    *("unknown", "unknown_on_wire"),
)


@dataclass(slots=True)
class Total:
    """The figures of all processes together.

    Attributes:
        counts: by name, see `SUMS`.
        last_row: kills by the last row that was written before them.
        violations: everything that is not as it must be.
        seconds: of the process that took longest.
    """

    seeds: list[int] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    last_row: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)
    seconds: float = 0.0
    longest_ms: float = 0.0

    def add(self, found: dict[str, Any]) -> None:
        """Add the figures of one process."""
        self.seeds.append(found["seed"])
        self.counts.update({name: found[name] for name in SUMS})
        self.last_row.update(found["last_row"])
        self.violations += [f"seed {found['seed']}: {each}" for each in found["violations"]]
        self.seconds = max(self.seconds, found["seconds"])
        self.longest_ms = max(self.longest_ms, found["longest_ms"])

    def text(self) -> str:
        """Return the figures for people."""
        count = self.counts
        rows = ", ".join(f"{name} {number}" for name, number in self.last_row.most_common())
        lines = [
            f"kills       {count['kills']}, 0 to {self.longest_ms:.0f} ms into a life",
            f"seeds       {self.seeds}, {self.seconds:.0f} s",
            f"lives       {count['lives']}, {count['reboots']} after a start of the machine",
            f"commands    {count['commands']} with {count['rows']} rows",
            f"on the wire {count['sessions']} sessions, {count['frames']} frames",
            f"unknown     {count['unknown']}, of these on the wire {count['unknown_on_wire']}",
            f"last row    {rows}",
            f"violations  {len(self.violations)}",
        ]
        return "\n".join([*lines, *self.violations[:20]])


def run(kills: int, seed: int, seconds: float = FOREVER_S) -> Total:
    """Kill so many times in several processes.

    Raises:
        subprocess.CalledProcessError: one of them failed itself.
    """
    shares = [kills // PROCESSES + (number < kills % PROCESSES) for number in range(PROCESSES)]
    commands = [
        [sys.executable, "-m", "tests.system.crash", str(share), str(seed + number), str(seconds)]
        for number, share in enumerate(shares)
    ]
    running = [
        subprocess.Popen(each, stdout=subprocess.PIPE, text=True)  # noqa: S603 - our own module
        for each in commands
    ]
    total = Total()
    for process in running:
        with process:
            printed, _ = process.communicate()
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, process.args)
        total.add(json.loads(printed))
    return total


def main(arguments: Sequence[str]) -> int:
    """Run and print."""
    kills = int(arguments[0]) if arguments else DEFAULT
    seed = int(arguments[1]) if len(arguments) > 1 else random.SystemRandom().getrandbits(24)
    seconds = float(arguments[2]) if len(arguments) > 2 else FOREVER_S  # noqa: PLR2004 - third word
    total = run(kills, seed, seconds)
    print(total.text())
    return 1 if total.violations else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
