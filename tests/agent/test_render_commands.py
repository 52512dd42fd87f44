"""Text for people: every fact that matters, and unknown said as unknown."""

from typing import Any

import pytest

from agent.render_commands import (
    check_line,
    command_line,
    event_lines,
    judgement_lines,
    recorder_line,
    recording_line,
    status_lines,
)

CHECK = {
    "rule": "fresh",
    "passed": True,
    "subject": "BAU_State",
    "value": "heard",
    "age_s": 0.0123,
    "wanted": "at most 0.5 s old",
}
DEVICE = {
    "battery": "ess_bau",
    "operating_status": 2,
    "alarm_status": 0,
    "alarms": [],
    "disconnected": 0,
    "why": "",
    "age_s": 0.05,
    "lockout": "",
    "read_only": False,
    "tx_unsafe": "",
    "foreign_master": "",
    "journal": "",
    "bus": {},
    "heartbeat": None,
    "frames": 100,
    "bad_frames": {},
    "telemetry": {"soc": 55.5, "soh": None, "cell_voltage": [3.3, None, 3.31]},
}


def event(state: str = "gated", at_s: float = 100.0, **changes: object) -> dict[str, Any]:
    """Return a step."""
    base: dict[str, Any] = {
        "state": state,
        "reason": None,
        "detail": "",
        "evidence": {},
        "at": f"2026-01-02T03:04:{at_s % 60:06.3f}Z",
        "monotonic_s": at_s,
        "boot_id": "b1",
    }
    return base | changes


def frame(at_s: float, text: str) -> dict[str, object]:
    """Return a frame as evidence."""
    return {"at_s": at_s, "frame": text}


def test_a_command() -> None:
    """Time, id, device, kind, state, reason and person."""
    command = {
        "at": "2026-01-02T03:04:05.000Z",
        "id": "c1",
        "device_uid": "BAT-1",
        "command": "close_contactor",
        "state": "rejected",
        "reason": "local-lockout",
        "issued_by": "",
    }
    line = command_line(command)
    for words in (
        "03:04:05.000Z  c1  BAT-1  ",
        " close_contactor  rejected (local-lockout)  by unk",
    ):
        assert words in line
    assert command_line(command | {"reason": None, "issued_by": "op"}).endswith("rejected  by op")


def test_a_plain_step() -> None:
    """A step has its time since the first one."""
    assert list(event_lines(event("sending", 101.5), event())) == ["    +1.500 s  sending"]


def test_a_step_with_everything() -> None:
    """Reason, detail, verdicts, load, frames and echo are all shown, in this order."""
    step = event(
        "sent",
        100.25,
        reason="no-effect",
        detail="in words",
        evidence={
            "interlocks": [CHECK],
            "under_load": [CHECK | {"passed": False, "rule": "open under load"}],
            "frames": [frame(100.1, "123#01")],
            "answer": [frame(100.2, "124#02")],
            "confirmed_by": [frame(100.3, "125#03"), frame(100.4, "125#04")],
            "contradicted_by": [frame(100.5, "126#05")],
            "echo": True,
        },
    )
    first, *more = event_lines(step, event())
    assert first == "    +0.250 s  sent  no-effect"
    assert [line.strip().split()[0] for line in more] == [
        *("in", "pass", "BLOCKS", "frames", "answer", "confirmed_by", "confirmed_by"),
        *("contradicted_by", "echo"),
    ]
    assert "+0.400 s  125#04" in more[6]
    assert more[-1].endswith("came back from the bus")


def test_echoes() -> None:
    """A frame that did not come back is never shown as one that did."""
    lost = list(event_lines(event("failed", evidence={"echo": True}), event()))
    assert lost[-1].endswith("did not come back")
    none = list(event_lines(event("sent", evidence={"echo": False}), event()))
    assert none[-1].endswith("none that proves anything")


def test_a_step_after_a_reboot() -> None:
    """Monotonic times of two starts of the machine are never subtracted from each other."""
    step = event("unknown", 7.0, boot_id="b2", evidence={"frames": [frame(7.5, "123#01")]})
    first, second = event_lines(step, event())
    assert first == "2026-01-02T03:04:07.000Z  unknown"
    assert second.split() == ["frames", "+0.500", "s", "123#01"]


