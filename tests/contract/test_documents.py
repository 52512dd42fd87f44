"""The interface describes itself: OpenAPI, the page without outside resources, health, counters."""

import re
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from ems import answer_models as shapes
from ems import fleet_models
from tests.contract.conftest import Box, Ems
from tests.contract.test_device_channel import issue

ROUTES = {
    "/bms-control": {"get", "post"},
    "/bms-control/sync": {"put"},
    "/bms-control/details": {"get"},
    "/bms-control/pending": {"get"},
    "/bms-control/result": {"post"},
    "/bms-control/reports": {"post"},
    "/bms-control/commands": {"get"},
    "/bms-control/commands/{command_id}": {"get"},
    "/bms-control/commands/{command_id}/cancel": {"post"},
    "/device": {"get"},
    "/reports": {"get"},
    "/fleet": {"get"},
    "/bms-control/journal-heads": {"get"},
    "/events": {"get"},
    "/test-apikey": {"get"},
}


def document(ems: Ems) -> dict[str, Any]:
    """Fetch the OpenAPI document."""
    found = httpx.get(f"{ems.root}/openapi.json", trust_env=False).json()
    assert isinstance(found, dict)
    return found


def test_openapi_lists_every_call(ems: Ems) -> None:
    """Each call is there with its key and its error answers, and no answer that we never give."""
    paths = document(ems)["paths"]
    ours = {path: calls for path, calls in paths.items() if path.startswith("/wad/")}
    assert {
        path.removeprefix("/wad/ems/v1/api"): set(calls) for path, calls in ours.items()
    } == ROUTES
    for calls in ours.values():
        for call in calls.values():
            assert {"200", "401", "503"} <= set(call["responses"])
            assert call["security"] == [{"APIKeyHeader": []}]
            assert "HTTPValidationError" not in str(call)


def test_openapi_references_lead_somewhere(ems: Ems) -> None:
    """No reference in the document is broken, and the bodies show their limits."""
    found = document(ems)
    schemas = found["components"]["schemas"]
    for name in re.findall(r"#/components/schemas/([A-Za-z0-9_-]+)", str(found)):
        assert name in schemas
    issue_body = schemas["IssueBody"]
    assert issue_body["additionalProperties"] is False
    assert issue_body["required"] == ["device_uid", "command"]
    assert issue_body["properties"]["command"]["maximum"] == 3


def test_real_answers_have_the_documented_shape(operator: httpx.Client, box: Box) -> None:
    """What the document promises is what comes, field for field."""
    query = {"device_uid": box.uid}
    alarm = {"key": "k", "level": 1, "label_zh": "a", "label_en": "a"}
    put = box.report(
        1, alarms=[alarm], telemetry={"soc": 1}, box={"journal_head": {"seq": 1, "hash": "0a"}}
    )
    command_id = issue(operator, box, 1)
    pending = box.http.get("/bms-control/pending", params=query)
    report = {"sequence": 1, "kind": "k", "body": {"x": [1]}}
    cases: list[tuple[type[BaseModel], httpx.Response]] = [
        (shapes.SyncAnswer, put),
        (shapes.StatusAnswer, operator.get("/bms-control", params=query)),
        (shapes.DetailsAnswer, operator.get("/bms-control/details", params=query)),
        (shapes.PendingAnswer, pending),
        (shapes.ResultAnswer, box.tell(command_id, "gated", evidence={"a": 1})),
        (shapes.CommandAnswer, operator.post(f"/bms-control/commands/{command_id}/cancel")),
        (shapes.CommandLifeAnswer, operator.get(f"/bms-control/commands/{command_id}")),
        (shapes.CommandPageAnswer, operator.get("/bms-control/commands", params=query)),
        (
            shapes.ReportsAnswer,
            box.http.post("/bms-control/reports", json=query | {"reports": [report]}),
        ),
        (shapes.ReportPageAnswer, operator.get("/reports", params=query)),
        (shapes.DevicePageAnswer, operator.get("/device")),
        (fleet_models.FleetPageAnswer, operator.get("/fleet")),
        (
            fleet_models.HeadPageAnswer,
            operator.get("/bms-control/journal-heads", params=query),
        ),
        (shapes.TestKeyAnswer, operator.get("/test-apikey")),
        (shapes.ErrorAnswer, operator.get("/bms-control")),
    ]
    for model, answer in cases:
        model.model_validate(answer.json(), strict=True, extra="forbid")


