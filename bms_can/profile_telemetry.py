"""Section [telemetry] of a profile: platform field names, their units, and the signals behind."""

from bms_can.database import find
from bms_can.profile import TelemetryField
from bms_can.profile_names import Names
from bms_can.toml_table import Table

# Unit of each field of sub_ems_bms that has one (platform documents, "report/regular/post").
FIELD_UNITS = {
    "soc": "%",
    "soh": "%",
    "current_chargeable_energy": "kWh",
    "current_dis_chargeable_energy": "kWh",
    "total_voltage": "V",
    "total_current": "A",
    "power": "kW",
    "charge_accumulated_energy": "kWh",
    "discharge_accumulated_energy": "kWh",
    "daily_charge_energy": "kWh",
    "daily_discharge_energy": "kWh",
    "max_allowed_charge_power": "kW",
    "max_allowed_discharge_power": "kW",
    "max_allowed_charge_current": "A",
    "max_allowed_dis_charge_current": "A",
    "highest_cell_voltage": "V",
    "lowest_cell_voltage": "V",
    "average_cell_voltage": "V",
    "voltage_diff": "V",
    "cell_voltage": "V",
    "highest_cell_temp": "degC",
    "lowest_cell_temp": "degC",
    "average_cell_temperature": "degC",
    "temp_diff": "degC",
    "cell_temp": "degC",
}
SAME_UNIT = {"°c": "degc", "℃": "degc", "degc": "degc", "c": "degc", "percent": "%", "pct": "%"}
MOST_SIGNALS = 700  # the platform's longest array


def read_telemetry(table: Table, names: Names) -> tuple[TelemetryField, ...]:
    """Return all telemetry fields in the order of the file."""
    return tuple(_field(table, name, value, names) for name, value in table.items())


def _field(table: Table, name: str, value: object, names: Names) -> TelemetryField:
    if isinstance(value, str):
        signal = names.signal(table, name)
        _check_unit(table, name, (signal,), "", names)
        return TelemetryField(name, (signal,) if signal else (), unit=FIELD_UNITS.get(name, ""))
    one = table.table(name)
    array = "signals" in one
    if array and "signal" in one:
        one.wrong("signal", "give either signal or signals, not both")
        one.known("signal")
    signals = names.signals(one, "signals") if array else (names.signal(one, "signal"),)
    if len(signals) > MOST_SIGNALS:
        one.wrong("signals", f"{len(signals)} signals; the platform takes {MOST_SIGNALS}")
    factor, offset = one.number("factor", 1.0), one.number("offset", 0.0)
    unit = one.text("unit", "")
    if factor == 0:
        one.wrong("factor", "must not be 0")
    if factor == 1 and offset == 0:
        _check_unit(table, name, signals, unit, names)
    elif unit and name in FIELD_UNITS and not _same(unit, FIELD_UNITS[name]):
        one.wrong("unit", f"the platform wants {FIELD_UNITS[name]}")
    found = tuple(signal for signal in signals if signal)
    return TelemetryField(name, found, factor, offset, unit or FIELD_UNITS.get(name, ""), array)


def _same(one: str, other: str) -> bool:
    return SAME_UNIT.get(one.lower(), one.lower()) == SAME_UNIT.get(other.lower(), other.lower())


def _check_unit(table: Table, name: str, signals: tuple[str, ...], said: str, names: Names) -> None:
    """Refuse a signal whose DBC unit is not the platform's, unless the file says the unit."""
    wanted = FIELD_UNITS.get(name, "")
    for signal in signals:
        found = find(names.database, signal) if signal else None
        unit = said or ("" if found is None else str(found[1].unit or ""))
        if unit and wanted and not _same(unit, wanted):
            table.wrong(name, f"{signal} is in {unit}, the platform wants {wanted}; give a factor")
            return
