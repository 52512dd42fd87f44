"""The head of a report: its first sentence, and the plots of the signals that matter most. Pure."""

from collections.abc import Iterator

import numpy as np

from agent.render_inspect import Report
from agent.render_plot import Curve, Plot, plot
from agent.words_inspect import EN, ZH
from bms_can.drafting.guess import best
from bms_can.examine.dbc_tally import DbcTally, Named
from bms_can.examine.finding import Weight
from bms_can.examine.judge import Evidence
from bms_can.examine.judge_bits import CHECKSUM_NAME, COUNTER_NAME, covering, message_of

MAIN_ROLES = (
    "state", "contactor", "current", "total_voltage", "soc",
    "highest_cell_voltage", "lowest_cell_voltage", "highest_cell_temp",
)  # fmt: skip
MOST_PLOTS = 12

VERDICTS = {  # kinds of findings -> the page's first sentence; the first that fits
    "no-frames": {EN: "The log holds no data frame.", ZH: "日志中没有数据帧。"},
    "wrong-dbc not-described impossible crossed": {
        EN: "This DBC is probably not the one of this bus or this version. Do not build on it.",
        ZH: "此 DBC 很可能不属于这条总线或这个版本，请勿以此为依据。",
    },
    "other-addresses length mux range period": {
        EN: "The DBC is about this bus, but does not fit in all. Read the red points first.",
        ZH: "DBC 属于这条总线，但有不符之处。请先看红色条目。",
    },
    "coarse-time too-many-ids": {
        EN: "The recording itself is poor. Record again before you judge the DBC by it.",
        ZH: "记录本身质量不佳。请重新记录后再据此判断 DBC。",
    },
}
NO_DBC = {
    EN: "No DBC was given. This is what the frames themselves say.",
    ZH: "未提供 DBC。以下是帧本身能说明的内容。",
}
LOOK = {
    EN: "Nothing in this log plainly contradicts the DBC; some points need a look.",
    ZH: "日志与 DBC 没有明显矛盾；有几处需要查看。",
}
THIN = {
    EN: "Little of this DBC is heard, and little of the bus explained: too little to say that it"
    " fits.",
    ZH: "DBC 的报文很少出现，总线也很少被解释：不足以说明二者匹配。",
}
THIN_HEARD, THIN_KNOWN = 0.25, 0.5  # shares of the DBC's messages, and of the frames
GOOD = {EN: "Nothing in this log contradicts the DBC.", ZH: "日志中没有与 DBC 矛盾之处。"}
ONLY_ISOTP = {
    EN: "The messages of this DBC come as diagnostic answers in several frames (ISO-TP). Nothing of"
    " it can be read from single frames.",
    ZH: "此 DBC 的报文是分多帧发送的诊断应答（ISO-TP），无法从单帧读取。",
}


def verdict(report: Report) -> dict[str, str]:
    """Return the summary in a sentence."""
    kinds = {finding.kind for finding in report.seen.findings if finding.weight is Weight.WRONG}
    for triggers, words in VERDICTS.items():
        if kinds & set(triggers.split()):
            return words
    if report.seen.evidence.database is None:
        return NO_DBC
    dbc = report.seen.evidence.dbc
    if dbc is not None and not dbc.signals and any(f.kind == "isotp" for f in report.seen.findings):
        return ONLY_ISOTP
    if _is_thin(report):
        return THIN
    return LOOK if report.count(Weight.LOOK) else GOOD


def _is_thin(report: Report) -> bool:
    """Tell whether neither the DBC nor the bus is covered to speak of."""
    evidence, frames = report.seen.evidence, report.tally.frames
    if evidence.database is None:
        return False
    ids = {(key.can_id, key.extended) for key in report.tally.streams}
    heard = len(ids & set(evidence.database.by_id))
    few = heard < THIN_HEARD * len(evidence.database.by_id)
    return few and report.known_frames() < THIN_KNOWN * frames


def plots(evidence: Evidence) -> Iterator[Plot]:
    """Yield the plots of the signals that matter most, then of those that move most."""
    dbc = evidence.dbc
    if dbc is None:
        return
    drawn = 0
    for key in _main_signals(evidence, dbc):
        curve = curve_of(evidence, dbc, key)
        if curve is not None and drawn < MOST_PLOTS:
            drawn += 1
            unit = dbc.signals[key].signal.unit or ""
            yield plot(evidence.where(*key), unit, curve, evidence.log.seconds)


def _main_signals(evidence: Evidence, dbc: DbcTally) -> Iterator[Named]:
    heard: dict[str, int] = {}
    for key, tally in dbc.messages.items():
        heard[key.name] = heard.get(key.name, 0) + tally.frames
    found: dict[Named, None] = {}
    for role in MAIN_ROLES:
        guess = best(dbc.database, role, heard)
        for channel in evidence.log.channels:
            if guess is not None and evidence.described(channel):
                found[Named(channel, guess.name)] = None
    moving = [
        (key, tally.changes)
        for key, tally in dbc.signals.items()
        if tally.changes and evidence.described(key.channel) and not tally.signal.is_multiplexer
    ]
    taken = set(_counters(evidence))
    for key, _ in sorted(moving, key=lambda item: (_on_a_page(dbc, item[0]), -item[1])):
        if key not in taken and not _is_named_so(key.name.split(".", 1)[1]):
            found[key] = None
    yield from found


def _on_a_page(dbc: DbcTally, key: Named) -> bool:
    """Tell whether a signal is one of many on multiplexer pages."""
    return bool(dbc.signals[key].signal.multiplexer_ids)


def _is_named_so(name: str) -> bool:
    """Tell whether a name says counter or checksum."""
    return bool(COUNTER_NAME.search(name) or CHECKSUM_NAME.search(name))


def _counters(evidence: Evidence) -> Iterator[Named]:
    """Yield the signals of counters and checksums: they move most and say least."""
    for stream in evidence.streams():
        message = message_of(evidence, stream)
        if message is None:
            continue
        masks = [counter.mask() for counter in stream.counters]
        if stream.checksum is not None:
            masks.append(0xFF << 8 * stream.checksum.byte)
        for mask in masks:
            if name := covering(message, mask):
                yield Named(stream.key.channel, f"{message.name}.{name}")


def curve_of(evidence: Evidence, dbc: DbcTally, key: Named) -> Curve | None:
    """Return what to draw of a signal, None if it was never heard."""
    series = dbc.grid.series.get(key)
    if series is None or dbc.grid.from_s is None:
        return None
    slots = np.flatnonzero(np.isfinite(series.low))
    if not len(slots):
        return None
    shift_s = dbc.grid.from_s - evidence.log.first_s
    at_s = (slots + 0.5) * dbc.grid.width_s + shift_s
    signal = dbc.signals[key].signal
    names = {}
    for raw, name in (signal.choices or {}).items():
        names[float(signal.conversion.raw_to_scaled(raw, decode_choices=False))] = str(name)  # type: ignore[arg-type]  # a number, as choices are off
    low, high = series.low[slots].tolist(), series.high[slots].tolist()
    enough = len(names) > 1 and set(low) | set(high) <= set(names)
    return Curve(at_s.tolist(), low, high, names if enough else {})