def test_the_page_needs_nothing_from_outside(ems: Ems) -> None:
    """A closed site network shows it: no address of another host, and a policy that forbids any."""
    answer = httpx.get(f"{ems.root}/docs", trust_env=False)
    assert answer.status_code == 200
    assert "//" not in re.sub(r"\s//[^\n]*", "", answer.text).replace("</", "")
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; connect-src 'self'")
    assert "script-src 'sha256-" in policy


def test_health_and_counters(ems: Ems, operator: httpx.Client, box: Box) -> None:
    """Health needs no key; counters grow and name neither device nor key."""
    for path in ("/healthz", "/readyz"):
        answer = httpx.get(ems.root + path, trust_env=False)
        assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
    issue(operator, box)
    text = httpx.get(f"{ems.root}/metrics", trust_env=False).text
    assert 'ems_http_requests_total{method="POST",route="' in text
    assert "ems_command_events_total{" in text
    assert box.uid not in text


_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
_NAMES = st.sampled_from(
    [
        "device_uid",
        "command",
        "expires_in_ms",
        "reason",
        "id",
        "version",
        "state",
        "evidence",
        "at",
        "reports",
        "operating_status",
        "alarm_status",
        "disconnected",
        "sequence",
        "age_ms",
        "alarms",
        "telemetry",
        "box",
    ]
)
_FUZZ = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@_FUZZ
@given(
    body=st.dictionaries(_NAMES | st.text(), _VALUES, max_size=8),
    path=st.sampled_from(["", "/result", "/reports", "/sync"]),
)
def test_no_object_makes_the_server_fail(
    operator: httpx.Client, box: Box, body: dict[str, object], path: str
) -> None:
    """Any JSON object gets 200 or a refusal in the envelope, never 5xx."""
    client = box.http if path else operator
    method = "PUT" if path == "/sync" else "POST"
    query = {"device_uid": box.uid} if path == "/sync" else {}
    answer = client.request(method, f"/bms-control{path}", json=body, params=query)
    check_envelope(answer)


@_FUZZ
@given(raw=st.binary(max_size=200), path=st.sampled_from(["", "/result", "/reports"]))
def test_no_bytes_make_the_server_fail(
    operator: httpx.Client, box: Box, raw: bytes, path: str
) -> None:
    """Any bytes are refused in the envelope, never 5xx."""
    client = box.http if path else operator
    headers = {"Content-Type": "application/json"}
    answer = client.post(f"/bms-control{path}", content=raw, headers=headers)
    check_envelope(answer)
    assert answer.status_code == 400


@_FUZZ
@given(uid=st.text(max_size=70), wait=st.text(max_size=5))
def test_no_query_makes_the_server_fail(
    operator: httpx.Client, box: Box, uid: str, wait: str
) -> None:
    """Any text in the query is refused in the envelope, never 5xx."""
    check_envelope(operator.get("/bms-control", params={"device_uid": uid}))
    if wait not in {"1", "2", "3"} and not wait.strip().isdecimal():
        answer = box.http.get("/bms-control/pending", params={"device_uid": uid, "wait": wait})
        check_envelope(answer)


def check_envelope(answer: httpx.Response) -> None:
    """Check that an answer is ours."""
    assert answer.status_code in {200, 400, 409, 422, 429}, answer.text
    assert {"code", "message", "data"} == set(answer.json())
    assert (answer.json()["code"] == 0) is (answer.status_code == 200)


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PATCH", "DELETE", "TRACE"])
def test_other_methods_are_refused(operator: httpx.Client, method: str) -> None:
    """A method that the call does not have is 405 and changes nothing."""
    assert operator.request(method, "/bms-control/result").status_code == 405
