"""`python -m bench`: run the measurements and print their tables."""

import argparse
import os
import platform
import sys
from collections.abc import Callable, Mapping
from importlib.metadata import version

from bench import disk_wear, footprint, held, latency

MEASURES: Mapping[str, Callable[[], None]] = {
    "start": footprint.start,
    "size": footprint.size,
    "memory": footprint.memory,
    "changes": latency.changes,
    "commands": latency.commands,
    "disk": disk_wear.wear,
    "held": held.held,
}


def main() -> int:
    """Run all measurements, or those named."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("measure", nargs="*", choices=[[], *MEASURES], help="default: all of them")
    chosen = parser.parse_args().measure or list(MEASURES)
    load = ", ".join(f"{each:.2f}" for each in os.getloadavg())
    print(f"{platform.machine()}, {os.cpu_count()} cores, Linux {platform.release()}")
    print(f"Python {platform.python_version()}, python-can {version('python-can')}, load {load}")
    for name in chosen:
        MEASURES[name]()
    return 0


if __name__ == "__main__":
    sys.exit(main())
