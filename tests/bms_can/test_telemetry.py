"""Platform fields: right units, None for what is unknown."""

import math

import pytest

from bms_can.database import Database
from bms_can.intake import Intake
from bms_can.profile import Profile, TelemetryField
from bms_can.signals import Sample, Signals
from bms_can.telemetry import Value, read_telemetry
from tests.bms_can.build import DEADLINE_S, NOW_S, Battery, profile, seen


def read(field: TelemetryField, signals: Signals) -> Value | list[Value]:
    """Return one field at NOW_S."""
    return read_telemetry(signals, profile(telemetry=(field,)), NOW_S)[field.name]


def power(value: float, **scale: float) -> Value | list[Value]:
    """Return a field of one signal with this value."""
    field = TelemetryField("power", ("Power.p",), **scale)  # type: ignore[arg-type]  # factor and offset
    return read(field, seen({"Power.p": value}))


@pytest.mark.parametrize(
    ("value", "scale", "expected"),
    [
        (0, {}, 0),
        (3, {}, 3),
        (13.600000000000001, {}, 13.6),
        (3456, {"factor": 0.001}, 3.456),
        (10, {"offset": -40.0}, -30.0),
        (10, {"factor": 2.0, "offset": 1.0}, 21.0),
        (1e308, {"factor": 10.0}, None),
    ],
)
def test_factor_and_offset(value: float, scale: dict[str, float], expected: Value) -> None:
    """Value * factor + offset, without the dust of float arithmetic; overflow is unknown."""
    found = power(value, **scale)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    "signals",
    [
        pytest.param(Signals(), id="never-heard"),
        pytest.param(seen({"Power.p": None}), id="out-of-range-or-sentinel"),
        pytest.param(seen({"Power.p": 5}, at_s=math.nextafter(NOW_S - DEADLINE_S, 0)), id="stale"),
    ],
)
def test_unknown_is_none(signals: Signals) -> None:
    """Unknown is never 0, nor the last value."""
    assert read(TelemetryField("power", ("Power.p",)), signals) is None
    assert read(TelemetryField("power", ("Power.p",), factor=2.0), signals) is None
    assert read(TelemetryField("power", ("Power.p",), array=True), signals) == [None]


def test_a_value_at_its_deadline_counts() -> None:
    """The deadline itself is still in time."""
    signals = seen({"Power.p": 5}, at_s=NOW_S - DEADLINE_S)
    assert read(TelemetryField("power", ("Power.p",)), signals) == 5


def test_an_array_keeps_its_places() -> None:
    """A missing cell leaves a hole, so that the others keep their number."""
    field = TelemetryField(
        "cell_voltage", ("Power.c1", "Power.c2", "Power.c3"), factor=0.001, array=True
    )
    signals = seen({"Power.c1": 3301, "Power.c2": Sample(65535, None, NOW_S), "Power.c3": 3303})
    assert read(field, signals) == [3.301, None, 3.303]


def test_the_default_battery(loaded: tuple[Profile, Database], battery: Battery) -> None:
    """Frames in, platform fields out: units turned, pages joined, sentinels None."""
    rules, database = loaded
    intake = Intake(rules, database)
    intake.take(battery.frame("BAU_Energy", 1.0, soc=55.5))
    intake.take(battery.frame("BAU_Electrical", 1.0, total_current=-12.3, total_voltage=768.4))
    page = {"page": 1, "cell_voltage_4": 3300, "cell_voltage_5": 3310, "cell_voltage_6": 3290}
    intake.take(battery.frame("BAU_CellVoltages", 1.0, **page))
    found = read_telemetry(intake.table.snapshot(), rules, 1.0)
    assert (found["soc"], found["total_current"], found["total_voltage"]) == (55.5, -12.3, 768.4)
    cells = found["cell_voltage"]
    assert isinstance(cells, list)
    assert len(cells) == 48
    assert cells[2:7] == [None, 3.3, 3.31, 3.29, None]
    assert found["highest_cell_voltage"] is None
