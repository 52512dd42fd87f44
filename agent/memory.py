"""Memory of a process that runs for years: what comes to stay comes at the start.

* Left alone the collector makes a full pass only when a quarter as many new objects have come to
  stay as there are old ones: some 14,000 here, a matter of days. So one is made every five minutes.
  What the start built is set apart, so that it takes a millisecond.
* CPython keeps up to 2,000 freed tuples of each length below 21, and only a full pass lets go of
  them. `_replace` of a named tuple, or a tuple made from a generator, adds one each time.
* The C library makes an arena for each thread, up to 8 for each core, and memory that one has freed
  helps no other. Ours are busy one after the other (the interpreter's lock), so one arena will do.
"""

import ctypes
import gc

COLLECT_S = 300.0  # between two full passes of the collector
_M_ARENA_MAX = -8  # mallopt(3), glibc only


def one_arena() -> None:
    """Let all threads to come share one arena; nothing where the C library knows no arenas."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, 1)


def set_apart() -> None:
    """Collect what the start left, and count all that is there now as there for good."""
    gc.collect()
    gc.freeze()
