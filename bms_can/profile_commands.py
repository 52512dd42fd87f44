"""Sections [commands], [interlocks] and [[guard]] of a profile.

Control frames are built here, once, and decoded back; at run time nothing is encoded any more
(reliability rule 29). Each must also be listed in [[guard]], which is written by hand: two people,
or one person twice, have to mean the same bytes.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase

from bms_can.codec import encode
from bms_can.errors import BadValue
from bms_can.frame import Frame, frame_text
from bms_can.guard import GuardEntry
from bms_can.integrity import Integrity, rule_mistakes
from bms_can.profile import (
    COMMAND_KEYS,
    AlarmRule,
    CommandCode,
    CommandPlan,
    Condition,
    Confirmation,
    IntegrityRule,
    InterlockRules,
    OperatingStatus,
)
from bms_can.profile_names import Names
from bms_can.toml_table import Table, kind_of

MOST_REPEATS = 50
MOST_COUNTER_VALUES = 65536  # one frame is built for each
MOST_ID = {3: 0x7FF, 8: 0x1FFFFFFF}  # by number of digits
DEFAULT_WINDOW_S = {  # reliability rule 11
    CommandCode.FAULT_RESET: 10.0,
    CommandCode.CLOSE_CONTACTOR: 20.0,
    CommandCode.OPEN_CONTACTOR: 15.0,
}
DEFAULT_STATUSES = {
    CommandCode.FAULT_RESET: (),
    CommandCode.CLOSE_CONTACTOR: (2, 3, 4),
    CommandCode.OPEN_CONTACTOR: (1,),
}
CONTRADICTIONS = {
    CommandCode.CLOSE_CONTACTOR: {OperatingStatus.POWERED_DOWN},
    CommandCode.OPEN_CONTACTOR: set(OperatingStatus) - {OperatingStatus.POWERED_DOWN},
}
GUARD_FRAME = re.compile(r"([0-9A-Fa-f]{3}|[0-9A-Fa-f]{8})#((?:[0-9A-Fa-f.]{2}){0,64})")


def read_commands(
    table: Table,
    names: Names,
    integrity: Mapping[str, IntegrityRule],
    alarms: Sequence[AlarmRule],
) -> dict[CommandCode, CommandPlan]:
    """Return a plan for each command that the profile has."""
    plans: dict[CommandCode, CommandPlan] = {}
    for key, code in COMMAND_KEYS.items():
        if key in table:
            plans[code] = _plan(code, table.table(key), names, integrity, alarms)
    return plans


def _plan(
    code: CommandCode,
    table: Table,
    names: Names,
    integrity: Mapping[str, IntegrityRule],
    alarms: Sequence[AlarmRule],
) -> CommandPlan:
    message = table.text("message")
    frames = frames_of(table, message, names, integrity)
    repeat = table.integer("repeat", 1, minimum=1, maximum=MOST_REPEATS)
    period_ms = table.integer("period_ms", 100, minimum=10, maximum=5000)
    return CommandPlan(
        code=code,
        message=message,
        frames=frames,
        repeat=repeat,
        period_s=period_ms / 1000,
        acknowledged=_optional(table, "acknowledged", names),
        refused=_optional(table, "refused", names),
        confirmed=_confirmation(code, table.table("confirmed"), names, alarms),
    )


def _optional(table: Table, key: str, names: Names) -> Condition | None:
    return names.condition(table.table(key)) if key in table else None


def frames_of(
    table: Table, message: str, names: Names, integrity: Mapping[str, IntegrityRule]
) -> tuple[Frame, ...]:
    """Return the frame for each counter value."""
    values = _values(table.table("values", required=True))
    if message and not names.has_message(message):
        table.wrong("message", f'the DBC has no message "{message}"')
    if values is None or "values" not in table or not names.has_message(message):
        return ()
    rule = integrity.get(message)
    automatic = {rule.counter, rule.checksum} - {None} if rule is not None else set()
    for name in automatic & values.keys():
        table.wrong(f"values.{name}", "is filled in by [[integrity]]")
    if rule is not None and rule_mistakes(names.database, rule):
        return ()  # said where the rule stands
    if rule is not None and rule.modulo > MOST_COUNTER_VALUES:
        table.wrong("message", f"its counter has {rule.modulo} values; too many to build frames of")
        return ()
    try:
        definition = names.database.messages[message]
        payload = encode(definition, values | {str(name): 0 for name in automatic})
    except BadValue as error:
        table.wrong("values", str(error))
        return ()
    rules = {} if rule is None else {message: rule}
    sealed = Integrity(names.database, rules).counter_frames(message, payload)
    can_id, extended = definition.frame_id, definition.is_extended_frame
    return tuple(Frame(0.0, can_id, extended, data) for data in sealed)


def _values(table: Table) -> dict[str, int | float | str] | None:
    """Read signal = number or choice; None if one of them is neither."""
    found: dict[str, int | float | str] = {}
    wrong = False
    for name, value in table.items():
        if type(value) in (int, float, str):
            found[name] = value  # type: ignore[assignment]  # the line above says so
        else:
            table.wrong(name, f"must be a number or a choice, not {kind_of(value)}")
            wrong = True
    return None if wrong else found


def _confirmation(
    code: CommandCode, table: Table, names: Names, alarms: Sequence[AlarmRule]
) -> Confirmation:
    given = list(table.scalars("operating_status", DEFAULT_STATUSES[code]))
    statuses = frozenset(status for status in OperatingStatus if status in given)
    if len(statuses) != len(given):
        table.wrong("operating_status", "must be a list of 1, 2, 3, 4")
    if code in CONTRADICTIONS and statuses & CONTRADICTIONS[code]:
        name = code.name.lower()
        table.wrong("operating_status", f"{sorted(map(int, statuses))} does not prove {name}")
    default = ("*",) if code is CommandCode.FAULT_RESET else ()
    cleared = _alarm_keys(table, "alarms_cleared", default, alarms)
    conditions = tuple(names.condition(one) for one in table.tables("conditions"))
    shown = cleared if code is CommandCode.FAULT_RESET else ()  # no alarm shows no contactor
    if not (statuses or conditions or shown):
        table.wrong("", "nothing would prove this command")
    return Confirmation(
        statuses=statuses,
        alarms_cleared=cleared,
        conditions=conditions,
        frames=table.integer("frames", 3, minimum=1, maximum=20),
        window_s=table.number("window_s", DEFAULT_WINDOW_S[code], minimum=0.1, maximum=600),
        hold_s=table.number("hold_s", 5.0, minimum=0, maximum=600),
    )


def _alarm_keys(
    table: Table, key: str, default: tuple[str, ...], alarms: Sequence[AlarmRule]
) -> tuple[str, ...]:
    """Return the keys of the alarms that the globs match, over key or "Message.Signal"."""
    single = isinstance(table.raw(key, default), str)
    patterns = (table.text(key),) if single else table.texts(key, default)
    found: dict[str, None] = {}
    for pattern in patterns:
        hits = [
            alarm.key
            for alarm in alarms
            if fnmatchcase(alarm.key, pattern) or fnmatchcase(alarm.signal, pattern)
        ]
        if not hits and key in table:
            table.wrong(key, f'"{pattern}" matches no alarm')
        found.update(dict.fromkeys(hits))
    return tuple(found)


def read_interlocks(table: Table, names: Names, alarms: Sequence[AlarmRule]) -> InterlockRules:
    """Return the interlocks of the battery; defaults are those of InterlockRules."""
    least = InterlockRules()
    return InterlockRules(
        remote=_optional(table, "remote", names),
        conditions=tuple(names.condition(one) for one in table.tables("conditions")),
        tolerated_alarms=frozenset(_alarm_keys(table, "tolerated_alarms", (), alarms)),
        steady_s=table.number("steady_s", least.steady_s, minimum=0, maximum=600),
        close_interval_s=table.number("close_interval_s", least.close_interval_s, minimum=0),
        close_max=table.integer("close_max", least.close_max, minimum=1, maximum=100),
        close_window_s=table.number("close_window_s", least.close_window_s, minimum=1),
        reset_max=table.integer("reset_max", least.reset_max, minimum=1, maximum=100),
        reset_window_s=table.number("reset_window_s", least.reset_window_s, minimum=1),
        open_max_current_a=table.number("open_max_current_a", None, minimum=0),
        open_wait_s=table.number("open_wait_s", least.open_wait_s, minimum=0, maximum=60),
    )


def conditions_of(
    interlocks: InterlockRules, commands: Iterable[CommandPlan]
) -> tuple[Condition, ...]:
    """Return every condition in use, so that its signal gets decoded."""
    found: list[Condition | None] = [interlocks.remote, *interlocks.conditions]
    for plan in commands:
        found += [plan.acknowledged, plan.refused, *plan.confirmed.conditions]
    return tuple(condition for condition in found if condition is not None)


def read_guard(top: Table, commands: Mapping[CommandCode, CommandPlan]) -> tuple[GuardEntry, ...]:
    """Return the guard's list, after checking that every control frame is on it."""
    entries: list[GuardEntry] = []
    for table in top.tables("guard"):
        entry = _entry(table)
        if entry is not None:
            if any(entry.name == other.name for other in entries):
                table.wrong("name", "is used twice")
            entries.append(entry)
    for plan in commands.values():
        mistakes = (_guard_mistake(entries, plan, frame) for frame in plan.frames)
        first = next((mistake for mistake in mistakes if mistake), "")
        if first:
            top.wrong("guard", first)
    return tuple(entries)


