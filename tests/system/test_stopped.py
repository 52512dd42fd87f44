"""T03: a real agent is stopped (SIGSTOP) around a command; what is late never goes out."""

import signal
import time
from random import Random

import httpx
import pytest

from tests.system.plant import FINISHED, until
from tests.system.process import Box, status

LIFE_S = 10.0  # of a close at the platform


@pytest.mark.proof
@pytest.mark.parametrize("seed", range(3))
def test_a_stopped_agent_sends_nothing_late(box: Box, operator: httpx.Client, seed: int) -> None:
    """Stopped within the first 6 ms of a close, for longer than its life: it never goes out late.

    If the frame left before the stop, the battery closed at once and the command is proven.
    """
    battery, agent = box.simulate(), box.agent()
    until(lambda: status(box, operator)["operating_status"] == 1)
    time.sleep(0.5)  # the interlock steady_s of the quick profile, and a margin
    body = {"device_uid": box.uid, "command": 2}
    command_id = operator.post("/bms-control", json=body).json()["data"]
    time.sleep(Random(seed).uniform(0.0, 0.006))  # noqa: S311 - no secret
    agent.started.send_signal(signal.SIGSTOP)
    time.sleep(0.3)
    heard_before = battery.output.count("heard: {'command': 1")
    time.sleep(LIFE_S)
    agent.started.send_signal(signal.SIGCONT)
    path = f"/bms-control/commands/{command_id}"
    until(lambda: operator.get(path).json()["data"]["state"] in FINISHED, 20.0)
    time.sleep(1.0)
    record = operator.get(path).json()["data"]
    assert battery.output.count("heard: {'command': 1") == heard_before, battery.output
    assert record["state"] in (("held",) if heard_before else ("expired",)), record["events"]
    assert agent.end()[0] == 0
