"""What the local door can be asked: answers from the parts of the running agent, or the journal."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType

from agent.clock import Clock
from agent.device import Device
from agent.errors import JournalFailed
from agent.gate import Box, Gate
from agent.journal import Journal
from agent.journal_rows import Stamp
from agent.local import Answer, BadRequest, Handler
from agent.recording import of_command
from agent.recording_file import PART
from agent.run import checks_evidence
from bms_can.interlocks import refusal
from bms_can.profile import COMMAND_KEYS
from bms_can.telemetry import read_telemetry

MAX_REASON = 200
MOST_COMMANDS = 500
MOST_NAMED = 5
NOBODY_KNOWS = "unknown: the journal cannot be read"

Tally = Callable[[], Mapping[str, object]]


def handlers(
    devices: Mapping[str, tuple[Device, Gate]],
    journal: Journal,
    clock: Clock,
    recordings: Path,
    tally: Tally = dict,
    cyclic: Mapping[str, Mapping[str, Tally]] = MappingProxyType({}),
) -> Mapping[str, Handler]:
    """Return the handlers by the request's word "do".

    Args:
        devices: by device_uid; none without a running agent.
        journal: of the box.
        clock: time.
        recordings: folder of the flight recorder.
        tally: how the flight recorder does.
        cyclic: how "heartbeat" and "request" of a device do, by device_uid, where it has them.
    """
    return {
        "status": partial(_status, devices, clock, tally, cyclic),
        "judge": partial(_judge, devices, clock),
        "commands": partial(_commands, journal),
        "events": partial(_events, journal, recordings),
        "lockout": partial(_show_lockout, journal),
        "lockout-set": partial(_set_lockout, journal, clock),
        "lockout-clear": partial(_clear_lockout, journal, clock),
        "clear-latches": partial(_clear_latches, devices, journal, clock),
    }


def _status(
    devices: Mapping[str, tuple[Device, Gate]],
    clock: Clock,
    tally: Tally,
    cyclic: Mapping[str, Mapping[str, Tally]],
    _request: Mapping[str, object],
) -> Answer:
    found = {}
    for uid, (device, gate) in devices.items():
        beats = {name: _asked(cyclic.get(name, {}), uid) for name in ("heartbeat", "request")}
        found[uid] = {**device_answer(device, gate, clock), **beats}
    return {"devices": found, "recorder": tally()}


def _asked(tallies: Mapping[str, Tally], uid: str) -> Answer | None:
    return tallies[uid]() if uid in tallies else None


def _box(gate: Gate) -> Box:
    """Return what the box says; a journal that fails is part of it, and keeps nothing secret."""
    try:
        return gate.box()
    except JournalFailed as error:
        return Box(NOBODY_KNOWS, str(error))


def device_answer(device: Device, gate: Gate, clock: Clock) -> Answer:
    """Return what the agent sees of one battery."""
    box, now_s = _box(gate), clock.monotonic_s()
    situation = gate.situation(now_s, box)
    status = situation.status
    return {
        "battery": device.profile.name,
        "operating_status": None if status.operating is None else int(status.operating),
        "alarm_status": status.alarm_count,
        "alarms": [alarm.key for alarm in status.alarms],
        "disconnected": int(status.disconnected),
        "why": status.why,
        "age_s": None if status.age_s is None else round(status.age_s, 3),
        "lockout": situation.lockout,
        "read_only": situation.read_only,
        "tx_unsafe": situation.tx_unsafe,
        "foreign_master": situation.foreign,
        "journal": situation.journal,
        "frames": device.intake.frames,
        "bus": dict(device.bus_facts()),
        "bad_frames": dict(device.intake.bad),
        "telemetry": read_telemetry(situation.signals, device.profile, now_s),
    }


def _judge(
    devices: Mapping[str, tuple[Device, Gate]], clock: Clock, request: Mapping[str, object]
) -> Answer:
    """Would this command be allowed now? Nothing is sent."""
    code = COMMAND_KEYS.get(str(request.get("command")))
    if code is None:
        raise BadRequest(f"command must be one of {', '.join(COMMAND_KEYS)}")
    found = {}
    for uid, (_, gate) in devices.items():
        box = _box(gate)
        checks = gate.checks(code, gate.situation(clock.monotonic_s(), box))
        refused = refusal(checks)
        found[uid] = {
            "allowed": refused is None,
            "because": "" if refused is None else gate.words(refused),
            "interlocks": checks_evidence(checks),
        }
    return {"devices": found}


def _commands(journal: Journal, request: Mapping[str, object]) -> Answer:
    limit = request.get("limit", 20)
    if type(limit) is not int or not 1 <= limit <= MOST_COMMANDS:
        raise BadRequest(f"limit must be 1 to {MOST_COMMANDS}")
    return {
        "commands": [
            {
                "id": entry.command.id,
                "device_uid": entry.command.device_uid,
                "command": entry.command.code.name.lower(),
                "issued_by": entry.command.issued_by,
                "state": entry.state,
                "reason": entry.reason,
                "detail": entry.detail,
                "at": entry.wall,
            }
            for entry in journal.recent(limit)
        ]
    }


def _events(journal: Journal, recordings: Path, request: Mapping[str, object]) -> Answer:
    """The life of one command; the start of its id is enough if it is the only one."""
    identity = _find(journal, _text(request, "id"))
    return {
        "id": identity,
        "recording": _recording(recordings, identity),
        "events": [
            {
                "state": event.state or event.kind,
                "reason": event.reason,
                "detail": event.detail,
                "evidence": event.evidence,
                "at": event.wall,
                "monotonic_s": event.monotonic_s,
                "boot_id": event.boot_id,
            }
            for event in journal.events(identity)
        ],
    }


def _find(journal: Journal, asked: str) -> str:
    """Return the id that is meant; a whole id at any age, the start of one among the newest."""
    if journal.entry(asked) is not None:
        return asked
    ids = [entry.command.id for entry in journal.recent(MOST_COMMANDS)]
    found = [each for each in ids if each.startswith(asked)]
    if not found:
        raise BadRequest(f'no command has an id that starts with "{asked}"{_meant(asked)}')
    if len(found) > 1:
        named = ", ".join(found[:MOST_NAMED]) + (", ..." if len(found) > MOST_NAMED else "")
        raise BadRequest(f'{len(found)} commands have an id that starts with "{asked}": {named}')
    return found[0]


def _meant(asked: str) -> str:
    """Return the question that may have been meant: `close` for `close_contactor`."""
    found = [key for key in COMMAND_KEYS if asked and asked.lower() in key]
    meant = " or ".join(found)
    return f"; would a command be allowed now? `bms-agent why {meant} ...`" if found else ""


def _recording(folder: Path, command_id: str) -> Answer | None:
    """Return where the raw frames around a command are; None if they are nowhere."""
    try:
        names = [path.name for path in folder.iterdir()]
    except OSError:
        return None
    whole = of_command(names, command_id)
    growing = of_command((name.removesuffix(PART) for name in names), command_id)
    if growing is None:
        return None
    return {"file": str(folder / growing), "complete": whole is not None}


def _show_lockout(journal: Journal, _request: Mapping[str, object]) -> Answer:
    lockout = journal.lockout()
    return {"lockout": None if lockout is None else lockout._asdict()}


def _set_lockout(journal: Journal, clock: Clock, request: Mapping[str, object]) -> Answer:
    reason, who = _text(request, "reason"), _text(request, "who")
    try:
        lockout = journal.set_lockout(reason, who, Stamp.of(clock))
    except JournalFailed as error:
        raise BadRequest(f"NOT SAFELY SET: {error}") from error
    return {"lockout": lockout._asdict()}


def _clear_lockout(journal: Journal, clock: Clock, request: Mapping[str, object]) -> Answer:
    if journal.lockout() is None:
        return {"lockout": None}
    try:
        journal.clear_lockout(_text(request, "who"), Stamp.of(clock))
    except JournalFailed as error:
        raise BadRequest(f"not cleared: {error}") from error
    return {"lockout": None}


def _clear_latches(
    devices: Mapping[str, tuple[Device, Gate]],
    journal: Journal,
    clock: Clock,
    request: Mapping[str, object],
) -> Answer:
    """A person has checked the bus: forget a lost frame and a foreign master."""
    who = _text(request, "who")
    cleared = {}
    for uid, (device, _) in devices.items():
        found = [word for word in (device.control.unsafe, device.control.foreign) if word]
        if found:
            journal.note("latches-cleared", Stamp.of(clock), {"who": who, "was": found}, uid)
            device.control.clear()
        cleared[uid] = found
    return {"cleared": cleared}


def _text(request: Mapping[str, object], key: str) -> str:
    value = request.get(key)
    text = value.strip() if isinstance(value, str) else ""
    if not 1 <= len(text) <= MAX_REASON or not text.isprintable():
        raise BadRequest(f"{key} must be a text of 1 to {MAX_REASON} printable characters")
    return text
