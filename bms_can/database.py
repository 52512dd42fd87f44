"""A loaded CAN database: its messages and signals, and what in the file is not to be relied on.

Vendor files overlap, lack lines, and name things twice (trap 18): what can be read is read, what is
ambiguous is left out, and every liberty taken is one line in `warnings`.
"""

import fnmatch
import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from cantools.database.can import Database as CanDatabase
from cantools.database.can import Message, Signal

from bms_can.can_frame import CLASSICAL_DATA, Form
from bms_can.databasefile import FORMATS, decoded, parsed
from bms_can.errors import BadDatabase, BadValue
from bms_can.layout import FLOAT_FORMATS, field_of, overlaps
from bms_can.scaling import is_finite

Key = tuple[int, bool]  # (CAN id, extended)
BIT_RATE_SWITCH = "CANFD_BRS"


@dataclass(frozen=True, slots=True, eq=False)
class Database:
    """A loaded CAN database.

    Attributes:
        path: the file; sha256: of its bytes; encoding: that it was read with.
        warnings: what is wrong with the file and what was left out, one line each.
        messages: by name, only those with an unambiguous name and id.
        by_id: the same by (id, extended).
        ambiguous: ids with several messages, or whose message's name is used twice: they do not
            decode.
        signals: "Message.Signal" -> (message, signal), only those that can be decoded.
        more_lengths: lengths on the bus that a profile allows beside a message's own, by name.
    """

    path: str
    sha256: str
    encoding: str
    warnings: tuple[str, ...]
    messages: Mapping[str, Message]
    by_id: Mapping[Key, Message]
    ambiguous: frozenset[Key]
    signals: Mapping[str, tuple[Message, Signal]]
    more_lengths: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


def load(path: str | Path) -> Database:
    """Load a DBC, KCD, SYM or ARXML file.

    Raises:
        BadDatabase: it cannot be read, or holds no message with signals.
    """
    name = str(path)
    kind = FORMATS.get(Path(path).suffix.lower())
    if kind is None:
        raise BadDatabase(name, [f"not one of {', '.join(FORMATS)}"])
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise BadDatabase(name, [error.strerror or str(error)]) from error
    text, encoding = decoded(content, name)
    can_database, warnings = parsed(text, kind, name)
    return _indexed(name, hashlib.sha256(content).hexdigest(), encoding, can_database, warnings)


def find(database: Database, name: str) -> tuple[Message, Signal] | None:
    """Return message and signal of "Message.Signal", or None if there is no such usable signal."""
    return database.signals.get(name)


def match(database: Database, glob: str) -> tuple[str, ...]:
    """Return the names "Message.Signal" that fit a glob, cell_2 before cell_10."""
    return tuple(
        sorted(
            (name for name in database.signals if fnmatch.fnmatchcase(name, glob)),
            key=natural_order,
        )
    )


def natural_order(name: str) -> list[tuple[int, int | str]]:
    """Return a sort key that puts numbers in a name in the order of their value."""
    parts = re.split(r"(\d+)", name)
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in parts if part]


def cycle_time_ms(message: Message) -> int | None:
    """Return the cycle time [ms] that the file states for this very message, else None.

    cantools also returns the attribute's default, which says nothing about this message (trap 19).
    """
    stated: object = message.cycle_time
    if message.dbc is not None:
        attribute = message.dbc.attributes.get("GenMsgCycleTime")
        stated = None if attribute is None else attribute.value
    return int(stated) if isinstance(stated, int | float) and stated > 0 else None


def fd_forms(database: Database) -> dict[Key, Form]:
    """Return how the CAN FD messages go over the bus (attributes VFrameFormat and CANFD_BRS)."""
    return {
        key: Form(fd=True, switch=_switches(message))
        for key, message in database.by_id.items()
        if message.is_fd or message.length > CLASSICAL_DATA
    }


def _switches(message: Message) -> bool:
    """Tell whether the data of a CAN FD message go at the faster bit rate; not said: no."""
    if message.dbc is None:
        return False
    stated = message.dbc.attributes.get(BIT_RATE_SWITCH)
    if stated is not None:
        return str(stated.value) == "1"
    known = message.dbc.attribute_definitions.get(BIT_RATE_SWITCH)
    return known is not None and str(known.default_value) == "1"


def raw_values(
    message: Message, signal: Signal, names_or_numbers: Iterable[str | int | float]
) -> frozenset[int | float]:
    """Return the raw values meant by choice names and raw numbers of one signal.

    Raises:
        BadValue: a name is no choice of the signal, or a number cannot occur in its bits.
    """
    found: set[int | float] = set()
    for value in names_or_numbers:
        found |= _raws(f"{message.name}.{signal.name}", message, signal, value)
    return frozenset(found)


