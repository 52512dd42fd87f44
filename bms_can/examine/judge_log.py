"""Findings on the log itself: time, lines without a frame, channels, kind of traffic. Pure."""

from collections.abc import Iterator

from bms_can.examine.finding import Finding, Numbers, Weight, identifier
from bms_can.examine.j1939 import group_name, pgn_of
from bms_can.examine.judge import Evidence, listed

SHORT_S = 10.0
LEAP_S = 60.0
NO_FRAME = {"remote frame", "error frame"}  # legal on a bus, but without data
MOST_SOURCES = 254
J1939_SHARE = 0.5
KNOWN_GROUPS = 3


def judge_log(evidence: Evidence) -> Iterator[Finding]:
    """Yield what can be said of the log without any DBC."""
    log = evidence.log
    yield from _bad_lines(evidence)
    if not log.frames:
        yield Finding("no-frames", Weight.WRONG, "", 1.0, 0, 0, None, None, {})
        return
    yield from _time(evidence)
    yield from _channels(evidence)
    yield from _isotp(evidence)
    yield from _j1939(evidence)
    if log.beyond:
        numbers = {"ids": len(log.streams)}
        yield Finding(
            "too-many-ids", Weight.WRONG, "", 1.0, log.beyond, log.frames, None, None, numbers
        )


def _bad_lines(evidence: Evidence) -> Iterator[Finding]:
    log = evidence.log
    for reason, count in log.bad.most_common():
        numbers = [str(number) for number in log.bad_lines.get(reason, [])]
        weight = Weight.NOTE if reason == "remote frame" else Weight.LOOK
        first = int(numbers[0]) if numbers else None
        total = log.frames + log.bad.total()
        values: Numbers = {
            "reason": reason,
            "lines": listed(numbers) + (" ..." if count > len(numbers) else ""),
        }
        kind = "no-data-frames" if reason in NO_FRAME else "bad-lines"
        yield Finding(kind, weight, reason, 1.0, count, total, None, first, values)


def _time(evidence: Evidence) -> Iterator[Finding]:
    log, order = evidence.log, evidence.log.order
    if evidence.coarse:
        values: Numbers = {"stamps": order.moves + 1}
        yield Finding(
            "coarse-time", Weight.WRONG, "", 1.0, log.frames, log.frames, None, None, values
        )
    if order.back:
        within = sum(stream.timing.back for stream in log.streams.values())
        values = {"worst_ms": order.worst_s * 1000, "within": within}
        weight = Weight.LOOK if within or order.worst_s > 1 else Weight.NOTE
        yield Finding(
            "time-back", weight, "", 1.0, order.back, log.frames, None, order.first_line, values
        )
    if order.leap_s > LEAP_S:
        values = {"leap_s": order.leap_s}
        yield Finding(
            "time-leap", Weight.LOOK, "", 1.0, 1, log.frames, None, order.leap_line, values
        )
    if log.seconds < SHORT_S and not evidence.coarse:
        values = {"seconds": log.seconds}
        yield Finding("short-log", Weight.NOTE, "", 1.0, log.frames, log.frames, None, None, values)


def _channels(evidence: Evidence) -> Iterator[Finding]:
    """Identifiers that two channels share need a channel in the profile."""
    log = evidence.log
    if not evidence.many_channels:
        return
    by_id: dict[tuple[int, bool], list[str]] = {}
    for key in log.streams:
        by_id.setdefault((key.can_id, key.extended), []).append(key.channel)
    shared = [identifier(i, extended=x) for (i, x), names in by_id.items() if len(names) > 1]
    frames = ", ".join(f"{name} {count}" for name, count in log.channels.most_common(8))
    values: Numbers = {"channels": len(log.channels), "frames_by": frames, "shared": len(shared)}
    weight = Weight.LOOK if shared else Weight.NOTE
    yield Finding("channels", weight, "", 1.0, log.frames, log.frames, None, None, values)


def _isotp(evidence: Evidence) -> Iterator[Finding]:
    for stream in evidence.streams():
        if stream.isotp:
            values: Numbers = {"messages": listed(stream.messages, 6)}
            yield Finding(
                "isotp", Weight.LOOK, evidence.stream_name(stream), 0.99, stream.frames,
                stream.frames, None, stream.first_line, values,
            )  # fmt: skip


def _j1939(evidence: Evidence) -> Iterator[Finding]:
    log = evidence.log
    wide = [stream for stream in evidence.streams() if stream.key.extended]
    frames = sum(stream.frames for stream in wide)
    groups = {pgn_of(stream.key.can_id) for stream in wide}
    names = sorted({name for pgn in groups if (name := group_name(pgn))})
    if frames < J1939_SHARE * log.frames or len(names) < KNOWN_GROUPS:
        return
    sources = sorted({stream.key.can_id & 0xFF for stream in wide})
    values: Numbers = {
        "groups": len(groups),
        "names": listed(names, 8),
        "sources": listed([f"0x{source:02X}" for source in sources], 10),
    }
    yield Finding("j1939", Weight.NOTE, "", 0.95, frames, log.frames, None, None, values)