def _guard_mistake(entries: Sequence[GuardEntry], plan: CommandPlan, frame: Frame) -> str:
    """Return why the guard's list does not fit a frame of a command, "" if it does."""
    name = plan.code.name.lower()
    text = frame_text(frame.can_id, frame.extended, frame.data)
    fitting = [entry for entry in entries if entry.matches(frame)]
    if not fitting:
        return f"no entry allows {text}, which {name} would send"
    if fitting[0].per_minute < plan.repeat:
        return f'"{fitting[0].name}" allows too few per minute: {name} sends {plan.repeat} in a row'
    late = [entry.name for entry in fitting if entry.when_latched]
    if late and plan.code is not CommandCode.OPEN_CONTACTOR:
        return f'"{late[0]}" has when_latched and allows {text}, which {name} would send'
    return ""


def _entry(table: Table) -> GuardEntry | None:
    name = table.text("name")
    text = table.text("frame")
    per_minute = table.integer("per_minute", minimum=1, maximum=6000)
    when_latched = table.boolean("when_latched", False)  # noqa: FBT003 - the default of the key
    found = GUARD_FRAME.fullmatch(text.replace(" ", ""))
    if found is None:
        if text:
            table.wrong("frame", 'must look like "1811F4E5#01000000000000.."')
        return None
    if int(found[1], 16) > MOST_ID[len(found[1])]:
        table.wrong("frame", f"{found[1]} is no identifier: the largest is 7FF or 1FFFFFFF")
    digits = found[2].upper()
    return GuardEntry(
        name=name,
        can_id=int(found[1], 16),
        extended=len(found[1]) > len("7FF"),
        data=bytes.fromhex(digits.replace(".", "0")),
        mask=bytes.fromhex("".join("0" if digit == "." else "F" for digit in digits)),
        per_minute=per_minute,
        when_latched=when_latched,
    )
