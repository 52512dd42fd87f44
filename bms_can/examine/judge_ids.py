"""Findings on identifiers: unknown ones, lengths, periods, gaps, messages that never came. Pure."""

from collections.abc import Iterator

from bms_can.database import cycle_time_ms
from bms_can.examine.finding import Finding, Numbers, Weight, identifier
from bms_can.examine.j1939 import pgn_of
from bms_can.examine.judge import LEAST_FRAMES, Evidence, listed
from bms_can.examine.stream import Stream
from bms_can.examine.timing import Rhythm
from bms_can.layout import wire_length

PERIOD_OFF = 0.2  # of the stated period
JITTER = 0.5  # of the period, between the early and the late 5 %
MANY_GAPS = 0.02  # of the steps: then it comes in bursts, and its silences are no gaps
PAUSE_SHARE = 0.5  # of the identifiers that are silent together: the bus paused, or the recorder


def judge_ids(evidence: Evidence) -> Iterator[Finding]:
    """Yield what the identifiers say."""
    for channel in sorted(evidence.log.channels):
        yield from _coverage(evidence, channel)
        yield from _unknown(evidence, channel)
        if not evidence.coarse:
            yield from _gaps(evidence, channel)
    for stream in evidence.streams():
        yield from _length(evidence, stream)
        if not evidence.coarse:
            yield from _period(evidence, stream)
    yield from _never_heard(evidence)
    yield from _no_cycle_times(evidence)


def _coverage(evidence: Evidence, channel: str) -> Iterator[Finding]:
    if evidence.dbc is None or evidence.described(channel):
        return
    frames = evidence.log.channels[channel]
    values: Numbers = {"known_percent": round(evidence.known_percent(channel), 1)}
    known = evidence.known_frames(channel)
    subject = evidence.where(channel, "").strip()
    kind, confidence = "not-described", 0.95
    senders = other_senders(evidence, channel)
    if senders:
        kind, confidence = "other-addresses", 0.8
        words = [f"{name} from {_addresses(streams)}" for name, streams in senders.items()]
        values = {**values, "messages": len(senders), "list": listed(words)}
    yield Finding(
        kind, Weight.WRONG, subject, confidence, frames - known, frames, None, None, values
    )


def other_senders(evidence: Evidence, channel: str) -> dict[str, list[Stream]]:
    """Return messages of the DBC that come, but with another last byte: a J1939 address.

    By name of the message, what was heard in its place, the most frequent first.
    """
    found: dict[str, list[Stream]] = {}
    database = evidence.database
    heard = [s for s in evidence.streams() if s.key.channel == channel and s.key.extended]
    for (can_id, extended), message in ({} if database is None else database.by_id).items():
        alike = [s for s in heard if extended and s.key.can_id >> 8 == can_id >> 8]
        if alike and not any(evidence.is_known(s.key) for s in alike):
            found[message.name] = sorted(alike, key=lambda each: -each.frames)
    return found


def _addresses(streams: list[Stream]) -> str:
    return ", ".join(f"0x{stream.key.can_id & 0xFF:02X}" for stream in streams)


def _unknown(evidence: Evidence, channel: str) -> Iterator[Finding]:
    unknown = [
        s for s in evidence.streams() if s.key.channel == channel and not evidence.is_known(s.key)
    ]
    if evidence.database is None or not unknown:
        return
    unknown.sort(key=lambda stream: -stream.frames)
    frames = sum(stream.frames for stream in unknown)
    words = [f"{identifier(s.key.can_id, extended=s.key.extended)} x{s.frames}" for s in unknown]
    total = evidence.log.channels[channel]
    values: Numbers = {"ids": len(unknown), "list": listed(words, 8)}
    weight = Weight.LOOK if frames > total / 10 else Weight.NOTE
    first = min(stream.first_line for stream in unknown)
    subject = evidence.where(channel, "").strip()
    yield Finding("unknown-ids", weight, subject, 1.0, frames, total, None, first, values)
    yield from _same_group(evidence, unknown)


def _same_group(evidence: Evidence, unknown: list[Stream]) -> Iterator[Finding]:
    """29-bit identifiers that differ from a message of the DBC in priority or source only."""
    database = evidence.database
    messages = (
        {}
        if database is None
        else {
            pgn_of(can_id): message.name
            for (can_id, extended), message in database.by_id.items()
            if extended
        }
    )
    close = [s for s in unknown if s.key.extended and pgn_of(s.key.can_id) in messages]
    if close:
        words = [
            f"{identifier(s.key.can_id, extended=True)} ~ {messages[pgn_of(s.key.can_id)]}"
            for s in close
        ]
        frames = sum(stream.frames for stream in close)
        yield Finding(
            "same-group", Weight.LOOK, "", 0.6, frames, evidence.log.frames, None,
            close[0].first_line, {"list": listed(words)},
        )  # fmt: skip


