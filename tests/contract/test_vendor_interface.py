"""The vendor's documents, row by row, against a real server."""

import contextlib
import time
from typing import Any

import httpx
import pytest

from tests.contract.conftest import Box, Ems

BAD = {"code": 100001, "message": "参数格式错误"}


def post(client: httpx.Client, body: object, **headers: str) -> httpx.Response:
    """Post a command."""
    return client.post("/bms-control", json=body, headers=headers)


def refused(answer: httpx.Response, field: str) -> None:
    """Check that an answer is 100001 and names the field."""
    assert answer.status_code == 400, answer.text
    body = answer.json()
    assert {name: body[name] for name in BAD} == BAD
    assert str(body["data"]).startswith(field), body


@pytest.mark.parametrize("key", [None, ""])
def test_no_key(ems: Ems, key: str | None) -> None:
    """Without a key: 401, code 0, the vendor's text and nothing else."""
    with ems.client(key) as client:
        answer = client.get("/test-apikey")
    assert answer.status_code == 401
    assert answer.json() == {"code": 0, "message": "API Key未提供"}


@pytest.mark.parametrize("key", ["x", "emsk_00000000_" + "A" * 43, "emsk_0"])
def test_wrong_key(ems: Ems, key: str) -> None:
    """With a wrong key: 401, code 0, one text for every kind of wrong."""
    with ems.client(key) as client:
        answer = client.get("/test-apikey")
    assert answer.status_code == 401
    assert answer.json() == {"code": 0, "message": "API Key无效"}


def test_two_keys_are_no_key(ems: Ems) -> None:
    """Two key headers are refused even if both are good."""
    headers = [("X-API-Key", ems.operator_key)] * 2
    answer = httpx.get(f"{ems.url}/test-apikey", headers=headers, trust_env=False)
    assert answer.json() == {"code": 0, "message": "API Key无效"}


def test_good_key(operator: httpx.Client, box: Box) -> None:
    """GET /test-apikey: any good key gets the vendor's words, without the envelope."""
    for client in (operator, box.http):
        answer = client.get("/test-apikey")
        assert (answer.status_code, answer.json()) == (200, {"message": "ok"})


@pytest.mark.parametrize("command", [1, 2, 3])
def test_post_command(operator: httpx.Client, box: Box, command: int) -> None:
    """POST /bms-control: 1 fault reset, 2 close, 3 open; `data` is a string, the command's id."""
    answer = post(operator, {"device_uid": box.uid, "command": command})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    body = answer.json()
    assert set(body) == {"code", "message", "data"}
    assert (body["code"], body["message"]) == (0, "BMS控制下发成功")
    assert isinstance(body["data"], str)
    found = box.poll()["commands"]
    assert [(item["id"], item["command"]) for item in found] == [(body["data"], command)]


@pytest.mark.parametrize("command", ["2", True, 1.0, 0, 4, -1, None, [2], {"a": 2}, 2**70])
def test_post_wrong_command(operator: httpx.Client, box: Box, command: object) -> None:
    """`command` is an integer 1..3 and nothing that looks like one; nothing is queued."""
    refused(post(operator, {"device_uid": box.uid, "command": command}), "command:")
    assert box.poll()["commands"] == []


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"command": None}, "command"),
        ({"device_uid": None}, "device_uid"),
        ({"device_uid": 5}, "device_uid"),
        ({"device_uid": ""}, "device_uid"),
        ({"device_uid": "a b"}, "device_uid"),
        ({"device_uid": "x" * 65}, "device_uid"),
        ({"device_uid": "x\n"}, "device_uid"),
        ({"extra": 1}, "extra"),
        ({"expires_in_ms": 0}, "expires_in_ms"),
        ({"expires_in_ms": -5}, "expires_in_ms"),
        ({"expires_in_ms": "10"}, "expires_in_ms"),
        ({"expires_in_ms": 30_001}, "expires_in_ms"),
        ({"reason": "x" * 201}, "reason"),
        ({"reason": 1}, "reason"),
    ],
)
def test_post_wrong_field(
    operator: httpx.Client, box: Box, change: dict[str, Any], field: str
) -> None:
    """A wrong field is named; a missing one too; an unknown one is refused."""
    good = {"device_uid": box.uid, "command": 2}
    refused(post(operator, good | change), field)
    refused(post(operator, {"device_uid": box.uid}), "command")
    refused(post(operator, {"command": 2}), "device_uid")
    assert box.poll()["commands"] == []


