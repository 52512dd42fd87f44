"""The wire: strict on the way in, honest on the way out."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import CloudNonsense
from agent.payload import (
    Pending,
    PendingCommand,
    Report,
    read_accepted_through,
    read_envelope,
    read_pending,
    read_sync,
    reports_body,
    result_body,
    rfc3339,
    sync_body,
)
from agent.strict_json import canonical
from bms_can.alarms import LOST, ActiveAlarm
from bms_can.commands import CommandState, Reason
from bms_can.profile import CommandCode, OperatingStatus
from bms_can.status import BmsStatus, Contactor

GOOD = {
    "id": "0b7e-4",
    "command": 2,
    "expires_in_ms": 9500,
    "issued_by": "operator:7",
    "version": 3,
    "cancel_requested": False,
}
HOT = ActiveAlarm("cell_hot", 2, "单体高温", "Cell hot", blocks_close=True)
NOW = datetime(2026, 1, 2, 3, 4, 5, 678_900, tzinfo=UTC)


def pending(*commands: object, **more: object) -> Pending:
    """Read an answer with these commands, asked for at 100 s."""
    return read_pending({"poll_after_ms": 1500, "commands": list(commands), **more}, 100.0)


def test_a_good_answer() -> None:
    """Milliseconds become seconds; the request's start goes along."""
    found = pending(GOOD, sync_requested=True)
    command = PendingCommand(
        "0b7e-4", CommandCode.CLOSE_CONTACTOR, 9.5, "operator:7", 3, cancel_requested=False
    )
    assert found == (100.0, 1.5, True, (command,), ())


def test_the_deadline_counts_from_the_request() -> None:
    """Time on the network shortens the life; the cap holds."""
    (item,) = pending(GOOD).commands
    command = item.to_command("BAT", 100.0, "boot-1")
    assert command.deadline_s == 109.5
    assert (command.id, command.device_uid, command.version) == ("0b7e-4", "BAT", 3)
    (long,) = pending(GOOD | {"expires_in_ms": 600_000}).commands
    assert long.to_command("BAT", 100.0, "boot-1").deadline_s == 130.0


def without(key: str) -> dict[str, object]:
    """Return the good command without a key."""
    return {name: value for name, value in GOOD.items() if name != key}


@pytest.mark.parametrize(
    ("item", "identity", "why"),
    [
        (None, "", "is no object"),
        ([], "", "is no object"),
        (without("id"), "", "id is missing"),
        (GOOD | {"id": 7}, "", "id is missing or malformed"),
        (GOOD | {"id": ""}, "", "id is missing or malformed"),
        (GOOD | {"id": "a b"}, "", "id is missing or malformed"),
        (GOOD | {"id": "x" * 65}, "", "id is missing or malformed"),
        (GOOD | {"id": "a\n"}, "", "id is missing or malformed"),
        (without("version"), "0b7e-4", "version"),
        (GOOD | {"version": "3"}, "0b7e-4", "version"),
        (GOOD | {"version": True}, "0b7e-4", "version"),
        (GOOD | {"version": -1}, "0b7e-4", "version"),
        (without("command"), "0b7e-4", "command is not"),
        (GOOD | {"command": 0}, "0b7e-4", "command is not"),
        (GOOD | {"command": 4}, "0b7e-4", "command is not"),
        (GOOD | {"command": "2"}, "0b7e-4", "command is not"),
        (GOOD | {"command": True}, "0b7e-4", "command is not"),
        (GOOD | {"command": 1.0}, "0b7e-4", "command is not"),
        (without("expires_in_ms"), "0b7e-4", "expires_in_ms"),
        (GOOD | {"expires_in_ms": None}, "0b7e-4", "expires_in_ms"),
        (GOOD | {"expires_in_ms": -1}, "0b7e-4", "expires_in_ms"),
        (GOOD | {"expires_in_ms": 1.5}, "0b7e-4", "expires_in_ms"),
        (GOOD | {"expires_in_ms": True}, "0b7e-4", "expires_in_ms"),
        (GOOD | {"expires_in_ms": 10**15}, "0b7e-4", "expires_in_ms"),
        (GOOD | {"issued_by": 7}, "0b7e-4", "issued_by"),
        (GOOD | {"issued_by": "x" * 300}, "0b7e-4", "issued_by"),
        (GOOD | {"cancel_requested": 0}, "0b7e-4", "cancel_requested"),
    ],
)
def test_a_bad_command_is_refused_alone(item: object, identity: str, why: str) -> None:
    """It is reported with what can be read of it; its neighbours live."""
    other = GOOD | {"id": "other"}
    found = pending(item, other)
    assert [command.id for command in found.commands] == ["other"]
    (refused,) = found.refused
    assert refused.id == identity
    assert why in refused.why


def test_an_id_twice() -> None:
    """The first one counts, the second is refused."""
    found = pending(GOOD, GOOD | {"command": 3})
    assert [command.code for command in found.commands] == [CommandCode.CLOSE_CONTACTOR]
    assert "twice" in found.refused[0].why


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        {},
        {"commands": {}},
        {"commands": [], "poll_after_ms": -1},
        {"commands": [], "poll_after_ms": "0"},
        {"commands": [], "poll_after_ms": True},
        {"commands": [], "sync_requested": 1},
    ],
)
def test_an_answer_that_is_not_as_agreed(data: object) -> None:
    """A malformed answer as a whole is not the platform's."""
    with pytest.raises(CloudNonsense):
        read_pending(data, 0.0)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*GOOD, "commands", "x"]), inner, max_size=6)
    ),
)


