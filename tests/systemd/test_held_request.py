"""The service with a battery that is closed only while that is asked for: killed, and stopped."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.socketcan.nodes import VcanNode, clock_s
from tests.systemd.box import CLOSE, CONFIG, Box

LONGEST_STOP_S = 8.0  # each thread has 4 s
FOXBMS = Path(__file__).parents[2] / "dbc" / "foxbms2.toml"
REQUEST_ID = 0x210
STANDBY, NORMAL = 0, 1
SET_UP = f"""\
cp {CONFIG} /run/agent.toml
sed -i -e 's/^profile = .*/profile = "foxbms2"/' -e 's/^channel = .*/channel = "vcan0"/' {CONFIG}
sed -i -e 's/^#override = .*/override = "test"/' -e 's/^#steady_s = .*/steady_s = 1/' {CONFIG}
sed -i -e 's/^#close_interval_s = .*/close_interval_s = 0/' {CONFIG}
ip link add dev vcan0 type vcan && ip link set vcan0 up
systemctl restart bms-agent
"""


class Held:
    """The box with a foxBMS 2 on vcan0, which takes what the service sends."""

    def __init__(self, box: Box, node: VcanNode) -> None:
        self.box = box
        self._node = node

    def requests(self, since_s: float = 0.0) -> list[int]:
        """Return the modes asked for on the bus since a time [s]."""
        return [frame.data[0] & 3 for at_s, frame in list(self._node.sent) if at_s > since_s]

    def await_requests(self, since_s: float, modes: list[int]) -> None:
        """Wait until the newest requests are these."""
        end_s = time.monotonic() + 10.0
        while self.requests(since_s)[-len(modes) :] != modes:
            assert time.monotonic() < end_s, (self.requests(), self.box.log())
            time.sleep(0.05)

    def close(self) -> None:
        """Close; wait until the request for it is on the bus."""
        step = self.box.command_begun(CLOSE)
        assert step["state"] in {"sent", "succeeded"}, step
        self.await_requests(0.0, [NORMAL] * 3)


@pytest.fixture(scope="module")
def held(box: Box) -> Iterator[Held]:
    """Let the service command a foxBMS 2; afterwards the battery of the others again."""
    box.types(SET_UP)
    node = VcanNode(FOXBMS, (REQUEST_ID, False))
    box.report(time.monotonic())
    yield Held(box, node)
    began_s = time.monotonic()
    box.types(f"cp /run/agent.toml {CONFIG}; systemctl restart bms-agent")
    node.stop()
    box.types("ip link del vcan0")
    box.report(began_s)


def test_killed_while_closed_it_comes_again_and_does_not_close(held: Held) -> None:
    """Restart=always; what it asks for after the restart is rest, whatever was before."""
    held.close()
    before = held.box.show()
    held.box.types("systemctl kill --signal KILL --kill-whom main bms-agent")
    killed_s, after_s = clock_s(), time.monotonic()
    held.box.report(after_s)
    after = held.box.show()
    assert int(after["NRestarts"]) == int(before["NRestarts"]) + 1
    assert after["MainPID"] != before["MainPID"]
    held.await_requests(killed_s, [STANDBY] * 3)
    assert set(held.requests(killed_s)) == {STANDBY}


def test_stopped_while_closed_its_last_words_are_rest(held: Held) -> None:
    """Three frames that ask for open, then silence, well within TimeoutStopSec; exit status 0."""
    held.close()
    began_s = time.monotonic()
    held.box.types("systemctl stop bms-agent")
    took_s, ended_s = time.monotonic() - began_s, clock_s()
    assert held.requests()[-4:] == [NORMAL, STANDBY, STANDBY, STANDBY]
    found = held.box.show()
    ended = (found["ActiveState"], found["Result"], found["ExecMainStatus"])
    assert ended == ("inactive", "success", "0")
    assert took_s < LONGEST_STOP_S
    time.sleep(0.5)
    assert held.requests(ended_s) == []