@pytest.mark.parametrize(
    ("raw", "content_type", "why"),
    [
        pytest.param(b"", "application/json", "body", id="empty"),
        pytest.param(b"{", "application/json", "body", id="broken"),
        pytest.param(b"[]", "application/json", "body", id="array"),
        pytest.param(b'{"command":1,"command":2}', "application/json", "body", id="duplicate"),
        pytest.param(b'{"command":NaN}', "application/json", "body", id="nan"),
        pytest.param(b"[" * 10_000, "application/json", "body", id="deep"),
        pytest.param(b"[" * 500_000, "application/json", "body", id="deep-and-long"),
        pytest.param(
            b'{"device_uid":"' + b"x" * 16_400 + b'"}', "application/json", "body", id="16-KiB"
        ),
        pytest.param(b"\xff\xfe", "application/json", "body", id="not-utf-8"),
        pytest.param(b"{}", "text/plain", "Content-Type", id="text"),
        pytest.param(b"{}", "application/x-www-form-urlencoded", "Content-Type", id="form"),
        pytest.param(b"{}", "", "Content-Type", id="no-type"),
        pytest.param(b"{}", "application/json; charset=gbk", "Content-Type", id="charset"),
    ],
)
def test_post_wrong_body(operator: httpx.Client, raw: bytes, content_type: str, why: str) -> None:
    """A body that is not one small JSON object of the right type is refused, with the reason."""
    headers = {"Content-Type": content_type}
    refused(operator.post("/bms-control", content=raw, headers=headers), why)


def test_an_endless_body_is_cut_off(ems: Ems, operator: httpx.Client) -> None:
    """A chunked body without an end is refused while it streams; memory does not follow it."""

    def endless() -> Any:  # noqa: ANN401  # a generator of bytes
        for _ in range(3000):
            yield b" " * 65_536

    before_kb = rss_kb(ems.pid)
    headers = {"Content-Type": "application/json"}
    with contextlib.suppress(httpx.TransportError):  # closed before we had sent all of it
        refused(operator.post("/bms-control", content=endless(), headers=headers), "body")
    assert rss_kb(ems.pid) - before_kb < 20_000
    assert operator.get("/test-apikey").status_code == 200


def rss_kb(pid: int) -> int:
    """Return the resident memory of a process [kB]."""
    with open(f"/proc/{pid}/status", encoding="ascii") as file:  # noqa: PTH123  # procfs
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS"))


def test_get_status_of_a_silent_device(operator: httpx.Client, box: Box) -> None:
    """GET /bms-control: never reported means unknown, in the vendor's three fields and our two."""
    answer = operator.get("/bms-control", params={"device_uid": box.uid})
    assert (answer.status_code, answer.json()) == (
        200,
        {
            "code": 0,
            "message": "BMS状态获取成功",
            "data": {
                "device_uid": box.uid,
                "alarm_status": None,
                "operating_status": None,
                "disconnected": 1,
                "observed_at": None,
            },
        },
    )


@pytest.mark.parametrize("operating_status", [1, 2, 3, 4])
@pytest.mark.parametrize("alarm_status", [0, 7])
def test_status_round_trip(
    operator: httpx.Client, box: Box, operating_status: int, alarm_status: int
) -> None:
    """PUT by the device, GET by the operator: the same values, and both answers alike."""
    put = box.report(1, operating_status=operating_status, alarm_status=alarm_status, age_ms=20)
    assert (put.status_code, put.json()["message"]) == (200, "BMS状态同步成功")
    data = operator.get("/bms-control", params={"device_uid": box.uid}).json()["data"]
    assert data | {"sequence": 1} == put.json()["data"]
    assert (data["operating_status"], data["alarm_status"]) == (operating_status, alarm_status)
    assert (data["device_uid"], data["disconnected"]) == (box.uid, 0)
    assert data["observed_at"].endswith("Z")


