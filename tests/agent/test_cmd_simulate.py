"""`bms-agent simulate`: faults by name, bus arguments, a battery that others hear."""

import threading

import can
import pytest

from agent.cli import main
from agent.options import bus_options
from bms_can.errors import BadInput
from bms_can.misbehaviour import NAMED, misbehaviour
from bms_can.profile_load import load_profile
from bms_can.shipped import profile_path

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def no_signal_handlers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave pytest's own handlers in place; some tests run the command in another thread."""
    monkeypatch.setattr("signal.signal", lambda *_: None)


def test_faults_can_be_listed(capsys: Capture) -> None:
    """One name a line; each is one that --fault takes."""
    assert main(["simulate", "--list"]) == 0
    names = capsys.readouterr().out.split()
    assert names == list(NAMED)
    assert all(misbehaviour([name]) for name in names)


def test_others_hear_the_battery(capsys: Capture) -> None:
    """On a virtual bus of this process: every cyclic message of the profile comes."""
    _, database = load_profile(profile_path("ess_bau"))
    words = ["simulate", "-i", "virtual", "-c", "cmd-simulate", "--seconds", "1.5"]
    codes: list[int] = []
    thread = threading.Thread(target=lambda: codes.append(main(words)))
    heard = set()
    with can.Bus("cmd-simulate", interface="virtual") as listener:
        thread.start()
        while thread.is_alive():
            message = listener.recv(0.1)
            if message is not None:
                heard.add(database.by_id[message.arbitration_id, message.is_extended_id].name)
    thread.join(5)
    assert codes == [0]
    assert {"BAU_State", "BAU_Electrical", "BAU_Alarms", "BAU_Faults"} <= heard
    said = capsys.readouterr().out.splitlines()
    assert said == ["simulating ess_bau on virtual cmd-simulate", "heard: {}"]


def test_a_bus_that_does_not_open_is_1(capsys: Capture) -> None:
    """The interface, the channel and python-can's words; no waiting for --seconds."""
    assert main(["simulate", "-i", "socketcan", "-c", "nocan9", "--seconds", "600"]) == 1
    assert capsys.readouterr().err.startswith("bms-agent simulate: socketcan nocan9: ")


def test_arguments_for_the_bus() -> None:
    """Integers and booleans become such, everything else stays text; nothing is guessed."""
    found = bus_options(["port=43200", "hop_limit=-1", "check=true", "echo=false", "tty=/dev/x=1"])
    assert found == {
        "port": 43200,
        "hop_limit": -1,
        "check": True,
        "echo": False,
        "tty": "/dev/x=1",
    }
    with pytest.raises(BadInput, match="NAME=VALUE") as refused:
        bus_options(["port", "x=1", "y"])
    assert len(refused.value.mistakes) == 2
    with pytest.raises(BadInput, match="has an option of its own"):
        bus_options(["channel=can0"])


@pytest.mark.parametrize("fault", ["nope", "slow=fast", "reverts=-1"])
def test_a_wrong_fault_is_78(fault: str, capsys: Capture) -> None:
    """Refused with the names there are, or with what is wrong in it, before a bus is opened."""
    assert main(["simulate", "-i", "virtual", "-c", "x", "--fault", fault]) == 78
    assert capsys.readouterr().err.startswith("--fault: ")
