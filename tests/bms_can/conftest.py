"""Fixtures of the driver's tests."""

from itertools import count
from pathlib import Path

import pytest

from bms_can.database import Database
from bms_can.profile import Profile
from bms_can.profile_load import load_profile
from tests.bms_can.build import Battery

ROOT = Path(__file__).parents[2]
ESS_BAU = ROOT / "dbc" / "ess_bau.toml"
_channels = count()


@pytest.fixture(scope="session")
def loaded() -> tuple[Profile, Database]:
    """Our default battery, as delivered."""
    return load_profile(ESS_BAU)


@pytest.fixture(scope="session")
def ess_bau(loaded: tuple[Profile, Database]) -> Profile:
    """Profile of our default battery."""
    return loaded[0]


@pytest.fixture
def battery(loaded: tuple[Profile, Database]) -> Battery:
    """Sender of frames of our default battery."""
    return Battery(*loaded)


@pytest.fixture
def channel() -> str:
    """Name of a virtual bus that no other test uses (trap 11)."""
    return f"driver-{next(_channels)}"