def _raws(
    name: str, message: Message, signal: Signal, value: str | float
) -> set[int] | set[int | float]:
    if isinstance(value, str):
        raws = {raw for raw, choice in (signal.choices or {}).items() if str(choice) == value}
        if not raws:
            known = ", ".join(repr(str(choice)) for choice in (signal.choices or {}).values())
            raise BadValue(f"{name}: no choice {value!r}; it has {known or 'none'}")
        return raws
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadValue(f"{name}: {value!r} is neither a raw number nor a choice")
    field = field_of(message, signal)
    if field is None:
        raise BadValue(f"{name}: does not fit into its message")
    if field.is_float:
        return {value}
    if not (field.lowest <= value <= field.highest and value == int(value)):
        raise BadValue(f"{name}: raw {value!r} is not in {field.lowest}..{field.highest}")
    return {int(value)}


def _indexed(
    path: str, sha256: str, encoding: str, parsed: CanDatabase, warnings: list[str]
) -> Database:
    if not any(message.signals for message in parsed.messages):
        raise BadDatabase(path, [f"{len(parsed.messages)} messages, none with signals", *warnings])
    ambiguous, notes = _ambiguous(parsed.messages)
    usable = [message for message in parsed.messages if _key(message) not in ambiguous]
    signals, left_out = usable_signals(usable)
    ids = {_key(message): message for message in usable}
    return Database(
        path=path,
        sha256=sha256,
        encoding=encoding,
        warnings=(*warnings, *notes, *left_out),
        messages=MappingProxyType({message.name: message for message in usable}),
        by_id=MappingProxyType(ids),
        ambiguous=ambiguous,
        signals=MappingProxyType(signals),
    )


def _key(message: Message) -> Key:
    return message.frame_id, message.is_extended_frame


def _ambiguous(messages: list[Message]) -> tuple[frozenset[Key], list[str]]:
    keys = Counter(_key(message) for message in messages)
    names = Counter(message.name for message in messages)
    found: set[Key] = set()
    notes = []
    for message in messages:
        key = _key(message)
        if message.is_container:
            notes.append(f"{message.name}: container messages are not decoded")
        elif keys[key] > 1:
            notes.append(f"{message.name}: id 0x{key[0]:X} has {keys[key]} messages; not decoded")
        elif names[message.name] > 1:
            notes.append(f"{message.name}: {names[message.name]} messages so named; not decoded")
        elif twice := _twice(message) & {s.name for s in message.signals if s.is_multiplexer}:
            notes.append(f"{message.name}: multiplexer {min(twice)} is there twice; not decoded")
        else:
            continue
        found.add(key)
    return frozenset(found), notes


def _twice(message: Message) -> set[str]:
    counts = Counter(signal.name for signal in message.signals)
    return {name for name, count in counts.items() if count > 1}


def usable_signals(
    messages: Iterable[Message],
) -> tuple[dict[str, tuple[Message, Signal]], list[str]]:
    """Return the signals that can be decoded, by "Message.Signal", and a line for each other."""
    signals = {}
    notes = []
    for message in messages:
        twice = _twice(message)
        notes += [f"{message.name}.{name}: there twice; not decoded" for name in sorted(twice)]
        for signal in message.signals:
            name = f"{message.name}.{signal.name}"
            field = field_of(message, signal)
            if signal.conversion.is_float and signal.length not in FLOAT_FORMATS:
                notes.append(f"{name}: a float of {signal.length} bits; not decoded")
            elif field is None:
                notes.append(f"{name}: does not fit into its message; not decoded")
            elif not is_finite(field, signal):
                notes.append(f"{name}: its factor or offset is no usable number; not decoded")
            elif signal.name not in twice:
                signals[name] = (message, signal)
                notes += _range_notes(name, signal)
        notes += [f"{message.name}: {a} and {b} overlap" for a, b in _distinct_overlaps(message)]
    return signals, notes


def _distinct_overlaps(message: Message) -> Iterator[tuple[str, str]]:
    return ((first, second) for first, second in overlaps(message) if first != second)


def _range_notes(name: str, signal: Signal) -> list[str]:
    low, high = signal.minimum, signal.maximum
    if low is not None and high is not None and low > high:
        return [f"{name}: range [{low}|{high}] is empty; ignored"]
    return []
