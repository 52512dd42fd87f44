"""bms-agent profile test: a log is replayed, and must say what is expected."""

from argparse import Namespace
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

from agent.expectation import SHOWN, differences, document, read_expectation
from agent.replay_lane import COLUMNAR, lane_of, replay_columns, watch_of
from agent.safe_write import write_text
from bms_can.coverage import Coverage
from bms_can.database import Database
from bms_can.errors import BadInput
from bms_can.frame import Frame
from bms_can.logfile import open_log
from bms_can.profile import Profile
from bms_can.profile_load import load_profile
from bms_can.shipped import profile_path
from bms_can.timeline import Change, Timeline

EXIT_DIFFERS = 1


def main(arguments: Namespace) -> int:
    """Test one profile; 1 if something differs."""
    profile, database = load_profile(profile_path(arguments.file), arguments.dbc)
    if arguments.channel is not None:
        profile = replace(profile, channel=arguments.channel)
    wanted = None if arguments.expect is None else read_expectation(arguments.expect)
    changes = list(_changes(arguments, profile, database))
    if not changes:
        raise BadInput(str(arguments.log), ["holds no frame"])
    if wanted is None:
        text = document(arguments.log.name, profile.name, changes)
        write_text(arguments.write_expect, text, force=False)
        _say(f"{arguments.write_expect}: {len(changes)} changes; check them before you trust them")
        return 0
    found = list(differences(wanted, changes))
    if not found:
        count = len(wanted.instants) + len(wanted.changes or ())
        _say(f"good: {arguments.log.name} says what is expected, {count} statements")
        return 0
    for line in islice(found, SHOWN):
        _say(line)
    if len(found) > SHOWN:
        _say(f"and {len(found) - SHOWN} more lines")
    _say(f"{arguments.expect}: {arguments.log.name} says something else")
    return EXIT_DIFFERS


def _changes(arguments: Namespace, profile: Profile, database: Database) -> Iterator[Change]:
    if lane_of(arguments, profile) == COLUMNAR:
        coverage = Coverage(database, profile.channel)
        yield from replay_columns(arguments.log, profile, database, coverage)
        return
    entries = watch_of(arguments.log, profile, database).entries(open_log(arguments.log))
    frames = (entry for entry in entries if isinstance(entry, Frame))
    yield from Timeline(profile, database).run(frames)


def _say(line: str) -> None:
    print(line)  # noqa: T201 - the command's output
