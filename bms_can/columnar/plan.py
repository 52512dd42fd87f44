"""Where each signal of a message lies in a payload, and what its numbers are. Pure.

Compiled once from the database. The place is that of `layout`, the arithmetic that of cantools,
`raw * factor + offset` in Python's numbers; the array types here hold every result exactly.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple

import numpy as np
from cantools.database.can import Message, Signal

from bms_can.database import Database
from bms_can.errors import BadDatabase
from bms_can.layout import Field, Page, field_of, page_of, wire_length
from bms_can.scaling import Scale, scale_of

WORD_BITS = 64
EXACT = 1 << 53  # float64 holds every integer up to here
EXTENDED_BIT = 1 << 31
INTEGER_TYPES = ("u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8")

DType = np.dtype[Any]


class Arithmetic(Enum):
    """How physical values come from raw ones."""

    SAME = "the raw integer itself"
    INTEGER = "in 64-bit integers"
    REAL = "in float64"
    IEEE = "an IEEE 754 number, in float64"
    BIG = "one by one in Python's integers"


class Place(NamedTuple):
    """Bits in a payload.

    Attributes:
        little: Intel byte order, else Motorola.
        first: Intel: place of the lowest bit, bit 0 of byte 0 being 0. Motorola: place of the
            highest bit, bit 7 of byte 0 being 0.
        length: number of bits.
    """

    little: bool
    first: int
    length: int

    @property
    def end(self) -> int:
        """Byte behind the last one touched."""
        return (self.first + self.length + 7) // 8


@dataclass(frozen=True, slots=True, eq=False)
class SignalPlan:
    """One signal: its bits, its arithmetic, and the array types of its raw and physical values."""

    name: str
    signal: Signal
    field: Field
    place: Place
    how: Arithmetic
    scale: Scale
    raw_type: DType
    type: DType


class MuxPlan(NamedTuple):
    """A multiplexer and the pages that its raw values select."""

    plan: SignalPlan
    pages: tuple[tuple[tuple[int, ...], "PagePlan"], ...]


class PagePlan(NamedTuple):
    """The signals that a page brings, and the multiplexers on it."""

    names: frozenset[str]
    muxes: tuple[MuxPlan, ...]


@dataclass(frozen=True, slots=True, eq=False)
class MessagePlan:
    """One message.

    Attributes:
        name: of the message.
        key: its id, with bit 31 set if it is extended.
        size: declared length [bytes].
        lengths: of the frames that carry it [bytes]; empty: any.
        signals: what is to be decoded, by bare name.
        page: what is on every frame, and what the multiplexers select.
    """

    name: str
    key: int
    size: int
    lengths: tuple[int, ...]
    signals: Mapping[str, SignalPlan]
    page: PagePlan


def plans_of(database: Database, wanted: Collection[str] | None) -> tuple[MessagePlan, ...]:
    """Return a plan for each message of which something is wanted ("Message", "Message.Signal").

    Raises:
        BadDatabase: what is wanted does not exist, or a multiplexer is outside of its message.
    """
    names = set(database.messages if wanted is None else wanted)
    unknown = sorted(names - database.messages.keys() - database.signals.keys())
    if unknown:
        raise BadDatabase(
            database.path, [f"no usable message or signal {name!r}" for name in unknown]
        )
    signals: dict[str, dict[str, SignalPlan]] = defaultdict(dict)
    for key, (message, signal) in database.signals.items():
        if message.name in names or key in names:
            signals[message.name][signal.name] = signal_plan(message, signal)
    return tuple(
        _message_plan(database, message, signals[name])
        for name, message in database.messages.items()
        if name in names or name in signals
    )


def _message_plan(
    database: Database, message: Message, signals: Mapping[str, SignalPlan]
) -> MessagePlan:
    more = database.more_lengths.get(message.name, ())
    return MessagePlan(
        name=message.name,
        key=message.frame_id | (EXTENDED_BIT if message.is_extended_frame else 0),
        size=message.length,
        lengths=(wire_length(message.length), *more) if message.length else (),
        signals=signals,
        page=_page_plan(database, message, page_of(message)),
    )


def _page_plan(database: Database, message: Message, page: Page) -> PagePlan:
    muxes = []
    for name, pages in page.muxes.items():
        signal = message.get_signal_by_name(name)
        if field_of(message, signal) is None:
            mistake = f"{message.name}.{name}: multiplexer outside of its message"
            raise BadDatabase(database.path, [mistake])
        alike: list[tuple[Page, list[int]]] = []
        for value, child in pages.items():
            known = next((values for each, values in alike if each == child), None)
            if known is None:
                alike.append((child, [value]))
            else:
                known.append(value)
        children = tuple(
            (tuple(values), _page_plan(database, message, child)) for child, values in alike
        )
        muxes.append(MuxPlan(signal_plan(message, signal), children))
    return PagePlan(frozenset(page.names), tuple(muxes))


def signal_plan(message: Message, signal: Signal) -> SignalPlan:
    """Return the plan of a signal that fits into its message."""
    field = field_of(message, signal)
    if field is None:
        raise ValueError(f"{message.name}.{signal.name} does not fit")
    first = signal.start
    if not field.little:
        first = 8 * (signal.start // 8) + 7 - signal.start % 8
    scale = scale_of(signal)
    raw_type = np.dtype("f8") if field.is_float else narrowest(field.lowest, field.highest)
    how, kind = _arithmetic(field, scale, raw_type)
    place = Place(field.little, first, field.length)
    return SignalPlan(signal.name, signal, field, place, how, scale, raw_type, kind)


def narrowest(lowest: int, highest: int) -> DType:
    """Return the smallest integer type that holds a range; Python's integers if none does."""
    for name in INTEGER_TYPES:
        held = np.iinfo(name)
        if held.min <= lowest and highest <= held.max:
            return np.dtype(name)
    return np.dtype(object)


def _arithmetic(field: Field, scale: Scale, raw_type: DType) -> tuple[Arithmetic, DType]:
    real = np.dtype("f8")
    if field.is_float:
        return Arithmetic.IEEE, real
    integral = isinstance(scale.factor, int) and isinstance(scale.offset, int)
    if scale.is_identity and integral:
        return (Arithmetic.BIG if raw_type.hasobject else Arithmetic.SAME), raw_type
    products = [raw * scale.factor for raw in (field.lowest, field.highest)]
    if integral:
        results = [int(product) + int(scale.offset) for product in products]
        kind = narrowest(min(results), max(results))
        extremes = [field.lowest, field.highest, *map(int, products), *results]
        fits = all(-(1 << 63) <= extreme < 1 << 63 for extreme in extremes)
        return (Arithmetic.INTEGER, kind) if fits else (Arithmetic.BIG, np.dtype(object))
    exact = isinstance(scale.factor, float) or max(map(abs, products)) <= EXACT
    fits = field.length <= WORD_BITS and exact
    return (Arithmetic.REAL if fits else Arithmetic.BIG), real
