"""Our additions for devices: long poll, results, reports, sync on demand."""

import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from agent.run import checks_evidence, frames_evidence
from bms_can.commands import Reason
from bms_can.frame import Frame
from bms_can.interlocks import Check
from tests.contract.conftest import Box, Ems


def issue(operator: httpx.Client, box: Box, command: int = 2, **more: object) -> str:
    """Issue a command and return its id."""
    body = {"device_uid": box.uid, "command": command} | more
    answer = operator.post("/bms-control", json=body)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["data"])


def life(operator: httpx.Client, command_id: str) -> dict[str, Any]:
    """Return a command with its events."""
    answer = operator.get(f"/bms-control/commands/{command_id}")
    assert answer.status_code == 200, answer.text
    data = answer.json()["data"]
    assert isinstance(data, dict)
    return data


def heartbeat_of(operator: httpx.Client, uid: str) -> str | None:
    """Return when a device called last, as the fleet shows it."""
    for page in range(1, 100):
        query = {"page": page, "page-size": 200}
        for each in operator.get("/device", params=query).json()["data"]["list"]:
            if each["uid"] == uid:
                return None if each["heartbeat_time"] is None else str(each["heartbeat_time"])
    raise AssertionError


def until_waiting(ems: Ems, count: int) -> None:
    """Wait until the platform holds this many open waits."""
    until_s = time.monotonic() + 10
    text = ""
    while time.monotonic() < until_s:
        text = httpx.get(f"{ems.root}/metrics", trust_env=False).text
        if f"\nems_waiting_requests {count}.0" in text:
            return
        time.sleep(0.02)
    pytest.fail(f"no {count} waits:\n{text}")


def during_poll(ems: Ems, box: Box, act: Callable[[], object]) -> tuple[dict[str, Any], float]:
    """Act while a poll of 30 s waits; return its data and the time from the act on [s]."""
    with ThreadPoolExecutor(1) as pool:
        polling: Future[dict[str, Any]] = pool.submit(box.poll, 30)
        until_waiting(ems, 1)
        began_s = time.monotonic()
        act()
        return polling.result(timeout=35), time.monotonic() - began_s


def test_a_command_ends_the_wait_at_once(ems: Ems, operator: httpx.Client, box: Box) -> None:
    """The command is there long before `wait` is over, with nearly all of its life left."""
    data, took_s = during_poll(ems, box, lambda: issue(operator, box, 2))
    assert took_s < 10
    assert data["sync_requested"] is False
    (command,) = data["commands"]
    assert set(command) == {
        "id",
        "command",
        "expires_in_ms",
        "issued_by",
        "version",
        "cancel_requested",
    }
    assert (command["command"], command["issued_by"], command["version"]) == (2, "operator-key", 1)
    assert 5_000 < command["expires_in_ms"] <= 10_000
    assert command["cancel_requested"] is False


def test_commands_in_progress_do_not_end_the_wait(operator: httpx.Client, box: Box) -> None:
    """A poll lists what the device already has, but waits for news until the end."""
    command_id = issue(operator, box, 3)
    box.poll()
    began_s = time.monotonic()
    data = box.poll(wait=1)
    assert time.monotonic() - began_s >= 0.9
    assert [item["id"] for item in data["commands"]] == [command_id]
    assert data["poll_after_ms"] == 0


def test_a_cancel_request_ends_the_wait(ems: Ems, operator: httpx.Client, box: Box) -> None:
    """The device hears at once that it should drop the command."""
    command_id = issue(operator, box, 3)
    box.poll()
    cancel = f"/bms-control/commands/{command_id}/cancel"
    data, took_s = during_poll(ems, box, lambda: operator.post(cancel))
    assert took_s < 10
    (command,) = data["commands"]
    assert (command["cancel_requested"], command["version"]) == (True, 2)


def test_sync_on_demand(ems: Ems, operator: httpx.Client, box: Box) -> None:
    """An operator's PUT wakes the poll; the first report newer than the request answers it."""
    box.report(1, operating_status=1)
    query = {"device_uid": box.uid}
    with ThreadPoolExecutor(2) as pool:
        polling = pool.submit(box.poll, 30)
        until_waiting(ems, 1)
        asked = pool.submit(operator.put, "/bms-control/sync", params=query)
        data = polling.result(timeout=35)
        assert data["sync_requested"] is True
        old = box.report(2, operating_status=1, age_ms=60_000)
        assert old.status_code == 200
        again = box.poll(wait=5)
        assert again["sync_requested"] is True
        box.report(3, operating_status=4)
        answer = asked.result(timeout=35)
    assert answer.status_code == 200
    assert answer.json()["message"] == "BMS状态同步成功"
    assert answer.json()["data"]["operating_status"] == 4
    assert box.poll()["sync_requested"] is False


