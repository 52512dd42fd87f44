"""A held request as real processes: stopped, killed and ended while closed, before a witness."""

import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

import can
import httpx
import pytest

from tests.ems_process import Ems
from tests.system.plant import FINISHED, ROOT, until, write_config
from tests.system.process import GROUP, Box, Process, new_box, status

REQUEST_ID = 0x210
QUICK = {
    "steady_s = 3\n": "steady_s = 0.3\nclose_interval_s = 0.1\n",
    "precharge_s = 1.0": "precharge_s = 0.1",
    "hold_s = 5": "hold_s = 0.4",
}


class Witness:
    """Notes the requests on the bus: time [s] and mode."""

    def __init__(self, port: int) -> None:
        self.frames: list[tuple[float, int]] = []
        self._bus = can.Bus(GROUP, interface="udp_multicast", port=port)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.is_set():
            message = self._bus.recv(0.05)
            if message is not None and message.arbitration_id == REQUEST_ID:
                self.frames.append((time.monotonic(), message.data[0] & 3))

    def closed(self, after_s: float) -> list[float]:
        """Return when closed was asked for since then."""
        return [at_s for at_s, mode in list(self.frames) if at_s > after_s and mode == 1]

    def rest(self, after_s: float) -> list[float]:
        """Return when rest was asked for since then."""
        return [at_s for at_s, mode in list(self.frames) if at_s > after_s and mode == 0]

    def close(self) -> None:
        """Stop."""
        self._stop.set()
        self._thread.join()
        self._bus.shutdown()


@pytest.fixture
def held_box(tmp_path: Path, ems: Ems) -> Iterator[Box]:
    """Give a box with a foxBMS 2."""
    with new_box(tmp_path, ems) as box:
        text = (ROOT / "dbc" / "foxbms2.toml").read_text(encoding="utf-8")
        for old, new in QUICK.items():
            assert old in text, old
            text = text.replace(old, new)
        (tmp_path / "foxbms2.toml").write_text(text, encoding="utf-8")
        (tmp_path / "foxbms2.dbc").write_bytes((ROOT / "dbc" / "foxbms2.dbc").read_bytes())
        words = {"interface": "udp_multicast", "channel": GROUP, "options": f"port = {box.port}"}
        write_config(tmp_path, ems, box.uid, box.key, profile="foxbms2.toml", **words)
        yield box


@pytest.fixture
def witness(held_box: Box) -> Iterator[Witness]:
    """Give an eyewitness."""
    found = Witness(held_box.port)
    yield found
    found.close()


@pytest.fixture
def held_operator(held_box: Box) -> Iterator[httpx.Client]:
    """Give an operator."""
    with held_box.ems.client(held_box.ems.new_operator(held_box.uid)) as client:
        yield client


def battery(box: Box) -> Process:
    """Start the simulated battery."""
    profile = str(box.folder / "foxbms2.toml")
    process = box.run("simulate", "-o", f"port={box.port}", "--profile", profile)
    process.says("simulating ")
    return process


def send(box: Box, operator: httpx.Client, command: int) -> str:
    """Give a command at the platform."""
    answer = operator.post("/bms-control", json={"device_uid": box.uid, "command": command})
    assert answer.json()["code"] == 0, answer.text
    return str(answer.json()["data"])


def reached(operator: httpx.Client, identity: str, *states: str, seconds: float = 20.0) -> str:
    """Wait until the platform has a command in one of these states."""
    path = f"/bms-control/commands/{identity}"
    return str(
        until(
            lambda: (s := operator.get(path).json()["data"]["state"]) in (states or FINISHED) and s,
            seconds,
        )
    )


def begun(box: Box, operator: httpx.Client) -> str:
    """Give a close; again while the battery is not ready, as on a busy machine; return it."""
    until(lambda: status(box, operator)["operating_status"] == 1, 20.0)
    time.sleep(2.0)
    identity = send(box, operator, 2)
    while reached(operator, identity, "sending", "sent", *FINISHED) == "rejected":
        time.sleep(0.5)
        identity = send(box, operator, 2)
    return identity


def hold(box: Box, operator: httpx.Client) -> str:
    """Close; return the command."""
    identity = begun(box, operator)
    assert reached(operator, identity) == "held", events(operator, identity)
    return identity


def events(operator: httpx.Client, identity: str) -> str:
    """Return what became of a command."""
    found = operator.get(f"/bms-control/commands/{identity}").json()["data"]["events"]
    return "\n".join(f"{e['state']} {e.get('reason')} {e.get('detail')}" for e in found)


@pytest.mark.proof
@pytest.mark.parametrize("stopped_s", [0.15, 0.4, 2.0])
def test_stopped_while_closed(
    held_box: Box, held_operator: httpx.Client, witness: Witness, stopped_s: float
) -> None:
    """SIGSTOP: a gap above three periods ends the hold, at once and for good."""
    battery(held_box)
    agent = held_box.agent()
    hold(held_box, held_operator)
    agent.started.send_signal(signal.SIGSTOP)
    time.sleep(stopped_s)
    on_s = time.monotonic()
    agent.started.send_signal(signal.SIGCONT)
    time.sleep(3.0)
    closed = witness.closed(on_s)
    if stopped_s < 0.3:
        assert len(closed) > 20
    else:
        assert len(closed) <= 1, closed
        until(lambda: status(held_box, held_operator)["operating_status"] == 1)
    assert agent.end()[0] == 0


@pytest.mark.proof
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_ended_while_closed_and_started_at_once(
    held_box: Box, held_operator: httpx.Client, witness: Witness, how: signal.Signals
) -> None:
    """Not one closed frame of the next process."""
    battery(held_box)
    agent = held_box.agent()
    hold(held_box, held_operator)
    end_s = time.monotonic()
    agent.end(how)
    if how == signal.SIGTERM:
        assert len(witness.rest(end_s)) >= 3
    gone_s = time.monotonic()
    again = held_box.agent()
    time.sleep(6.0)
    assert witness.closed(gone_s) == []
    assert len(witness.rest(gone_s)) > 10
    until(lambda: status(held_box, held_operator)["operating_status"] == 1)
    assert again.end()[0] == 0


@pytest.mark.proof
@pytest.mark.parametrize("seed", range(6))
def test_ended_in_the_middle_of_a_close(
    held_box: Box, held_operator: httpx.Client, witness: Witness, seed: int
) -> None:
    """SIGTERM somewhere in the first quarter second of a close: the last word is rest."""
    battery(held_box)
    agent = held_box.agent()
    began_s = time.monotonic()
    begun(held_box, held_operator)
    time.sleep(Random(seed).uniform(0.0, 0.15))  # noqa: S311 - no secret
    agent.end()
    time.sleep(0.1)
    closed = witness.closed(began_s)
    rest = witness.rest(max(closed, default=began_s))
    assert not closed or len(rest) >= 3, (closed, rest)
