"""Bodies: strict types, and the field is named when one is wrong."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ems.errors import BadParameter
from ems.payloads import Body, IssueBody, ReportsBody, ResultBody, SyncBody, read_model

GOOD_STATUS = {
    "operating_status": 2,
    "alarm_status": 1,
    "disconnected": 0,
    "sequence": 5,
    "age_ms": 40,
    "alarms": [
        {
            "key": "x",
            "level": 3,
            "label_zh": "告警",
            "label_en": "alarm",
            "since": "2026-01-01T00:00:00Z",
        }
    ],
    "telemetry": {"soc": 50, "cell_voltage": [3.3, None, 3], "mode": "auto", "soh": None},
    "box": {"version": "1", "lockout": False, "deep": {"a": [1, 2.5, None]}},
}
GOOD_RESULT = {"device_uid": "A", "id": "x", "version": 1, "state": "accepted"}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"operating_status": 0}, "operating_status"),
        ({"operating_status": 5}, "operating_status"),
        ({"operating_status": True}, "operating_status"),
        ({"operating_status": 1.0}, "operating_status"),
        ({"operating_status": "1"}, "operating_status"),
        ({"disconnected": 1}, "operating_status"),
        ({"disconnected": True}, "disconnected"),
        ({"disconnected": 2}, "disconnected"),
        ({"alarm_status": -1}, "alarm_status"),
        ({"alarm_status": 1.5}, "alarm_status"),
        ({"sequence": None}, "sequence"),
        ({"sequence": 2**63}, "sequence"),
        ({"age_ms": -1}, "age_ms"),
        ({"age_ms": 10**18}, "age_ms"),
        ({"alarms": [{"key": "x"}]}, "alarms.0.level"),
        ({"telemetry": {"a": True}}, "telemetry.a"),
        ({"telemetry": {"a": {}}}, "telemetry.a"),
        ({"telemetry": {"": 1}}, "telemetry"),
        ({"telemetry": []}, "telemetry"),
        ({"box": {"a": "x" * 9000}}, "box"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_status_names_the_wrong_field(change: dict[str, Any], field: str) -> None:
    """A wrong field in a status report is refused by name."""
    with pytest.raises(BadParameter) as caught:
        read_model(SyncBody, json.dumps(GOOD_STATUS | change).encode())
    assert str(caught.value.data).startswith(field)


def test_good_bodies_are_read() -> None:
    """The full forms are accepted, and what is not given is None."""
    status = read_model(SyncBody, json.dumps(GOOD_STATUS).encode())
    assert status.telemetry == GOOD_STATUS["telemetry"]
    silent = {"alarm_status": None, "disconnected": 1, "sequence": 0, "age_ms": None}
    assert read_model(SyncBody, json.dumps(silent).encode()).operating_status is None
    assert read_model(ResultBody, json.dumps(GOOD_RESULT).encode()).evidence is None


@pytest.mark.parametrize(
    "time",
    ["2026-01-01T00:00:00Z", "2026-01-01T00:00:00.123456789+08:00", "2026-12-31t23:59:59.5z"],
)
def test_rfc3339_times_are_accepted(time: str) -> None:
    """A time with a zone is kept as it was written."""
    assert read_model(ResultBody, json.dumps(GOOD_RESULT | {"at": time}).encode()).at == time


@pytest.mark.parametrize(
    "time",
    [
        "",
        "now",
        "2026-01-01",
        "2026-01-01T00:00:00",
        "2026-13-01T00:00:00Z",
        "2026-01-01T25:00:00Z",
        5,
    ],
)
def test_other_times_are_refused(time: object) -> None:
    """A time without a zone, or none at all, is refused by name."""
    with pytest.raises(BadParameter, match="at:"):
        read_model(ResultBody, json.dumps(GOOD_RESULT | {"at": time}).encode())


@pytest.mark.parametrize("raw", [b"[]", b"1", b"null", b'"x"'])
def test_a_body_is_an_object(raw: bytes) -> None:
    """JSON other than an object is refused."""
    with pytest.raises(BadParameter, match="not a JSON object"):
        read_model(IssueBody, raw)


_ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)
_FIELDS = st.sampled_from(
    sorted({n for m in (IssueBody, SyncBody, ResultBody, ReportsBody) for n in m.model_fields})
)


@given(
    st.sampled_from([IssueBody, SyncBody, ResultBody, ReportsBody]), st.dictionaries(_FIELDS, _ANY)
)
def test_any_object_is_read_or_refused(model: type[Body], value: dict[str, Any]) -> None:
    """No object raises anything but 100001 with a text that can be sent."""
    said = "nothing"
    try:
        read_model(model, json.dumps(value).encode())
    except BadParameter as error:
        said = str(error.data)
    assert said.encode()