def test_a_poll_that_was_left_takes_nothing(ems: Ems, operator: httpx.Client, box: Box) -> None:
    """A client that goes away frees its place, and the command waits for the next poll."""
    with pytest.raises(httpx.ReadTimeout):
        box.http.get(
            "/bms-control/pending", params={"device_uid": box.uid, "wait": 30}, timeout=0.3
        )
    until_waiting(ems, 0)
    command_id = issue(operator, box)
    assert life(operator, command_id)["state"] == "queued"
    data = box.poll()
    assert [item["id"] for item in data["commands"]] == [command_id]


def test_the_newest_poll_wins(ems: Ems, operator: httpx.Client, box: Box) -> None:
    """An older poll, perhaps on a dead connection, ends empty; the newer one gets the command."""
    with ThreadPoolExecutor(2) as pool:
        older = pool.submit(box.poll, 30)
        until_waiting(ems, 1)
        newer = pool.submit(box.poll, 30)
        assert older.result(timeout=35) == {
            "poll_after_ms": 1000,
            "sync_requested": False,
            "commands": [],
        }
        until_waiting(ems, 1)
        issue(operator, box)
        data = newer.result(timeout=35)
    assert len(data["commands"]) == 1


@pytest.mark.parametrize("wait", ["-1", "31", "x", "1.5", ""])
def test_wait_is_limited(box: Box, wait: str) -> None:
    """`wait` is 0..30 whole seconds."""
    answer = box.http.get("/bms-control/pending", params={"device_uid": box.uid, "wait": wait})
    assert (answer.status_code, answer.json()["code"]) == (400, 100001)
    assert answer.json()["data"].startswith("wait")


def test_the_whole_life_is_on_record(operator: httpx.Client, box: Box) -> None:
    """From issue to hold: every step with time, reason and evidence."""
    command_id = issue(operator, box, 3, reason="planned work")
    box.poll()
    steps = ["accepted", "gated", "sending", "sent", "acknowledged", "succeeded", "held"]
    for step in steps:
        answer = box.tell(command_id, step, evidence={"step": step}, at="2026-01-01T00:00:00.5Z")
        assert answer.status_code == 200
        assert answer.json()["data"] == {
            "id": command_id,
            "state": step,
            "version": 1,
            "cancel_requested": False,
            "repeat": False,
        }
    found = life(operator, command_id)
    assert (found["state"], found["finished"], found["provisional"]) == ("held", True, False)
    assert (found["reason"], found["issued_by"]) == ("planned work", "operator-key")
    assert found["issued_from"] == "127.0.0.1"
    assert [event["state"] for event in found["events"]] == ["queued", "delivered", *steps]
    assert found["events"][-1]["evidence"] == {"step": "held"}
    assert found["events"][-1]["at"] == "2026-01-01T00:00:00.5Z"
    assert box.poll()["commands"] == []


def test_what_the_box_reports_is_shown_as_it_is(operator: httpx.Client, box: Box) -> None:
    """Interlocks with signal, value, age and verdict, frames and confirming frames: in order."""
    health = Reason.BLOCKED_BY_HEALTH
    checks = (
        Check(
            rule="fresh",
            passed=True,
            reason=health,
            subject="BAU_Status",
            value="heard",
            age_s=0.0123,
            wanted="newer than 0.5 s",
        ),
        Check(
            rule="alarms",
            passed=False,
            reason=health,
            subject="温差大",
            value="unknown",
            age_s=None,
            wanted="none",
        ),
    )
    sent = Frame(at_s=12.345678, can_id=0x18FF, extended=True, data=b"\x01\x02")
    frames = frames_evidence([sent, sent._replace(at_s=12.5, data=b"")])
    told: list[tuple[str, dict[str, object]]] = [
        ("gated", {"interlocks": checks_evidence(checks)}),
        ("sent", {"frames": frames, "echo": True}),
        ("acknowledged", {"answer": frames[:1]}),
        ("succeeded", {"confirmed_by": frames, "frames": frames}),
        ("held", {"confirmed_by": frames}),
    ]
    command_id = issue(operator, box, 3)
    box.poll()
    for number, (state, evidence) in enumerate(told):
        at = f"2026-01-01T00:00:0{number}.000Z"
        assert box.tell(command_id, state, evidence=evidence, at=at).status_code == 200
    first, again = (operator.get(f"/bms-control/commands/{command_id}") for _ in range(2))
    assert first.text == again.text
    events = first.json()["data"]["events"][2:]
    assert [(event["state"], event["evidence"]) for event in events] == told
    assert [event["at"][17:19] for event in events] == ["00", "01", "02", "03", "04"]
    (verdicts,) = (json.dumps(event["evidence"]) for event in events[:1])
    assert verdicts == json.dumps(told[0][1])


