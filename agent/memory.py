"""Memory of a process that runs for years: what was built at the start is set apart.

* Without `gc.freeze` the collector looks at old objects only when a quarter as many new ones have
  come to stay: some 14,000 here, which takes days, and until then cycles of other people's code
  pile up. With it only what came later counts, so it looks every few minutes, in a millisecond.
* The C library makes an arena for each thread, up to 8 for each core, and memory that one has freed
  helps no other. Ours are busy one after the other (the interpreter's lock), so one arena will do.
"""

import ctypes
import gc

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
