"""Only one agent per state directory: two would both carry out the same command."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
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
    try:
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(state_dir / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise JournalFailed(f"{LOCK_FILE}: {error.strerror}") from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise AlreadyRunning(f"another agent already uses {state_dir}") from error
        yield
    finally:
        os.close(handle)
