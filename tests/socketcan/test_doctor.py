"""`bms-agent doctor` and `send` on a real CAN stack; each mending command is run, and mends."""

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.cli import main
from bms_can.bus import BusSettings, open_port
from bms_can.netlink import read_link
from tests.bms_can import tiny
from tests.socketcan.adapter import Adapter
from tests.socketcan.nodes import sh

NAME = "vcan7"
Found = dict[str, dict[str, str]]


@pytest.fixture
def interface() -> Iterator[str]:
    """Give a virtual interface of its own, down as a new one is."""
    sh(f"ip link add {NAME} type vcan")
    yield NAME
    sh(f"ip link del {NAME}")


@pytest.fixture
def adapter() -> Iterator[Adapter]:
    """Give a controller with bit rate and state, down."""
    found = Adapter(lambda _: None)
    yield found
    found.pull()


def doctor(capsys: pytest.CaptureFixture[str], *words: str, name: str = NAME) -> Found:
    """Return the findings by check, without the interface's name before it."""
    capsys.readouterr()
    main(["doctor", "-c", name, "--listen-s", "0.3", "--json", *words])
    found = json.loads(capsys.readouterr().out)
    return {each["check"].removeprefix(f"{name} "): each for each in found}


def await_state(name: str, state: str) -> None:
    """Wait until the kernel has heard of it."""
    end_s = time.monotonic() + 5
    while (link := read_link(name)) is None or link.state != state:
        assert time.monotonic() < end_s, link
        time.sleep(0.02)


def test_a_missing_interface(capsys: pytest.CaptureFixture[str]) -> None:
    """This kernel knows CAN, and the interface is not there: nothing more is claimed."""
    found = doctor(capsys)
    assert found["kernel"]["verdict"] == "ok"
    assert found["interface"]["verdict"] == "fail"
    assert "up" not in found
    assert found["frames"]["verdict"] == "unknown"