def _length(evidence: Evidence, stream: Stream) -> Iterator[Finding]:
    database = evidence.database
    message = (
        None if database is None else database.by_id.get((stream.key.can_id, stream.key.extended))
    )
    if message is None or not message.length or stream.isotp:
        return
    stated = wire_length(message.length)
    allowed = {stated, *database.more_lengths.get(message.name, ())} if database else {stated}
    wrong = {size: count for size, count in stream.lengths.items() if size not in allowed}
    if wrong:
        size = max(wrong, key=lambda each: wrong[each])
        values: Numbers = {"stated": stated, "found": size, "others": len(wrong) - 1}
        frames = sum(wrong.values())
        line = min(stream.length_lines[each] for each in wrong)
        yield Finding(
            "length", Weight.WRONG, evidence.stream_name(stream), 1.0, frames, stream.frames,
            None, line, values,
        )  # fmt: skip


def is_steady(rhythm: Rhythm, stream: Stream) -> bool:
    """Tell whether an identifier comes at one period, without bursts."""
    enough = stream.timing.steps >= LEAST_FRAMES
    return enough and rhythm.is_periodic and rhythm.gap_count <= MANY_GAPS * stream.timing.steps + 1


def _period(evidence: Evidence, stream: Stream) -> Iterator[Finding]:
    rhythm, name = stream.timing.rhythm(), evidence.stream_name(stream)
    if rhythm.period_s is None or not is_steady(rhythm, stream):
        return
    database = evidence.database
    message = (
        None if database is None else database.by_id.get((stream.key.can_id, stream.key.extended))
    )
    stated_ms = None if message is None else cycle_time_ms(message)
    steps = stream.timing.steps
    if stated_ms is not None and abs(rhythm.period_s * 1000 / stated_ms - 1) > PERIOD_OFF:
        values: Numbers = {"stated_ms": stated_ms, "found_ms": round(rhythm.period_s * 1000, 1)}
        yield Finding(
            "period", Weight.LOOK, name, 0.9, steps, steps, None, stream.first_line, values
        )
    spread = (rhythm.late_s - rhythm.early_s) / rhythm.period_s
    if spread > JITTER:
        values = {
            "period_ms": round(rhythm.period_s * 1000, 1),
            "early_ms": round(rhythm.early_s * 1000, 1),
            "late_ms": round(rhythm.late_s * 1000, 1),
        }
        off = round(steps * (1 - rhythm.regular))
        yield Finding("jitter", Weight.NOTE, name, 0.9, off, steps, None, None, values)


def _gaps(evidence: Evidence, channel: str) -> Iterator[Finding]:
    """Silences of one identifier; those that most share are one finding of the channel."""
    ours = (stream for stream in evidence.streams() if stream.key.channel == channel)
    all_rhythms = ((stream, stream.timing.rhythm()) for stream in ours)
    steady = [(stream, rhythm) for stream, rhythm in all_rhythms if is_steady(rhythm, stream)]
    pauses: set[int] = set()
    for stream, rhythm in steady:
        gap = rhythm.gaps[0] if rhythm.gaps else None
        if gap is None:
            continue
        middle_s = gap.from_s + gap.length_s / 2
        fast = [r for _, r in steady if (r.period_s or 0) < gap.length_s / 3]
        silent = [
            r for r in fast if any(g.from_s < middle_s < g.from_s + g.length_s for g in r.gaps)
        ]
        values: Numbers = {
            "longest_s": round(gap.length_s, 3),
            "period_ms": round((rhythm.period_s or 0) * 1000, 1),
        }
        if len(silent) > 2 and len(silent) >= PAUSE_SHARE * len(fast):  # noqa: PLR2004 - two may be one sender
            if not pauses & {int(middle_s), int(middle_s) + 1}:
                pauses |= {int(middle_s), int(middle_s) + 1}
                yield Finding(
                    "pause", Weight.LOOK, evidence.where(channel, "").strip(), 0.9, len(silent),
                    len(fast), gap.from_s, gap.line, values,
                )  # fmt: skip
            continue
        yield Finding(
            "gap", Weight.LOOK, evidence.stream_name(stream), 0.9, rhythm.gap_count,
            stream.timing.steps, gap.from_s, gap.line, values,
        )  # fmt: skip


def _never_heard(evidence: Evidence) -> Iterator[Finding]:
    database = evidence.database
    if database is None:
        return
    heard = {(key.can_id, key.extended) for key in evidence.log.streams}
    missing = [message.name for key, message in database.by_id.items() if key not in heard]
    if missing:
        total = len(database.by_id)
        values: Numbers = {
            "count": len(missing),
            "total": total,
            "list": listed(sorted(missing), 8),
        }
        yield Finding("never-heard", Weight.NOTE, "", 1.0, len(missing), total, None, None, values)


def _no_cycle_times(evidence: Evidence) -> Iterator[Finding]:
    """Messages whose silence nobody can notice until the profile gives a deadline."""
    database = evidence.database
    if database is None:
        return
    words = []
    heard = 0
    for stream in evidence.streams():
        message = database.by_id.get((stream.key.can_id, stream.key.extended))
        if message is None or cycle_time_ms(message) is not None:
            continue
        heard += 1
        period_s = stream.timing.rhythm().period_s
        if period_s is not None and not evidence.coarse:
            words.append(f"{message.name} {period_s * 1000:.0f} ms")
    if heard:
        values: Numbers = {"count": heard, "list": listed(words, 8) or "-"}
        known = sum(evidence.is_known(stream.key) for stream in evidence.streams())
        yield Finding("no-cycle-time", Weight.NOTE, "", 1.0, heard, known, None, None, values)
