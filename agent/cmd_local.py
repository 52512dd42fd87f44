"""bms-agent commands | why | lockout | status | unlatch: what the box did and would do, and why.

Asks the running agent through its local door. Without one, the journal is read directly, under the
same lock that keeps a second agent away.
"""

import getpass
import json
import os
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from agent.clock import SystemClock
from agent.config import load
from agent.errors import JournalFailed
from agent.journal import Journal
from agent.journal_rows import Stamp
from agent.local import BadRequest, NotRunning, ask
from agent.local_handlers import handlers
from agent.lock import AlreadyRunning, only_one
from agent.render_commands import command_line, event_lines, judgement_lines, status_lines
from bms_can.profile import COMMAND_KEYS

JOURNAL_FILE = "journal.db"
EXIT_FAILED, EXIT_NO_AGENT = 1, 69  # EX_UNAVAILABLE of sysexits.h
Lines = Iterator[str]
NEEDS_AGENT = frozenset({"status", "judge", "clear-latches"})


def main(arguments: Namespace) -> int:
    """Ask, and show the answer as text or with --json as it came."""
    state_dir = load(arguments.config, os.environ).state_dir
    request = _request(arguments)
    try:
        answer = _answer(state_dir, request)
    except NotRunning as error:
        print(f"bms-agent: {error}", file=sys.stderr)  # noqa: T201 - the command's output
        return EXIT_NO_AGENT
    except (BadRequest, JournalFailed, AlreadyRunning) as error:
        print(f"bms-agent: {error}", file=sys.stderr)  # noqa: T201 - the command's output
        return EXIT_FAILED
    if arguments.json:
        print(json.dumps(answer, ensure_ascii=False, indent=1))  # noqa: T201 - the command's output
        return 0
    for line in _lines(arguments, request, answer):
        print(line)  # noqa: T201 - the command's output
    return 0


def _request(arguments: Namespace) -> dict[str, object]:
    who = getpass.getuser()
    requests: dict[str, dict[str, object]] = {
        "status": {"do": "status"},
        "commands": {"do": "commands", "limit": getattr(arguments, "limit", None)},
        "lockout show": {"do": "lockout"},
        "lockout set": {
            "do": "lockout-set",
            "reason": getattr(arguments, "reason", ""),
            "who": who,
        },
        "lockout clear": {"do": "lockout-clear", "who": who},
        "unlatch": {"do": "clear-latches", "who": who},
    }
    if arguments.command == "why":
        now = arguments.what in COMMAND_KEYS
        return {"do": "judge" if now else "events", "command" if now else "id": arguments.what}
    return requests[f"{arguments.command} {getattr(arguments, 'action', '')}".strip()]


def _answer(state_dir: Path, request: dict[str, object]) -> dict[str, Any]:
    try:
        return ask(state_dir, request)
    except NotRunning:
        if request["do"] in NEEDS_AGENT or not (state_dir / JOURNAL_FILE).exists():
            raise
    clock = SystemClock()
    with only_one(state_dir):
        journal = Journal(state_dir / JOURNAL_FILE, Stamp.of(clock))
        try:
            return dict(handlers({}, journal, clock)[str(request["do"])](request))
        finally:
            journal.close()


def _lines(arguments: Namespace, request: dict[str, object], answer: dict[str, Any]) -> Lines:
    render: dict[str, Callable[[dict[str, Any]], Lines]] = {
        "commands": _command_lines,
        "events": _event_lines,
        "judge": partial(_judgement_lines, getattr(arguments, "what", "")),
        "status": _status_lines,
        "clear-latches": _latch_lines,
    }
    return render.get(str(request["do"]), _lockout_lines)(answer)


def _command_lines(answer: dict[str, Any]) -> Lines:
    if not answer["commands"]:
        yield "no command was ever received"
    yield from (command_line(each) for each in answer["commands"])


def _event_lines(answer: dict[str, Any]) -> Lines:
    yield f"command {answer['id']}"
    first_s = answer["events"][0]["monotonic_s"]
    for event in answer["events"]:
        yield from event_lines(event, first_s)


def _judgement_lines(what: str, answer: dict[str, Any]) -> Lines:
    for uid, verdict in answer.items():
        yield from judgement_lines(uid, what, verdict)


def _status_lines(answer: dict[str, Any]) -> Lines:
    for uid, device in answer.items():
        yield from status_lines(uid, device)


def _latch_lines(answer: dict[str, Any]) -> Lines:
    for uid, found in answer["cleared"].items():
        yield f"{uid}: {'; '.join(found) or 'nothing was latched'}"


def _lockout_lines(answer: dict[str, Any]) -> Lines:
    lockout = answer["lockout"]
    if lockout is None:
        yield "no local lock-out"
    else:
        yield f"LOCKED OUT since {lockout['since']} by {lockout['who']}: {lockout['reason']}"