def test_results_are_idempotent_and_final(operator: httpx.Client, box: Box) -> None:
    """A repeat is fine and changes nothing; a contradiction is 409 with code 100001."""
    command_id = issue(operator, box)
    box.poll()
    assert box.tell(command_id, "rejected", reason="local-lockout").status_code == 200
    repeat = box.tell(command_id, "rejected", reason="something else")
    assert (repeat.status_code, repeat.json()["data"]["repeat"]) == (200, True)
    wrong = box.tell(command_id, "succeeded")
    assert (wrong.status_code, wrong.json()["code"]) == (409, 100001)
    assert wrong.json()["data"].startswith("state")
    found = life(operator, command_id)
    assert found["state"] == "rejected"
    assert found["events"][2]["reason"] == "local-lockout"
    assert found["events"][3]["refused"] is True


def test_result_of_an_unknown_command(box: Box) -> None:
    """A result for no command of this device is 100007."""
    answer = box.tell("00000000-0000-4000-8000-000000000000", "sent")
    assert (answer.status_code, answer.json()["code"]) == (400, 100007)
    assert answer.json()["message"] == "该记录未找到"


def test_result_limits(operator: httpx.Client, box: Box) -> None:
    """Evidence up to 64 KiB passes, more is refused unparsed; an unknown state is named."""
    command_id = issue(operator, box)
    box.poll()
    assert box.tell(command_id, "gated", evidence={"x": "y" * 60_000}).status_code == 200
    big = box.tell(command_id, "sent", evidence={"x": "y" * 66_000})
    assert (big.status_code, big.json()["data"][:5]) == (400, "body:")
    odd = box.tell(command_id, "exploded")
    assert (odd.status_code, odd.json()["data"][:6]) == (400, "state:")


def test_idempotency_key(operator: httpx.Client, box: Box) -> None:
    """Same key and body: same answer, one command. Other body: 422."""
    body = {"device_uid": box.uid, "command": 2}
    headers = {"Idempotency-Key": f"k-{box.uid}"}
    answers = [operator.post("/bms-control", json=body, headers=headers) for _ in range(3)]
    assert len({answer.text for answer in answers}) == 1
    assert len(box.poll()["commands"]) == 1
    other = operator.post("/bms-control", json=body | {"command": 3}, headers=headers)
    assert (other.status_code, other.json()["code"]) == (422, 100001)
    empty = operator.post("/bms-control", json=body, headers={"Idempotency-Key": ""})
    assert (empty.status_code, empty.json()["data"][:15]) == (400, "Idempotency-Key")


def test_one_idempotency_key_from_many_threads(operator: httpx.Client, box: Box) -> None:
    """Simultaneous repeats still make one command."""
    body = {"device_uid": box.uid, "command": 2}
    headers = {"Idempotency-Key": f"many-{box.uid}"}
    with ThreadPoolExecutor(8) as pool:
        made = pool.map(
            lambda _: operator.post("/bms-control", json=body, headers=headers).json()["data"],
            range(16),
        )
    assert len(set(made)) == 1


def test_too_many_unfinished_commands(operator: httpx.Client, box: Box) -> None:
    """The 101st unfinished command of a device is 429."""
    for _ in range(100):
        issue(operator, box, 1)
    answer = operator.post("/bms-control", json={"device_uid": box.uid, "command": 1})
    assert (answer.status_code, answer.json()["code"]) == (429, 100001)


def test_cancel(operator: httpx.Client, box: Box) -> None:
    """Queued: at once. Sending: 409. Unknown: 100007."""
    first = issue(operator, box)
    answer = operator.post(f"/bms-control/commands/{first}/cancel")
    assert (answer.status_code, answer.json()["data"]["state"]) == (200, "cancelled")
    second = issue(operator, box)
    box.poll()
    box.tell(second, "sending")
    late = operator.post(f"/bms-control/commands/{second}/cancel")
    assert (late.status_code, late.json()["code"]) == (409, 100001)
    missing = operator.post("/bms-control/commands/nothing/cancel")
    assert (missing.status_code, missing.json()["code"]) == (400, 100007)


