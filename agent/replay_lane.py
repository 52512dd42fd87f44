"""Which way a log takes through `bms-agent replay`: frame by frame, or on columns where that fits.

Both say the same; columns are many times faster and need numpy (the extra [replay]).
"""

from argparse import Namespace
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from bms_can.coverage import Coverage
from bms_can.database import Database
from bms_can.errors import BadInput
from bms_can.logfile import is_candump
from bms_can.one_channel import OneChannel, watched
from bms_can.profile import Profile
from bms_can.timeline import Change

SCALAR, COLUMNAR = "scalar", "columnar"


def lane_of(arguments: Namespace, profile: Profile | None) -> str:
    """Return the lane for a log.

    Raises:
        BadInput: columns were asked for, and cannot be had.
    """
    if arguments.lane == SCALAR:
        return SCALAR
    why_not = _why_not(arguments, profile)
    if why_not and arguments.lane == COLUMNAR:
        raise BadInput("--lane columnar", [why_not])
    return SCALAR if why_not else COLUMNAR


def _why_not(arguments: Namespace, profile: Profile | None) -> str:
    """Return why a log cannot be replayed on columns, "" if it can."""
    if arguments.sync is not None or arguments.log_clock:
        return "--sync and --log-clock look at each frame"
    if profile is not None and profile.family:
        return "the profile's family reads its frames one by one"
    if find_spec("numpy") is None:
        return 'needs numpy: pip install "bms-can-agent[replay]"'
    return "" if is_candump(Path(arguments.log)) else "is for candump text"


def replay_columns(
    log: Path, profile: Profile | None, database: Database, coverage: Coverage
) -> Iterator[Change]:
    """Count a log and yield the changes of its status, on columns.

    Raises:
        TwoBuses: see `watch_of`.
    """
    from bms_can.columnar.ahead import ahead_where_idle  # noqa: PLC0415 - same
    from bms_can.columnar.coverage import ColumnCoverage  # noqa: PLC0415 - numpy is an extra
    from bms_can.columnar.one_channel import one_channel  # noqa: PLC0415 - same
    from bms_can.columnar.scan import scan  # noqa: PLC0415 - same
    from bms_can.columnar.timeline import ColumnTimeline  # noqa: PLC0415 - same

    counts = ColumnCoverage(database, coverage.channel, coverage)
    timeline = None if profile is None else ColumnTimeline(profile, database)
    for chunk in one_channel(ahead_where_idle(scan(log)), watch_of(log, profile, database)):
        counts.take(chunk)
        if timeline is not None:
            yield from timeline.take(chunk)


def watch_of(log: Path, profile: Profile | None, database: Database) -> OneChannel:
    """Return what refuses a log on which two buses carry what a profile without channel reads."""
    if profile is None:
        return OneChannel(str(log), {})
    return OneChannel(str(log), watched(database, profile.wanted, profile.channel))


def expect_mistakes(arguments: Namespace) -> list[str]:
    """Return what speaks against a replay of the whole agent; nothing if none was asked for."""
    if arguments.expect is None and arguments.write_expect is None:
        return []
    wrong = []
    if arguments.profile is None:
        wrong.append("--expect needs --profile: without one there is no agent")
    if arguments.sync is not None or arguments.log_clock or arguments.lane != "auto":
        wrong.append("--expect goes with none of --sync, --log-clock, --lane")
    return wrong
