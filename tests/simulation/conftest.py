"""Worlds on a folder in memory: what is tested here is order, not the durability of a disk."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.simulation.episodes import MEMORY_DISK


@pytest.fixture
def folder() -> Iterator[Path]:
    """Give an empty folder, in memory where the machine has such a place."""
    where = MEMORY_DISK if MEMORY_DISK.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="sim-", dir=where) as name:
        yield Path(name)
