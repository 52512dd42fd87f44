"""What stops remote closes outlives the process, until a person clears it."""

from pathlib import Path

import pytest

from agent.clock import FakeClock
from agent.device import Device
from agent.journal import Journal
from agent.journal_rows import Stamp
from agent.latches import NOTE, Latches
from bms_can.control import ControlPort
from bms_can.guard import Guard
from bms_can.intake import Intake
from bms_can.profile_load import load_profile
from bms_can.shipped import profile_path

UID = "SITE-1"


@pytest.fixture
def clock() -> FakeClock:
    """Return a clock that stands still."""
    return FakeClock()


@pytest.fixture
def journal(tmp_path: Path, clock: FakeClock) -> Journal:
    """Return a journal on disk."""
    return Journal(tmp_path / "journal.db", Stamp.of(clock))


def device() -> Device:
    """Return a device as a new process has it."""
    profile, database = load_profile(profile_path("ess_bau"))
    control = ControlPort(Guard(profile.guard), lambda: None)
    return Device(UID, profile, Intake(profile, database), control, False, True, 0.0)  # noqa: FBT003 - positional fields


def notes(journal: Journal) -> list[object]:
    """Return the bodies of the notes about latches."""
    return [event.evidence for event in journal.log() if event.kind == NOTE]


def test_a_lost_frame_is_remembered_by_the_next_process(journal: Journal, clock: FakeClock) -> None:
    """A frame that never came back still stops closes after a restart."""
    first = device()
    latches = Latches(first, journal, clock)
    first.control.unsafe = "command 1: no echo"
    latches.step()
    second = device()
    Latches(second, journal, clock)
    assert (second.control.unsafe, second.control.foreign) == ("command 1: no echo", "")


def test_a_foreign_master_is_remembered_until_cleared(journal: Journal, clock: FakeClock) -> None:
    """A person's word clears it for all processes to come, and both are on record."""
    first = device()
    latches = Latches(first, journal, clock)
    first.control.restore("", "1811F4E5#01")
    latches.step()
    first.control.clear()
    latches.step()
    second = device()
    Latches(second, journal, clock)
    assert (second.control.unsafe, second.control.foreign) == ("", "")
    assert notes(journal) == [
        {"tx_unsafe": "", "foreign_master": "1811F4E5#01"},
        {"tx_unsafe": "", "foreign_master": ""},
    ]


def test_nothing_is_written_while_nothing_changes(journal: Journal, clock: FakeClock) -> None:
    """A pass without news costs no write."""
    latches = Latches(device(), journal, clock)
    before = journal.head()
    latches.step()
    assert journal.head() == before


def test_a_journal_that_fails_is_tried_again(tmp_path: Path, clock: FakeClock) -> None:
    """What could not be written stays latched, and is written when the disk works again."""
    folder = tmp_path / "state"
    journal = Journal(folder / "journal.db", Stamp.of(clock))
    one = device()
    latches = Latches(one, journal, clock)
    one.control.unsafe = "lost"
    journal.close()
    moved = folder.rename(tmp_path / "away")
    folder.write_text("a file where the folder was", encoding="ascii")
    latches.step()
    folder.unlink()
    moved.rename(folder)
    latches.step()
    assert notes(journal) == [{"tx_unsafe": "lost", "foreign_master": ""}]
