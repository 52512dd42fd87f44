"""One agent per state directory, and a clear word when there is no such directory."""

from pathlib import Path

import pytest

from agent.errors import JournalFailed
from agent.lock import LOCK_FILE, AlreadyRunning, held, only_one


def test_a_missing_directory_is_made_for_its_owner_only(tmp_path: Path) -> None:
    """A first start needs no mkdir."""
    state_dir = tmp_path / "a" / "state"
    with only_one(state_dir):
        assert state_dir.stat().st_mode & 0o777 == 0o700
        assert (state_dir / LOCK_FILE).stat().st_mode & 0o777 == 0o600


def test_the_second_is_told(tmp_path: Path) -> None:
    """Two agents on one journal would both carry out a command."""
    with (
        only_one(tmp_path),
        pytest.raises(AlreadyRunning, match="already uses"),
        only_one(tmp_path),
    ):
        pytest.fail("two agents hold one directory")


def test_it_can_be_held_again_after_the_end(tmp_path: Path) -> None:
    """The lock ends with its holder, not with the file."""
    for _ in range(2):
        with only_one(tmp_path):
            assert (tmp_path / LOCK_FILE).exists()


def test_a_place_that_is_no_directory_is_an_error_of_ours(tmp_path: Path) -> None:
    """The command line shows one line and exit code 74, not a traceback."""
    (tmp_path / "file").touch()
    with pytest.raises(JournalFailed, match=LOCK_FILE), only_one(tmp_path / "file" / "state"):
        pytest.fail("held what is not there")


def test_an_agent_is_seen_though_its_lock_file_was_deleted(tmp_path: Path) -> None:
    """`send` must not take the bus of a running agent for nobody's."""
    assert held(tmp_path) is False
    with only_one(tmp_path):
        assert held(tmp_path) is True
        (tmp_path / LOCK_FILE).unlink()
        assert held(tmp_path) is True
    assert held(tmp_path) is False
    assert held(tmp_path / "nowhere") is False
