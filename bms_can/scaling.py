"""Raw <-> physical: which raw values are inside a signal's range, and the exact way back. Pure.

Raw to physical is `raw * factor + offset`, in the order and number types of cantools, so that
values are equal bit for bit. Physical to raw is done in exact decimal arithmetic, because rounding
1.6 to 2 can turn one command into another (trap 14).
"""

import math
from fractions import Fraction
from typing import NamedTuple

from cantools.database.can import Signal

from bms_can.errors import BadValue
from bms_can.layout import Field, float_to_bits
from bms_can.profile import SignalLimits

STEP_TOLERANCE = Fraction(1, 10**6)  # of a raw step: what float arithmetic leaves behind
FLOAT_TOLERANCE = {16: 2.0**-11, 32: 2.0**-24, 64: 2.0**-53}  # half a unit in the last place


class Scale(NamedTuple):
    """Factor and offset. Integers where both are integral: then values stay integers."""

    factor: int | float
    offset: int | float

    @property
    def is_identity(self) -> bool:
        """Whether raw and physical values are the same numbers."""
        return self.factor == 1 and self.offset == 0


def scale_of(signal: Signal) -> Scale:
    """Return factor and offset of a signal as cantools computes with them."""
    factor, offset = signal.conversion.scale, signal.conversion.offset
    integral = float(factor).is_integer() and float(offset).is_integer()
    if integral and not signal.conversion.is_float:
        return Scale(int(factor), int(offset))
    return Scale(factor, offset)


def is_finite(field: Field, signal: Signal) -> bool:
    """Tell whether every raw value has a physical value; a file may say 1e999."""
    factor, offset = signal.conversion.scale, signal.conversion.offset
    if not (math.isfinite(factor) and math.isfinite(offset)):
        return False
    try:
        largest = float(max(abs(field.lowest), field.highest)) if not field.is_float else 1.0
    except OverflowError:
        return False
    return math.isfinite(largest * factor + offset)


def limits_of(signal: Signal, limits: SignalLimits) -> tuple[float | None, float | None]:
    """Return the range of `limits`, else of the DBC, where [0|0] and an empty one are none."""
    low, high = signal.minimum, signal.maximum
    if low is not None and high is not None and (low > high or low == high == 0):
        low = high = None
    low = low if limits.minimum is None else limits.minimum
    high = high if limits.maximum is None else limits.maximum
    return _finite(low), _finite(high)


def _finite(limit: float | None) -> float | None:
    return None if limit is None or not math.isfinite(limit) else limit


def raw_range(field: Field, signal: Signal, limits: SignalLimits) -> tuple[int, int]:
    """Return the smallest and largest valid raw integer; the first above the second: none is.

    A limit between two raw steps counts as the nearer one, a limit halfway as the inner one.
    """
    low, high = limits_of(signal, limits)
    factor, offset = (Fraction(part) for part in scale_of(signal))
    if factor == 0:
        constant_fits = (low is None or low <= offset) and (high is None or offset <= high)
        return (field.lowest, field.highest) if constant_fits else (1, 0)
    if factor < 0:
        low, high = high, low
    half = Fraction(1, 2)
    lowest, highest = field.lowest, field.highest
    if low is not None:
        lowest = max(lowest, math.floor((Fraction(low) - offset) / factor + half))
    if high is not None:
        highest = min(highest, math.ceil((Fraction(high) - offset) / factor - half))
    return lowest, highest


def float_range(field: Field, signal: Signal, limits: SignalLimits) -> tuple[float, float]:
    """Return the physical range of a float signal, widened by the rounding of its own format."""
    low, high = limits_of(signal, limits)
    part = FLOAT_TOLERANCE[field.length]
    return (
        -math.inf if low is None else low - abs(low) * part,
        math.inf if high is None else high + abs(high) * part,
    )


def raw_of(name: str, field: Field, signal: Signal, value: float | str) -> int | float:
    """Return the raw value of a physical value or a choice name, exactly, or refuse.

    Raises:
        BadValue: bool, NaN, a fraction of a step, an unknown or ambiguous choice, or too large
            for the bits.
    """
    if isinstance(value, str):
        raw = _raw_of_choice(name, signal, value)
    elif isinstance(value, bool) or not isinstance(value, int | float):
        raise BadValue(f"{name}: {value!r} is neither a number nor a choice")
    elif not math.isfinite(value):
        raise BadValue(f"{name}: {value!r} is not a finite number")
    elif field.is_float:
        return _raw_float(name, field, signal, value)
    else:
        raw = _raw_step(name, signal, value)
    if not field.lowest <= raw <= field.highest:
        held = f"{field.length} bits hold {field.lowest}..{field.highest}"
        raise BadValue(f"{name}: {value!r} is raw {raw}, but its {held}")
    return raw


def _raw_of_choice(name: str, signal: Signal, value: str) -> int:
    raws = [raw for raw, choice in (signal.choices or {}).items() if str(choice) == value]
    if not raws and not signal.choices:
        raise BadValue(f"{name}: {value!r} is no number, and it has no choices")
    if not raws:
        known = ", ".join(str(choice) for choice in (signal.choices or {}).values())
        raise BadValue(f"{name}: no choice {value!r}; it has {known}")
    if len(raws) != 1:
        raise BadValue(f"{name}: {len(raws)} choices are called {value!r}, not one")
    return raws[0]


def _raw_step(name: str, signal: Signal, value: float) -> int:
    scale = scale_of(signal)
    if scale.is_identity and not isinstance(value, int):
        raise BadValue(f"{name}: {value!r} must be an integer")
    if scale.factor == 0:
        raise BadValue(f"{name}: factor 0, so no value can be sent")
    factor, offset = (Fraction(repr(part)) for part in scale)
    exact = (Fraction(repr(value)) - offset) / factor
    raw = round(exact)
    if abs(exact - raw) > STEP_TOLERANCE:
        raise BadValue(f"{name}: {value!r} is not a whole number of steps of {scale.factor!r}")
    return raw


def _raw_float(name: str, field: Field, signal: Signal, value: float) -> float:
    scale = scale_of(signal)
    if scale.factor == 0:
        raise BadValue(f"{name}: factor 0, so no value can be sent")
    raw = value if scale.is_identity else (value - scale.offset) / scale.factor
    try:
        float_to_bits(raw, field.length)
    except OverflowError as error:
        raise BadValue(f"{name}: {value!r} is too large for {field.length} bits") from error
    return float(raw)