@pytest.mark.parametrize(
    "query",
    [
        "",
        "?device_uid=",
        "?device_uid=a%20b",
        "?device_uid=" + "x" * 65,
        "?device_uid=A&device_uid=A",
    ],
)
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/bms-control"),
        ("PUT", "/bms-control/sync"),
        ("GET", "/bms-control/commands"),
        ("GET", "/reports"),
    ],
)
def test_device_uid_of_the_query(
    operator: httpx.Client, method: str, path: str, query: str
) -> None:
    """A missing, malformed or doubled device_uid is 100001 and named."""
    refused(operator.request(method, path + query), "device_uid")


def test_unknown_device(operator: httpx.Client) -> None:
    """A device that does not exist is 140008 in every call that names one."""
    query = {"device_uid": "NOBODY"}
    for answer in (
        post(operator, {"device_uid": "NOBODY", "command": 2}),
        operator.get("/bms-control", params=query),
        operator.put("/bms-control/sync", params=query),
        operator.get("/bms-control/commands", params=query),
        operator.get("/events", params=query),
    ):
        assert answer.status_code == 400
        assert answer.json()["code"] == 140008
        assert answer.json()["message"] == "该设备ID对应的ems设备未找到"


def test_sync_without_a_device_that_answers(operator: httpx.Client, box: Box) -> None:
    """PUT without a body: no newer status in time is 140002, however good the old one is."""
    box.report(1)
    answer = operator.put("/bms-control/sync", params={"device_uid": box.uid})
    assert (answer.status_code, answer.json()["code"]) == (400, 140002)
    assert answer.json()["message"] == "设备超时"


def test_sync_roles(operator: httpx.Client, box: Box) -> None:
    """A device must bring a body, an operator must not: else 140003."""
    query = {"device_uid": box.uid}
    for answer in (
        box.http.put("/bms-control/sync", params=query),
        operator.put("/bms-control/sync", params=query, json={"sequence": 1}),
    ):
        assert (answer.status_code, answer.json()["code"]) == (400, 140003)
        assert answer.json()["message"] == "不是设备的拥有者，操作权限不足"


def test_device_list(operator: httpx.Client, box: Box) -> None:
    """GET /device: the vendor's shape, paged; heartbeat_time is when the device last called."""
    box.poll()
    answer = operator.get("/device", params={"page": 1, "page-size": 200})
    data = answer.json()["data"]
    assert set(data) == {"total", "list"}
    mine = next(item for item in data["list"] if item["uid"] == box.uid)
    fields = {"uid", "license_code", "name", "code", "location", "affiliation", "heartbeat_time"}
    assert set(mine) == fields
    assert mine["heartbeat_time"].startswith(time.strftime("%Y-", time.gmtime()))
    assert len(operator.get("/device", params={"page-size": 1}).json()["data"]["list"]) == 1


@pytest.mark.parametrize("query", ["page=0", "page=x", "page-size=0", "page-size=201", "page=1e3"])
def test_bad_pages(operator: httpx.Client, query: str) -> None:
    """A page that cannot be is 100001 and named."""
    refused(operator.get(f"/device?{query}"), "page")


def test_unknown_paths_and_methods(operator: httpx.Client) -> None:
    """Even these answer in the envelope, and never with code 0."""
    missing = operator.get("/nothing")
    assert (missing.status_code, missing.json()["code"]) == (404, 100007)
    wrong = operator.delete("/bms-control")
    assert (wrong.status_code, wrong.json()["code"]) == (405, 100001)
    assert wrong.headers["allow"] == "GET, POST"
    assert operator.delete("/bms-control/sync").headers["allow"] == "PUT"
