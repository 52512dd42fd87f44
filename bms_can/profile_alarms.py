"""Section [[alarms]] of a profile."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

from bms_can.alarms import COMMUNICATION_LOST, MAX_LEVEL
from bms_can.profile import ActiveWhen, AlarmRule
from bms_can.profile_names import Names
from bms_can.toml_table import Table

LABELS = 2  # zh, en


def read_alarms(tables: Iterable[Table], names: Names) -> tuple[AlarmRule, ...]:
    """Return all alarms, with keys that are unique within the profile."""
    rules: list[AlarmRule] = []
    seen: dict[str, list[AlarmRule]] = {}
    for table in tables:
        group = _bits(table, names) if "bits" in table else _group(table, names)
        for rule in group:
            if any(_same_bits(rule, other) for other in seen.get(rule.signal, ())):
                table.wrong("signals", f"{rule.signal} is already an alarm")
            elif any(rule.key == other.key for other in seen.get(rule.signal, ())):
                table.wrong("bits", f"{rule.key} is already an alarm of {rule.signal}")
            seen.setdefault(rule.signal, []).append(rule)
            rules.append(rule)
    return _unique(rules)


def _group(table: Table, names: Names) -> list[AlarmRule]:
    signals = names.signals(table, "signals")
    whens = {signal: _when(table, names, signal) for signal in signals or ("",)}
    level = _level(table)
    blocks = table.boolean("blocks_close", True)  # noqa: FBT003 - the default of the key
    labels = table.table("labels")
    short = {signal.split(".", 1)[1] for signal in signals}
    for key in dict(labels.items()):
        if key not in short:
            labels.wrong(key, "is not a signal of this group")
    rules = []
    for signal in signals:
        name = signal.split(".", 1)[1]
        zh, en = _labels(labels, name, names.comment(signal))
        rules.append(AlarmRule(name, signal, whens[signal], level, zh, en, blocks))
    return rules


def _bits(table: Table, names: Names) -> list[AlarmRule]:
    """Read a word of alarms: { name of the alarm = number of its bit }, 0 the lowest."""
    signals = names.signals(table, "signals")
    if len(signals) > 1:
        table.wrong("signals", "must be one signal where there are bits")
    signal = signals[0] if signals else ""
    level, blocks = _level(table), table.boolean("blocks_close", True)  # noqa: FBT003 - default
    if level is None:
        table.wrong("level", "must be 1 to 3 where there are bits")
    labels, bits = table.table("labels"), table.table("bits")
    for key in dict(labels.items()):
        if key not in bits:
            labels.wrong(key, "is not an alarm of this group")
    if not dict(bits.items()):
        table.wrong("bits", "names no bit")
    rules = []
    for key in dict(bits.items()):
        bit = bits.integer(key, minimum=0, maximum=63)
        if signal and bit >= names.bits(*signal.split(".", 1)):
            bits.wrong(key, f"{signal} has only {names.bits(*signal.split('.', 1))} bits")
        zh, en = _labels(labels, key, "")
        rules.append(AlarmRule(key, signal, ActiveWhen(mask=1 << bit), level, zh, en, blocks))
    return rules


def _same_bits(one: AlarmRule, other: AlarmRule) -> bool:
    """Tell whether two alarms of one signal look at the same bits."""
    masks = one.when.mask, other.when.mask
    return None in masks or bool((masks[0] or 0) & (masks[1] or 0))


def _labels(labels: Table, name: str, comment: str) -> tuple[str, str]:
    given = labels.texts(name, ())
    if given and len(given) != LABELS:
        labels.wrong(name, "must be [zh, en]")
    if len(given) == LABELS:
        return given[0], given[1]
    return comment or name, name


def _level(table: Table) -> int | None:
    """Return the level, None for "value"."""
    if table.raw("level", None) == "value":
        return None
    return table.integer("level", minimum=1, maximum=MAX_LEVEL)


def _when(table: Table, names: Names, signal: str) -> ActiveWhen:
    """Return when one signal of the group is an alarm: a choice may have its own raw value."""
    if isinstance(table.raw("active", "nonzero"), str):
        table.one_of("active", ("nonzero",), "nonzero")
        return ActiveWhen()
    active = table.table("active")
    if not isinstance(table.raw("active"), dict):
        return ActiveWhen()
    kinds = [kind for kind in ("values", "mask", "at_least", "at_most") if kind in active]
    if len(kinds) != 1:
        table.wrong("active", 'must be "nonzero" or have one of values, mask, at_least, at_most')
        active.known(*kinds)
        return ActiveWhen()
    values = None
    if "values" in active:
        values = names.values(active, "values", signal)
    mask = active.integer("mask", None, minimum=1)
    if mask is not None and signal and mask >> names.bits(*signal.split(".", 1)):
        active.wrong("mask", f"{signal} has only {names.bits(*signal.split('.', 1))} bits")
    return ActiveWhen(values, mask, active.number("at_least", None), active.number("at_most", None))


def _unique(rules: list[AlarmRule]) -> tuple[AlarmRule, ...]:
    """Give alarms whose signals share a name the full name as key."""
    count = Counter(rule.key for rule in rules)
    return tuple(
        replace(rule, key=f"{rule.signal.split('.', 1)[0]}.{rule.key}")
        if count[rule.key] > 1 or rule.key == COMMUNICATION_LOST
        else rule
        for rule in rules
    )
