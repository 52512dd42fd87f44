"""What a profile corrects in the frames of its DBC: their length, and who sends them. Pure.

Makers' files are wrong about both: a message declared with 6 bytes is sent with 8, one of 64 bytes
fits into 8, and a J1939 file carries a placeholder where the bus has the sender's address. The
corrected messages replace those of the file, so whoever uses the database sees what the bus has.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import NamedTuple

from cantools.database.can import Message

from bms_can.database import Database, usable_signals
from bms_can.layout import FD_LENGTHS

LENGTHS = (*range(1, 9), *FD_LENGTHS)  # of a CAN frame with data [bytes]
SOURCE_MASK = 0xFF  # J1939-21: the low byte of a 29-bit identifier is the sender's address


class Stated(NamedTuple):
    """What a profile says of one message.

    Attributes:
        lengths: the lengths on the bus [bytes], ascending; empty: that of the DBC.
        source: address of the J1939 sender, None: that of the DBC.
    """

    lengths: tuple[int, ...] = ()
    source: int | None = None


def restated(database: Database, stated: Mapping[str, Stated]) -> Database:
    """Return the database with the stated lengths and senders.

    A message has the shortest of its lengths; signals that lie beyond it are not usable any more,
    and no warning says so: the profile did.

    Args:
        database: as loaded.
        stated: by name of a message that the database has; no two may end on one identifier.
    """
    if not stated:
        return database
    messages = {
        name: _restated(message, stated[name]) if name in stated else message
        for name, message in database.messages.items()
    }
    signals, _ = usable_signals([messages[name] for name in stated])
    kept = {key: place for key, place in database.signals.items() if place[0].name not in stated}
    return replace(
        database,
        messages=MappingProxyType(messages),
        by_id=MappingProxyType({(m.frame_id, m.is_extended_frame): m for m in messages.values()}),
        signals=MappingProxyType(kept | signals),
        warnings=database.warnings,
        more_lengths=MappingProxyType(
            {name: each.lengths[1:] for name, each in stated.items() if len(each.lengths) > 1}
        ),
    )


def clashes(database: Database, stated: Mapping[str, Stated]) -> Iterable[str]:
    """Yield the name of each message that a stated sender moves onto another one's identifier."""
    taken: dict[tuple[int, bool], str] = {}
    for name, message in database.messages.items():
        key = _id(message, stated.get(name, Stated())), message.is_extended_frame
        if key in taken or (name in stated and key in database.ambiguous):
            yield name
        taken[key] = name


def _id(message: Message, stated: Stated) -> int:
    if stated.source is None:
        return message.frame_id
    return message.frame_id & ~SOURCE_MASK | stated.source


def _restated(message: Message, stated: Stated) -> Message:
    return Message(
        frame_id=_id(message, stated),
        name=message.name,
        length=stated.lengths[0] if stated.lengths else message.length,
        signals=list(message.signals),
        comment=message.comment,
        senders=message.senders,
        send_type=message.send_type,
        cycle_time=message.cycle_time,
        dbc_specifics=message.dbc,
        is_extended_frame=message.is_extended_frame,
        is_fd=message.is_fd,
        bus_name=message.bus_name,
        signal_groups=message.signal_groups,
        protocol=message.protocol,
        strict=False,  # the file was looked through when it was loaded
    )
