"""Builders for the driver's tests: signals, a small profile by hand, and frames of the real one."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from bms_can.block import Block, Sorter
from bms_can.can_frame import CLASSICAL_DATA, frame_bytes
from bms_can.codec import Codec
from bms_can.database import Database
from bms_can.frame import Frame
from bms_can.guard import GuardEntry
from bms_can.integrity import Integrity
from bms_can.profile import (
    ActiveWhen,
    AlarmRule,
    CommandCode,
    CommandPlan,
    Condition,
    Confirmation,
    ContactorRule,
    ContactorSignal,
    CurrentRule,
    InterlockRules,
    OperatingStatus,
    Profile,
    StateSignal,
    StatusRule,
)
from bms_can.signals import Heard, Sample, Signals

NOW_S = 1000.0
CLOSED, OPEN, NEITHER = 1, 2, 3
DEADLINE_S = 1.0

Raw = int | float | None


def seen(
    raws: Mapping[str, Raw | Sample], *, at_s: float = NOW_S, steady_s: float = 60.0
) -> Signals:
    """Build signals that were heard at `at_s`; a raw value of None is heard but unknown."""
    samples = {
        name: raw if isinstance(raw, Sample) else Sample(0 if raw is None else raw, raw, at_s)
        for name, raw in raws.items()
    }
    heard: dict[str, Heard] = {}
    for name, sample in samples.items():
        message = name.split(".", 1)[0]
        newest_s = max(sample.at_s, heard[message].at_s if message in heard else sample.at_s)
        heard[message] = Heard(newest_s, newest_s - steady_s, 100)
    return Signals(samples, heard)


def contactors(count: int, *, series: bool = True) -> ContactorRule:
    """Build a rule over State.contactor_0, State.contactor_1, and so on."""
    return ContactorRule(
        tuple(
            ContactorSignal(f"State.contactor_{i}", frozenset({CLOSED}), frozenset({OPEN}))
            for i in range(count)
        ),
        series,
    )


def alarm(key: str, *, level: int | None = 2, blocks_close: bool = True) -> AlarmRule:
    """Build an alarm on Alarms.<key>, active when not zero."""
    return AlarmRule(key, f"Alarms.{key}", ActiveWhen(), level, f"{key}警", key, blocks_close)


def plan(code: CommandCode, byte: int, confirmed: Confirmation, repeat: int = 2) -> CommandPlan:
    """Build a command of one frame on 0x200."""
    return CommandPlan(
        code=code,
        message="Control",
        frames=(Frame(0.0, 0x200, extended=False, data=bytes([byte, 0])),),
        repeat=repeat,
        period_s=0.1,
        acknowledged=None,
        refused=None,
        confirmed=confirmed,
    )


def confirmation(
    *statuses: int,
    cleared: tuple[str, ...] = (),
    conditions: tuple[Condition, ...] = (),
    frames: int = 3,
) -> Confirmation:
    """Build what proves a command."""
    return Confirmation(
        frozenset(OperatingStatus(status) for status in statuses),
        cleared,
        conditions,
        frames,
        window_s=10.0,
        hold_s=2.0,
    )


def guard_entry(
    name: str = "close", data: str = "0100", mask: str = "FFFF", **changes: object
) -> GuardEntry:
    """Build an entry for 0x200."""
    entry = GuardEntry(name, 0x200, False, bytes.fromhex(data), bytes.fromhex(mask), 5)  # noqa: FBT003 - the entry's own order
    return replace(entry, **changes)  # type: ignore[arg-type]  # names of its fields


def profile(**changes: object) -> Profile:
    """Build a battery: State (one contactor), Power (current), Alarms (a, b); three commands."""
    base = Profile(
        name="small",
        path="small.toml",
        dbc_path="small.dbc",
        dbc_sha256="",
        description="",
        maker="",
        channel=None,
        required=("State", "Power"),
        deadlines_s={"State": DEADLINE_S, "Power": DEADLINE_S, "Alarms": DEADLINE_S},
        status=StatusRule(
            contactor=contactors(1), current=CurrentRule("Power.current", 1, dead_band_a=1.0)
        ),
        alarms=(alarm("a"), alarm("b")),
        telemetry=(),
        integrity={},
        limits={},
        commands={
            CommandCode.CLOSE_CONTACTOR: plan(
                CommandCode.CLOSE_CONTACTOR, 1, confirmation(2, 3, 4)
            ),
            CommandCode.OPEN_CONTACTOR: plan(CommandCode.OPEN_CONTACTOR, 2, confirmation(1)),
            CommandCode.FAULT_RESET: plan(
                CommandCode.FAULT_RESET, 4, confirmation(cleared=("a", "b"))
            ),
        },
        interlocks=InterlockRules(),
        guard=(guard_entry(),),
        wanted={},
    )
    return replace(base, **changes)  # type: ignore[arg-type]  # names of its fields


def state_rule(current: CurrentRule | None = None) -> StatusRule:
    """Build a status by one signal, State.mode: raw 10 to 40 are status 1 to 4."""
    states: dict[int | float, OperatingStatus] = {10 * status: status for status in OperatingStatus}
    return StatusRule(state=StateSignal("State.mode", states), current=current)


def healthy(**changes: Raw) -> dict[str, Raw | Sample]:
    """Return raw values of the small battery: open, no current, no alarm. `__` stands for a dot."""
    raws: dict[str, Raw | Sample] = {
        "State.contactor_0": OPEN,
        "Power.current": 0,
        "Alarms.a": 0,
        "Alarms.b": 0,
    }
    return raws | {name.replace("__", "."): raw for name, raw in changes.items()}


class Battery:
    """Sends frames as ess_bau does: all signals, counter and checksum right.

    Attributes:
        values: what differs from zero, by message and signal; change it to change the battery.
    """

    def __init__(self, profile: Profile, database: Database) -> None:
        self._codec = Codec(database, None, {}, profile.integrity)
        self._integrity = Integrity(database, profile.integrity)
        self._database = database
        self._rules = profile.integrity
        self._counters: Counter[str] = Counter()
        self.values: dict[str, dict[str, float | str]] = {
            "BAU_State": {"contactor_status": "open", "control_mode": "remote", "rack_count": 1},
            "BAU_CellVoltages": {"page": 0},
        }

    def frame(self, message: str, at_s: float, **values: float | str) -> Frame:
        """Return the next frame of a message."""
        definition = self._database.messages[message]
        rule = self._rules.get(message)
        sealed = set() if rule is None else {rule.counter, rule.checksum}
        known = self.values.get(message, {}) | values
        page = known.get("page")
        every = {
            signal.name: known.get(signal.name, 0)
            for signal in definition.signals
            if signal.name not in sealed
            and (not signal.multiplexer_ids or page in signal.multiplexer_ids)
        }
        payload = self._codec.encode(message, every)
        data = self._integrity.sealed(message, payload, self._counters[message])
        self._counters[message] += 1
        return Frame(at_s, definition.frame_id, definition.is_extended_frame, data)


def toml_text(data: Mapping[str, object]) -> str:
    """Write parsed TOML back: one line a top-level key, tables inline."""
    return "".join(f"{_text(key)} = {_value(value)}\n" for key, value in data.items())


def _value(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, Mapping):
        pairs = ", ".join(f"{_text(key)} = {_value(each)}" for key, each in value.items())
        return f"{{ {pairs} }}"
    if isinstance(value, list):
        return f"[{', '.join(_value(each) for each in value)}]"
    return repr(value)  # int, float, inf, nan and what datetime shows are TOML as they are


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def block_of(frames: Sequence[Frame]) -> Sequence[Frame]:
    """Return frames as the reader does: as a block, if they can be one."""
    if any(len(frame.data) > CLASSICAL_DATA for frame in frames):
        return frames
    packed = b"".join(map(frame_bytes, frames))
    heads, times_s = Sorter().heads(packed), [frame.at_s for frame in frames]
    return frames if heads is None else Block(packed, times_s, heads, frames[0].channel, None)
