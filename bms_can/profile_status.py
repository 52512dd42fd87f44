"""Section [operating_status] of a profile."""

from bms_can.database import find
from bms_can.layout import field_of
from bms_can.profile import (
    CommandCode,
    CommandPlan,
    ContactorRule,
    ContactorSignal,
    CurrentRule,
    OperatingStatus,
    StateSignal,
    StatusRule,
)
from bms_can.profile_names import Names
from bms_can.scaling import scale_of
from bms_can.toml_table import Table

AMPERES = {"a": 1.0, "amp": 1.0, "amps": 1.0, "ampere": 1.0, "ma": 0.001, "ka": 1000.0}


def read_status(table: Table, names: Names) -> StatusRule:
    """Return the rule: `state`, or `contactor` with `current`, or one of `current`, `unknown`."""
    if "state" in table:
        if "contactor" in table:
            table.wrong("contactor", "give either state or contactor, not both")
            table.known("contactor")
        current = _current(table, names) if "current" in table else None
        return StatusRule(state=_state(table.table("state"), names), current=current)
    if "unknown" in table:
        return StatusRule(unknown=table.text("unknown"))
    at_rest = table.one_of("at_rest", ("unknown", "idle"), None)
    if "contactor" not in table and at_rest is not None:
        rest = OperatingStatus.IDLE if at_rest == "idle" else None
        return StatusRule(current=_current(table, names), at_rest=rest)
    if at_rest is not None:
        table.wrong("at_rest", "is for a battery without contactor")
    contactor = _contactor(table.table("contactor", required=True), names)
    return StatusRule(contactor=contactor, current=_current(table, names))


def unprovable_open(rule: StatusRule, plan: CommandPlan) -> bool:
    """Tell whether a plan rests on "open" although the battery never says it."""
    if plan.code is not CommandCode.OPEN_CONTACTOR or not plan.confirmed.statuses:
        return False
    if rule.state is not None:
        return OperatingStatus.POWERED_DOWN not in rule.state.states.values()
    if rule.contactor is None:
        return True
    opens = [bool(one.open) for one in rule.contactor.signals]
    return not (any(opens) if rule.contactor.series else all(opens))


def _state(table: Table, names: Names) -> StateSignal:
    signal = names.signal(table, "signal")
    states: dict[int | float, OperatingStatus] = {}
    values = table.table("values", required=True)
    for status in OperatingStatus:
        key = str(int(status))
        for raw in names.values(values, key, signal, ()):
            if raw in states:
                values.wrong(key, f"raw value {raw} stands for two states")
            states[raw] = status
    if "values" in table and not any(str(int(status)) in values for status in OperatingStatus):
        table.wrong("values", "names no state: its keys are 1, 2, 3, 4")
    return StateSignal(signal, states)


def _contactor(table: Table, names: Names) -> ContactorRule:
    combine = table.one_of("combine", ("series", "parallel"), "series")
    signals = []
    tables = table.tables("signals", required=True)
    for one in tables:
        signal = names.signal(one, "signal")
        # Empty on purpose: it does not say when it is open; or, beside others, when it is closed.
        never_open = one.raw("open", None) == []
        never_closed = one.raw("closed", None) == [] and combine == "parallel" and len(tables) > 1
        closed = names.values(one, "closed", signal, () if never_closed else None)
        opened = names.values(one, "open", signal, () if never_open else None)
        if closed & opened:
            one.wrong("open", "has a value that also means closed")
        signals.append(ContactorSignal(signal, closed, opened))
    if "signals" in table and not signals:
        table.wrong("signals", "needs at least one signal")
    elif all(one.raw("closed", None) == [] for one in tables) and len(tables) > 1:
        table.wrong("signals", "none of them can be closed")
    return ContactorRule(tuple(signals), combine == "series")


def _current(table: Table, names: Names) -> CurrentRule:
    current = table.table("current", required=True)
    positive = current.one_of("positive", ("charging", "discharging"))
    signal = names.signal(current, "signal")
    if signal and not _two_ways(names, signal):
        current.wrong("signal", f"{signal} can never be negative: it tells no direction")
    factor = current.number("factor", None, minimum=1e-9)
    if factor is None:
        factor = _amperes(current, names, signal)
    return CurrentRule(
        signal=signal,
        sign=factor if positive == "charging" else -factor,
        dead_band_a=current.number("dead_band_a", minimum=0),
        hold_s=current.number("hold_s", 0.0, minimum=0, maximum=60),
        ignored_when_open=current.boolean("ignored_when_open", False),  # noqa: FBT003 - default
    )


def _two_ways(names: Names, signal: str) -> bool:
    """Tell whether a signal can be positive and negative, as its bits, factor and offset are."""
    found = find(names.database, signal)
    field = None if found is None else field_of(*found)
    if found is None or field is None or field.is_float:
        return True
    factor, offset = scale_of(found[1])
    ends = field.lowest * factor + offset, field.highest * factor + offset
    return min(ends) < 0 < max(ends)


def _amperes(current: Table, names: Names, signal: str) -> float:
    """Return 1; a DBC in another unit of current needs the factor in the profile."""
    found = find(names.database, signal)
    unit = "" if found is None else (found[1].unit or "").strip()
    if AMPERES.get(unit.lower(), 1.0) != 1.0:
        factor = AMPERES[unit.lower()]
        current.wrong("factor", f"{signal} is in {unit}; give factor = {factor:g}")
    return 1.0
