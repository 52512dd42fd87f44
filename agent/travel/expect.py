"""expected.json: what a replay of the whole agent must show. Format: docs/logs.md."""

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from agent.travel.seen import (
    BATTERIES,
    LIVES_S,
    LOG,
    SIMULATOR,
    AlarmSeen,
    Asked,
    Outcome,
    ReportSeen,
    Scenario,
    StepSeen,
)
from bms_can.errors import BadInput
from bms_can.misbehaviour import NAMED
from bms_can.profile import COMMAND_KEYS, CommandCode
from bms_can.toml_table import Table

FORMAT = "bms-agent-replay-1"
LONGEST_S = 1e7
STATUSES, MOST_ALARMS, LEVELS = (1, 4), 10_000, (1, 3)


@dataclass(frozen=True, slots=True)
class Expected:
    """What is expected; None: nothing is said about it.

    Attributes:
        scenario: what is to be done.
        tolerance_s: how far times may differ [s].
        reports, alarms: in order.
        steps: of each command of the scenario.
    """

    scenario: Scenario = field(default_factory=Scenario)
    tolerance_s: float = 0.0
    reports: tuple[ReportSeen, ...] | None = None
    alarms: tuple[AlarmSeen, ...] | None = None
    steps: tuple[tuple[StepSeen, ...] | None, ...] = ()


def read_expected(path: Path) -> Expected:
    """Read a file.

    Raises:
        BadInput: with every mistake in it.
    """
    try:
        data = json.loads(path.read_bytes())
    except OSError as error:
        raise BadInput(str(path), [error.strerror or str(error)]) from error
    except (ValueError, RecursionError) as error:
        raise BadInput(str(path), [f"is not JSON: {error}"]) from error
    if not isinstance(data, dict):
        raise BadInput(str(path), ["must be a JSON object"])
    top = Table(data)
    expected = _expected(top)
    mistakes = top.finish()
    if mistakes:
        raise BadInput(str(path), mistakes)
    return expected


def _expected(top: Table) -> Expected:
    top.one_of("format", [FORMAT])
    tolerance_s = top.number("tolerance_s", 0.0, minimum=0, maximum=LONGEST_S)
    commands = top.tables("commands")
    scenario = _scenario(top, tuple(_asked(each) for each in commands))
    return Expected(
        scenario,
        tolerance_s,
        tuple(map(_report, top.tables("reports"))) if "reports" in top else None,
        tuple(map(_alarm, top.tables("alarms"))) if "alarms" in top else None,
        tuple(
            tuple(map(_step, each.tables("states"))) if "states" in each else None
            for each in commands
        ),
    )


def _scenario(top: Table, commands: tuple[Asked, ...]) -> Scenario:
    battery = top.one_of("battery", BATTERIES, LOG)
    simulator = top.table("simulator")
    faults = simulator.texts("faults", ())
    for name in faults:
        if name not in NAMED:
            simulator.wrong("faults", f"{name} is not one of {', '.join(NAMED)}")
    if battery != SIMULATOR and "simulator" in top:
        top.wrong("simulator", f'needs "battery": "{SIMULATOR}"')
    seconds = None
    if top.raw("seconds", None) is not None:
        seconds = top.number("seconds", minimum=0, maximum=LONGEST_S)
    return Scenario(
        battery,
        commands,
        top.number("sync_period_s", 10.0, minimum=1, maximum=3600),
        seconds,
        faults,
        simulator.number("current_a", 0.0, minimum=-1e6, maximum=1e6),
    )


def _asked(table: Table) -> Asked:
    at_s = table.number("at_s", minimum=0, maximum=LONGEST_S)
    word = table.one_of("command", COMMAND_KEYS)
    code = COMMAND_KEYS.get(word, CommandCode.OPEN_CONTACTOR)
    life_s = table.number("life_s", LIVES_S[code], minimum=0.1, maximum=LIVES_S[code])
    return Asked(at_s, code, life_s)


def _report(table: Table) -> ReportSeen:
    return ReportSeen(
        table.number("at_s", minimum=0, maximum=LONGEST_S),
        _integer_or_null(table, "operating_status", *STATUSES),
        _integer_or_null(table, "alarm_status", 0, MOST_ALARMS),
        table.integer("disconnected", minimum=0, maximum=1),
    )


def _alarm(table: Table) -> AlarmSeen:
    return AlarmSeen(
        table.number("at_s", minimum=0, maximum=LONGEST_S),
        table.text("key"),
        table.boolean("on"),
        table.integer("level", minimum=LEVELS[0], maximum=LEVELS[1]),
    )


def _step(table: Table) -> StepSeen:
    at_s = table.number("at_s", minimum=0, maximum=LONGEST_S)
    reason = None if table.raw("reason", None) is None else table.text("reason")
    return StepSeen(at_s, table.text("state"), reason)


def _integer_or_null(table: Table, key: str, minimum: int, maximum: int) -> int | None:
    """Read a number or null, which is unknown; a key that is missing says nothing and is wrong."""
    if table.raw(key) is None:
        return None
    return table.integer(key, minimum=minimum, maximum=maximum)


def expected_text(scenario: Scenario, outcome: Outcome, tolerance_s: float) -> str:
    """Return the file for what happened: one line for each report, alarm and command."""
    head = {"format": FORMAT, **scenario.values(), "tolerance_s": tolerance_s}
    commands = [
        {**command.asked.values(), "states": [step.values() for step in command.steps]}
        for command in outcome.commands
    ]
    lists: Mapping[str, Sequence[Mapping[str, object]]] = {
        **({"commands": commands} if commands else {}),
        "reports": [report.values() for report in outcome.reports],
        "alarms": [alarm.values() for alarm in outcome.alarms],
    }
    parts = [f" {_json(key)}: {_json(value)}" for key, value in head.items()]
    parts += [f" {_json(key)}: [{''.join(_lines(rows))}]" for key, rows in lists.items()]
    return "{\n" + ",\n".join(parts) + "\n}\n"


def _lines(rows: Iterable[Mapping[str, object]]) -> Iterator[str]:
    for number, row in enumerate(rows):
        yield f"{',' if number else ''}\n  {_json(row)}"


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def differs(expected_s: float, seen_s: float, tolerance_s: float) -> bool:
    """Tell whether two times are too far apart; what a file rounds away does not count."""
    return not math.isclose(expected_s, seen_s, rel_tol=0, abs_tol=tolerance_s + 1e-6)
