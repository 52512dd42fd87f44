"""Two steps to a close, as a client sees them; the other calls as they always were."""

import httpx
import pytest

from ems import answer_models as shapes
from tests.contract.conftest import Box, Ems


@pytest.fixture
def armed_box(ems: Ems, box: Box) -> Box:
    """Give a device whose close needs two steps, switched while the platform runs."""
    with ems.registry() as registry:
        registry.set_two_step(box.uid, on=True)
    return box


def test_the_first_step_is_no_success(operator: httpx.Client, armed_box: Box) -> None:
    """A client that knows nothing of it sees neither 200 nor code 0; the device gets nothing."""
    body = {"device_uid": armed_box.uid, "command": 2}
    answer = operator.post("/bms-control", json=body)
    assert answer.status_code == 428
    shapes.ArmedAnswer.model_validate(answer.json(), strict=True, extra="forbid")
    assert "未下发" in answer.json()["message"]
    assert "nothing was sent" in answer.json()["message"]
    assert armed_box.poll()["commands"] == []
    query = {"device_uid": armed_box.uid}
    details = operator.get("/bms-control/details", params=query).json()["data"]
    assert (details["two_step"], details["armed"]["by"]) == (True, "operator-key")


def test_the_second_step_is_the_documented_success(operator: httpx.Client, armed_box: Box) -> None:
    """The same body again: 200, code 0, an id; one command for the device."""
    body = {"device_uid": armed_box.uid, "command": 2}
    operator.post("/bms-control", json=body)
    answer = operator.post("/bms-control", json=body)
    assert (answer.status_code, answer.json()["code"]) == (200, 0)
    (command,) = armed_box.poll()["commands"]
    assert (command["id"], command["command"]) == (answer.json()["data"], 2)


def test_another_key_does_not_confirm(ems: Ems, operator: httpx.Client, armed_box: Box) -> None:
    """The same body by another operator is a first step of his own."""
    body = {"device_uid": armed_box.uid, "command": 2}
    arm_id = operator.post("/bms-control", json=body).json()["data"]["arm_id"]
    with ems.client(ems.new_operator()) as colleague:
        assert colleague.post("/bms-control", json=body).status_code == 428
    late = operator.post("/bms-control", json=body | {"arm_id": arm_id})
    assert (late.status_code, late.json()["code"]) == (409, 100001)
    assert armed_box.poll()["commands"] == []


def test_open_and_reset_need_one_step(operator: httpx.Client, armed_box: Box) -> None:
    """The safe direction is never slowed down."""
    for command in (3, 1):
        body = {"device_uid": armed_box.uid, "command": command}
        assert operator.post("/bms-control", json=body).status_code == 200
    assert [item["command"] for item in armed_box.poll()["commands"]] == [3, 1]
