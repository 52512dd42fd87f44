"""The report of an inspection as one HTML page: no network, no script, both languages.

Everything that comes from files is hostile: Jinja2 escapes it, control and direction characters are
replaced, and the page's own policy forbids scripts and requests.
"""

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined, Template, select_autoescape
from markupsafe import Markup

from agent.render_inspect import Report, by_kind
from agent.render_main import plots, verdict
from agent.render_plot import LEFT, RIGHT, WIDTH, time_ticks
from agent.render_replay import WORDS, alarm_words, status_words
from agent.words_inspect import LANGUAGES, WEIGHTS, percent, words_of
from bms_can.database import cycle_time_ms
from bms_can.examine.finding import Finding, Weight, identifier
from bms_can.examine.judge import Evidence
from bms_can.examine.stream import Stream
from bms_can.timeline import Change

MOST_ROWS = 400
MOST_FINDINGS = 40  # of one kind
MOST_CHANGES = 60


class Row(NamedTuple):
    """A line of the table of identifiers."""

    channel: str
    id: str
    message: str
    frames: int
    share: str
    period: str
    stated: str
    longest: str
    lengths: str
    marks: str


class Group(NamedTuple):
    """Findings of one kind: words by language, and for each finding words and evidence."""

    weight: str
    title: dict[str, str]
    advice: dict[str, str]
    items: list[dict[str, object]]
    more: int


class Piece(NamedTuple):
    """A stretch of the status: x and width [px], class, words."""

    x: float
    width: float
    kind: str
    words: str


def page(report: Report, language: str) -> str:
    """Return the page; `language` is shown first."""
    evidence = report.seen.evidence
    return _template().render(
        lang=language,
        log=Path(report.log).name,
        evidence=evidence,
        tally=report.tally,
        coverage=[_coverage(evidence, name) for name in sorted(report.tally.channels)],
        open_all=not any(f.weight > Weight.NOTE for f in report.seen.findings),
        heard=sum(not evidence.database or key in evidence.database.by_id for key in _ids(report)),
        counts={weight.name.lower(): report.count(weight) for weight in Weight},
        weights={weight.name.lower(): _both(weight) for weight in sorted(Weight, reverse=True)},
        verdict=verdict(report),
        groups=[_group(report, weight, found) for weight, found in by_kind(report.seen.findings)],
        plots=list(plots(evidence)),
        pieces=list(_pieces(report)),
        time_ticks=time_ticks(report.tally.seconds),
        changes=[_change(change) for change in report.changes[:MOST_CHANGES]],
        more_changes=max(0, len(report.changes) - MOST_CHANGES) + report.left_out,
        rows=[_row(evidence, stream) for stream in list(evidence.streams())[:MOST_ROWS]],
        more_rows=max(0, len(report.tally.streams) - MOST_ROWS),
    )


@cache
def _template() -> Template:
    """Return the compiled page."""
    environment = Environment(
        loader=PackageLoader("agent"),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        finalize=_plain,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("inspect.html.j2")


def _ids(report: Report) -> set[tuple[int, bool]]:
    return {(key.can_id, key.extended) for key in report.tally.streams}


def _plain(value: object) -> object:
    """Replace what could hide or turn text: control and direction characters."""
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    return "".join(each if each.isprintable() else "�" for each in value)


def _both(weight: Weight) -> dict[str, str]:
    return {language: WEIGHTS[language][weight] for language in LANGUAGES}


def _coverage(evidence: Evidence, channel: str) -> dict[str, object]:
    known = evidence.known_percent(channel)
    frames = evidence.log.channels[channel]
    return {"channel": channel or "-", "frames": frames, "percent": round(known, 1)}


def _group(report: Report, weight: Weight, found: list[Finding]) -> Group:
    first = {language: words_of(found[0], language) for language in LANGUAGES}
    return Group(
        weight=weight.name.lower(),
        title={language: words.title for language, words in first.items()},
        advice={language: words.advice for language, words in first.items()},
        items=[_item(report, finding) for finding in found[:MOST_FINDINGS]],
        more=max(0, len(found) - MOST_FINDINGS),
    )


def _item(report: Report, finding: Finding) -> dict[str, object]:
    first_s = finding.first_s
    return {
        "text": {language: words_of(finding, language).text for language in LANGUAGES},
        "share": round(100 * min(finding.share, 1.0), 1),
        "percent": percent(finding.share) if finding.of_frames else "",
        "at": "" if first_s is None else f"{first_s - report.tally.first_s:.6g} s",
        "line": finding.first_line,
        "confidence": f"{finding.confidence:.2f}" if finding.confidence < 1 else "",
    }


def _row(evidence: Evidence, stream: Stream) -> Row:
    key, rhythm = stream.key, stream.timing.rhythm()
    database = evidence.database
    message = None if database is None else database.by_id.get((key.can_id, key.extended))
    stated_ms = None if message is None else cycle_time_ms(message)
    timed = rhythm.period_s is not None and not evidence.coarse
    marks = [f"C{counter.modulo}" for counter in stream.counters]
    if stream.checksum is not None:
        marks.append("Σ")
    if stream.isotp:
        marks.append("ISO-TP")
    total = evidence.log.channels[key.channel]
    return Row(
        channel=key.channel,
        id=identifier(key.can_id, extended=key.extended),
        message="" if message is None else message.name,
        frames=stream.frames,
        share=percent(stream.frames / total),
        period=f"{(rhythm.period_s or 0) * 1000:.4g}" if timed else "",
        stated="" if stated_ms is None else str(stated_ms),
        longest=f"{rhythm.longest_s * 1000:.4g}" if timed else "",
        lengths=", ".join(str(size) for size in sorted(stream.lengths)),
        marks=" ".join(marks),
    )


def _pieces(report: Report) -> Iterator[Piece]:
    """Yield the stretches of the status over the log."""
    total = report.tally.seconds
    changes, wide = report.changes, WIDTH - LEFT - RIGHT
    for index, change in enumerate(changes):
        end_s = changes[index + 1].rel_s if index + 1 < len(changes) else total
        if total <= 0 or end_s <= change.rel_s:
            continue
        status = change.status
        kind = "lost" if status.disconnected else "unknown"
        words = "disconnected" if status.disconnected else "unknown"
        if status.operating is not None:
            kind, words = f"s{int(status.operating)}", WORDS[status.operating]
        x = LEFT + wide * change.rel_s / total
        width = wide * (end_s - change.rel_s) / total
        yield Piece(round(x, 2), round(max(width, 0.5), 2), kind, words)


def _change(change: Change) -> dict[str, object]:
    return {
        "at": f"{change.rel_s:.6f}",
        "status": status_words(change.status),
        "alarms": alarm_words(change.status),
    }
