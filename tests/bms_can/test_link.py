"""The kernel's own answers about interfaces, and answers that no kernel gives."""

import base64
import zlib
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bms_can.bus import BusSettings, open_port
from bms_can.errors import BusDown
from bms_can.link import LinkState, ask_link, ask_up, error_of, parse_link
from bms_can.netlink import is_there, may_set, read_link, set_up

# What Linux 6.1 answered about an slcan interface in bus-off (tests/socketcan/guest.py).
BUS_OFF = zlib.decompress(
    base64.b85decode(
        "c-"
        "m`VW?&FtU|?Vb;@wO@f<b~2D8z7(0RlJ~m>H52^9(?24hCKZE+EYc)WHU(1sNdXEMPM@7>uBNV<;^RrRAWsEtHlA+s"
        "DD6!SMe-"
        "h}HzVfP=vbN?Su|8?ZbpgCbZTKhV~Kw9K^p__W005|BP+1}3mM`cU%>z%(m^I#|6510Mq+z`~%#aE3vgVYq-"
        "426md;!NZ^p3}bL&Vc5VR1PpgZP#R&7VPJ-<VT58B=m4r$0g5Or#P2>1s2QL%#SFHK6-"
        "kZ_Olttsp#U(775o?&0uD1UENEk7@OZ(<FyR6-"
        "#C%g81_vj8pn86&dj%UnZUnh_0)rGo50KS?;yQ$Tk=@NmrSJl|^#wDgILLeeBA*~9"
    )
)


def test_a_can_interface_in_bus_off() -> None:
    """State, carrier, bit rate, queue and counters come out as the kernel put them in."""
    link = parse_link(BUS_OFF)
    assert link is not None
    assert (link.name, link.index, link.kind) == ("can0", 3, "can")
    assert (link.up, link.carrier, link.state) == (True, False, "BUS-OFF")
    assert (link.bitrate, link.restart_ms, link.tx_queue, link.mtu) == (500_000, 0, 10, 16)
    assert (link.data_bitrate, link.sample_point_pct, link.modes) == (None, None, ())
    assert (link.tx_errors, link.rx_errors) == (None, None)
    assert (link.counters["bus_off"], link.counters["error_passive"]) == (1, 1)
    assert link.counters["rx_packets"] == 0
    assert link.trouble == "bus-off"


def test_what_keeps_an_interface_from_working() -> None:
    """Down, stopped and without carrier are told apart; a vcan that is up has no trouble."""
    vcan = LinkState("vcan0", 2, "vcan", up=True, carrier=True)
    assert vcan.trouble == ""
    assert replace(vcan, up=False).trouble == "the interface is down"
    assert replace(vcan, carrier=False).trouble == "no carrier"
    assert replace(vcan, carrier=None).trouble == ""
    assert replace(vcan, state="STOPPED").trouble == "the controller is stopped"
    assert replace(vcan, state="ERROR-PASSIVE").trouble == ""


def test_an_interface_that_is_no_can_has_no_can_numbers() -> None:
    """The loopback device of this machine: what it does not have is None, not 0."""
    link = read_link("lo")
    assert link is not None
    assert (link.name, link.kind, link.state, link.bitrate, link.restart_ms) == (
        *("lo", "", None, None),
        None,
    )
    assert "bus_error" not in link.counters


def test_no_such_interface() -> None:
    """None, and setting it up says which one is not there."""
    assert read_link("nocan77") is None
    with pytest.raises(BusDown, match="nocan77: no such interface"):
        set_up("nocan77", up=True)


def test_an_error_answer() -> None:
    """An error carries its number; a description of an interface does not."""
    assert error_of(b"\x14\0\0\0\x02\0\0\0\x01\0\0\0\0\0\0\0\xed\xff\xff\xff") == 19
    assert error_of(BUS_OFF) is None
    assert parse_link(b"\x14\0\0\0\x02\0\0\0\x01\0\0\0\0\0\0\0\xed\xff\xff\xff") is None


def test_requests_are_whole_messages() -> None:
    """The length in front is that of the message, which is a multiple of four."""
    for message in (ask_link("can0"), ask_link("can10"), ask_up(3, up=True), ask_up(3, up=False)):
        assert int.from_bytes(message[:4], "little") == len(message)
        assert len(message) % 4 == 0


@given(st.binary(max_size=200))
def test_any_bytes_are_read_without_an_error(answer: bytes) -> None:
    """What is no answer is None or says little; it never raises."""
    parse_link(answer)
    error_of(answer)


@given(st.data())
def test_a_damaged_answer_is_read_without_an_error(data: st.DataObject) -> None:
    """Cut off anywhere, or with any byte changed."""
    cut = data.draw(st.integers(0, len(BUS_OFF)))
    at = data.draw(st.integers(0, len(BUS_OFF) - 1))
    changed = bytearray(BUS_OFF)
    changed[at] = data.draw(st.integers(0, 255))
    parse_link(BUS_OFF[:cut])
    parse_link(bytes(changed))


@pytest.mark.parametrize(
    ("rights", "may"),
    [("000001ffffffffff", True), ("0000000000001000", True), ("0000000000000fff", False)],
)
def test_the_right_to_set_interfaces_is_told(
    rights: str, *, may: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CAP_NET_ADMIN is bit 12 of the effective rights; without such a line nobody knows."""
    status = tmp_path / "status"
    monkeypatch.setattr("bms_can.netlink.STATUS", status)
    assert may_set() is None
    status.write_text("Name:\tpython\n")
    assert may_set() is None
    status.write_text(f"CapPrm:\t0000000000000000\nCapEff:\t{rights}\n")
    assert may_set() is may


def test_an_interface_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel is not asked by name: it would look for a module, and all threads would wait."""
    monkeypatch.setattr("bms_can.netlink.INTERFACES", tmp_path)
    (tmp_path / "can7").mkdir()
    assert is_there("can7")
    assert not is_there("can8")
    with pytest.raises(BusDown, match="can8: no interface with this name"):
        open_port(BusSettings("socketcan", "can8"), float)
    monkeypatch.setattr("bms_can.netlink.INTERFACES", tmp_path / "no sysfs")
    assert is_there("can8")
