"""What an inspection found, as text for people and as values for JSON. Pure."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from agent.render_replay import timeline_line, timeline_values
from agent.words_inspect import LANGUAGES, WEIGHTS, words_of
from bms_can.examine.examination import Examination
from bms_can.examine.finding import Finding, Weight, identifier
from bms_can.examine.log_tally import LogTally
from bms_can.examine.stream import Stream
from bms_can.timeline import Change

SHOWN = 5  # findings of one kind
SHOWN_CHANGES = 12
TEXTS: dict[str, dict[str, str]] = {
    "en": {
        "log": "log         {name}: {frames} frames ({channels}), {ids} ids, {seconds:.6g} s",
        "dbc": "DBC         {path}, {encoding}",
        "coverage": "coverage    {known} frames ({percent:.1f} %) have ids of the DBC; {channels}",
        "findings": "findings    {counts}",
        "status": "status    {line}",
        "more_status": "status      and {count} more changes",
        "more": "  and {count} more; --json and --html have all",
        "line": "line {line}",
        "confidence": "confidence {confidence:.2f}",
    },
    "zh": {
        "log": "日志        {name}：{frames} 帧（{channels}），{ids} 个标识符，{seconds:.6g} s",
        "dbc": "DBC         {path}，{encoding}",
        "coverage": "覆盖        {known} 帧（{percent:.1f} %）的标识符在 DBC 中；{channels}",
        "findings": "发现        {counts}",
        "status": "状态      {line}",
        "more_status": "状态        另有 {count} 次变化",
        "more": "  另有 {count} 条；--json 和 --html 中有全部",
        "line": "第 {line} 行",
        "confidence": "可信度 {confidence:.2f}",
    },
}


class Report(NamedTuple):
    """All that is rendered.

    Attributes:
        log: its file; seen: what was found; changes: of the status, if there is a profile.
        left_out: changes beyond those.
    """

    log: str
    seen: Examination
    changes: tuple[Change, ...]
    left_out: int = 0

    @property
    def tally(self) -> LogTally:
        """Sums of the log."""
        return self.seen.evidence.log

    def known_frames(self) -> int:
        """Return how many frames have an identifier of the DBC."""
        evidence = self.seen.evidence
        return sum(evidence.known_frames(channel) for channel in self.tally.channels)

    def count(self, weight: Weight) -> int:
        """Return how many findings have a weight."""
        return sum(finding.weight is weight for finding in self.seen.findings)


def report_lines(report: Report, language: str) -> Iterator[str]:
    """Yield the report for people."""
    yield from _summary(report, language)
    before = None
    for weight, findings in by_kind(report.seen.findings):
        if weight is not before:
            yield ""
            yield f"== {WEIGHTS[language][weight]}"
            before = weight
        yield from _kind_lines(report, findings, language)


def by_kind(findings: tuple[Finding, ...]) -> Iterator[tuple[Weight, list[Finding]]]:
    """Yield findings of one weight and kind together, in the order of their first."""
    groups: dict[tuple[Weight, str], list[Finding]] = {}
    for finding in findings:
        groups.setdefault((finding.weight, finding.kind), []).append(finding)
    for (weight, _), group in groups.items():
        yield weight, group


def _summary(report: Report, language: str) -> Iterator[str]:
    texts, tally, evidence = TEXTS[language], report.tally, report.seen.evidence
    channels = ", ".join(f"{name or '-'} {count}" for name, count in tally.channels.most_common(8))
    yield texts["log"].format(
        name=Path(report.log).name,
        frames=tally.frames,
        channels=channels,
        ids=len(tally.streams),
        seconds=tally.seconds,
    )
    if evidence.database is not None:
        database = evidence.database
        yield texts["dbc"].format(path=database.path, encoding=database.encoding)
        yield _coverage(report, texts["coverage"])
    weights = sorted(Weight, reverse=True)
    counts = ", ".join(f"{report.count(each)} {WEIGHTS[language][each]}" for each in weights)
    yield texts["findings"].format(counts=counts)
    for change in report.changes[:SHOWN_CHANGES]:
        yield texts["status"].format(line=timeline_line(change))
    rest = len(report.changes) - SHOWN_CHANGES + report.left_out
    if rest > 0:
        yield texts["more_status"].format(count=rest)


def _coverage(report: Report, text: str) -> str:
    tally, evidence, known = report.tally, report.seen.evidence, report.known_frames()
    by_channel = ", ".join(
        f"{name or '-'} {evidence.known_percent(name):.1f} %" for name in sorted(tally.channels)
    )
    percent = 100 * known / tally.frames if tally.frames else 0.0
    return text.format(known=known, percent=percent, channels=by_channel)


def _kind_lines(report: Report, findings: list[Finding], language: str) -> Iterator[str]:
    first = words_of(findings[0], language)
    yield f"{first.title}"
    for finding in findings[:SHOWN]:
        yield f"  {words_of(finding, language).text}{evidence_words(report, finding, language)}"
    if len(findings) > SHOWN:
        yield TEXTS[language]["more"].format(count=len(findings) - SHOWN)
    yield f"  -> {first.advice}"


def evidence_words(report: Report, finding: Finding, language: str) -> str:
    """Return where a finding is seen first, and how sure it is."""
    texts, parts = TEXTS[language], []
    if finding.first_s is not None:
        parts.append(f"{finding.first_s - report.tally.first_s:.6g} s")
    if finding.first_line is not None:
        parts.append(texts["line"].format(line=finding.first_line))
    if finding.confidence < 1:
        parts.append(texts["confidence"].format(confidence=finding.confidence))
    return f"  [{', '.join(parts)}]" if parts else ""


def report_values(report: Report) -> dict[str, object]:
    """Return the report for JSON."""
    tally, evidence = report.tally, report.seen.evidence
    database, profile = evidence.database, evidence.profile
    return {
        "format": "bms-agent-inspect-1",
        "log": report.log,
        "dbc": None if database is None else database.path,
        "dbc_encoding": None if database is None else database.encoding,
        "dbc_warnings": [] if database is None else list(database.warnings),
        "profile": None if profile is None else profile.name,
        "frames": tally.frames,
        "seconds": round(tally.seconds, 6),
        "skipped_lines": dict(tally.bad),
        "channels": {
            name: {
                "frames": frames,
                "known": evidence.known_frames(name) if database else None,
                "known_percent": round(evidence.known_percent(name), 2) if database else None,
            }
            for name, frames in sorted(tally.channels.items())
        },
        "ids": [_stream_values(report, stream) for stream in evidence.streams()],
        "findings": [_finding_values(finding) for finding in report.seen.findings],
        "timeline": [timeline_values(change) for change in report.changes],
        "timeline_left_out": report.left_out,
    }


def _stream_values(report: Report, stream: Stream) -> dict[str, object]:
    rhythm, key = stream.timing.rhythm(), stream.key
    database = report.seen.evidence.database
    message = None if database is None else database.by_id.get((key.can_id, key.extended))
    coarse = report.seen.evidence.coarse or rhythm.period_s is None
    return {
        "channel": key.channel,
        "id": identifier(key.can_id, extended=key.extended),
        "message": None if message is None else message.name,
        "frames": stream.frames,
        "lengths": {str(size): count for size, count in sorted(stream.lengths.items())},
        "period_ms": None if coarse else round((rhythm.period_s or 0) * 1000, 3),
        "longest_ms": None if coarse else round(rhythm.longest_s * 1000, 3),
    }


def _finding_values(finding: Finding) -> dict[str, object]:
    return {
        "kind": finding.kind,
        "weight": finding.weight.name.lower(),
        "subject": finding.subject,
        "confidence": finding.confidence,
        "frames": finding.frames,
        "of_frames": finding.of_frames,
        "first_s": finding.first_s,
        "first_line": finding.first_line,
        "numbers": dict(finding.numbers),
        "text": {language: words_of(finding, language).text for language in LANGUAGES},
    }
