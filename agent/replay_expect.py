"""bms-agent replay --expect and --write-expect: every log becomes a test of the whole agent."""

import json
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path

from agent.replay_lane import watch_of
from agent.travel.compare import differences
from agent.travel.expect import Expected, expected_text, read_expected
from agent.travel.run import Loaded, travel
from agent.travel.seen import Outcome
from bms_can.errors import BadInput
from bms_can.frame import Frame
from bms_can.logfile import open_log
from bms_can.one_channel import OneChannel

EXIT_NOT_AS_EXPECTED = 1


def run_expected(arguments: Namespace, loaded: Loaded) -> int:
    """Replay the whole agent; 1 if it does not do what is expected."""
    expected = Expected() if arguments.expect is None else read_expected(arguments.expect)
    watch = watch_of(arguments.log, *loaded)
    outcome = travel(loaded, _frames(arguments.log, watch), expected.scenario)
    if arguments.write_expect is not None:
        text = expected_text(expected.scenario, outcome, expected.tolerance_s)
        _write(arguments.write_expect, text)
        found = None
    else:
        found = differences(expected, outcome)
    if arguments.json:
        document = _document(arguments, outcome, found)
        print(json.dumps(document, ensure_ascii=False, indent=1))  # noqa: T201 - the command's output
    else:
        for line in _lines(arguments, outcome, found):
            print(line)  # noqa: T201 - the command's output
    return EXIT_NOT_AS_EXPECTED if found else 0


def _frames(log: Path, watch: OneChannel) -> Iterator[Frame]:
    return (entry for entry in watch.entries(open_log(log)) if isinstance(entry, Frame))


def _write(path: Path, text: str) -> None:
    """Write a file in whole or not at all."""
    part = path.with_name(f"{path.name}.part")
    try:
        part.write_text(text, encoding="utf-8")
        part.replace(path)
    except OSError as error:
        raise BadInput(str(path), [error.strerror or str(error)]) from error


def _lines(arguments: Namespace, outcome: Outcome, found: list[str] | None) -> Iterator[str]:
    yield f"replayed    {outcome.frames} frames, {outcome.seconds:.6f} s of the battery's time"
    if found is None:
        yield f"written     {arguments.write_expect}: {_counted(outcome)}"
    elif found:
        yield f"DIFFERENT   from {arguments.expect} (- expected, + came, ~ at another time):"
        yield from found
    else:
        yield f"as expected {_counted(outcome)}"


def _counted(outcome: Outcome) -> str:
    commands = f", {len(outcome.commands)} commands" if outcome.commands else ""
    return f"{len(outcome.reports)} reports, {len(outcome.alarms)} alarm edges{commands}"


def _document(arguments: Namespace, outcome: Outcome, found: list[str] | None) -> dict[str, object]:
    return {
        "log": str(arguments.log),
        "frames": outcome.frames,
        "seconds": outcome.seconds,
        "as_expected": None if found is None else not found,
        "differences": found or [],
        "reports": [each.values() for each in outcome.reports],
        "alarms": [each.values() for each in outcome.alarms],
        "commands": [
            {**each.asked.values(), "states": [step.values() for step in each.steps]}
            for each in outcome.commands
        ],
    }
