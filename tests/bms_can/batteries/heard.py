"""What the driver says after a few frames of a shipped battery, written as candump text."""

from functools import cache

from bms_can.database import Database
from bms_can.families import intake_of
from bms_can.frame import Frame
from bms_can.intake import Intake
from bms_can.profile import Profile
from bms_can.profile_load import load_profile
from bms_can.shipped import profile_path
from bms_can.status import BmsStatus, derive_status

STANDARD_DIGITS = 3  # of an 11-bit identifier
AT_S, NOW_S = 100.0, 100.1


@cache
def battery(name: str) -> tuple[Profile, Database]:
    """Load a shipped battery once."""
    return load_profile(profile_path(name))


def frame(text: str) -> Frame:
    """Read "356#7A13F2FE6B01"."""
    can_id, _, data = text.partition("#")
    return Frame(AT_S, int(can_id, 16), len(can_id) > STANDARD_DIGITS, bytes.fromhex(data))


def after(name: str, *texts: str) -> tuple[BmsStatus, Intake]:
    """Return the status after these frames, heard at the same moment, and the intake."""
    profile, database = battery(name)
    intake = intake_of(profile, database)
    for text in texts:
        intake.take(frame(text))
    status = derive_status(intake.table.snapshot(), profile, NOW_S, listening_since_s=AT_S)
    return status, intake


def said(name: str, *texts: str) -> tuple[int | None, list[str] | None, float | None]:
    """Return operating status, keys of active alarms (None: not known) and current [A]."""
    status, _ = after(name, *texts)
    operating = None if status.operating is None else int(status.operating)
    alarms = None if status.alarm_count is None else [alarm.key for alarm in status.alarms]
    return operating, alarms, status.current_a


def value(name: str, signal: str, *texts: str) -> float | None:
    """Return the physical value of one signal after these frames."""
    return after(name, *texts)[1].table.snapshot().samples[signal].value
