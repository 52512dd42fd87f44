"""A folder for state files that need no disk of their own."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def scratch() -> Iterator[Path]:
    """Give an empty folder, in memory where there is one: the images need no disk of their own."""
    memory = Path("/dev/shm")  # noqa: S108 - a folder with a random name is made in it
    where = memory if os.access(memory, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="power-", dir=where) as folder:
        yield Path(folder)
