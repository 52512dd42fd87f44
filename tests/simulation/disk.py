"""The disk under journal and outbox: slow, failing, dying with the process, at any commit."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from agent.sqlite_file import SqliteFile

Connection = sqlite3.Connection
Hook = Callable[[str], None]


@dataclass(slots=True)
class Disk:
    """How the disk is now.

    Attributes:
        fail: "" works; "write" no commit succeeds; "doubt" a commit is on the disk, yet an error
            comes back; "dead" neither writes nor reads succeed.
        slow_s: how long a commit takes [s].
        hook: called with "before NAME" and "after NAME" round each commit; may raise Crash.
        stall: lets so much time pass in which only the bus lives [s].
    """

    hook: Hook
    stall: Callable[[float], None]
    fail: str = ""
    slow_s: float = 0.0

    def attach(self, file: SqliteFile, name: str) -> None:
        """Put this disk under a file of the agent."""
        transaction, reading = file.transaction, file.reading

        @contextmanager
        def on_this_disk() -> Iterator[Connection]:
            with transaction() as connection:
                yield connection
                self._before(name)
            self._after(file, name)

        @contextmanager
        def read_on_this_disk() -> Iterator[Connection]:
            if self.fail == "dead":
                raise file._failed(f"{name}: disk I/O error")
            with reading() as connection:
                yield connection

        file.transaction = on_this_disk  # type: ignore[method-assign]  # the seam of the fault
        file.reading = read_on_this_disk  # type: ignore[method-assign]  # same

    def _before(self, name: str) -> None:
        self.hook(f"before {name}")
        if self.slow_s:
            self.stall(self.slow_s)
        if self.fail in {"write", "dead"}:
            raise sqlite3.OperationalError("disk I/O error")

    def _after(self, file: SqliteFile, name: str) -> None:
        self.hook(f"after {name}")
        if self.fail == "doubt":
            file._drop()
            raise file._failed(f"{name}: disk I/O error")
