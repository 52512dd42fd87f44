"""Bus-off, with the rights of the service as shipped, and then with those of the drop-in.

The last file of this folder: the drop-in stays.
"""

import time

import pytest

from tests.systemd.box import CLOSE, CONFIG, OPEN, Box
from tests.systemd.page import block

SMALL_BYTES = 212_992
# The other tests have closed already; the limit counts over restarts.
MORE_CLOSES = f"""\
sed -i -e 's/^#override = .*/override = "test"/' -e 's/^#close_max = .*/close_max = 9/' {CONFIG}
"""
DROP_IN = "/etc/systemd/system/bms-agent.service.d"


@pytest.fixture
def drop_in(box: Box) -> str:
    """Type what the page says, with the kernel's own limit of receive buffers.

    With it the two lines that the unit has as comments, for a platform with a fixed address.
    """
    box.types(f"sysctl -w net.core.rmem_max={SMALL_BYTES}")
    began_s = time.monotonic()
    address = "[Service]\\nIPAddressDeny=any\\nIPAddressAllow=localhost\\n"
    box.types(MORE_CLOSES)
    box.types(f"mkdir -p {DROP_IN}; printf '{address}' >{DROP_IN}/address.conf")
    box.types(block("sudo install -Dm 644 deploy/bms-agent.service.d"))
    box.report(began_s)
    return DROP_IN


def go_off(box: Box) -> int:
    """Let the controller leave the bus; return how often it had been opened until then."""
    opened = box.slcan.adapter.commands.count("O")
    box.slcan.battery.silent.set()  # a node that is off the bus hears nothing
    box.slcan.adapter.state("bus-off", tx_errors=255)
    return opened


def come_back(box: Box) -> None:
    """Let the battery speak; wait until the agent reports it."""
    up_s = time.monotonic()
    box.slcan.battery.silent.clear()
    box.report(up_s)


def test_as_shipped_it_may_not_restart_the_interface_and_says_so(box: Box) -> None:
    """RestrictAddressFamilies lets it ask the kernel, no capability lets it change anything."""
    opened = go_off(box)
    end_s = time.monotonic() + 10.0
    while "not restarted" not in (doubt := str(bus(box)["doubt"])):
        assert time.monotonic() < end_s, doubt
    assert box.slcan.adapter.commands.count("O") == opened
    box.types("sudo ip link set can0 down && sudo ip link set can0 up")
    come_back(box)


def test_with_the_drop_in_the_agent_restarts_the_interface(box: Box, drop_in: str) -> None:
    """By itself, within its first rest of a second; and its receive buffer is no longer limited."""
    assert f"{drop_in}/bus-off.conf" in box.types("systemctl show -P DropInPaths bms-agent")
    assert bus(box)["buffer_bytes"] == 2 * 8388608
    opened, began_s = go_off(box), time.monotonic()
    while box.slcan.adapter.commands.count("O") == opened:
        assert time.monotonic() < began_s + 5.0, box.log()
        time.sleep(0.05)
    come_back(box)
    for code in (CLOSE, OPEN):
        step = box.command(code)
        assert step["state"] == "succeeded", step


def bus(box: Box) -> dict[str, object]:
    """Return what the agent says about its bus."""
    (device,) = box.status()["devices"].values()
    found: dict[str, object] = device["bus"]
    return found
