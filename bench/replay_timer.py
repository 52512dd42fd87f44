"""Run a command and say what it used, as one line of JSON. Small on purpose.

The kernel counts the memory of who starts a process as that process's own until it is replaced; so
the measuring must not be done by a big one. Run with `python -I -S`.
"""

import json
import os
import sys
import time


def main() -> int:
    """Run `argv[3:]` with stdin from `argv[1]` and stdout to `argv[2]`."""
    said = os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    given = os.open(sys.argv[1], os.O_RDONLY)
    nothing = os.open(os.devnull, os.O_WRONLY)
    began_s = time.perf_counter()
    files = [(os.POSIX_SPAWN_DUP2, *pair) for pair in ((given, 0), (said, 1), (nothing, 2))]
    child = os.posix_spawnp(sys.argv[3], sys.argv[3:], os.environ, file_actions=files)
    _, status, used = os.wait4(child, 0)
    print(
        json.dumps(
            {
                "wall_s": time.perf_counter() - began_s,
                "cpu_s": used.ru_utime + used.ru_stime,
                "rss_mb": used.ru_maxrss / 1024,
                "code": os.waitstatus_to_exitcode(status),
            }
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