def test_a_verdict() -> None:
    """Rule, what it looked at, what it saw, how old, and what it wanted."""
    line = check_line(CHECK)
    assert line.startswith("pass   fresh      ")
    assert line.endswith("  BAU_State = heard, 0.012 s old; wanted at most 0.5 s old")
    blocked = check_line(CHECK | {"passed": False, "age_s": None, "value": "unknown"})
    assert blocked.startswith("BLOCKS fresh")
    assert "BAU_State = unknown; wanted" in blocked


def test_a_judgement() -> None:
    """Allowed or refused in words, then every rule."""
    allowed = {"allowed": True, "because": "", "interlocks": [CHECK]}
    assert next(judgement_lines("B", "close_contactor", allowed)) == (
        "B: close_contactor would be allowed"
    )
    refused = allowed | {"allowed": False, "because": "stale"}
    lines = list(judgement_lines("B", "close_contactor", refused))
    assert lines[0].endswith("would be REFUSED: stale")
    assert len(lines) == 2


def test_recordings() -> None:
    """None, being written, complete."""
    assert recording_line(None) == "recording: none"
    found = {"file": "/x/y.log", "complete": True}
    assert recording_line(found) == "recording: /x/y.log"
    assert recording_line(found | {"complete": False}).endswith("y.log (still being written)")


def test_the_recorder() -> None:
    """Each count, and the trouble if there is any."""
    tally = {"kept": 1, "lost": 2, "cut": 3, "torn": 4, "deleted": 5, "trouble": ""}
    line = recorder_line(tally)
    assert line.endswith("1 kept, 2 lost, 3 cut, 4 torn, 5 deleted")
    assert recorder_line(tally | {"trouble": "disk full"}) == line + ": disk full"


def test_a_healthy_battery() -> None:
    """What is known is shown as it is."""
    text = "\n".join(status_lines("BAT-1", DEVICE))
    for words in (
        "BAT-1  battery ess_bau",
        "operating_status  2",
        "alarm_status      0\n",
        "lockout           none",
        "read_only         no",
        "frames            100, bad: none",
        "soc                                 55.5",
        "soh                                 unknown",
        "cell_voltage                        3 values",
    ):
        assert words in text


def test_a_battery_in_trouble() -> None:
    """Unknown is said with its reason; alarms, lock-out and bad frames are named."""
    device = DEVICE | {
        "operating_status": None,
        "why": "silent: BAU_State",
        "alarm_status": None,
        "lockout": "cell change (li)",
        "read_only": True,
        "bad_frames": {"checksum": 2, "length": 1},
    }
    text = "\n".join(status_lines("BAT-1", device))
    for words in (
        "operating_status  unknown (silent: BAU_State)",
        "alarm_status      unknown\n",
        "lockout           cell change (li)",
        "read_only         yes",
        "bad: 2 x checksum, 1 x length",
    ):
        assert words in text
    alarmed = "\n".join(status_lines("B", DEVICE | {"alarm_status": 2, "alarms": ["a", "b"]}))
    assert "alarm_status      2  a, b\n" in alarmed


BUS: dict[str, object] = {
    "trouble": "",
    "doubt": "",
    "state": "ERROR-ACTIVE",
    "bitrate": 500_000,
    "lost": 2,
}


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({}, "error-active, 500000 bit/s, 2 frames lost, opened 3 x"),
        ({"doubt": "error-passive"}, "error-passive, 500000 bit/s"),
        ({"trouble": "the interface is down", "doubt": "down"}, "the interface is down, "),
        ({"state": None, "bitrate": None}, "works, 2 frames lost"),
    ],
)
def test_the_bus(changed: dict[str, object], words: str) -> None:
    """Trouble before doubt before state; what is not known is left out."""
    bus = BUS | {"opened": 3} | changed
    (line,) = (each for each in status_lines("A", DEVICE | {"bus": bus}) if "  bus " in each)
    assert words in line


def test_the_heartbeat() -> None:
    """Sent, or why not; nothing about a battery that has none."""
    beat: dict[str, object] = {"why_not": "", "sent": 40, "skipped": 0}
    lines = list(status_lines("A", DEVICE | {"heartbeat": beat}))
    assert any("heartbeat         is sent, 40 so far" in line for line in lines)
    beat["why_not"] = "local lock-out: cell change"
    lines = list(status_lines("A", DEVICE | {"heartbeat": beat}))
    assert any("heartbeat         local lock-out: cell change, 40" in line for line in lines)
    assert not any("heartbeat" in line for line in status_lines("A", DEVICE))