def test_its_own_commands_mend(interface: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Down: fail. What it says is run in a shell, and then it is up; a virtual one has no state."""
    found = doctor(capsys)
    assert found["interface"]["said"] == "of kind vcan"
    assert found["up"]["verdict"] == "fail"
    sh(found["up"]["mend"])
    found = doctor(capsys)
    assert found["up"]["verdict"] == "ok"
    assert "state" not in found
    assert found["frames"]["verdict"] == "fail"  # nobody sends
    assert interface in found["frames"]["mend"]
    buffer = found["receive buffer"]
    if buffer["verdict"] == "warn":
        sh(buffer["mend"])
        assert doctor(capsys)["receive buffer"]["verdict"] == "ok"


def test_frames_of_another_process(interface: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A generator sends what no DBC knows: heard, and named."""
    sh(f"ip link set {interface} up")
    sh(f"cangen {interface} -I 7AA -L 8 -g 10 -n 200 >/dev/null 2>&1 &")
    found = doctor(capsys, "--profile", "ess_bau")
    assert found["opens"]["verdict"] == found["frames"]["verdict"] == "ok"
    assert found["DBC"]["verdict"] == "fail"
    assert "7AA" in found["DBC"]["said"]
    assert found["required messages"]["verdict"] == "fail"


def test_send_on_vcan(interface: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A virtual bus takes a control frame by hand; its echo says that it was sent."""
    sh(f"ip link set {interface} up")
    words = ["send", "EMS_Control", "high_voltage_command=open", "fault_reset=none"]
    words += ["--profile", "ess_bau", "-c", interface, "--yes", "--control"]
    assert main(words) == 0
    assert "it was sent" in capsys.readouterr().out
    sh(f"ip link set {interface} down")
    assert main(words) == 1


def test_a_bus_for_can_fd(interface: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A classical interface lets no FD frame through; the command mends it."""
    sh(f"ip link set {interface} mtu 16 && ip link set {interface} up")
    found = doctor(capsys, "--fd")["CAN FD"]
    assert found["said"] == "no frame can pass (MTU 16)"
    sh(found["mend"])
    assert doctor(capsys, "--fd")["CAN FD"]["verdict"] == "ok"


def test_send_can_fd(interface: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A frame of an FD message goes as FD, also when eight bytes would do, with its bit rates."""
    tiny.write(tmp_path, tiny.changed(), tiny.FD_DBC)
    sh(f"ip link set {interface} mtu 72 && ip link set {interface} up")
    words = ["send", "Control", "wish=open", "reset=0", "counter=0", "checksum=0", "--fd"]
    words += ["--dbc", str(tmp_path / "tiny.dbc"), "-c", interface, "--yes"]
    heard = tmp_path / "heard"
    with heard.open("wb") as file:
        dump = subprocess.Popen(["candump", "-L", "-n", "1", "-T", "5000", interface], stdout=file)  # noqa: S603, S607 - can-utils
        time.sleep(0.5)
        assert main(words) == 0, capsys.readouterr()
        dump.wait()
    flags, data = heard.read_text(encoding="ascii").split("200##")[1].split()[0][:1], 16
    assert int(flags, 16) & 1, "bit rate switch"
    assert len(heard.read_text(encoding="ascii").split("##")[1].split()[0]) == 1 + data


def test_a_controller(adapter: Adapter, capsys: pytest.CaptureFixture[str]) -> None:
    """Wrong bit rate: its command sets the one of the DBC. Passive: said, with both counters."""
    name, words = adapter.name, ("--profile", "ess_bau")
    sh(f"ip link set {name} up type can bitrate 250000")
    found = doctor(capsys, *words, name=name)
    assert found["bit rate"]["said"] == "250000 bit/s, 500000 wanted"
    assert found["bit rate"]["verdict"] == "fail"
    sh(found["bit rate"]["mend"])
    found = doctor(capsys, *words, name=name)
    for check in ("up", "carrier", "bit rate", "state", "restart after bus-off", "transmitter"):
        assert found[check]["verdict"] == "ok", found[check]
    adapter.state("error-passive", 130, 20)
    await_state(name, "ERROR-PASSIVE")
    found = doctor(capsys, *words, name=name)
    assert found["state"]["verdict"] == "fail"
    assert found["tx errors"]["verdict"] in {"fail", "unknown"}  # as far as the driver tells


@pytest.mark.parametrize("state", ["error-warning", "error-passive", "bus-off"])
def test_each_state_is_mended(
    adapter: Adapter, capsys: pytest.CaptureFixture[str], state: str
) -> None:
    """The command runs as it is printed, and the controller is well again."""
    name = adapter.name
    sh(f"ip link set {name} up type can bitrate 500000")
    adapter.state(state, 200)
    await_state(name, state.upper())
    found = doctor(capsys, name=name)
    assert found["state"]["verdict"] in {"warn", "fail"}
    sh(found["state"]["mend"])
    await_state(name, "ERROR-ACTIVE")
    assert doctor(capsys, name=name)["carrier"]["verdict"] == "ok"


def test_a_controller_that_was_never_set_up(
    adapter: Adapter, capsys: pytest.CaptureFixture[str]
) -> None:
    """One fault, not four; its command brings it up with the bit rate of the DBC."""
    name, words = adapter.name, ("--profile", "ess_bau")
    found = doctor(capsys, *words, name=name)
    assert not {"state", "carrier"} & set(found)
    sh(found["up"]["mend"])
    assert doctor(capsys, *words, name=name)["bit rate"]["said"] == "500000 bit/s"


BACKLOG = Path("/proc/sys/net/core/netdev_max_backlog")
TRIES = 40


def test_frames_that_no_socket_is_told_of(
    interface: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A full backlog of the kernel: the interface has sent all, the socket has lost none, and yet.

    While ksoftirqd is to run and does not (a sender of higher priority has the processor) the
    frames wait in a queue that is not the socket's; what does not fit is thrown away there.
    """
    sh(f"ip link set {interface} up")
    limit = BACKLOG.read_text(encoding="ascii")
    port = open_port(BusSettings("socketcan", interface), time.monotonic, own_frames=False)
    sent = got = 0
    try:
        BACKLOG.write_text("10", encoding="ascii")
        while sent == got and sent < TRIES * 2000:
            sh(f"chrt -f 10 cangen {interface} -g 0 -I 123 -L 8 -n 2000")
            sent += 2000
            while frames := port.receive_many(0.3):
                got += len(frames)
    finally:
        BACKLOG.write_text(limit, encoding="ascii")
        port.close()
    link = read_link(interface)
    assert link is not None
    assert got < sent == link.counters["tx_packets"]
    assert port.counts.lost == 0
    backlog = doctor(capsys)["kernel backlog"]
    assert backlog["verdict"] == "warn"
    assert int(backlog["said"].split()[0]) >= sent - got
