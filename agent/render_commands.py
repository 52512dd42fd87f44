"""Commands, their life and interlock verdicts as text for people. Pure: values in, lines out."""

from collections.abc import Iterator, Mapping
from typing import Any

MARK = {True: "pass", False: "BLOCKS"}
SENT = "sent"


def command_line(command: Mapping[str, Any]) -> str:
    """Return one command of a list."""
    why = f" ({command['reason']})" if command["reason"] else ""
    return (
        f"{command['at']}  {command['id']}  {command['device_uid']:<12} {command['command']:<16}"
        f" {command['state']}{why}  by {command['issued_by'] or 'unknown'}"
    )


def event_lines(event: Mapping[str, Any], first: Mapping[str, Any]) -> Iterator[str]:
    """Yield one step of a command's life with its evidence.

    Times are since its first step. After another start of the machine they would mean nothing:
    then the step has its time of day, and its frames their time since the step.
    """
    same_start = event["boot_id"] == first["boot_id"]
    zero_s = (first if same_start else event)["monotonic_s"]
    when = f"{event['monotonic_s'] - zero_s:+10.3f} s" if same_start else event["at"]
    why = f"  {event['reason']}" if event["reason"] else ""
    yield f"{when}  {event['state']}{why}"
    if event["detail"]:
        yield f"{'':14}{event['detail']}"
    yield from (f"{'':14}{line}" for line in _evidence_lines(event, zero_s))


def _evidence_lines(event: Mapping[str, Any], zero_s: float) -> Iterator[str]:
    evidence = event["evidence"]
    for kind in ("interlocks", "under_load"):
        yield from (check_line(check) for check in evidence.get(kind, ()))
    for kind in ("frames", "answer", "confirmed_by", "contradicted_by"):
        for frame in evidence.get(kind, ()):
            yield f"{kind:<16}{frame['at_s'] - zero_s:+10.3f} s  {frame['frame']}"
    if "held_s" in evidence:
        proven = "" if evidence["proven"] else ", never proven"
        yield f"{'held for':<16}{evidence['held_s']:10.3f} s{proven}: {evidence['reason']}"
    if "echo" in evidence:
        heard = "came back from the bus" if event["state"] == SENT else "did not come back"
        yield f"{'echo':<16}{heard if evidence['echo'] else 'none that proves anything'}"


def recording_line(recording: Mapping[str, Any] | None) -> str:
    """Return where the raw frames around a command are."""
    if recording is None:
        return "recording: none"
    state = "" if recording["complete"] else " (still being written)"
    return f"recording: {recording['file']}{state}"


def recorder_line(tally: Mapping[str, Any]) -> str:
    """Return how the flight recorder does."""
    counts = ", ".join(f"{tally[key]} {key}" for key in ("kept", "lost", "cut", "torn", "deleted"))
    trouble = f": {tally['trouble']}" if tally["trouble"] else ""
    return f"recordings since the start: {counts}{trouble}"


def check_line(check: Mapping[str, Any]) -> str:
    """Return the verdict of one interlock."""
    age = "" if check["age_s"] is None else f", {check['age_s']:.3f} s old"
    seen = f"{check['subject']} = {check['value']}{age}"
    return f"{MARK[check['passed']]:<7}{check['rule']:<28}  {seen}; wanted {check['wanted']}"


def judgement_lines(uid: str, command: str, verdict: Mapping[str, Any]) -> Iterator[str]:
    """Yield whether a command would be allowed now, and every rule behind that."""
    words = "would be allowed" if verdict["allowed"] else f"would be REFUSED: {verdict['because']}"
    yield f"{uid}: {command} {words}"
    for check in verdict["interlocks"]:
        yield f"  {check_line(check)}"


def _bus_words(bus: Mapping[str, Any]) -> str:
    """Return how a bus is doing, in one line."""
    state = bus["trouble"] or bus["doubt"] or (bus["state"] or "works").lower()
    rate = "" if bus["bitrate"] is None else f", {bus['bitrate']} bit/s"
    return f"{state}{rate}, {bus['lost']} frames lost, opened {bus['opened']} x"


def _request_words(held: Mapping[str, Any]) -> str:
    """Return what a held request asks for, and why not more."""
    proven = "" if held["proven"] else ", not proven yet"
    by = f" for command {held['command']}{proven}" if held["command"] else ""
    why = f" ({held['why_not']})" if held["why_not"] else ""
    last = f"; last hold ended: {held['last_end']}" if held["last_end"] else ""
    return f"asks for {held['asks']}{by}{why}, {held['sent']} frames so far{last}"


def status_lines(uid: str, device: Mapping[str, Any]) -> Iterator[str]:
    """Yield what the agent sees of one battery; None is unknown."""
    operating = device["operating_status"]
    unknown = f"unknown ({device['why']})"
    yield f"{uid}  battery {device['battery']}"
    yield f"  operating_status  {unknown if operating is None else operating}"
    count = device["alarm_status"]
    alarms = ", ".join(device["alarms"])
    yield f"  alarm_status      {'unknown' if count is None else count}  {alarms}".rstrip()
    for key in ("lockout", "tx_unsafe", "foreign_master", "journal"):
        yield f"  {key:<18}{device[key] or 'none'}"
    yield f"  {'read_only':<18}{'yes' if device['read_only'] else 'no'}"
    if device["bus"]:
        yield f"  {'bus':<18}{_bus_words(device['bus'])}"
    if (beat := device["heartbeat"]) is not None:
        yield f"  {'heartbeat':<18}{beat['why_not'] or 'is sent'}, {beat['sent']} so far"
    if (held := device.get("request")) is not None:
        yield f"  {'request':<18}{_request_words(held)}"
    bad = ", ".join(f"{count} x {reason}" for reason, count in device["bad_frames"].items())
    yield f"  {'frames':<18}{device['frames']}, bad: {bad or 'none'}"
    for name, value in device["telemetry"].items():
        shown = f"{len(value)} values" if isinstance(value, list) else value
        yield f"  {name:<36}{'unknown' if value is None else shown}"
