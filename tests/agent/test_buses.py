"""Which batteries may share a bus."""

from dataclasses import replace
from pathlib import Path

import pytest

from agent.buses import Fan, Loaded, bus_mistakes, bus_of, bus_warnings, device_mistakes, forms_of
from agent.config import CanConfig, DeviceConfig
from bms_can.can_frame import Form
from bms_can.frame import Frame
from bms_can.profile_load import load_profile
from tests.bms_can import tiny
from tests.second_battery import ROOT, second_battery

FIRST = ROOT / "dbc" / "ess_bau.toml"
CAN0 = CanConfig("socketcan", "can0", None, fd=False, options={})


def loaded(uid: str, profile: Path, can: CanConfig = CAN0) -> Loaded:
    """Return a device with its profile."""
    return Loaded(DeviceConfig(uid, profile, can, read_only=False), *load_profile(profile))


def test_batteries_with_their_own_identifiers_share_a_bus(tmp_path: Path) -> None:
    """Nothing that one sends is read, or sent, by the other."""
    second = loaded("B", second_battery(tmp_path))
    assert bus_mistakes([loaded("A", FIRST), second]) == []


def test_a_can_fd_battery_needs_a_can_fd_bus(tmp_path: Path) -> None:
    """A classical socket neither gives nor takes its frames: found by `check`, not by silence."""
    profile = tiny.write(tmp_path, tiny.changed(), tiny.FD_DBC)
    classical, fd = (loaded("A", profile, replace(CAN0, fd=each)) for each in (False, True))
    (said,) = device_mistakes([classical])
    assert said == "device A: Control is CAN FD: [device.can] needs fd = true"
    assert device_mistakes([fd]) == []
    assert device_mistakes([loaded("A", FIRST)]) == []
    assert forms_of([fd])[512, False] == Form(fd=True, switch=True)


def test_who_only_listens_needs_no_bus_for_what_it_would_send(tmp_path: Path) -> None:
    """The battery's own frames are classical here; its control frame is never sent."""
    device = loaded("A", tiny.write(tmp_path, tiny.changed(), tiny.FD_DBC))
    quiet = device._replace(config=replace(device.config, read_only=True))
    assert device_mistakes([quiet]) == []


def test_another_device_s_dbc_does_not_change_our_frames(tmp_path: Path) -> None:
    """A CAN FD frame breaks a bus of classical nodes: only who sends a frame says its form."""
    (tmp_path / "fd").mkdir()
    listener = loaded("A", tiny.write(tmp_path / "fd", tiny.changed(), tiny.FD_DBC))
    listener = listener._replace(profile=replace(listener.profile, guard=()))
    sender = loaded("B", tiny.write(tmp_path, tiny.changed()))
    assert forms_of([listener, sender]) == {}


def test_one_battery_twice_on_a_bus_is_refused() -> None:
    """Copied and not changed: they would command each other, and show one battery as two."""
    found = "\n".join(bus_mistakes([loaded("A", FIRST), loaded("B", FIRST)]))
    assert "A and B on can0: both command by 1811F4E5" in found
    assert "the status of both rests on 1801E5F4, 1802E5F4" in found


@pytest.mark.parametrize(
    ("kept", "why"), [("control", "both command by 1811F4E5"), ("state", "rests on 1801E5F4")]
)
def test_one_shared_identifier_is_found(tmp_path: Path, kept: str, why: str) -> None:
    """Either the control frame or the status message is enough."""
    profile = second_battery(tmp_path, control=kept != "control", state=kept != "state")
    second = loaded("B", profile)
    (found,) = bus_mistakes([loaded("A", FIRST), second])
    assert why in found


def test_a_battery_without_alarms_of_its_own_is_refused(tmp_path: Path) -> None:
    """A copy in which only the messages of the status were changed: it would never be at fault."""
    profile = second_battery(tmp_path)
    second = loaded("B", profile)
    first = loaded("A", FIRST)
    alarms = {
        f"{second.database.messages[rule.signal.split('.')[0]].frame_id:08X}"
        for rule in second.profile.alarms
    }
    assert alarms
    text = (tmp_path / "second.dbc").read_text(encoding="utf-8")
    for number in alarms:
        new = int(number, 16) | 1 << 31
        text = text.replace(str(new), str(new - 0x10))
    (tmp_path / "second.dbc").write_text(text, encoding="utf-8")
    found = bus_mistakes([first, loaded("B", profile)])
    assert any("every alarm of B is one of A" in each for each in found)


def test_a_shared_alarm_is_pointed_at(tmp_path: Path) -> None:
    """One insulation monitor of two batteries may be right; a half-edited copy looks the same."""
    profile = second_battery(tmp_path)
    first, second = loaded("A", FIRST), loaded("B", profile)
    assert bus_warnings([first, second]) == []
    number = first.database.messages["BAU_Faults"].frame_id | 1 << 31
    text = (tmp_path / "second.dbc").read_text(encoding="utf-8")
    (tmp_path / "second.dbc").write_text(
        text.replace(str(number + 0x10), str(number)), encoding="utf-8"
    )
    (found,) = bus_warnings([first, loaded("B", profile)])
    assert found == "A and B on can0: alarms of both rest on 1809E5F4: is that one device of both?"


def test_the_same_battery_on_two_buses_is_good() -> None:
    """Two cabinets of one make, each on its own adapter, or on its own multicast port."""
    can1 = CanConfig("socketcan", "can1", None, fd=False, options={})
    assert bus_mistakes([loaded("A", FIRST), loaded("B", FIRST, can1)]) == []
    ports = [CanConfig("udp_multicast", "239.1.1.1", None, False, {"port": n}) for n in (1, 2)]  # noqa: FBT003 - fd
    assert len({bus_of(can) for can in ports}) == 2


def test_one_bus_has_one_set_of_settings(tmp_path: Path) -> None:
    """Two bit rates for one adapter are a mistake."""
    slow = CanConfig("socketcan", "can0", 250_000, fd=False, options={})
    second = loaded("B", second_battery(tmp_path), slow)
    assert bus_mistakes([loaded("A", FIRST), second]) == [
        "A and B on can0: one bus, but their [device.can] differ"
    ]


def test_a_frame_reaches_every_device_of_the_bus() -> None:
    """In order, and the same frame."""
    heard: list[tuple[str, Frame]] = []
    fan = Fan()
    fan.takes += (lambda frames: heard.extend(("A", each) for each in frames),)
    fan.takes += (lambda frames: heard.extend(("B", each) for each in frames),)
    frame = Frame(1.0, 0x100, extended=False, data=b"")
    fan.take((frame,))
    assert heard == [("A", frame), ("B", frame)]
