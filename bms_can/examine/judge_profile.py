"""Findings on a profile against a log: deadlines, integrity rules, missing messages. Pure."""

from collections.abc import Iterator

from bms_can.examine.finding import Finding, Numbers, Weight
from bms_can.examine.judge import LEAST_FRAMES, Evidence
from bms_can.examine.judge_bits import covering
from bms_can.examine.stream import Stream, StreamKey
from bms_can.profile import Profile

LONG_PERIODS = 20  # a deadline of so many periods notices silence late ...
LONG_S = 3.0  # ... if it is also longer than this


def judge_profile(evidence: Evidence) -> Iterator[Finding]:
    """Yield where the log and the profile do not fit together."""
    profile = evidence.profile
    if profile is None or evidence.database is None:
        return
    for name in profile.wanted:
        stream = stream_of(evidence, profile, name)
        if stream is None:
            weight = Weight.WRONG if name in profile.required else Weight.LOOK
            values: Numbers = {"required": int(name in profile.required)}
            yield Finding("profile-silent", weight, name, 1.0, 0, 0, None, None, values)
        elif not evidence.coarse:
            yield from _deadline(profile, name, stream)
        if stream is not None:
            yield from _integrity(evidence, profile, name, stream)


def stream_of(evidence: Evidence, profile: Profile, message: str) -> Stream | None:
    """Return the frames of a message on the profile's channel; the busiest where it names none."""
    if evidence.database is None:
        return None
    definition = evidence.database.messages[message]
    found = [
        stream
        for channel in evidence.log.channels
        if profile.channel in (None, channel) or channel == ""
        if (stream := evidence.log.streams.get(
            StreamKey(channel, definition.frame_id, definition.is_extended_frame)
        ))
    ]  # fmt: skip
    return max(found, key=lambda stream: stream.frames, default=None)


def _deadline(profile: Profile, name: str, stream: Stream) -> Iterator[Finding]:
    deadline_s = profile.deadlines_s[name]
    rhythm, steps = stream.timing.rhythm(), stream.timing.steps
    if rhythm.period_s is None or steps < LEAST_FRAMES:
        return
    values: Numbers = {
        "deadline_ms": round(deadline_s * 1000),
        "period_ms": round(rhythm.period_s * 1000, 1),
        "longest_ms": round(rhythm.longest_s * 1000, 1),
    }
    late = round(stream.timing.share_longer(deadline_s) * steps)
    if rhythm.longest_s > deadline_s:
        place = rhythm.gaps[0] if rhythm.gaps else None
        required = name in profile.required
        yield Finding(
            "deadline-short" if required else "deadline-short-values",
            Weight.LOOK if required else Weight.NOTE, name, 0.9, max(late, 1), steps,
            None if place is None else place.from_s, None if place is None else place.line, values,
        )  # fmt: skip
    elif deadline_s > max(LONG_S, LONG_PERIODS * rhythm.period_s):
        yield Finding("deadline-long", Weight.NOTE, name, 0.9, steps, steps, None, None, values)


def _integrity(
    evidence: Evidence, profile: Profile, name: str, stream: Stream
) -> Iterator[Finding]:
    rule = profile.integrity.get(name)
    found = stream.checksum
    message = None if evidence.database is None else evidence.database.messages[name]
    if found is not None and found.name and (rule is None or rule.algorithm != found.name):
        values: Numbers = {
            "algorithm": found.name,
            "byte": found.byte,
            "signal": covering(message, 0xFF << 8 * found.byte),
            "said": "" if rule is None else rule.algorithm,
        }
        weight = Weight.LOOK if rule is None or rule.algorithm is None else Weight.WRONG
        yield Finding(
            "profile-checksum", weight, name, found.share, found.good, found.frames,
            None, stream.first_line, values,
        )  # fmt: skip
    if rule is None and stream.counters and not stream.counters[0].is_page:
        counter = stream.counters[0]
        values = {"signal": covering(message, counter.mask()), "modulo": counter.modulo}
        yield Finding(
            "profile-counter", Weight.LOOK, name, counter.share, counter.good, counter.steps,
            None, stream.first_line, values,
        )  # fmt: skip
