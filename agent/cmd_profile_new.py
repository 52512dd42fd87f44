"""bms-agent profile new: a first draft of a profile from a DBC and a log."""

import os
import sys
from argparse import Namespace
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from agent.safe_write import write_text
from bms_can.columnar.one_channel import one_channel
from bms_can.columnar.scan import scan
from bms_can.database import Database, load
from bms_can.drafting.draft import draft
from bms_can.drafting.plan import Answers, Plan
from bms_can.errors import BadInput
from bms_can.examine.examination import Examination, examine
from bms_can.one_channel import OneChannel, watched
from bms_can.profile_load import load_profile

Ask = Callable[[str], str]


def main(arguments: Namespace) -> int:
    """Write a draft; ask on a terminal only."""
    if arguments.output is not None and arguments.output.exists() and not arguments.force:
        raise BadInput(str(arguments.output), ["exists already; --force overwrites it"])
    database = load(arguments.dbc)
    seen = None
    if arguments.log is not None:
        watch = OneChannel(
            str(arguments.log), watched(database, database.messages, arguments.channel)
        )
        chunks = one_channel(scan(arguments.log), watch)
        seen = examine(chunks, database, channel=arguments.channel)
    target = arguments.output or Path.cwd() / "draft.toml"
    log = "" if arguments.log is None else arguments.log.name
    plan = plan_of(database, target, log=log, seen=seen)
    plan = replace(plan, name=arguments.name or plan.name, answers=Answers(arguments.positive))
    if sys.stdin.isatty() and arguments.output is not None:
        plan = replace(plan, answers=asked(plan, input))
    text = draft(plan)
    if arguments.output is None:
        print(text)  # noqa: T201 - the command's output
        return 0
    write_text(arguments.output, text, force=arguments.force)
    load_profile(arguments.output)  # a draft that does not load is our mistake: say so at once
    print(f"{arguments.output}: a draft that loads; its first lines list the open questions")  # noqa: T201 - the command's output
    return 0


def plan_of(
    database: Database, target: Path, *, log: str = "", seen: Examination | None = None
) -> Plan:
    """Return the plan of a draft; the DBC's path is relative to where the draft will be."""
    dbc = os.path.relpath(Path(database.path).resolve(), target.resolve().parent)
    return Plan(database, Path(dbc).as_posix(), Path(database.path).stem, seen, log)


def draft_text(
    database: Database, target: Path, *, log: str = "", seen: Examination | None = None
) -> str:
    """Return a draft for a file, without asking anything."""
    return draft(plan_of(database, target, log=log, seen=seen))


def asked(plan: Plan, ask: Ask) -> Answers:
    """Ask what no guess may decide; an empty answer leaves it open."""
    answers = plan.answers
    contactor = plan.contactors[0] if plan.contactors else None
    if contactor is not None and plan.contactor_meaning(contactor)[0] == []:
        _, _, why = plan.contactor_meaning(contactor)
        said = _choice(
            ask, f"{contactor.name}: is the contactor closed while it is 1? ({why})", "yn"
        )
        if said:
            answers = replace(answers, one_is_closed=said == "y")
    if plan.current is not None and answers.positive is None:
        hint = f"{plan.sign.why}" + (f": {plan.sign.positive}?" if plan.sign.positive else "")
        said = _choice(ask, f"{plan.current.name} > 0: charging or discharging? ({hint})", "cd")
        if said:
            answers = replace(answers, positive="charging" if said == "c" else "discharging")
    return answers


def _choice(ask: Ask, question: str, letters: str) -> str:
    """Return one of the letters, or "" for an empty answer."""
    while True:
        said = ask(f"{question} [{'/'.join(letters)}, Enter: do not know] ").strip().lower()
        if not said or said[0] in letters:
            return said[:1]
