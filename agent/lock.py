"""Only one agent per state directory: two would both carry out the same command.

Held are a lock file and the directory itself: a lock file that somebody deletes under a running
agent would let a second one in. What is in the file means nothing; the kernel's lock counts.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from agent.errors import JournalFailed

LOCK_FILE = "agent.lock"


class AlreadyRunning(Exception):
    """Another agent holds the state directory."""


@contextmanager
def only_one(state_dir: Path) -> Iterator[None]:
    """Hold the state directory; the kernel lets go of it when the process ends, however it ends.

    Raises:
        AlreadyRunning: another process holds it.
        JournalFailed: it cannot be made or written.
    """
    with ExitStack() as held:
        try:
            state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            file = state_dir / LOCK_FILE
            for path, flags in ((file, os.O_RDWR | os.O_CREAT), (state_dir, os.O_DIRECTORY)):
                handle = os.open(path, flags | os.O_CLOEXEC, 0o600)
                held.callback(os.close, handle)
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise AlreadyRunning(f"another agent already uses {state_dir}") from error
        except OSError as error:
            raise JournalFailed(f"{LOCK_FILE}: {error.strerror}") from error
        yield


def held(state_dir: Path) -> bool | None:
    """Tell whether an agent holds the directory, without touching it; None: it cannot be told."""
    found = [_is_locked(state_dir / LOCK_FILE), _is_locked(state_dir)]
    return True if True in found else (None if None in found else False)


def _is_locked(path: Path) -> bool | None:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False
