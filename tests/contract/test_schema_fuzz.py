"""Every call of the interface document, with valid and spoiled requests drawn from its schemas.

No server error, only documented statuses, every answer in its documented shape. (The stream
`/events` does not end and has its own tests.)
"""

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.contract.schema_cases import JUNK, Shapes, spoiled
from tests.ems_process import Ems, start_ems

CASES = 2_000
PREFIX = "/wad/ems/v1/api"
UIDS = ("ONE", "TWO")
#: Stand for the newest commands until a request is sent: what is drawn must not depend on the past.
RECENT = ("@newest", "@before")


class Case(NamedTuple):
    """One request."""

    method: str
    path: str
    query: dict[str, str]
    body: Any
    role: str
    responses: dict[str, Any]


@dataclass
class Target:
    """A platform of its own, its document, a client for each role, and what was answered."""

    shapes: Shapes
    calls: list[tuple[str, str, dict[str, Any]]]
    clients: dict[str, httpx.Client]
    command_ids: list[str] = field(default_factory=list)
    seen: Counter[tuple[str, int]] = field(default_factory=Counter)

    def case(self, draw: st.DrawFn) -> Case:
        """Draw a request for one of the calls."""
        method, path, call = draw(st.sampled_from(self.calls))
        query: dict[str, str] = {}
        for parameter in call.get("parameters", []):
            value = self._parameter(draw, parameter)
            if parameter["in"] == "path":
                path = path.replace("{" + parameter["name"] + "}", value)
            elif parameter["in"] == "query" and (parameter["required"] or draw(st.booleans())):
                query[parameter["name"]] = value
        body = self._body(draw, call) if "requestBody" in call else None
        device_call = "device" in call["tags"][0]
        usual = (
            "box" if device_call or (body is not None and path.endswith("/sync")) else "operator"
        )
        other = draw(st.integers(0, 19))
        role = {0: "operator", 1: "box", 2: "nobody"}.get(other, usual)
        return Case(method, path, query, body, role, call["responses"])

    def _parameter(self, draw: st.DrawFn, parameter: dict[str, Any]) -> str:
        name = parameter["name"]
        known = {"device_uid": UIDS[:1], "wait": ("0",), "command_id": RECENT}
        if draw(st.integers(0, 9)):
            if name in known:
                return str(draw(st.sampled_from(known[name])))
            return str(draw(self.shapes.values(parameter["schema"])))
        text = str(draw(JUNK))
        if name == "command_id":  # a slash or a dot would be another path
            return "".join(letter for letter in text if letter.isalnum())[:90] or "x"
        return "31" if name == "wait" and text.strip().isdecimal() else text

    def _body(self, draw: st.DrawFn, call: dict[str, Any]) -> Any:  # noqa: ANN401  # JSON
        if not call["requestBody"]["required"] and not draw(st.integers(0, 9)):
            return None
        schema = call["requestBody"]["content"]["application/json"]["schema"]
        body = draw(self.shapes.values(schema))
        if "device_uid" in body and draw(st.integers(0, 9)):
            body["device_uid"] = draw(st.sampled_from(UIDS))
        if "id" in body and draw(st.booleans()):
            body["id"] = draw(st.sampled_from(RECENT))
        return draw(spoiled(body)) if draw(st.integers(0, 2)) == 0 else body

    def send(self, case: Case) -> httpx.Response:
        """Send a request and keep what it made."""
        client = self.clients[case.role]
        ids = dict(zip(RECENT, [*self.command_ids, "none", "none"], strict=False))
        path, body = case.path, case.body
        for name, command_id in ids.items():
            path = path.replace(name, command_id)
        if isinstance(body, dict) and body.get("id") in list(ids):
            body = {**body, "id": ids[body["id"]]}
        more = {} if body is None else {"json": body}
        answer = client.request(case.method, path, params=case.query, **more)
        template = case.path.replace("/cancel", "#").partition("commands/")
        end = "commands/…" + "#" * template[2].endswith("#") if template[1] else ""
        self.seen[f"{case.method} {template[0]}{end}", answer.status_code] += 1
        if case.path == "/bms-control" and case.method == "POST" and answer.status_code == 200:
            self.command_ids = [answer.json()["data"], *self.command_ids][:2]
        return answer


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """Give a platform with two devices, one of them with a two-step close."""
    folder = tmp_path_factory.mktemp("fuzz")
    ems = start_ems(folder / "ems.db", "--sync-wait-s", "0.01", "--select-s", "0.2")
    with ems.registry() as registry:
        for uid in UIDS:
            registry.add_device(uid, uid, {})
        registry.set_two_step("TWO", on=True)
        box = registry.create_key("device", "box", ["ONE"]).text
    document = httpx.get(f"{ems.root}/openapi.json", trust_env=False).json()
    calls = [
        (method.upper(), path.removeprefix(PREFIX), call)
        for path, methods in document["paths"].items()
        if path.startswith(PREFIX) and not path.endswith("/events")
        for method, call in methods.items()
    ]
    keys = {"operator": ems.operator_key, "box": box, "nobody": "wrong"}
    clients = {role: ems.client(key) for role, key in keys.items()}
    yield Target(Shapes(document), calls, clients)
    finish(ems, clients)


def finish(ems: Ems, clients: dict[str, httpx.Client]) -> None:
    """Stop, and look into the log: the platform must not have complained."""
    for client in clients.values():
        client.close()
    assert ems.stop() == 0
    assert ems.log().count("\n") == 1, ems.log()


@settings(
    max_examples=CASES,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(data=st.data())
def test_only_documented_answers(target: Target, data: st.DataObject) -> None:
    """2,000 requests: no 5xx, no undocumented status, no answer of another shape."""
    case = data.draw(st.composite(target.case)())
    began_s = time.monotonic()
    answer = target.send(case)
    assert answer.status_code < 500, (case, answer.text)
    described = case.responses.get(str(answer.status_code))
    assert described is not None, (case, answer.status_code, answer.text)
    schema = described["content"]["application/json"]["schema"]
    assert target.shapes.mistakes(answer.json(), schema) == [], (case, answer.text)
    if case.path != "/test-apikey" and answer.status_code != 401:
        assert (answer.json()["code"] == 0) is (answer.status_code == 200), case
    assert (answer.status_code == 401) is (case.role == "nobody"), case
    assert time.monotonic() - began_s < 5, case


def test_the_cases_reached_every_call(target: Target) -> None:
    """The run before was no sham: each call was answered with success and with a refusal."""
    for method, path, _ in target.calls:
        name = f"{method} {path.replace('{command_id}', '…').replace('/cancel', '#')}"
        statuses = {status for (call, status) in target.seen if call == name}
        assert 200 in statuses, (name, statuses)
        assert statuses - {200}, name
    assert target.seen["POST /bms-control", 428] > 0
