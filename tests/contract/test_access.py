"""Every call with every kind of key: nobody sees or does more than the key allows."""

from typing import Any

import httpx
import pytest

from tests.contract.conftest import Box, Ems

COMMAND = "00000000-0000-4000-8000-000000000000"
STATUS = {
    "operating_status": 1,
    "alarm_status": 0,
    "disconnected": 0,
    "sequence": 1,
    "age_ms": 0,
}

Call = tuple[str, str, dict[str, Any] | None]

#: Calls of operators: method, path with {uid}, body with {uid}.
OPERATOR_CALLS: list[Call] = [
    ("POST", "/bms-control", {"device_uid": "{uid}", "command": 2}),
    ("GET", "/bms-control?device_uid={uid}", None),
    ("GET", "/bms-control/details?device_uid={uid}", None),
    ("PUT", "/bms-control/sync?device_uid={uid}", None),
    ("GET", "/bms-control/commands?device_uid={uid}", None),
    ("GET", "/reports?device_uid={uid}", None),
    ("GET", "/events?device_uid={uid}", None),
    ("GET", "/bms-control/journal-heads?device_uid={uid}", None),
]
#: Calls of operators that name no device.
OTHER_CALLS: list[Call] = [
    ("GET", f"/bms-control/commands/{COMMAND}", None),
    ("POST", f"/bms-control/commands/{COMMAND}/cancel", None),
    ("GET", "/device", None),
    ("GET", "/fleet", None),
    ("GET", "/events", None),
]
#: Calls of devices.
DEVICE_CALLS: list[Call] = [
    ("GET", "/bms-control/pending?device_uid={uid}", None),
    ("PUT", "/bms-control/sync?device_uid={uid}", STATUS),
    (
        "POST",
        "/bms-control/result",
        {"device_uid": "{uid}", "id": COMMAND, "version": 1, "state": "sent"},
    ),
    ("POST", "/bms-control/reports", {"device_uid": "{uid}", "reports": []}),
]
ALL_CALLS = OPERATOR_CALLS + OTHER_CALLS + DEVICE_CALLS


def name_of(call: Call) -> str:
    """Name a case."""
    return f"{call[0]}-{call[1].partition('?')[0]}"


def test_the_matrix_has_every_call(ems: Ems) -> None:
    """A call that is added to the interface must be added here, or this fails."""
    paths = httpx.get(f"{ems.root}/openapi.json", trust_env=False).json()["paths"]
    offered = {
        (method.upper(), path.removeprefix("/wad/ems/v1/api"))
        for path, calls in paths.items()
        if path.startswith("/wad/")
        for method in calls
    }
    tested = {
        (method, path.partition("?")[0].replace(COMMAND, "{command_id}"))
        for method, path, _ in ALL_CALLS
    }
    assert tested == offered - {("GET", "/test-apikey")}


def send(client: httpx.Client, call: Call, uid: str) -> httpx.Response:
    """Make a call about a device."""
    method, path, body = call
    filled = body and {key: uid if value == "{uid}" else value for key, value in body.items()}
    return client.request(method, path.format(uid=uid), json=filled)


@pytest.mark.parametrize("call", ALL_CALLS, ids=name_of)
@pytest.mark.parametrize("key", [None, "emsk_00000000_" + "A" * 43])
def test_no_call_without_a_key(ems: Ems, box: Box, call: Call, key: str | None) -> None:
    """Every call needs a good key, and says nothing else before it has one."""
    with ems.client(key) as client:
        answer = send(client, call, box.uid)
    assert answer.status_code == 401
    assert set(answer.json()) == {"code", "message"}


@pytest.mark.parametrize("call", ALL_CALLS, ids=name_of)
def test_a_revoked_key_opens_nothing(ems: Ems, box: Box, call: Call) -> None:
    """Revocation holds at once, in a running server, for every call."""
    key = ems.new_operator()
    with ems.registry() as registry:
        registry.revoke_key(key.split("_")[1])
    with ems.client(key) as client:
        answer = send(client, call, box.uid)
    assert (answer.status_code, answer.json()) == (401, {"code": 0, "message": "API Key无效"})


@pytest.mark.parametrize("call", OPERATOR_CALLS + OTHER_CALLS, ids=name_of)
def test_a_device_is_no_operator(box: Box, call: Call) -> None:
    """A device key can do nothing of an operator's, not even about itself: 140003."""
    answer = send(box.http, call, box.uid)
    assert (answer.status_code, answer.json()["code"]) == (400, 140003)
    assert box.poll()["commands"] == []


