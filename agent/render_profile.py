"""A profile as a person reads it: what is reported, from where, how old it may be. Pure."""

from collections.abc import Iterable, Iterator

from bms_can.database import Database
from bms_can.frame import frame_text
from bms_can.profile import (
    ActiveWhen,
    AlarmRule,
    CommandPlan,
    Condition,
    OperatingStatus,
    Profile,
    TelemetryField,
)

STATUS_WORDS = {
    OperatingStatus.POWERED_DOWN: "powered down",
    OperatingStatus.IDLE: "idle",
    OperatingStatus.CHARGING: "charging",
    OperatingStatus.DISCHARGING: "discharging",
}
SHOWN_SIGNALS = 4


def profile_table(profile: Profile, database: Database) -> Iterator[str]:
    """Yield everything that the profile will do, in sections."""
    yield f"{profile.name}: {profile.description or 'no description'}"
    yield f"DBC {profile.dbc_path}" + (f", channel {profile.channel}" if profile.channel else "")
    yield from _section("operating_status", _status_lines(profile, database))
    yield from _section("the battery is silent when", _fresh_lines(profile))
    yield from _section(
        f"alarm_status: {len(profile.alarms)} alarms", _alarm_lines(profile, database)
    )
    yield from _section(
        f"telemetry: {len(profile.telemetry)} fields", _telemetry_lines(profile, database)
    )
    yield from _section("checked on every frame", _integrity_lines(profile))
    yield from _section("commands", _command_lines(profile, database))


def _section(title: str, lines: Iterable[str]) -> Iterator[str]:
    found = list(lines)
    yield ""
    yield title
    yield from (f"  {line}" for line in found or ["none"])


def _ms(profile: Profile, signal: str) -> str:
    return f"at most {profile.deadline_s(signal) * 1000:g} ms old"


def raw_words(database: Database, signal: str, raws: Iterable[float]) -> str:
    """Return raw values with their names in the DBC."""
    choices = dict(database.signals[signal][1].choices or {})
    named = {raw: f"{raw:g} {choices[int(raw)]}" for raw in sorted(raws) if raw in choices}
    return ", ".join(named.get(raw, f"{raw:g}") for raw in sorted(raws)) or "no value"


def _status_lines(profile: Profile, database: Database) -> Iterator[str]:
    rule = profile.status
    if rule.state is not None:
        yield f"from {rule.state.signal}, {_ms(profile, rule.state.signal)}"
        for status in OperatingStatus:
            raws = [raw for raw, meant in rule.state.states.items() if meant is status]
            words = raw_words(database, rule.state.signal, raws)
            yield f"  {int(status)} {STATUS_WORDS[status]}: {words}"
        yield "  any other value: unknown"
    if rule.contactor is not None:
        how = "all must be closed" if rule.contactor.series else "one closed is closed"
        yield f"contactor, {how}:" if len(rule.contactor.signals) > 1 else "contactor:"
        for one in rule.contactor.signals:
            closed = raw_words(database, one.signal, one.closed)
            opened = raw_words(database, one.signal, one.open)
            yield f"  {one.signal}: closed {closed}; open {opened}; {_ms(profile, one.signal)}"
    if rule.unknown:
        yield f"always unknown: {rule.unknown}"
    elif rule.state is None and rule.contactor is None:
        rest = "unknown" if rule.at_rest is None else STATUS_WORDS[rule.at_rest]
        yield f"no contactor feedback; without current: {rest}"
    if rule.current is not None:
        current = rule.current
        sign = "charging" if current.sign > 0 else "discharging"
        held = f", held {current.hold_s:g} s" if current.hold_s else ""
        factor = f", times {abs(current.sign):g}" if abs(current.sign) != 1 else ""
        yield f"current {current.signal}{factor}: positive = {sign}, {_ms(profile, current.signal)}"
        yield f"  below {current.dead_band_a:g} A no direction{held}"


def _fresh_lines(profile: Profile) -> Iterator[str]:
    for message in profile.required:
        yield f"{message} is older than {profile.deadlines_s[message] * 1000:g} ms"


def when_words(database: Database, signal: str, when: ActiveWhen) -> str:
    """Return when an alarm is active."""
    unit = database.signals[signal][1].unit or ""
    if when.values is not None:
        return raw_words(database, signal, when.values)
    if when.mask is not None:
        return f"bits 0x{when.mask:X}"
    if when.at_least is not None:
        return f">= {when.at_least:g} {unit}".rstrip()
    if when.at_most is not None:
        return f"<= {when.at_most:g} {unit}".rstrip()
    return "not 0"


def _alarm_lines(profile: Profile, database: Database) -> Iterator[str]:
    for alarm in profile.alarms:
        level = "its value" if alarm.level is None else str(alarm.level)
        blocks = "" if alarm.blocks_close else ", does not keep it open"
        when = when_words(database, alarm.signal, alarm.when)
        labels = f"{alarm.label_zh} / {alarm.label_en}"
        yield f"{alarm.key}: {alarm.signal} {when}, level {level}{blocks}, {labels}"