def test_command_list(operator: httpx.Client, box: Box) -> None:
    """Newest first, counted, in pages."""
    ids = [issue(operator, box, 1) for _ in range(3)]
    query: dict[str, str | int] = {"device_uid": box.uid, "page": 2, "page-size": 2}
    data = operator.get("/bms-control/commands", params=query).json()["data"]
    assert (data["total"], [item["id"] for item in data["list"]]) == (3, [ids[0]])


def test_older_reports_never_overwrite(box: Box) -> None:
    """A late report answers 200 with the newer stored state."""
    box.report(10, operating_status=3)
    late = box.report(9, operating_status=1)
    assert (late.status_code, late.json()["data"]["operating_status"]) == (200, 3)
    assert late.json()["data"]["sequence"] == 10


def test_a_disconnected_device_has_no_operating_status(operator: httpx.Client, box: Box) -> None:
    """Silence of the BMS is never 1: null goes with disconnected, a value is refused."""
    good = box.report(1, operating_status=None, disconnected=1, alarm_status=1, age_ms=None)
    data = good.json()["data"]
    assert (data["operating_status"], data["alarm_status"], data["disconnected"]) == (None, 1, 1)
    wrong = box.report(2, operating_status=1, disconnected=1)
    assert (wrong.status_code, wrong.json()["data"][:16]) == (400, "operating_status")
    got = operator.get("/bms-control", params={"device_uid": box.uid}).json()["data"]
    assert got["operating_status"] is None


def test_details(operator: httpx.Client, box: Box) -> None:
    """The whole last report: alarms, telemetry, box."""
    alarm = {"key": "k", "level": 3, "label_zh": "接触器粘连", "label_en": "stuck", "since": None}
    telemetry = {"soc": 50.5, "cell_voltage": [3.3] * 699 + [None], "mode": "auto", "soh": None}
    box.report(1, alarms=[alarm], telemetry=telemetry, box={"version": "1", "lockout": True})
    data = operator.get("/bms-control/details", params={"device_uid": box.uid}).json()["data"]
    assert (data["alarms"], data["telemetry"]) == ([alarm], telemetry)
    assert (data["box"], data["stale"]) == ({"version": "1", "lockout": True}, False)


def test_reports_are_kept_once(operator: httpx.Client, box: Box) -> None:
    """A batch sent twice is stored once."""
    items = [{"sequence": n, "kind": "alarm", "at": None, "body": {"n": n}} for n in range(200)]
    body = {"device_uid": box.uid, "reports": items}
    first = box.http.post("/bms-control/reports", json=body).json()["data"]
    assert first == {"stored": 200, "duplicates": 0, "accepted_through": 199}
    second = box.http.post("/bms-control/reports", json=body).json()["data"]
    assert second == {"stored": 0, "duplicates": 200, "accepted_through": 199}
    query: dict[str, str | int] = {"device_uid": box.uid, "page-size": 1}
    data = operator.get("/reports", params=query).json()["data"]
    assert (data["total"], data["list"][0]["body"]) == (200, {"n": 199})
    over = body | {"reports": [*items, items[0]]}
    answer = box.http.post("/bms-control/reports", json=over)
    assert (answer.status_code, answer.json()["data"][:8]) == (400, "reports:")


def test_a_batch_of_no_reports_is_no_sign_of_life(operator: httpx.Client, box: Box) -> None:
    """`doctor` asks with it while the agent may be dead: nothing is kept, no heartbeat is seen."""
    body = {"device_uid": box.uid, "reports": list[object]()}
    answer = box.http.post("/bms-control/reports", json=body).json()
    assert answer["data"] == {"stored": 0, "duplicates": 0, "accepted_through": None}
    assert heartbeat_of(operator, box.uid) is None
    box.poll()
    assert heartbeat_of(operator, box.uid) is not None


def test_event_stream(ems: Ems, operator: httpx.Client, box: Box) -> None:
    """Status first, then every step of a command as it happens, for the devices asked for."""
    lines: list[str] = []
    seen = threading.Event()
    query = {"device_uid": box.uid}

    def read() -> None:
        with (
            ems.client(ems.operator_key) as client,
            client.stream("GET", "/events", params=query) as stream,
        ):
            assert stream.headers["content-type"].startswith("text/event-stream")
            for line in stream.iter_lines():
                lines.append(line)
                if '"disconnected":1' in line:
                    seen.set()
                if '"state":"rejected"' in line:
                    return

    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(read)
        assert seen.wait(10)
        box.report(1)
        command_id = issue(operator, box)
        box.poll()
        box.tell(command_id, "rejected")
        reading.result(timeout=20)
    text = "\n".join(lines)
    assert text.count("event: status") >= 2
    assert '"operating_status":2' in text
    for state in ("queued", "delivered", "rejected"):
        assert f'"state":"{state}"' in text
