"""When `bms-agent send` may put a frame on a bus. Pure.

A frame that commands a battery belongs to the platform: there it gets interlocks, a journal and a
proof. By hand it may go out on a virtual bus only. Any frame can harm a battery that stands behind
a real bus, so there a person has to say that they stand beside it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from bms_can.frame import Frame, frame_text
from bms_can.guard import GuardEntry
from bms_can.link import VIRTUAL

VIRTUAL_INTERFACES = frozenset({"virtual", "udp_multicast"})


@dataclass(frozen=True, slots=True)
class Situation:
    """What decides.

    Attributes:
        frame: what would be sent.
        virtual: the bus has no wire.
        guards: for each known battery that may be on this bus its name and control frames.
        commanding: devices of a running agent on this bus that may be commanded.
        yes: the person wants it sent; present: they stand at the battery.
        control: they know that it is a control frame (of a bench).
    """

    frame: Frame
    virtual: bool
    guards: Sequence[tuple[str, Sequence[GuardEntry]]]
    commanding: Sequence[str]
    yes: bool = False
    present: bool = False
    control: bool = False


def is_virtual(interface: str, kind: str | None) -> bool:
    """Tell whether a bus has no wire; `kind` of a network interface, None: none or not known."""
    return interface in VIRTUAL_INTERFACES or (interface == "socketcan" and kind in VIRTUAL)


def owners(situation: Situation) -> list[str]:
    """Return the batteries whose control identifier the frame has."""
    key = situation.frame.can_id, situation.frame.extended
    return [
        name
        for name, entries in situation.guards
        if any((entry.can_id, entry.extended) == key for entry in entries)
    ]


def refusal(situation: Situation) -> str:
    """Return why the frame must not be sent at all, "" if it may be."""
    owned = owners(situation)
    if situation.commanding:
        names = ", ".join(situation.commanding)
        return f"an agent commands {names} on this bus: there must be one master (read_only = true)"
    if owned and not situation.virtual:
        text = frame_text(situation.frame.can_id, situation.frame.extended, b"").removesuffix("#")
        return (
            f"{text} commands {', '.join(owned)}: issue a command at the platform, where it gets"
            " interlocks and a proof"
        )
    return ""


def missing(situation: Situation) -> list[str]:
    """Return the options that the person has still to give."""
    wanted = {
        "--yes": situation.yes,
        "--control": situation.control or not owners(situation),
        "--i-stand-at-the-battery": situation.present or situation.virtual,
    }
    return [option for option, given in wanted.items() if not given]
