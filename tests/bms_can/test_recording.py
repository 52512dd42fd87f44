"""A recording of the simulated default battery, replayed: every state of half a minute."""

import importlib.util
from pathlib import Path

import pytest

from bms_can.candump import candump_frames
from bms_can.frame import Frame
from bms_can.profile_load import load_profile
from bms_can.timeline import Change, Timeline

ROOT = Path(__file__).parents[2]
LOG = ROOT / "tests" / "data" / "ess_bau" / "half_minute.log"

# Time [s] -> operating_status, alarm_status, disconnected at that moment. From the script in
# record.py and the timing of the battery: precharge 2 s, opening 0.2 s, current hold 0.5 s.
EXPECTED = {
    1.5: (1, 0, False),
    3.0: (None, 0, False),  # precharge: neither open nor closed
    5.0: (2, 0, False),
    8.0: (3, 0, False),
    12.0: (4, 0, False),
    15.0: (4, 1, False),
    16.4: (4, 0, False),
    18.0: (1, 1, False),  # a latched fault opens the contactor
    20.0: (1, 1, False),  # the close at 19 s was refused
    21.5: (1, 0, False),  # reset
    23.5: (None, 1, True),  # silence is never "powered down"
    25.9: (1, 0, False),
    27.0: (None, 0, False),
    28.9: (2, 0, False),
    29.9: (1, 0, False),
}


@pytest.fixture(scope="module")
def changes() -> list[Change]:
    """All changes of status in the log."""
    timeline = Timeline(*load_profile(ROOT / "dbc" / "ess_bau.toml"))
    with LOG.open(encoding="ascii") as lines:
        frames = [each for each in candump_frames(lines) if isinstance(each, Frame)]
    found = list(timeline.run(frames))
    assert not timeline.intake.bad
    return found


@pytest.mark.parametrize(("at_s", "expected"), EXPECTED.items())
def test_status_at_moments(
    changes: list[Change], at_s: float, expected: tuple[int | None, int, bool]
) -> None:
    """At each moment the status is what the script of the recording makes it."""
    status = [change.status for change in changes if change.rel_s <= at_s][-1]
    assert (status.operating, status.alarm_count, status.disconnected) == expected


def test_the_log_is_what_the_simulator_sends() -> None:
    """The file is the recording of today's simulator, byte for byte; else run record.py again."""
    spec = importlib.util.spec_from_file_location("record", LOG.with_name("record.py"))
    assert spec is not None
    assert spec.loader is not None
    record = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(record)
    assert list(record.lines()) == LOG.read_text(encoding="ascii").splitlines()