@pytest.mark.parametrize("call", DEVICE_CALLS, ids=name_of)
def test_an_operator_is_no_device(operator: httpx.Client, box: Box, call: Call) -> None:
    """An operator key cannot act as a device: 140003."""
    answer = send(operator, call, box.uid)
    assert (answer.status_code, answer.json()["code"]) == (400, 140003)
    status = operator.get("/bms-control", params={"device_uid": box.uid}).json()["data"]
    assert status["observed_at"] is None


@pytest.mark.parametrize("call", DEVICE_CALLS, ids=name_of)
def test_a_device_reaches_only_itself(ems: Ems, box: Box, call: Call) -> None:
    """Another device's id and one that does not exist get the same refusal."""
    other, _ = ems.new_device()
    answers = [send(box.http, call, uid) for uid in (other, "NOBODY")]
    for answer in answers:
        assert (answer.status_code, answer.json()["code"]) == (400, 140008)
    texts = {answer.text.replace(other, "NOBODY") for answer in answers}
    assert len(texts) == 1


@pytest.mark.parametrize("call", DEVICE_CALLS, ids=name_of)
def test_a_box_of_two_batteries_reaches_both_and_no_third(ems: Ems, call: Call) -> None:
    """A device key of several devices works for each of them; a third one does not exist for it."""
    first, second, third = (ems.new_device()[0] for _ in range(3))
    with ems.client(ems.new_box(first, second)) as client:
        codes = [send(client, call, uid).json()["code"] for uid in (first, second, third)]
    assert codes[:2] == [100007, 100007] if "/result" in call[1] else codes[:2] == [0, 0]
    assert codes[2] == 140008


def test_a_box_cannot_mix_up_its_batteries(ems: Ems, operator: httpx.Client) -> None:
    """A command of one battery is not handed to, nor ended by, the other one of the same box."""
    first, second = (ems.new_device()[0] for _ in range(2))
    made = operator.post("/bms-control", json={"device_uid": first, "command": 2}).json()["data"]
    with ems.client(ems.new_box(first, second)) as client:
        query = {"device_uid": second}
        assert client.get("/bms-control/pending", params=query).json()["data"]["commands"] == []
        body = {"device_uid": second, "id": made, "version": 1, "state": "failed"}
        answer = client.post("/bms-control/result", json=body)
    assert (answer.status_code, answer.json()["code"]) == (400, 100007)


@pytest.mark.parametrize("call", OPERATOR_CALLS, ids=name_of)
def test_an_operator_reaches_only_its_scope(ems: Ems, box: Box, call: Call) -> None:
    """A device outside the scope and one that does not exist get the same refusal."""
    mine, _ = ems.new_device()
    with ems.client(ems.new_operator(mine)) as client:
        answers = [send(client, call, uid) for uid in (box.uid, "NOBODY")]
    for answer in answers:
        assert (answer.status_code, answer.json()["code"]) == (400, 140008)
    assert len({answer.text.replace(box.uid, "NOBODY") for answer in answers}) == 1
    assert box.poll()["commands"] == []


def test_a_scoped_operator_sees_its_devices_only(ems: Ems, box: Box) -> None:
    """The list of devices and foreign commands stay hidden; its own device works."""
    with ems.client(ems.operator_key) as client:
        made = client.post("/bms-control", json={"device_uid": box.uid, "command": 1})
    foreign = made.json()["data"]
    mine, _ = ems.new_device()
    with ems.client(ems.new_operator(mine)) as client:
        data = client.get("/device").json()["data"]
        assert (data["total"], [item["uid"] for item in data["list"]]) == (1, [mine])
        data = client.get("/fleet").json()["data"]
        assert (data["total"], [item["device_uid"] for item in data["list"]]) == (1, [mine])
        seen = client.get(f"/bms-control/commands/{foreign}")
        assert (seen.status_code, seen.json()["code"]) == (400, 100007)
        stopped = client.post(f"/bms-control/commands/{foreign}/cancel")
        assert (stopped.status_code, stopped.json()["code"]) == (400, 100007)
        own = client.post("/bms-control", json={"device_uid": mine, "command": 1})
        assert own.status_code == 200


def test_a_device_cannot_end_another_ones_command(
    ems: Ems, operator: httpx.Client, box: Box
) -> None:
    """A result for a command of another device is refused even with its right id."""
    made = operator.post("/bms-control", json={"device_uid": box.uid, "command": 2}).json()["data"]
    uid, key = ems.new_device()
    with ems.client(key) as client:
        body = {"device_uid": uid, "id": made, "version": 1, "state": "failed"}
        answer = client.post("/bms-control/result", json=body)
    assert (answer.status_code, answer.json()["code"]) == (400, 100007)
    assert operator.get(f"/bms-control/commands/{made}").json()["data"]["state"] == "queued"
