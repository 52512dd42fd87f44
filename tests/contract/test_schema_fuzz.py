"""Every call of the interface document, with valid and spoiled requests drawn from its schemas.

No server error, only documented statuses, every answer in its documented shape. (The stream
`/events` does not end and has its own tests.)
"""

import json
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.client import HTTPConnection
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.contract.schema_cases import JUNK, Shapes, spoiled
from tests.ems_process import start_ems

CASES, ALL_CASES = 800, 5_000
PREFIX = "/wad/ems/v1/api"
UIDS = ("ONE", "TWO")
ISSUE = ("POST", "/bms-control")
#: Stand for the newest commands until a request is sent: what is drawn must not depend on the past.
RECENT = ("@newest", "@before")


class Case(NamedTuple):
    """One request."""

    method: str
    path: str
    query: dict[str, str]
    body: Any
    role: str
    template: str


class Answer(NamedTuple):
    """What came back."""

    status: int
    body: Any


@dataclass
class Target:
    """A platform of its own, its document, a key for each role, and what was answered.

    `wire` is the plain client of the standard library: httpx would cost more than the server.
    """

    shapes: Shapes
    calls: dict[tuple[str, str], dict[str, Any]]
    keys: dict[str, str]
    wire: HTTPConnection
    cases: st.SearchStrategy[Case] = field(init=False)
    command_ids: list[str] = field(default_factory=list)
    seen: Counter[tuple[str, str, int]] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.cases = st.composite(self.case)()

    def case(self, draw: st.DrawFn) -> Case:
        """Draw a request for one of the calls."""
        method, template = draw(st.sampled_from([*self.calls, ISSUE, ISSUE]))
        path, call = template, self.calls[method, template]
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
        return Case(method, path, query, body, role, template)

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
        if "arm_id" in body and draw(st.integers(0, 9)):
            del body["arm_id"]  # a made-up one is refused, and would leave little else to see
        if "device_uid" in body and draw(st.integers(0, 9)):
            body["device_uid"] = draw(st.sampled_from(UIDS))
        if "id" in body and draw(st.booleans()):
            body["id"] = draw(st.sampled_from(RECENT))
        return draw(spoiled(body)) if draw(st.integers(0, 2)) == 0 else body

    def send(self, case: Case) -> Answer:
        """Send a request and keep what it made."""
        ids = dict(zip(RECENT, [*self.command_ids, "none", "none"], strict=False))
        path, body = case.path, case.body
        for name, command_id in ids.items():
            path = path.replace(name, command_id)
        if isinstance(body, dict) and body.get("id") in list(ids):
            body = {**body, "id": ids[body["id"]]}
        headers = {"X-API-Key": self.keys[case.role]}
        if body is not None:
            headers["Content-Type"] = "application/json"
            body = json.dumps(body)
        target = PREFIX + quote(path) + "?" + urlencode(case.query)
        self.wire.request(case.method, target, body, headers)
        response = self.wire.getresponse()
        answer = Answer(response.status, json.loads(response.read()))
        self.seen[case.method, case.template, answer.status] += 1
        if (case.method, case.template) == ISSUE and answer.status == 200:
            self.command_ids = [answer.body["data"], *self.command_ids][:2]
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
    with ems.client(None) as client:
        document = client.get(f"{ems.root}/openapi.json").json()
    calls = {
        (method.upper(), path.removeprefix(PREFIX)): call
        for path, methods in document["paths"].items()
        if path.startswith(PREFIX) and not path.endswith("/events")
        for method, call in methods.items()
    }
    keys = {"operator": ems.operator_key, "box": box, "nobody": "wrong"}
    wire = HTTPConnection(ems.root.removeprefix("http://"), timeout=20)
    yield Target(Shapes(document), calls, keys, wire)
    wire.close()
    assert ems.stop() == 0
    assert ems.log().count("\n") == 1, ems.log()


SIZE = settings(
    max_examples=CASES,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@SIZE
@given(data=st.data())
def test_only_documented_answers(target: Target, data: st.DataObject) -> None:
    """800 requests: no 5xx, no undocumented status, no answer of another shape."""
    look(target, data)


@pytest.mark.proof
@settings(SIZE, max_examples=ALL_CASES)
@given(data=st.data())
def test_only_documented_answers_at_length(target: Target, data: st.DataObject) -> None:
    """5,000 requests."""
    look(target, data)


def look(target: Target, data: st.DataObject) -> None:
    """Send one request and hold its answer against the document."""
    case = data.draw(target.cases)
    began_s = time.monotonic()
    answer = target.send(case)
    assert answer.status < 500, (case, answer)
    described = target.calls[case.method, case.template]["responses"].get(str(answer.status))
    assert described is not None, (case, answer)
    schema = described["content"]["application/json"]["schema"]
    assert target.shapes.mistakes(answer.body, schema) == [], (case, answer)
    if case.template != "/test-apikey" and answer.status != 401:
        assert (answer.body["code"] == 0) is (answer.status == 200), (case, answer)
    assert (answer.status == 401) is (case.role == "nobody"), (case, answer)
    assert time.monotonic() - began_s < 5, case


@pytest.mark.proof
def test_the_cases_reached_every_call(target: Target) -> None:
    """The run before was no sham: each call was answered with success and with a refusal."""
    for call in target.calls:
        statuses = {status for (*name, status) in target.seen if tuple(name) == call}
        assert 200 in statuses, (call, statuses)
        assert statuses - {200}, call
    assert target.seen[*ISSUE, 428] > 0
