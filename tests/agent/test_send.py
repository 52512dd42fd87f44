"""`bms-agent send`: what may go out by hand, and what never does."""

from dataclasses import replace
from itertools import product
from pathlib import Path

import can
import pytest

from agent import cmd_send
from agent.cli import main
from agent.clock import FakeClock
from agent.lock import only_one
from agent.send import Situation, is_virtual, missing, refusal
from bms_can.bus import BusSettings
from bms_can.frame import Frame
from bms_can.guard import GuardEntry
from bms_can.port import Port

Capture = pytest.CaptureFixture[str]
CONTROL = GuardEntry("close", 0x1811F4E5, extended=True, data=b"\1", mask=b"\xff", per_minute=9)
COMMAND = Frame(0.0, 0x1811F4E5, extended=True, data=b"\2" * 8)
OTHER = Frame(0.0, 0x100, extended=False, data=b"\2" * 8)
CLOSE = ["send", "EMS_Control", "high_voltage_command=close", "fault_reset=none"]
CLOSE += ["--profile", "ess_bau"]


def situation(frame: Frame = OTHER, *, virtual: bool = False) -> Situation:
    """Return a situation in which nobody has said anything yet."""
    return Situation(frame, virtual, [("BAT", [CONTROL])], commanding=())


def test_a_control_frame_never_goes_out_on_a_real_bus() -> None:
    """Whatever is said on the command line; not even its other payloads."""
    for yes, present, control in product((False, True), repeat=3):
        said = replace(situation(COMMAND), yes=yes, present=present, control=control)
        assert "BAT: issue a command at the platform" in refusal(said)


def test_nothing_goes_out_beside_an_agent_that_commands() -> None:
    """One master on a bus, a virtual one too."""
    for frame, virtual in product((COMMAND, OTHER), (False, True)):
        said = replace(situation(frame, virtual=virtual), commanding=["BAT"], yes=True)
        assert "one master" in refusal(said)


@pytest.mark.parametrize(
    ("frame", "virtual", "wanted"),
    [
        (OTHER, True, ["--yes"]),
        (OTHER, False, ["--yes", "--i-stand-at-the-battery"]),
        (COMMAND, True, ["--yes", "--control"]),
    ],
)
def test_what_a_person_must_say(frame: Frame, virtual: bool, wanted: list[str]) -> None:  # noqa: FBT001 - a parameter of the test
    """The more harm a frame can do, the more must be said; with all of it, it may go."""
    said = situation(frame, virtual=virtual)
    assert refusal(said) == ""
    assert missing(said) == wanted
    assert missing(replace(said, yes=True, present=True, control=True)) == []


