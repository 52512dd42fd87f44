"""Findings on values that no battery has: the DBC is of another version or battery. Pure."""

from collections.abc import Iterator

from bms_can.drafting.guess import Candidate, best
from bms_can.examine.dbc_tally import DbcTally, Named
from bms_can.examine.finding import Finding, Numbers, Weight
from bms_can.examine.judge import Evidence
from bms_can.examine.signal_tally import SignalTally

# Role: what a battery can have, in the unit below. Wide on purpose: only nonsense lies outside.
POSSIBLE = {
    "soc": (-5.0, 110.0),
    "total_voltage": (-10.0, 3000.0),
    "current": (-10_000.0, 10_000.0),
    "highest_cell_voltage": (-0.5, 6.0),
    "lowest_cell_voltage": (-0.5, 6.0),
    "highest_cell_temp": (-60.0, 200.0),
    "lowest_cell_temp": (-60.0, 200.0),
}
SCALES = {"mv": 0.001, "kv": 1000.0, "ma": 0.001, "ka": 1000.0}
LEAST_SCORE = 0.6
PAIRS = (
    ("highest_cell_voltage", "lowest_cell_voltage"),
    ("highest_cell_temp", "lowest_cell_temp"),
)


def judge_battery(evidence: Evidence) -> Iterator[Finding]:
    """Yield what cannot be of the signals that look like the battery's main values."""
    dbc = evidence.dbc
    for channel in sorted(evidence.log.channels) if dbc is not None else ():
        if dbc is None or not evidence.described(channel):
            continue
        found = _main(dbc, channel)
        findings = [
            finding
            for role, (guess, tally) in found.items()
            for finding in _impossible(evidence, channel, guess, tally, role)
        ]
        for high, low in PAIRS:
            if high in found and low in found:
                findings += _crossed(evidence, channel, found[high], found[low])
        # One alone may be a signal that is not what its name says.
        weight = Weight.WRONG if len(findings) > 1 else Weight.LOOK
        yield from (finding._replace(weight=weight) for finding in findings)


def _main(dbc: DbcTally, channel: str) -> dict[str, tuple[Candidate, SignalTally]]:
    heard = {
        key.name: tally.frames for key, tally in dbc.messages.items() if key.channel == channel
    }
    found = {}
    for role in POSSIBLE:
        guess = best(dbc.database, role, heard, LEAST_SCORE)
        tally = None if guess is None else dbc.signals.get(Named(channel, guess.name))
        if guess is not None and tally is not None:
            found[role] = guess, tally
    return found


def _impossible(
    evidence: Evidence, channel: str, guess: Candidate, tally: SignalTally, role: str
) -> Iterator[Finding]:
    unit = guess.signal.unit or ""
    scale = SCALES.get(unit.lower(), 1.0)
    least, most = POSSIBLE[role]
    if not (tally.low * scale < least or tally.high * scale > most):
        return
    if not unit and role != "soc":
        return  # without a unit the scale is not known
    values: Numbers = {"low": tally.low, "high": tally.high, "unit": unit}
    yield Finding(
        "impossible", Weight.WRONG, evidence.where(channel, guess.name), guess.score,
        tally.frames, tally.frames, None, None, values,
    )  # fmt: skip


def _crossed(
    evidence: Evidence,
    channel: str,
    high: tuple[Candidate, SignalTally],
    low: tuple[Candidate, SignalTally],
) -> Iterator[Finding]:
    """The largest of the highest values is below the smallest of the lowest."""
    if high[1].high < low[1].low:
        values: Numbers = {
            "other": low[0].name,
            "high": high[1].high,
            "low": low[1].low,
            "unit": high[0].signal.unit or "",
        }
        score = min(high[0].score, low[0].score)
        yield Finding(
            "crossed", Weight.WRONG, evidence.where(channel, high[0].name), score,
            high[1].frames, high[1].frames, None, None, values,
        )  # fmt: skip
