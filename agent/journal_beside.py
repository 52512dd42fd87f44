"""Two small files beside the journal that outlive it: its head, and the local lock-out.

* `journal.db.head`: number and hash of the newest row, written after each commit, without fsync:
  an older number is harmless. If the file knows a row that the journal does not, rows are missing
  that had been committed: a WAL cut off or damaged, or an old copy put in the place of the journal.
* `lockout.json`: a damaged journal must not set free a contactor that somebody works on. So the
  lock-out is in force while either the journal or this file says so; a file that cannot be read
  says so too. Written before the journal, deleted after it.
"""

import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from agent.durable import sync_folder
from agent.errors import JournalFailed
from agent.journal_rows import Head, Lockout
from agent.strict_json import canonical

LOCKOUT_FILE = "lockout.json"
_HEAD_BYTES = 128  # always the same length, so that the file is overwritten in place


class HeadFile:
    """Keeps the head of the journal in a file of its own. Thread-safe."""

    def __init__(self, journal: Path) -> None:
        self._path = journal.with_name(f"{journal.name}.head")
        self._lock = threading.Lock()
        self._seq = 0

    def read(self) -> Head | None:
        """Return the head as kept, None if there is none that can be read."""
        try:
            found = json.loads(self._path.read_text(encoding="ascii"))
            return Head(int(found["seq"]), str(found["hash"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def keep(self, head: Head, *, anew: bool = False) -> None:
        """Keep a head, unless a newer one is kept; `anew`: whatever is kept.

        A file that cannot be written is left as it is: an older number is harmless.
        """
        text = canonical(head._asdict()).ljust(_HEAD_BYTES - 1) + "\n"
        with self._lock, suppress(OSError):
            if head.seq > self._seq or anew:
                handle = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
                try:
                    os.pwrite(handle, text.encode("ascii"), 0)
                finally:
                    os.close(handle)
                self._seq = head.seq


class LockoutFile:
    """Keeps the local lock-out in a file of its own."""

    def __init__(self, journal: Path) -> None:
        self._path = journal.with_name(LOCKOUT_FILE)

    def read(self) -> Lockout | None:
        """Return the lock-out, None if there is no file."""
        try:
            found = json.loads(self._path.read_bytes())
            return Lockout(str(found["reason"]), str(found["who"]), str(found["since"]))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return Lockout(f"{LOCKOUT_FILE} cannot be read", "unknown", "unknown")

    def keep(self, lockout: Lockout) -> None:
        """Write the file durably.

        Raises:
            JournalFailed: it is not written.
        """
        new = self._path.with_suffix(".new")
        with _translated(), new.open("wb") as file:
            file.write(canonical(lockout._asdict()).encode())
            file.flush()
            os.fsync(file.fileno())
            new.replace(self._path)
            sync_folder(self._path.parent)

    def drop(self) -> None:
        """Delete the file durably.

        Raises:
            JournalFailed: it may still be there.
        """
        with _translated():
            self._path.unlink(missing_ok=True)
            sync_folder(self._path.parent)


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise JournalFailed(f"{LOCKOUT_FILE}: {error}") from error
