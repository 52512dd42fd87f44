"""Section [heartbeat] of a profile: the one frame that a battery wants to see again and again.

It is built and checked at load like a control frame, and must stand in [[guard]]. It can never be
part of a command: its message is no command's message.
"""

from collections.abc import Collection, Mapping, Sequence

from bms_can.frame import frame_text
from bms_can.guard import MINUTE_S, GuardEntry
from bms_can.heartbeat import HeartbeatPlan
from bms_can.profile import CommandCode, CommandPlan, IntegrityRule
from bms_can.profile_commands import frames_of
from bms_can.profile_names import Names
from bms_can.toml_table import Table

LEAST_MS, MOST_MS = 20, 10_000


def read_heartbeat(
    top: Table, names: Names, integrity: Mapping[str, IntegrityRule]
) -> HeartbeatPlan | None:
    """Return the heartbeat, None if the battery wants none."""
    if "heartbeat" not in top:
        return None
    table = top.table("heartbeat")
    message = table.text("message")
    frames = frames_of(table, message, names, integrity)
    period_ms = table.integer("period_ms", minimum=LEAST_MS, maximum=MOST_MS)
    return HeartbeatPlan(message, frames, period_ms / 1000)


def check_heartbeat(
    top: Table,
    plan: HeartbeatPlan | None,
    commands: Mapping[CommandCode, CommandPlan],
    guard: Sequence[GuardEntry],
    wanted: Collection[str],
) -> None:
    """Refuse one that could act as a command, is not listed, or would prove itself."""
    if plan is None:
        return
    table = top.table("heartbeat")
    for command in commands.values():
        if command.message == plan.message:
            name = command.code.name.lower()
            table.wrong("message", f"is also that of {name}: each frame would take it back")
    if plan.message in wanted:
        table.wrong("message", "is read too: our own echo would count as the battery's word")
    if mistake := _guard_mistake(plan, guard):
        top.wrong("guard", mistake)


def _guard_mistake(plan: HeartbeatPlan, guard: Sequence[GuardEntry]) -> str:
    for frame in plan.frames:
        text = frame_text(frame.can_id, frame.extended, frame.data)
        entry = next((entry for entry in guard if entry.matches(frame)), None)
        if entry is None:
            return f"no entry allows {text}, the heartbeat"
        if entry.when_latched:
            return f'"{entry.name}" has when_latched: a heartbeat ends when another master is heard'
        if entry.per_minute * plan.period_s <= MINUTE_S:
            return f'"{entry.name}" allows too few per minute for one in {plan.period_s:g} s'
    return ""
