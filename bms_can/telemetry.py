"""Platform fields from signal values. Pure. Unknown is None, in an array too."""

from math import isfinite

from bms_can.profile import Profile, TelemetryField
from bms_can.signals import Signals

Value = float | int | None
DECIMALS = 6  # trap 19: 13.600000000000001


def read_telemetry(
    signals: Signals, profile: Profile, now_s: float
) -> dict[str, Value | list[Value]]:
    """Return every telemetry field of the profile at `now_s` [s], in the field's own unit."""
    found: dict[str, Value | list[Value]] = {}
    for field in profile.telemetry:
        values = [_value(signals, profile, field, signal, now_s) for signal in field.signals]
        found[field.name] = values if field.array else values[0]
    return found


def _value(
    signals: Signals, profile: Profile, field: TelemetryField, signal: str, now_s: float
) -> Value:
    sample = signals.fresh(signal, now_s=now_s, max_age_s=profile.deadline_s(signal))
    if sample is None or sample.value is None:
        return None
    if field.factor == 1 and field.offset == 0:
        return _rounded(sample.value)
    return _rounded(sample.value * field.factor + field.offset)


def _rounded(value: float) -> Value:
    if isinstance(value, int):
        return value
    return round(value, DECIMALS) if isfinite(value) else None
