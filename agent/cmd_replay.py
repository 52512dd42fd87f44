"""bms-agent replay: a recorded log through the same path as the live bus."""

import json
import threading
from argparse import Namespace
from collections import deque
from collections.abc import Iterator
from contextlib import closing, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from agent.clock import SystemClock
from agent.config_url import url_mistake
from agent.render_replay import coverage_lines, coverage_values, timeline_line, timeline_values
from agent.replay_lane import COLUMNAR, expect_mistakes, lane_of, replay_columns, watch_of
from bms_can.coverage import Coverage
from bms_can.database import Database, load
from bms_can.errors import BadInput, BadLogLine, TwoBuses
from bms_can.families import coverage_of
from bms_can.frame import Frame
from bms_can.logfile import open_log
from bms_can.one_channel import OneChannel
from bms_can.profile import Profile
from bms_can.profile_load import load_profile
from bms_can.shipped import profile_path
from bms_can.timeline import Change, Timeline

if TYPE_CHECKING:
    from agent.replay_sync import ReplaySync

EXIT_NOT_DONE = 1


def main(arguments: Namespace) -> int:
    """Replay one log; 1 if it holds no frame at all, or if the platform did not take a report."""
    _check(arguments)
    profile, database = _profile(arguments)
    if profile is not None and (arguments.expect or arguments.write_expect):
        from agent.replay_expect import run_expected  # noqa: PLC0415 - brings the whole agent

        return run_expected(arguments, (profile, database))
    channel = profile.channel if profile else arguments.channel
    coverage = coverage_of(profile, database, channel)
    sync = None if profile is None else _sync(arguments, profile)
    changes: list[Change] = []
    try:
        with nullcontext() if sync is None else closing(sync):
            for change in _changes(arguments, (profile, database), coverage, sync):
                changes.append(change)
                if not arguments.json:
                    print(timeline_line(change), flush=True)  # noqa: T201 - the command's output
    except TwoBuses:
        raise  # a summary of a mixture would be none
    except BadInput:
        if coverage.frames:  # the log is damaged: what stands before that is worth to be seen
            _show(arguments, (profile, database), coverage, changes, sync)
        raise
    _show(arguments, (profile, database), coverage, changes, sync)
    return EXIT_NOT_DONE if not coverage.frames or (sync and sync.failed) else 0


def _show(
    arguments: Namespace,
    battery: tuple[Profile | None, Database],
    coverage: Coverage,
    changes: list[Change],
    sync: "ReplaySync | None",
) -> None:
    """Print the summary; the changes were printed as they came, unless all is JSON."""
    profile, database = battery
    warnings = database.warnings
    if arguments.json:
        document = {
            "log": str(arguments.log),
            "dbc": database.path,
            "dbc_warnings": list(warnings),
            "profile": profile.name if profile else None,
            **coverage_values(coverage, profile),
            "timeline": [timeline_values(change) for change in changes],
            "sync": sync.values() if sync else None,
        }
        print(json.dumps(document, ensure_ascii=False, indent=1))  # noqa: T201 - the command's output
    else:
        for line in coverage_lines(coverage, profile, warnings, changes):
            print(line)  # noqa: T201 - the command's output
        if sync is not None:
            print(sync.line())  # noqa: T201 - the command's output


def _check(arguments: Namespace) -> None:
    """Refuse combinations that make no sense, all at once."""
    wrong = expect_mistakes(arguments)
    if arguments.profile is None and arguments.dbc is None:
        wrong.append("give --profile, or --dbc for coverage only")
    if arguments.sync is not None:
        if arguments.profile is None:
            wrong.append("--sync needs --profile: without one the status is not known")
        if arguments.device is None or arguments.key_file is None:
            wrong.append("--sync needs --device and --key-file")
        if mistake := url_mistake(arguments.sync):
            wrong.append(f"--sync {mistake}")
        if not arguments.sync_period_s > 0:
            wrong.append("--sync-period-s must be positive")
    if wrong:
        raise BadInput("bms-agent replay", wrong)


def _profile(arguments: Namespace) -> tuple[Profile | None, Database]:
    if arguments.profile is None:
        return None, load(arguments.dbc)
    profile, database = load_profile(profile_path(arguments.profile), arguments.dbc)
    if arguments.channel is not None:
        profile = replace(profile, channel=arguments.channel)
    return profile, database


def _frames(arguments: Namespace, coverage: Coverage, watch: OneChannel) -> Iterator[Frame]:
    """Yield the data frames of the log; everything else is counted."""
    for entry in watch.entries(open_log(arguments.log)):
        if isinstance(entry, BadLogLine):
            coverage.skip(entry)
        else:
            coverage.take(entry)
            yield entry


def _sync(arguments: Namespace, profile: Profile) -> "ReplaySync | None":
    if arguments.sync is None:
        return None
    from agent.replay_sync import ReplaySync  # noqa: PLC0415 - the platform's client is heavy

    return ReplaySync(
        arguments.sync, Path(arguments.key_file), arguments.device, profile, arguments.sync_period_s
    )


def _changes(
    arguments: Namespace,
    battery: tuple[Profile | None, Database],
    coverage: Coverage,
    sync: "ReplaySync | None",
) -> Iterator[Change]:
    """Drive the log through, on the lane that fits; yield the changes as they come."""
    profile, database = battery
    if lane_of(arguments, profile) == COLUMNAR:
        yield from replay_columns(arguments.log, profile, database, coverage)
        return
    timeline = None if profile is None else Timeline(profile, database)
    watch = watch_of(arguments.log, profile, database)
    if watch.messages and arguments.log.is_file():
        _look_ahead(arguments.log, watch)
    yield from _run(arguments, _frames(arguments, coverage, watch), timeline, sync)


def _look_ahead(log: Path, watch: OneChannel) -> None:
    """Refuse a log that mixes buses before a status is printed, or sent to a platform."""
    try:
        deque(watch.entries(open_log(log)), maxlen=0)
    except TwoBuses:
        raise
    except BadInput:
        pass


def _run(
    arguments: Namespace,
    frames: Iterator[Frame],
    timeline: Timeline | None,
    sync: "ReplaySync | None",
) -> Iterator[Change]:
    """Drive all frames through one by one."""
    clock, never = SystemClock(), threading.Event()
    started_s, first_s = clock.monotonic_s(), None
    for frame in frames:
        first_s = frame.at_s if first_s is None else first_s
        if arguments.log_clock:
            ahead_s = (frame.at_s - first_s) - (clock.monotonic_s() - started_s)
            clock.wait(never, ahead_s)
        if timeline is not None:
            yield from timeline.take(frame)
            if sync is not None:
                sync.look(timeline)