def _telemetry_lines(profile: Profile, database: Database) -> Iterator[str]:
    for field in profile.telemetry:
        names = ", ".join(field.signals[:SHOWN_SIGNALS])
        rest = len(field.signals) - SHOWN_SIGNALS
        more = f" and {rest} more" if rest > 0 else ""
        scale = f" x {field.factor:g}" if field.factor != 1 else ""
        scale += f" + {field.offset:g}" if field.offset else ""
        oldest = _ms(profile, field.signals[0]) if field.signals else ""
        yield f"{field.name} [{_unit(field, database)}] = {names}{more}{scale}, {oldest}"


def _unit(field: TelemetryField, database: Database) -> str:
    if field.unit or not field.signals:
        return field.unit
    return str(database.signals[field.signals[0]][1].unit or "no unit")


def _integrity_lines(profile: Profile) -> Iterator[str]:
    for rule in profile.integrity.values():
        counter = f"counter {rule.counter} modulo {rule.modulo}" if rule.counter else ""
        checksum = f"checksum {rule.checksum} by {rule.algorithm}" if rule.checksum else ""
        yield f"{rule.message}: {', '.join(part for part in (counter, checksum) if part)}"


def _command_lines(profile: Profile, database: Database) -> Iterator[str]:
    if profile.read_only_reason:
        yield f"none: {profile.read_only_reason}"
    for code, plan in profile.commands.items():
        yield f"{int(code)} {code.name.lower()}: {plan.message}, {_times(plan)}"
        yield f"  first frame {hex_of(plan)}" + (
            f", {len(plan.frames)} counter values" if len(plan.frames) > 1 else ""
        )
        for word, condition in (("acknowledged", plan.acknowledged), ("refused", plan.refused)):
            if condition is not None:
                yield f"  {word} by {condition_words(database, condition)}"
        yield f"  proven by {proof_words(plan, database)}"


def hex_of(plan: CommandPlan) -> str:
    """Return the first frame of a command as candump text."""
    first = plan.frames[0]
    return frame_text(first.can_id, first.extended, first.data)


def _times(plan: CommandPlan) -> str:
    return f"{plan.repeat} times, every {plan.period_s * 1000:g} ms" if plan.repeat > 1 else "once"


def condition_words(database: Database, condition: Condition) -> str:
    """Return a condition: the signal and its values."""
    return f"{condition.signal} = {raw_words(database, condition.signal, condition.values)}"


def proof_words(plan: CommandPlan, database: Database) -> str:
    """Return what must be seen before a command counts as done."""
    proof = plan.confirmed
    parts = [condition_words(database, each) for each in proof.conditions]
    if proof.statuses:
        statuses = ", ".join(f"{int(s)} {STATUS_WORDS[s]}" for s in sorted(proof.statuses))
        parts.insert(0, f"operating_status {statuses}")
    if proof.alarms_cleared:
        shown = ", ".join(proof.alarms_cleared[:SHOWN_SIGNALS])
        rest = len(proof.alarms_cleared) - SHOWN_SIGNALS
        parts.append(f"no alarm of {shown}" + (f" and {rest} more" if rest > 0 else ""))
    how = f"in {proof.frames} frames in a row within {proof.window_s:g} s"
    return f"{'; '.join(parts)}; {how}, and still after {proof.hold_s:g} s"


def profile_values(profile: Profile, database: Database) -> dict[str, object]:
    """Return the same for JSON."""
    return {
        "format": "bms-agent-profile-1",
        "name": profile.name,
        "dbc": profile.dbc_path,
        "dbc_sha256": profile.dbc_sha256,
        "channel": profile.channel,
        "operating_status": list(_status_lines(profile, database)),
        "required": {name: profile.deadlines_s[name] for name in profile.required},
        "alarms": [_alarm_values(alarm, database, profile) for alarm in profile.alarms],
        "telemetry": [
            {
                "field": field.name,
                "signals": list(field.signals),
                "unit": _unit(field, database),
                "factor": field.factor,
                "offset": field.offset,
                "deadline_s": profile.deadline_s(field.signals[0]) if field.signals else None,
            }
            for field in profile.telemetry
        ],
        "commands": [
            {
                "code": int(code),
                "name": code.name.lower(),
                "message": plan.message,
                "frame": hex_of(plan),
                "repeat": plan.repeat,
                "period_s": plan.period_s,
                "proven_by": proof_words(plan, database),
            }
            for code, plan in profile.commands.items()
        ],
        "read_only": profile.read_only_reason or None,
    }


def _alarm_values(alarm: AlarmRule, database: Database, profile: Profile) -> dict[str, object]:
    return {
        "key": alarm.key,
        "signal": alarm.signal,
        "active": when_words(database, alarm.signal, alarm.when),
        "level": alarm.level,
        "blocks_close": alarm.blocks_close,
        "label_zh": alarm.label_zh,
        "label_en": alarm.label_en,
        "deadline_s": profile.deadline_s(alarm.signal),
    }
