"""bms-agent commands | why | lockout | status | unlatch: what the box did and would do, and why.

Asks the running agent through its local door. Without one, the journal is read directly, under the
same lock that keeps a second agent away.
"""

import json
import os
import pwd
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from agent.clock import SystemClock
from agent.config import Config, load
from agent.errors import JournalFailed
from agent.journal import Journal
from agent.journal_rows import Stamp
from agent.local import BadRequest, NotRunning, ask
from agent.local_handlers import handlers
from agent.lock import AlreadyRunning, only_one
from agent.recorder import FOLDER
from agent.render_commands import (
    command_line,
    event_lines,
    judgement_lines,
    recorder_line,
    recording_line,
    status_lines,
)
from bms_can.profile import COMMAND_KEYS

JOURNAL_FILE = "journal.db"
EXIT_FAILED, EXIT_NO_AGENT = 1, 69  # EX_UNAVAILABLE of sysexits.h
Lines = Iterator[str]
NEEDS_AGENT = frozenset({"status", "judge", "clear-latches"})


def main(arguments: Namespace) -> int:
    """Ask, and show the answer as text or with --json as it came."""
    config = load(arguments.config, os.environ)
    request = _request(arguments)
    try:
        answer = _answer(config, request)
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
    who = _who()
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


def _who() -> str:
    """Return who gives this command, as the system knows it; behind sudo the person, too."""
    uid = os.getuid()
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        name = f"uid {uid}"
    person = os.environ.get("SUDO_USER", "")
    return f"{person} as {name}" if person and uid == 0 else name


def _answer(config: Config, request: dict[str, object]) -> dict[str, Any]:
    state_dir = config.state_dir
    try:
        return ask(state_dir, request)
    except NotRunning:
        if request["do"] in NEEDS_AGENT or not (state_dir / JOURNAL_FILE).exists():
            raise
    clock = SystemClock()
    with only_one(state_dir):
        journal = Journal(state_dir / JOURNAL_FILE, Stamp.of(clock), config.journal_max_bytes)
        try:
            answers = handlers({}, journal, clock, state_dir / FOLDER)
            return dict(answers[str(request["do"])](request))
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
    yield recording_line(answer["recording"])
    if not answer["events"]:
        yield "its steps are older than the audit trail that this box keeps"
    for event in answer["events"]:
        yield from event_lines(event, answer["events"][0])


def _judgement_lines(what: str, answer: dict[str, Any]) -> Lines:
    for uid, verdict in answer["devices"].items():
        yield from judgement_lines(uid, what, verdict)


def _status_lines(answer: dict[str, Any]) -> Lines:
    for uid, device in answer["devices"].items():
        yield from status_lines(uid, device)
    yield recorder_line(answer["recorder"])


def _latch_lines(answer: dict[str, Any]) -> Lines:
    for uid, found in answer["cleared"].items():
        yield f"{uid}: {'; '.join(found) or 'nothing was latched'}"


def _lockout_lines(answer: dict[str, Any]) -> Lines:
    lockout = answer["lockout"]
    if lockout is None:
        yield "no local lock-out"
    else:
        yield f"LOCKED OUT since {lockout['since']} by {lockout['who']}: {lockout['reason']}"
