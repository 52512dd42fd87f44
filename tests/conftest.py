"""The platform as a real process, for every test that needs one."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.ems_process import Ems, start_ems

# No test of the suite is a timed one: on a busy machine an example takes as long as it takes.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.fixture(scope="session")
def ems(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ems]:
    """Give the platform of the session; a sync without an answer takes 1 s there."""
    ems = start_ems(tmp_path_factory.mktemp("ems") / "ems.db", "--sync-wait-s", "1")
    yield ems
    assert ems.stop() == 0, ems.log()
    assert "Traceback" not in ems.log(), ems.log()


@pytest.fixture
def own_ems(tmp_path: Path) -> Iterator[Ems]:
    """Give a platform of the test's own, to stop and kill."""
    ems = start_ems(tmp_path / "ems.db")
    yield ems
    ems.stop()
