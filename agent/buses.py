"""Several devices of one box: which share a bus, and can their batteries be told apart on it? Pure.

Devices on one bus share its socket: an adapter can be opened once, and a frame is received once.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import combinations
from typing import NamedTuple

from agent.config import CanConfig, DeviceConfig
from agent.send import VIRTUAL_INTERFACES
from bms_can.bus import BusSettings
from bms_can.can_frame import Form
from bms_can.database import Database, Key, fd_forms
from bms_can.frame import Frame, frame_text
from bms_can.layout import Field, field_of
from bms_can.profile import Profile

# python-can drivers that give no own frames back; there "sent" rests on the driver's word.
NO_ECHO = frozenset({"slcan", "serial", "usb2can", "nican", "iscan"})

BusKey = tuple[str, str, object]
Place = tuple[str, tuple[int, ...], Field | None]  # identifier, page and place of a signal


class Loaded(NamedTuple):
    """A device with its profile, its interlocks tightened by the site, and its DBC."""

    config: DeviceConfig
    profile: Profile
    database: Database


class Fan:
    """Hands the frames of a bus to every device on it; in the receive thread of that bus."""

    def __init__(self) -> None:
        self.takes: tuple[Callable[[Sequence[Frame]], object], ...] = ()

    def take(self, frames: Sequence[Frame]) -> None:
        """Hand on the frames of one look."""
        for take in self.takes:
            take(frames)


def bus_of(can: CanConfig) -> BusKey:
    """Return what tells one bus from another: interface, channel, and port for `udp_multicast`."""
    return can.interface, can.channel, can.options.get("port")


def settings_of(can: CanConfig, filters: frozenset[Key] | None = None) -> BusSettings:
    """Return what opens a bus; `filters`: the identifiers that are wanted, None: all."""
    found = BusSettings(can.interface, can.channel, can.bitrate, can.fd, can.options)
    return replace(found, filters=filters)


def forms_of(devices: Sequence[Loaded]) -> dict[Key, Form]:
    """Return how the frames of a bus go out: each device's own, by its own DBC."""
    return {
        key: form
        for each in devices
        for key, form in fd_forms(each.database).items()
        if key in _sends(each)
    }


def heard_ids(devices: Sequence[Loaded]) -> frozenset[Key] | None:
    """Return the identifiers that a bus is opened for: all of the DBCs, and our control frames.

    None: all that there are. So it is if the site wants that, or if code translates the frames of a
    battery: only that code knows which ones.

    Not only those that a profile reads: the flight recorder keeps what the battery said.
    """
    if any(each.profile.family or not each.config.can.filter for each in devices):
        return None
    named = (set(device.database.by_id) | _sends(device) for device in devices)
    return frozenset().union(*named)


def device_mistakes(devices: Sequence[Loaded]) -> list[str]:
    """Return what is wrong with devices and their profiles together; empty if all is well."""
    none = [
        f"device {each.config.uid}: heartbeat is on, but profile {each.profile.name} has none"
        for each in devices
        if each.config.heartbeat and each.profile.heartbeat is None
    ]
    silent = [
        f"device {each.config.uid}: the held request of {each.profile.name} needs a bus that gives"
        f" own frames back; {each.config.can.interface} does not"
        for each in devices
        if each.profile.held and not each.config.read_only and each.config.can.interface in NO_ECHO
    ]
    classical = [line for each in devices for line in _deaf_to_fd(each)]
    return none + silent + classical + bus_mistakes(devices)


def _deaf_to_fd(device: Loaded) -> Iterator[str]:
    """Yield what a profile needs that a classical bus neither gives nor takes."""
    can = device.config.can
    if can.fd or can.interface in VIRTUAL_INTERFACES:
        return
    forms, by_id = fd_forms(device.database), device.database.by_id
    needed = _reads(device) | (set() if device.config.read_only else _sends(device))
    if used := [by_id[key].name for key in forms if key in needed]:
        names = ", ".join(sorted(used))
        yield f"device {device.config.uid}: {names} is CAN FD: [device.can] needs fd = true"


def bus_mistakes(devices: Sequence[Loaded]) -> list[str]:
    """Return why devices cannot share their bus; empty if all can, or none does."""
    return [mistake for one, other in _neighbours(devices) for mistake in _between(one, other)]


def bus_warnings(devices: Sequence[Loaded]) -> list[str]:
    """Return what a person should look at where devices share a bus."""
    return [
        warning for one, other in _neighbours(devices) for warning in _shared_alarms(one, other)
    ]


def _neighbours(devices: Sequence[Loaded]) -> Iterator[tuple[Loaded, Loaded]]:
    """Yield each two devices that share a bus."""
    for one, other in combinations(devices, 2):
        if bus_of(one.config.can) == bus_of(other.config.can):
            yield one, other


def _between(one: Loaded, other: Loaded) -> Iterator[str]:
    names = f"{one.config.uid} and {other.config.uid} on {one.config.can.channel}"
    if one.config.can != other.config.can:
        yield f"{names}: one bus, but their [device.can] differ"
    for key in sorted(_sends(one) & _sends(other)):
        yield f"{names}: both command by {_text(key)}; each would take the other for a stranger"
    for sender, reader in ((one, other), (other, one)):
        for key in sorted(_sends(sender) & _reads(reader)):
            uids = f"{sender.config.uid} commands by {_text(key)}, which {reader.config.uid} reads"
            yield f"{names}: {uids}: our own frame would count as the battery's word"
    if shared := _status_fields(one) & _status_fields(other):
        yield f"{names}: the status of both rests on {_named(shared)}: they would be one battery"
    for device, reader in ((one, other), (other, one)):
        alarms = _alarm_fields(reader)
        if alarms and alarms <= _alarm_fields(device):
            yield (
                f"{names}: every alarm of {reader.config.uid} is one of {device.config.uid}"
                f" ({_named(alarms)}): it would have none of its own"
            )


def _shared_alarms(one: Loaded, other: Loaded) -> Iterator[str]:
    """Yield what may be right, as where two batteries have one insulation monitor, or not."""
    ours, theirs = _alarm_fields(one), _alarm_fields(other)
    shared = ours & theirs
    if shared and shared not in (ours, theirs):
        names = f"{one.config.uid} and {other.config.uid} on {one.config.can.channel}"
        yield f"{names}: alarms of both rest on {_named(shared)}: is that one device of both?"


def _sends(device: Loaded) -> set[Key]:
    return {(entry.can_id, entry.extended) for entry in device.profile.guard}


def _reads(device: Loaded) -> set[Key]:
    messages = (device.database.messages[name] for name in device.profile.wanted)
    return {(message.frame_id, message.is_extended_frame) for message in messages}


def _status_fields(device: Loaded) -> set[Place]:
    """Return the bits that the operating status rests on."""
    return _places(device, device.profile.status.signals())


def _alarm_fields(device: Loaded) -> set[Place]:
    """Return the bits that the alarms rest on."""
    return _places(device, (alarm.signal for alarm in device.profile.alarms))


def _places(device: Loaded, signals: Iterable[str]) -> set[Place]:
    found = set()
    for name in signals:
        message, signal = device.database.signals[name]
        page = tuple(signal.multiplexer_ids or ())
        key = message.frame_id, message.is_extended_frame
        found.add((_text(key), page, field_of(message, signal)))
    return found


def _named(places: set[Place]) -> str:
    return ", ".join(sorted({name for name, *_ in places}))


def _text(key: Key) -> str:
    return frame_text(*key, b"").removesuffix("#")
