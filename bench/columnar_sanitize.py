"""The compiled loops under the address and undefined-behaviour sanitizers, on the proof's cases.

Compiles them anew into a temporary folder and runs `bench.columnar_proof` on them in a process that
ends at the first report. Exit code 1 on a report or a difference.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from bench import columnar_proof
from bms_can.columnar import kernel, scan
from hatch_build import compiled

LIBRARY = "BMS_SANITIZED"
SMALL = 200
FLAGS = ("-g", "-O1", "-fno-omit-frame-pointer", "-fsanitize=address,undefined")
FLAGS_ALL = (*FLAGS, "-fno-sanitize-recover=all")


def main() -> int:
    """Compile and start the process that runs the cases."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--databases", default="60")
    parser.add_argument("--frames", default="60000")
    parser.add_argument("--lines", default="100000")
    asked = parser.parse_args()
    if LIBRARY in os.environ:
        kernel.LIBRARY = Path(os.environ[LIBRARY])
        scan.BLOCK_BYTES = SMALL  # the text ends near the end of its memory, again and again
        sys.argv = [
            sys.argv[0],
            *("--databases", asked.databases, "--frames", asked.frames, "--lines", asked.lines),
            *("--lanes", "kernel"),
        ]
        return columnar_proof.main() if kernel.available() else 1
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "libkernel.so"
        if reason := compiled(library, FLAGS_ALL):
            print(reason)
            return 1
        found = subprocess.run(
            ["cc", "-print-file-name=libasan.so"],  # noqa: S607 - the compiler
            capture_output=True,
            text=True,
            check=True,
        )
        environment = {
            **os.environ,
            LIBRARY: str(library),
            "LD_PRELOAD": found.stdout.strip(),
            "ASAN_OPTIONS": "detect_leaks=0",  # Python keeps what it has
            "PYTHONMALLOC": "malloc",  # so that each array has its own borders
        }
        command = [sys.executable, "-m", "bench.columnar_sanitize", *sys.argv[1:]]
        return subprocess.run(command, env=environment, check=False).returncode  # noqa: S603 - ourselves


if __name__ == "__main__":
    sys.exit(main())
