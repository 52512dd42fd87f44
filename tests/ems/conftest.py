"""A platform on a real SQLite file with a clock that tests step: devices A and B, one operator."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ems.clock import EmsClock
from ems.database import Database, open_database
from ems.registry import Registry
from ems.security import Principal
from ems.services import Services, Settings
from tests.ems.helpers import OPERATOR, FakeClock


@pytest.fixture
def clock() -> FakeClock:
    """Give a clock that stands still."""
    return FakeClock()


@pytest.fixture
def database(tmp_path: Path, clock: EmsClock) -> Iterator[Database]:
    """Give an open store with devices A and B."""
    opened = open_database(tmp_path / "ems.db")
    registry = Registry(opened, clock)
    registry.add_device("A", "Battery A", {})
    registry.add_device("B", "Battery B", {})
    yield opened
    opened.close()


@pytest.fixture
def platform(database: Database, clock: EmsClock) -> Services:
    """Give the stores and waiters of a platform."""
    return Services(database, clock, Settings())


@pytest.fixture
def operator(platform: Services) -> Principal:
    """Give an operator of all devices."""
    who = platform.registry.identify(platform.registry.create_key("operator", OPERATOR, []).text)
    assert who is not None
    return who
