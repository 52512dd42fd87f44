"""Which values may be believed: range and sentinels, as the live codec applies them."""

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bms_can.columnar.extract import Array
from bms_can.columnar.plan import SignalPlan
from bms_can.profile import SignalLimits
from bms_can.scaling import float_range, raw_range

NO_LIMITS = SignalLimits()


class Belief(NamedTuple):
    """What may be believed of one signal.

    Attributes:
        lowest, highest: raw for integers, physical for IEEE 754 numbers.
        sentinels: raw values that mean nothing.
        is_float: an IEEE 754 number, which must also be finite.
        always: every raw value may be believed.
    """

    lowest: float
    highest: float
    sentinels: frozenset[int | float]
    is_float: bool
    always: bool

    def holds(self, raw: Array, values: Array) -> NDArray[np.bool_]:
        """Return where a value may be believed."""
        seen = values if self.is_float else raw
        found: NDArray[np.bool_] = (seen >= self.lowest) & (seen <= self.highest)
        if self.is_float:
            found &= np.isfinite(values)
        for sentinel in self.sentinels:
            found &= raw != sentinel
        return found


class Beliefs:
    """What may be believed of the signals of one database, worked out once for each."""

    def __init__(self, limits: Mapping[str, SignalLimits]) -> None:
        self._limits = limits
        self._known: dict[tuple[str, str], Belief] = {}

    def of(self, message: str, plan: SignalPlan) -> Belief:
        """Return what may be believed of a signal of a message."""
        found = self._known.get((message, plan.name))
        if found is None:
            limits = self._limits.get(f"{message}.{plan.name}", NO_LIMITS)
            found = self._known[message, plan.name] = _belief(plan, limits)
        return found


def _belief(plan: SignalPlan, limits: SignalLimits) -> Belief:
    field = plan.field
    if field.is_float:
        low, high = float_range(field, plan.signal, limits)
        return Belief(low, high, limits.sentinels, is_float=True, always=False)
    lowest, highest = raw_range(field, plan.signal, limits)
    sentinels = frozenset(
        int(each) for each in limits.sentinels if math.isfinite(each) and each == int(each)
    )
    every = lowest <= field.lowest and field.highest <= highest and not sentinels
    return Belief(lowest, highest, sentinels, is_float=False, always=every)
