"""Listens on a bus for a few seconds and holds what came against DBC and profile. Sends nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from agent.clock import Clock
from agent.doctor_facts import HeardFacts, PeriodFacts
from agent.heartbeat import allowed
from bms_can.babble import LOOK_S, Babble
from bms_can.bus import BusSettings, open_port
from bms_can.coverage import Coverage, Doubt
from bms_can.database import Database, cycle_time_ms
from bms_can.errors import BusDown
from bms_can.families import intake_of
from bms_can.frame import Frame, frame_text
from bms_can.profile import Profile
from bms_can.status import derive_status
from bms_can.traffic import Traffic

POLL_S = 0.2
ENOUGH = 4  # frames of a message before anything is said about its period


class Recording(NamedTuple):
    """What came in a while.

    Attributes:
        frames: data frames in order; dropped: other messages by kind.
        trouble: why the bus could not be opened or failed, "" if it worked.
        end_s: when listening ended, monotonic [s].
    """

    frames: Sequence[Frame]
    dropped: Mapping[str, int]
    trouble: str
    end_s: float


def record(settings: BusSettings, clock: Clock, seconds: float) -> Recording:
    """Return what comes on a bus in so many seconds."""
    frames: list[Frame] = []
    try:
        port = open_port(settings, clock.monotonic_s, own_frames=False)
    except BusDown as error:
        return Recording(frames, {}, str(error), clock.monotonic_s())
    trouble, end_s = "", clock.monotonic_s() + seconds
    try:
        while (left_s := end_s - clock.monotonic_s()) > 0:
            frame = port.receive(min(POLL_S, left_s))
            if frame is not None:
                frames.append(frame)
    except BusDown as error:
        trouble = str(error)
    finally:
        port.close()
    return Recording(frames, port.dropped, trouble, clock.monotonic_s())


def judge_recording(
    before: HeardFacts,
    heard: Recording,
    database: Database | None,
    profile: Profile | None,
    *,
    heartbeat: bool = False,
) -> HeardFacts:
    """Return the facts with all that can be said about what was heard.

    Without our `heartbeat` its frame is anybody else's business, as it is for the agent.
    """
    facts = replace(
        before,
        trouble=heard.trouble,
        frames=len(heard.frames),
        error_frames=heard.dropped.get("error", 0),
        babbling=_babbling(heard, before.seconds),
    )
    if database is not None and heard.frames:
        facts = _with_dbc(facts, heard, database, profile)
    if database is not None and profile is not None and heard.frames:
        ours = {(entry.can_id, entry.extended) for entry in allowed(profile, heartbeat=heartbeat)}
        facts = replace(_with_profile(facts, heard, database, profile), control=_used(ours, heard))
    return facts


def _used(ours: set[tuple[int, bool]], heard: Recording) -> tuple[str, ...]:
    """Return the identifiers of ours that came."""
    came = {(frame.can_id, frame.extended) for frame in heard.frames}
    return tuple(_text(key) for key in sorted(ours & came))


def _babbling(heard: Recording, seconds: float) -> str | None:
    if seconds < LOOK_S:
        return None
    watch = Babble()
    watch.see((), heard.end_s - seconds)
    watch.see(heard.frames, heard.end_s)
    return watch.text


def _with_dbc(
    facts: HeardFacts, heard: Recording, database: Database, profile: Profile | None
) -> HeardFacts:
    coverage, traffic = Coverage(database), Traffic()
    for frame in heard.frames:
        coverage.take(frame)
        traffic.take(frame)
    return replace(
        facts,
        percent_known=coverage.percent_known,
        unknown=tuple(_text(key) for key, _ in coverage.unknown.most_common()),
        doubts={name: _why(doubt) for name, doubt in coverage.doubts().items()},
        periods=_periods(traffic, database, profile),
    )


def _with_profile(
    facts: HeardFacts, heard: Recording, database: Database, profile: Profile
) -> HeardFacts:
    intake = intake_of(replace(profile, channel=None), database)
    for frame in heard.frames:
        intake.take(frame)
    came = {(frame.can_id, frame.extended) for frame in heard.frames}
    ids = {name: _key(database, name) for name in profile.required}
    sealed = {_key(database, name) for name in profile.integrity}
    status = derive_status(
        intake.table.snapshot(), profile, heard.end_s, listening_since_s=heard.frames[0].at_s
    )
    operating = status.operating
    words = None if operating is None else operating.name.replace("_", " ").lower()
    return replace(
        facts,
        missing=tuple(name for name, key in ids.items() if key not in came),
        bad=dict(intake.bad) if intake.bad or sealed & came else None,
        status=None if words is None else f"{words}, {_alarms(status.alarm_count)}",
    )


def _alarms(count: int | None) -> str:
    return "alarms not known" if count is None else f"{count} alarms"


def _key(database: Database, name: str) -> tuple[int, bool]:
    message = database.messages[name]
    return message.frame_id, message.is_extended_frame


def _periods(
    traffic: Traffic, database: Database, profile: Profile | None
) -> tuple[PeriodFacts, ...]:
    deadlines_s = {} if profile is None else profile.deadlines_s
    found = []
    for key, seen in traffic.seen.items():
        message = database.by_id.get(key)
        cycle_ms = None if message is None else cycle_time_ms(message)
        if message is not None and cycle_ms and seen.count >= ENOUGH:
            deadline_s = deadlines_s.get(message.name)
            name, wanted_s = message.name, cycle_ms / 1000
            found.append(PeriodFacts(name, wanted_s, seen.mean_gap_s, deadline_s))
    return tuple(found)


def _why(doubt: Doubt) -> str:
    reasons = [f"{count} of {doubt.frames} frames: {name}" for name, count in doubt.bad.items()]
    worst = doubt.impossible.most_common(1)
    reasons += [f"{key} is no possible value in {count}" for key, count in worst]
    return ", ".join(reasons)


def _text(key: tuple[int, bool]) -> str:
    return frame_text(*key, b"").removesuffix("#")
