"""Section [held_request] of a profile: the request that a battery wants to hear all the time.

All commands of such a profile go out in this one message: what is in force between them is `rest`.
The guard's list has exactly these payloads, without a free bit: rest, closed, reset.
"""

from collections.abc import Mapping, Sequence

from bms_can.database import Database
from bms_can.frame import Frame, frame_text
from bms_can.guard import MINUTE_S, GuardEntry
from bms_can.held_plan import HeldPlan
from bms_can.layout import field_of, read
from bms_can.profile import CommandCode, CommandPlan, IntegrityRule, InterlockRules
from bms_can.profile_commands import frames_of
from bms_can.profile_names import Names
from bms_can.toml_table import Table

LEAST_MS, MOST_MS = 20, 1000
SPARE = 1.1  # the guard must not stop a request that is a little faster than meant
CLOSE, OPEN = CommandCode.CLOSE_CONTACTOR, CommandCode.OPEN_CONTACTOR


def read_held(
    top: Table, names: Names, integrity: Mapping[str, IntegrityRule], interlocks: InterlockRules
) -> HeldPlan | None:
    """Return the request, None if the battery has none."""
    if "held_request" not in top:
        return None
    table = top.table("held_request")
    message = table.text("message")
    if message in integrity:
        table.wrong("message", "has a rule of [[integrity]]: counters are not supported here")
        integrity = {}
    frames = frames_of(table, message, names, integrity)
    period_ms = table.integer("period_ms", minimum=LEAST_MS, maximum=MOST_MS)
    start = table.texts("only_at_start", ())
    known = {condition.name for condition in interlocks.conditions}
    for name in set(start) - known:
        table.wrong("only_at_start", f'no condition of [interlocks] has the name "{name}"')
    if not frames:
        return None
    return HeldPlan(message, frames[0], period_ms / 1000, frozenset(start))


def check_held(
    top: Table,
    plan: HeldPlan | None,
    commands: Mapping[CommandCode, CommandPlan],
    guard: Sequence[GuardEntry],
    database: Database,
) -> None:
    """Refuse what would make the request mean something else than its commands say."""
    if plan is None:
        return
    table = top.table("held_request")
    for code in (CLOSE, OPEN):
        if code not in commands:
            table.wrong("", f"needs commands.{code.name.lower()}")
    for command in commands.values():
        own = top.table("commands").table(command.code.name.lower())
        _check_command(own, plan, command)
    if mistake := _same_frames(plan, commands):
        table.wrong("values", mistake)
    if name := _closing_signal(plan, commands, database):
        own = top.table("commands").table("fault_reset")
        own.wrong("values", f"{name} must be as at rest: a close changes it")
    if mistake := _guard_mistake(plan, commands, guard):
        top.wrong("guard", mistake)


def _check_command(own: Table, plan: HeldPlan, command: CommandPlan) -> None:
    if command.message != plan.message:
        own.wrong("message", f"must be {plan.message}, that of [held_request]")
    if "period_ms" in own:
        own.wrong("period_ms", "is that of [held_request]")
    if command.code is CLOSE and "repeat" in own:
        own.wrong("repeat", "a held close lasts until something ends it")


def _same_frames(plan: HeldPlan, commands: Mapping[CommandCode, CommandPlan]) -> str:
    """Return what is wrong with the meaning of the frames, "" if nothing is."""
    frames = {code: command.frames[0] for code, command in commands.items() if command.frames}
    for code, frame in frames.items():
        if (code is OPEN) != (frame == plan.rest):
            must = "must be" if code is OPEN else "is"
            return f"at rest {must} the same as {code.name.lower()}"
    if len(set(frames.values())) != len(frames):
        return "two commands have the same frame"
    return ""


def _closing_signal(
    plan: HeldPlan, commands: Mapping[CommandCode, CommandPlan], database: Database
) -> str:
    """Return the signal by which a reset asks for something that a close asks for, "" if none."""
    close, reset = commands.get(CLOSE), commands.get(CommandCode.FAULT_RESET)
    if close is None or reset is None or not (close.frames and reset.frames):
        return ""
    message = database.messages[plan.message]
    for signal in message.signals:
        field = field_of(message, signal)
        frames = () if field is None else (close.frames[0], reset.frames[0])
        if field and all(read(field, each.data) != read(field, plan.rest.data) for each in frames):
            return signal.name
    return ""


def _guard_mistake(
    plan: HeldPlan, commands: Mapping[CommandCode, CommandPlan], guard: Sequence[GuardEntry]
) -> str:
    """Return why the guard's list does not fit, "" if it lets out exactly what is meant."""
    key = plan.rest.can_id, plan.rest.extended
    frames = [command.frames[0] for command in commands.values() if command.frames]
    for entry in guard:
        if (entry.can_id, entry.extended) != key:
            continue
        if set(entry.mask) - {0xFF} or not any(entry.matches(frame) for frame in frames):
            return f'"{entry.name}" allows more than the frames of a held request'
    closed = [commands[CLOSE].frames[0]] if CLOSE in commands and commands[CLOSE].frames else []
    for frame in (plan.rest, *closed):
        if mistake := _entry_mistake(plan, frame, guard):
            return mistake
    return ""


def _entry_mistake(plan: HeldPlan, frame: Frame, guard: Sequence[GuardEntry]) -> str:
    text = frame_text(frame.can_id, frame.extended, frame.data)
    entry = next((entry for entry in guard if entry.matches(frame)), None)
    if entry is None:
        return f"no entry allows {text}, the held request"
    if entry.per_minute * plan.period_s < SPARE * MINUTE_S:
        return f'"{entry.name}" allows too few per minute for one in {plan.period_s:g} s'
    if frame == plan.rest and not entry.when_latched:
        return f'"{entry.name}" lacks when_latched: rest must go out when closed may not'
    return ""
