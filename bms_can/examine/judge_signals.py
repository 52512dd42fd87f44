"""Findings on signals: range, names of values, sentinels, what never changed; and the DBC. Pure."""

import re
from collections.abc import Iterator

from cantools.database.can import Signal

from bms_can.database import natural_order
from bms_can.examine.dbc_tally import DbcTally, Named
from bms_can.examine.finding import Finding, Numbers, Weight
from bms_can.examine.judge import LEAST_FRAMES, Evidence, listed
from bms_can.examine.signal_tally import Outside, SignalTally
from bms_can.layout import overlaps, wire_length

OFTEN = 0.01  # of the frames: a value outside its range is no accident
MOST_ENUM_BITS = 8
DOUBT_MESSAGES = 4  # fewer messages say nothing about a DBC
DOUBT_SHARE = 0.4  # of the messages that contradict it
NOT_AVAILABLE = re.compile(
    r"(^|_|\b)(sna|n/?a|not.?avail\w*|invalid|signal.?not|undefined|error|default)(\b|_|$)|无效",
    re.IGNORECASE,
)


def judge_signals(evidence: Evidence) -> Iterator[Finding]:
    """Yield what the values say."""
    if evidence.dbc is None:
        return
    yield from _file(evidence.dbc)
    doubtful: set[Named] = set()
    for key, tally in evidence.dbc.signals.items():
        if evidence.described(key.channel):
            for finding in _values(evidence, key, tally):
                yield finding
                if finding.kind in ("range", "enum") and finding.share > OFTEN:
                    doubtful.add(Named(key.channel, key.name.split(".")[0]))
    yield from _pages(evidence)
    yield from _stuck(evidence)
    yield from _wrong_dbc(evidence, doubtful)


def _values(evidence: Evidence, key: Named, tally: SignalTally) -> Iterator[Finding]:
    name = evidence.where(*key)
    signal, outside = tally.signal, tally.outside
    unit = signal.unit or ""
    if outside.count:
        weight = Weight.WRONG if outside.count > OFTEN * tally.frames else Weight.LOOK
        values: Numbers = {
            "value": outside.value,
            "minimum": signal.minimum,
            "maximum": signal.maximum,
            "unit": unit,
            "low": tally.low,
            "high": tally.high,
        }
        yield _seen("range", weight, name, 1.0, outside, tally.frames)._replace(numbers=values)
    if tally.ones.count:
        values = {"raw": tally.field.highest, "value": tally.ones.value, "unit": unit}
        found = _seen("sentinel", Weight.LOOK, name, 0.8, tally.ones, tally.frames)
        yield found._replace(numbers=values)
    if tally.unnamed.count and is_enum(signal):
        raws = [str(raw) for raw, _ in tally.unnamed_raws.most_common()]
        values = {"raws": listed(raws, 8), "named": len(signal.choices or {})}
        weight = Weight.LOOK if tally.unnamed.count > OFTEN * tally.frames else Weight.NOTE
        found = _seen("enum", weight, name, 1.0, tally.unnamed, tally.frames)
        yield found._replace(numbers=values)


def _seen(
    kind: str, weight: Weight, name: str, confidence: float, what: Outside, frames: int
) -> Finding:
    return Finding(kind, weight, name, confidence, what.count, frames, what.at_s, what.line, {})


def is_enum(signal: Signal) -> bool:
    """Tell whether the values of a signal are names, not a measurement with a few named ones."""
    choices = list((signal.choices or {}).values())
    meant = [name for name in choices if not NOT_AVAILABLE.search(str(name))]
    plain = signal.conversion.scale == 1 and signal.conversion.offset == 0 and not signal.unit
    return plain and signal.length <= MOST_ENUM_BITS and len(meant) > 1


def _pages(evidence: Evidence) -> Iterator[Finding]:
    """Frames with a page number that the DBC does not have."""
    dbc = evidence.dbc
    for key, tally in () if dbc is None else dbc.messages.items():
        count = tally.refused["mux"]
        if count and evidence.described(key.channel):
            line, at_s = tally.first["mux"]
            total = tally.frames + tally.refused.total()
            yield Finding(
                "mux", Weight.LOOK, evidence.where(*key), 1.0, count, total, at_s, line, {}
            )


def _stuck(evidence: Evidence) -> Iterator[Finding]:
    """Signals that never changed, by message."""
    dbc = evidence.dbc
    signals = {} if dbc is None else dbc.signals
    still: dict[Named, list[str]] = {}
    moving: dict[Named, int] = {}
    for key in sorted(signals, key=lambda key: natural_order(key.name)):
        tally = signals[key]
        message = Named(key.channel, key.name.split(".")[0])
        if tally.is_stuck and tally.frames >= LEAST_FRAMES:
            value = f"{tally.first:g}"
            still.setdefault(message, []).append(f"{key.name.split('.', 1)[1]} = {value}")
        else:
            moving[message] = moving.get(message, 0) + 1
    for message, names in still.items():
        if not evidence.described(message.channel) or dbc is None:
            continue
        total = len(names) + moving.get(message, 0)
        values: Numbers = {"count": len(names), "total": total, "list": listed(names, 6)}
        kind = "stuck" if len(names) < total else "frozen"
        yield Finding(
            kind, Weight.NOTE, evidence.where(*message), 1.0, len(names), total, None, None, values
        )


def _wrong_dbc(evidence: Evidence, doubtful: set[Named]) -> Iterator[Finding]:
    """An identifier match is no DBC match: do most of the messages contradict the DBC?"""
    dbc = evidence.dbc
    for channel in sorted(evidence.log.channels) if dbc is not None else ():
        heard, wrong, words = 0, 0, []
        for key, tally in dbc.messages.items() if dbc is not None else ():
            if key.channel != channel or tally.frames + tally.refused.total() < LEAST_FRAMES:
                continue
            heard += 1
            refused = tally.refused.total() > OFTEN * (tally.frames + tally.refused.total())
            if refused or key in doubtful:
                wrong += 1
                words.append(key.name)
        if heard >= DOUBT_MESSAGES and wrong >= DOUBT_SHARE * heard and evidence.described(channel):
            values: Numbers = {"wrong": wrong, "heard": heard, "list": listed(words)}
            subject = evidence.where(channel, "").strip()
            yield Finding("wrong-dbc", Weight.WRONG, subject, 0.8, wrong, heard, None, None, values)


def _file(dbc: DbcTally) -> Iterator[Finding]:
    """What the DBC file says about itself."""
    database = dbc.database
    signals = len(database.signals)
    if database.encoding != "utf-8":
        values: Numbers = {"encoding": database.encoding}
        yield Finding("encoding", Weight.NOTE, "", 0.9, signals, signals, None, None, values)
    for message in database.messages.values():
        pairs = [f"{one}/{other}" for one, other in overlaps(message) if one != other]
        if pairs:
            values = {"count": len(pairs), "list": listed(pairs, 5)}
            total = len(message.signals)
            yield Finding(
                "overlap", Weight.NOTE, message.name, 1.0, min(2 * len(pairs), total), total,
                None, None, values,
            )  # fmt: skip
    others = [line for line in database.warnings if not line.endswith(" overlap")]
    if others:
        values = {"count": len(others), "list": listed(others, 4)}
        yield Finding(
            "dbc-warnings", Weight.LOOK, "", 1.0, len(others), len(others), None, None, values
        )
    odd = [
        m.name for m in database.messages.values() if m.length and wire_length(m.length) != m.length
    ]
    if odd:
        values = {"list": listed(odd)}
        total = len(database.messages)
        yield Finding("odd-length", Weight.NOTE, "", 1.0, len(odd), total, None, None, values)
