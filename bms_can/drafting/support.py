"""What the values in a log say for or against a guess. Pure."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from bms_can.examine.dbc_tally import DbcTally, Named
from bms_can.examine.series import Series

LEAST_SLOTS = 20
LEAST_SPAN_A = 5.0  # a current that hardly moves says nothing about its sign
FLOWING_A = 2.0
TIMES = 5.0  # more current through a closed contactor than through an open one
CORRELATED = 0.5
LEAST_SOC_PCT = 1.0


class Sign(NamedTuple):
    """What a log says about the sign of a current: "charging", "discharging" or "" and why."""

    positive: str
    confidence: float
    why: str


class Polarity(NamedTuple):
    """Whether 1 means closed by the current that flows; None: the log does not say. And why."""

    one_is_closed: bool | None
    why: str


def _series(dbc: DbcTally, channel: str, name: str) -> Series | None:
    return dbc.grid.series.get(Named(channel, name))


def sign_of(dbc: DbcTally, channel: str, current: str, voltage: str | None) -> Sign:
    """Judge the sign of a current by the voltage: a battery's voltage falls while it discharges."""
    amps = _series(dbc, channel, current)
    volts = None if voltage is None else _series(dbc, channel, voltage)
    if amps is None or volts is None:
        return Sign("", 0.0, "the log has no current and voltage to compare")
    both = np.isfinite(amps.low) & np.isfinite(volts.low)
    current_a, voltage_v = amps.middle[both], volts.middle[both]
    if both.sum() < LEAST_SLOTS or np.ptp(current_a) < LEAST_SPAN_A or not np.ptp(voltage_v):
        span = float(np.ptp(current_a)) if both.any() else 0.0
        return Sign("", 0.0, f"the current moves by {span:.3g} only: too little to judge its sign")
    together = float(np.corrcoef(current_a, voltage_v)[0, 1])
    why = f"correlation of {current} with {voltage}: {together:+.2f} over {both.sum()} moments"
    if abs(together) < CORRELATED:
        return Sign("", 0.0, f"{why}: too weak")
    positive = "charging" if together > 0 else "discharging"
    return Sign(positive, round(abs(together) * 0.9, 2), why)


def polarity_of(dbc: DbcTally, channel: str, contactor: str, current: str | None) -> Polarity:
    """Judge what a contactor's bit means by the current that flows while it is 0 and while 1."""
    bit = _series(dbc, channel, contactor)
    amps = None if current is None else _series(dbc, channel, current)
    if bit is None:
        return Polarity(None, "not in the log")
    zero, one = (bit.low == 0) & (bit.high == 0), (bit.low == 1) & (bit.high == 1)
    if amps is None:
        return Polarity(None, "no current in the log to compare with")
    most_zero, most_one = _most(amps, zero), _most(amps, one)
    why = f"while 0: {_amps(most_zero)}; while 1: {_amps(most_one)}"
    if most_zero is None or most_one is None:
        return Polarity(None, why)
    if most_one > max(FLOWING_A, TIMES * most_zero):
        return Polarity(one_is_closed=True, why=why)
    if most_zero > max(FLOWING_A, TIMES * most_one):
        return Polarity(one_is_closed=False, why=why)
    return Polarity(None, f"{why}: no clear difference")


def flowing_while(
    dbc: DbcTally, channel: str, signal: str, raws: frozenset[float], current: str, factor: float
) -> float | None:
    """Return the current [A] that flows while a signal has one of these values, None: none does.

    `current` is the signal of the pack current; `factor` makes A of it.
    """
    said, amps = _series(dbc, channel, signal), _series(dbc, channel, current)
    if said is None or amps is None:
        return None
    steady = (said.low == said.high) & np.isin(said.low, sorted(raws))
    most = _most(amps, steady)
    return None if most is None or most * factor <= FLOWING_A else most * factor


def _most(amps: Series, slots: npt.NDArray[np.bool_]) -> float | None:
    """Return what is rarely exceeded of the current in some slots, None if there are too few."""
    found = amps.middle[slots & np.isfinite(amps.low)]
    return None if len(found) < LEAST_SLOTS else float(np.quantile(np.abs(found), 0.9))


def _amps(most: float | None) -> str:
    return "too few values" if most is None else f"90 % of the currents up to {most:.3g}"