@pytest.mark.parametrize(
    ("interface", "kind", "virtual"),
    [
        ("virtual", None, True),
        ("udp_multicast", None, True),
        ("socketcan", "vcan", True),
        ("socketcan", "can", False),
        ("socketcan", None, False),
        ("slcan", None, False),
    ],
)
def test_what_counts_as_virtual(interface: str, kind: str | None, virtual: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """Only what surely has no wire."""
    assert is_virtual(interface, kind) is virtual


def test_without_yes_it_is_only_shown(capsys: Capture) -> None:
    """The frame with its checksum, decoded back, and what is needed to send it; nothing opened."""
    assert main([*CLOSE, "-i", "virtual", "-c", "send-1"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("1811F4E5#0100000000000057\n")
    assert "EMS_Control.high_voltage_command = close" in shown
    assert "nothing was sent; to send it once: --yes --control" in shown


def test_it_is_sent_once_and_seen(capsys: Capture) -> None:
    """On a virtual bus, with all that must be said: exactly one frame, and its echo."""
    with can.Bus("send-2", "virtual") as listener:
        assert main([*CLOSE, "-i", "virtual", "-c", "send-2", "--yes", "--control"]) == 0
        heard = [listener.recv(0), listener.recv(0)]
    assert heard[0] is not None
    assert heard[0].data.hex() == "0100000000000057"
    assert heard[1] is None
    assert "it was sent" in capsys.readouterr().out


def test_a_real_bus_gets_no_control_frame(capsys: Capture) -> None:
    """Refused before anything is opened."""
    words = ["-c", "can0", "--yes", "--control", "--i-stand-at-the-battery"]
    assert main([*CLOSE, *words]) == 1
    assert "refused: 1811F4E5 commands ess_bau" in capsys.readouterr().err


def test_an_agent_that_commands_keeps_its_bus(capsys: Capture, tmp_path: Path) -> None:
    """While it holds its state directory, and only if the device may be commanded."""
    config, state = tmp_path / "agent.toml", tmp_path / "state"
    (tmp_path / "key").touch(mode=0o600)
    (tmp_path / "key").write_text("secret-secret", encoding="ascii")
    text = (
        f'[platform]\nurl = "http://127.0.0.1:9/x"\nkey_file = "key"\n[agent]\n'
        f'state_dir = "{state}"\n[[device]]\nuid = "BAT"\nprofile = "ess_bau"\nread_only = false\n'
        '[device.can]\ninterface = "virtual"\nchannel = "send-3"\n'
    )
    config.write_text(text, encoding="utf-8")
    words = [*CLOSE, "-i", "virtual", "-c", "send-3", "--config", str(config)]
    with only_one(state):
        assert main(words) == 1
        assert "an agent commands BAT" in capsys.readouterr().err
        config.write_text(text.replace("read_only = false", "read_only = true"), encoding="utf-8")
        assert main(words) == 0
    config.write_text(text, encoding="utf-8")
    assert main(words) == 0


@pytest.mark.parametrize(
    ("values", "why"),
    [
        (["high_voltage_command=1.6", "fault_reset=none"], "must be an integer"),
        (["high_voltage_command=9", "fault_reset=none"], "hold 0..3"),
        (["high_voltage_command=shut", "fault_reset=none"], "shut"),
        (["high_voltage_command=close"], "has no value"),
        (["high_voltage_command=close", "fault_reset=none", "counter=3"], "counter"),
        (["high_voltage_command", "fault_reset=none"], "must be SIGNAL=VALUE"),
        (["fault_reset=none", "fault_reset=none"], "stands twice"),
    ],
)
def test_values_are_taken_strictly(capsys: Capture, values: list[str], why: str) -> None:
    """1.6 is not 2, an unknown choice is nothing, and no signal gets a value by itself."""
    words = ["send", "EMS_Control", *values, "--profile", "ess_bau", "-i", "virtual", "-c", "x"]
    assert main(words) == 78
    assert why in capsys.readouterr().err


def test_a_message_that_is_not_there(capsys: Capture) -> None:
    """The names that there are, are listed."""
    assert main(["send", "Nothing", "--profile", "ess_bau", "-i", "virtual", "-c", "x"]) == 78
    assert "EMS_Control" in capsys.readouterr().err
    assert main(["send", "Nothing", "-i", "virtual", "-c", "x"]) == 2


@pytest.mark.parametrize("option", ["interface=socketcan", "channel=can0", "bitrate=1", "fd=true"])
def test_no_option_names_another_bus(capsys: Capture, option: str) -> None:
    """What was judged to be virtual is what is opened; -o is for what has no option of its own."""
    assert main([*CLOSE, "-i", "virtual", "-c", "send-4", "-o", option]) == 78
    assert "has an option of its own" in capsys.readouterr().err
    name, value = option.split("=")
    found = BusSettings("virtual", "send-4", options={name: value}).arguments()
    assert (found["interface"], found["channel"]) == ("virtual", "send-4")


@pytest.mark.parametrize(("true_echo", "said"), [(True, "it was sent"), (False, "does not say")])
def test_an_echo_says_what_the_adapter_can_know(
    capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
    true_echo: bool,  # noqa: FBT001 - a case
    said: str,
) -> None:
    """Where the driver gives a frame back when it was queued, nothing is said to be sent."""
    bus = can.Bus(interface="virtual", channel="send-5", receive_own_messages=True)
    monkeypatch.setattr(Port, "true_echo", true_echo)
    monkeypatch.setattr(cmd_send, "open_port", lambda *_: Port(bus, FakeClock().monotonic_s))
    frame = Frame(0.0, 0x1811F4E5, extended=True, data=bytes(8))
    assert cmd_send._send(BusSettings("virtual", "send-5"), frame, FakeClock()) == 0
    assert said in capsys.readouterr().out


def test_a_frame_of_somebody_else_is_no_proof(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The battery itself sends the same bytes: that does not say that ours went out."""
    frame = Frame(0.0, 0x1811F4E5, extended=True, data=bytes(8))
    clock = FakeClock()

    class Stranger:
        def send(self, _frame: Frame) -> None:
            pass

        def receive(self, timeout_s: float) -> Frame:
            clock.advance(timeout_s)
            return frame._replace(own=False)

        def close(self) -> None:
            pass

    monkeypatch.setattr(cmd_send, "open_port", lambda *_: Stranger())
    assert cmd_send._send(BusSettings("socketcan", "can0"), frame, clock) == 1
    assert "did not come back" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("soc=50 %", "BAU_Energy.soc: '50 %' is no number, and it has no choices"),
        ("soc=nan", "'nan' is no number"),
        ("soc=200", "BAU_Energy.soc: 200 is outside of its declared range 0..100"),
        ("soc=50.03", "50.03 is not a whole number of steps of 0.1"),
    ],
)
def test_what_is_wrong_with_a_value_is_said(
    capsys: pytest.CaptureFixture[str], wrong: str, said: str
) -> None:
    """File, signal, value, and what it may be."""
    words = [wrong, "soh=10", "chargeable_energy=1", "dischargeable_energy=1"]
    where = ["--profile", "ess_bau", "-i", "virtual", "-c", "nobody"]
    assert main(["send", "BAU_Energy", *words, *where]) == 78
    shown = capsys.readouterr()
    assert said in shown.err
    assert "ess_bau.dbc: " in shown.err
    assert shown.out == ""
