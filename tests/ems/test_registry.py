"""Devices and keys: scope, revocation, clear errors."""

import pytest

from ems.errors import ConfigError
from ems.services import Services
from tests.ems.helpers import FakeClock


def test_keys_know_their_role_and_scope(platform: Services) -> None:
    """An operator key without devices covers all; a device key covers its own."""
    registry = platform.registry
    everything = registry.identify(registry.create_key("operator", "all", []).text)
    some = registry.identify(registry.create_key("operator", "some", ["A"]).text)
    box = registry.identify(registry.create_key("device", "box", ["B"]).text)
    assert everything is not None
    assert some is not None
    assert box is not None
    assert everything.devices is None
    assert (some.devices, box.devices) == (frozenset({"A"}), frozenset({"B"}))
    assert [who.role for who in (everything, some, box)] == ["operator", "operator", "device"]
    assert everything.covers("B")
    assert not some.covers("B")


def test_a_key_of_a_box_covers_all_its_batteries(platform: Services) -> None:
    """A device key may name several devices; it covers these and no other, and never all."""
    registry = platform.registry
    box = registry.identify(registry.create_key("device", "box", ["A", "B", "A"]).text)
    assert box is not None
    assert (box.role, box.devices) == ("device", frozenset({"A", "B"}))
    assert not box.covers("C")
    assert registry.list_keys()[0]["devices"] == ["A", "B"]


def test_a_revoked_key_is_like_no_key(platform: Services) -> None:
    """After revocation the key says nothing, at once and for good."""
    key = platform.registry.create_key("operator", "x", [])
    platform.registry.revoke_key(key.key_id)
    platform.registry.revoke_key(key.key_id)
    assert platform.registry.identify(key.text) is None
    listed = platform.registry.list_keys()[0]
    assert listed["revoked"] is not None
    assert key.sha256 not in str(listed)


@pytest.mark.parametrize(
    ("role", "uids", "why"),
    [
        ("device", [], "at least one"),
        ("device", ["A", "Z"], "'Z'"),
        ("operator", ["Z"], "'Z'"),
    ],
)
def test_impossible_keys_are_refused(
    platform: Services, role: str, uids: list[str], why: str
) -> None:
    """A key for no device, or for an unknown one, is not made."""
    with pytest.raises(ConfigError, match=why):
        platform.registry.create_key("device" if role == "device" else "operator", "x", uids)
    assert platform.registry.list_keys() == []


@pytest.mark.parametrize(
    ("uid", "name"), [("A", "again"), ("a b", "x"), ("", "x"), ("C", ""), ("C", "a\nb")]
)
def test_impossible_devices_are_refused(platform: Services, uid: str, name: str) -> None:
    """A taken or malformed id and an empty name are refused."""
    with pytest.raises(ConfigError):
        platform.registry.add_device(uid, name, {})


def test_heartbeats_are_written_once(platform: Services, clock: FakeClock) -> None:
    """The last call of a device survives; a device that never called has none."""
    platform.heard("A")
    platform.save_heartbeats()
    clock.advance_s(5)
    platform.save_heartbeats()
    total, found = platform.registry.list_devices(None, 0, 10)
    assert total == 2
    assert [item["heartbeat_time"] for item in found] == ["2027-01-15T08:00:00.000Z", None]
    assert platform.heartbeat("A") == "2027-01-15T08:00:00.000Z"


def test_pages_of_devices_in_scope(platform: Services) -> None:
    """A scope hides the other devices and is counted alone."""
    assert platform.registry.list_devices(frozenset({"B"}), 0, 10)[0] == 1
    total, second = platform.registry.list_devices(None, 1, 1)
    assert (total, [item["uid"] for item in second]) == (2, ["B"])