@given(JSON)
def test_any_answer(data: object) -> None:
    """Whatever stands there: a value, refused items or one error."""
    for wrapped in (data, {"commands": data}, {"commands": [data]}):
        try:
            found = read_pending(wrapped, 0.0)
        except CloudNonsense:
            continue
        assert all(isinstance(command.code, CommandCode) for command in found.commands)


@pytest.mark.parametrize(
    "body", [b"{}", b"[]", b"null", b'{"message":1}', b'{"code":"0","message":""}']
)
def test_no_envelope(body: bytes) -> None:
    """Code and message must have their types."""
    with pytest.raises(CloudNonsense):
        read_envelope(body)


def test_envelope() -> None:
    """Code may be missing, as in the answer about the key."""
    assert read_envelope(b'{"message":"ok"}') == (None, "ok", None)
    assert read_envelope(b'{"code":1,"message":"m","data":"d"}') == (1, "m", "d")


def test_acknowledgements() -> None:
    """Numbers are taken when they are numbers; a foreign device is not."""
    assert read_sync({"device_uid": "BAT", "sequence": 9}, "BAT").sequence == 9
    assert read_sync({"device_uid": "BAT"}, "BAT").sequence is None
    assert read_sync({"device_uid": "BAT", "sequence": "9"}, "BAT").sequence is None
    for data in (None, {}, {"device_uid": "OTHER"}):
        with pytest.raises(CloudNonsense):
            read_sync(data, "BAT")
    assert read_accepted_through({"accepted_through": 5}) == 5
    assert read_accepted_through({"accepted_through": None}) is None
    assert read_accepted_through("x") is None


def status(**changes: object) -> BmsStatus:
    """Return a charging battery with one alarm."""
    values: dict[str, object] = {
        "operating": OperatingStatus.CHARGING,
        "alarms": (HOT,),
        "alarm_count": 1,
        "disconnected": False,
        "contactor": Contactor.CLOSED,
        "current_a": 12.5,
        "age_s": 0.1234,
        "why": "",
    }
    return BmsStatus(**(values | changes))  # type: ignore[arg-type]


def body(bms: BmsStatus, telemetry: Mapping[str, float | None] | None = None) -> dict[str, object]:
    """Return the sync body of a status."""
    since = {"cell_hot": NOW}
    return sync_body(bms, 42, since=since, telemetry=telemetry or {}, box={"version": "1"})


def test_sync_body() -> None:
    """Every field as agreed; floats rounded, unknown is null."""
    found = body(status(), {"soc": 55.123456789, "soh": None, "cells": [3.3000000001, None]})  # type: ignore[dict-item]
    assert found == {
        "operating_status": 3,
        "alarm_status": 1,
        "disconnected": 0,
        "sequence": 42,
        "age_ms": 123,
        "alarms": [
            {
                "key": "cell_hot",
                "level": 2,
                "label_zh": "单体高温",
                "label_en": "Cell hot",
                "since": "2026-01-02T03:04:05.678Z",
            }
        ],
        "telemetry": {"soc": 55.123457, "soh": None, "cells": [3.3, None]},
        "box": {"version": "1"},
    }
    assert json.loads(canonical(found)) == found


def test_silence_is_never_a_status() -> None:
    """Disconnected carries no operating status, even if somebody left one in."""
    lost = status(disconnected=True, alarms=(LOST,), age_s=None)
    found = body(lost)
    assert (found["operating_status"], found["disconnected"], found["age_ms"]) == (None, 1, None)
    assert found["alarms"][0]["since"] is None  # type: ignore[index]


def test_unknown_is_null() -> None:
    """Unknown status and unknown number of alarms are null, not 0."""
    found = body(status(operating=None, alarm_count=None, alarms=()))
    assert (found["operating_status"], found["alarm_status"]) == (None, None)
    assert found["disconnected"] == 0


def test_result_body() -> None:
    """State and reason go out as words."""
    found = result_body(
        device_uid="BAT",
        command_id="c",
        version=2,
        state=CommandState.TIMED_OUT,
        reason=Reason.NO_EFFECT,
        detail="",
        evidence={"value": float("nan")},
        at="2026-01-02T03:04:05.000Z",
    )
    assert found["state"] == "timed_out"
    assert found["reason"] == "no-effect"
    assert found["evidence"] == {"value": None}
    assert json.loads(canonical(found)) == found


def test_reports_body() -> None:
    """Reports keep number, kind and time."""
    found = reports_body("BAT", [Report(5, "alarm", "2026-01-02T03:04:05.000Z", {"key": "x"})])
    report = {"sequence": 5, "kind": "alarm", "at": "2026-01-02T03:04:05.000Z"}
    assert found == {"device_uid": "BAT", "reports": [report | {"body": {"key": "x"}}]}


def test_times() -> None:
    """Any zone becomes UTC with Z; a time without a zone is a bug."""
    east = datetime(2026, 1, 2, 11, 0, tzinfo=timezone(timedelta(hours=8)))
    assert rfc3339(east) == "2026-01-02T03:00:00.000Z"
    with pytest.raises(ValueError, match="without a zone"):
        rfc3339(datetime(2026, 1, 2))  # noqa: DTZ001 - this is the mistake
