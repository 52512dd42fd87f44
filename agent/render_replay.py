"""Replay results as text for people and as values for JSON. Pure."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TypeVar

from bms_can.coverage import Coverage
from bms_can.frame import frame_text
from bms_can.profile import OperatingStatus, Profile
from bms_can.status import BmsStatus
from bms_can.timeline import Change

Word = TypeVar("Word", str, tuple[int, bool])

WORDS = {
    OperatingStatus.POWERED_DOWN: "powered down (contactor open)",
    OperatingStatus.IDLE: "idle (contactor closed)",
    OperatingStatus.CHARGING: "charging",
    OperatingStatus.DISCHARGING: "discharging",
}
NOT_A_MATCH = "an identifier match is not a DBC match: the doubtful messages speak against this DBC"
SHOWN_IDS = 12
SHOWN_DOUBTS = 8


def status_words(status: BmsStatus) -> str:
    """Return one status for people, with the reason where it is unknown."""
    if status.disconnected:
        return f"DISCONNECTED  {status.why}"
    if status.operating is None:
        return f"unknown  {status.why}"
    return f"{int(status.operating)} {WORDS[status.operating]}"


def alarm_words(status: BmsStatus) -> str:
    """Return the number of alarms and their names; unknown is not 0."""
    count = "alarms unknown" if status.alarm_count is None else f"alarms {status.alarm_count}"
    names = ", ".join(f"{alarm.key} (level {alarm.level})" for alarm in status.alarms)
    return f"{count}: {names}" if names else count


def timeline_line(change: Change) -> str:
    """Return one change for people."""
    status = change.status
    return f"{change.rel_s:12.6f} s  {status_words(status):<44} {alarm_words(status)}"


def timeline_values(change: Change) -> dict[str, object]:
    """Return one change for JSON."""
    status = change.status
    return {
        "at_s": round(change.at_s, 6),
        "rel_s": round(change.rel_s, 6),
        "operating_status": None if status.operating is None else int(status.operating),
        "alarm_status": status.alarm_count,
        "disconnected": int(status.disconnected),
        "alarms": [{"key": alarm.key, "level": alarm.level} for alarm in status.alarms],
        "why": status.why,
    }


def coverage_values(coverage: Coverage, profile: Profile | None) -> dict[str, object]:
    """Return what the DBC explains of the log, for JSON."""
    return {
        "frames": coverage.frames,
        "other_channel": coverage.other_channel,
        "known": coverage.known,
        "known_percent": round(coverage.percent_known, 2),
        "decoded": coverage.decoded,
        "bad_frames": dict(_ranked(coverage.bad)),
        "unknown_ids": {_id(key): count for key, count in sorted(coverage.unknown.items())},
        "skipped_lines": dict(_ranked(coverage.lines)),
        "doubts": {
            name: {
                "frames": doubt.frames,
                "bad": dict(_ranked(doubt.bad)),
                "impossible": dict(_ranked(doubt.impossible)),
            }
            for name, doubt in coverage.doubts().items()
        },
        "operating_status_unknown_because": None if profile else _no_profile(coverage),
    }


def coverage_lines(
    coverage: Coverage,
    profile: Profile | None,
    warnings: Sequence[str],
    changes: Sequence[Change],
) -> Iterator[str]:
    """Yield the summary for people."""
    yield ""
    yield f"frames      {coverage.frames}" + (
        f", {coverage.other_channel} of them on another channel" if coverage.other_channel else ""
    )
    yield f"known       {coverage.known} ({coverage.percent_known:.2f} %) have an id of the DBC"
    yield f"decoded     {coverage.decoded}" + _counts(", not usable: ", coverage.bad)
    yield from _unknown_ids(coverage)
    for reason, count in _ranked(coverage.lines):
        numbers = ", ".join(str(number) for number in coverage.line_numbers[reason])
        yield f"skipped     {count} x {reason} (line {numbers}{', ...' if count > 5 else ''})"  # noqa: PLR2004 - coverage.KEPT_LINES
    for warning in warnings[:SHOWN_DOUBTS]:
        yield f"DBC         {warning}"
    if len(warnings) > SHOWN_DOUBTS:
        yield f"DBC         and {len(warnings) - SHOWN_DOUBTS} more warnings"
    yield from _doubts(coverage)
    if profile is None:
        yield f"status      unknown: {_no_profile(coverage)}"
    else:
        final = changes[-1].status if changes else None
        last = "never known" if final is None else status_words(final)
        yield f"status      {len(changes)} changes; at the end: {last}"


def _no_profile(coverage: Coverage) -> str:
    doubt = f"; {NOT_A_MATCH}" if coverage.doubts() else ""
    return f"no profile says which signals are the battery's state{doubt}"


def _unknown_ids(coverage: Coverage) -> Iterator[str]:
    if not coverage.unknown:
        return
    ranked = _ranked(coverage.unknown)[:SHOWN_IDS]
    shown = ", ".join(f"{_id(key)} x{n}" for key, n in ranked)
    rest = len(coverage.unknown) - SHOWN_IDS
    total = coverage.unknown.total()
    more = f", and {rest} more" if rest > 0 else ""
    yield f"unknown     {total} frames of {len(coverage.unknown)} ids: {shown}{more}"


def _doubts(coverage: Coverage) -> Iterator[str]:
    for name, doubt in list(coverage.doubts().items())[:SHOWN_DOUBTS]:
        bad = _counts("", doubt.bad)
        worst = _ranked(doubt.impossible)
        seen = f"{worst[0][0]} is outside its range in {worst[0][1]}" if worst else ""
        what = "; ".join(part for part in (bad and f"unusable: {bad}", seen) if part)
        yield f"doubtful    {name}: {doubt.frames} frames, {what}"


def _counts(head: str, counter: Counter[str]) -> str:
    return head + ", ".join(f"{n} x {word}" for word, n in _ranked(counter)) if counter else ""


def _ranked(counter: Counter[Word]) -> list[tuple[Word, int]]:
    """Return what was counted, most first; the order of the frames does not show."""
    return sorted(counter.items(), key=lambda each: (-each[1], each[0]))


def _id(key: tuple[int, bool]) -> str:
    return frame_text(key[0], key[1], b"").rstrip("#")
