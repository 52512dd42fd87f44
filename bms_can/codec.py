"""Frames to samples, by a layout compiled once. Pure after construction.

`decode` computes what cantools computes, bit for bit, and adds what cantools leaves out (traps 14
to 16, reliability rules 28 and 29): the exact length, (id, extended) as the key, ranges, sentinels,
NaN. A value that is heard but not valid is None, never a number. A multiplexer selects by its raw
value. Overlapping signals are each read where the file says; cantools misplaces or refuses them.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, NamedTuple

from cantools.database.can import Message, Signal

from bms_can.database import Database, Key
from bms_can.encoder import encode
from bms_can.errors import BadDatabase, BadFrame, BadValue
from bms_can.frame import Frame
from bms_can.layout import Field, Page, field_of, occupied, page_of, read, wire_length
from bms_can.profile import IntegrityRule, SignalLimits
from bms_can.scaling import float_range, raw_range, scale_of
from bms_can.signals import Sample

__all__ = ["Codec", "encode"]

NO_LIMITS = SignalLimits()
TABLE_BITS = 4  # signals up to here are looked up: flags and states, most of a BMS's signals
_new = tuple.__new__  # Sample(...) costs twice as much, and this runs for every signal


class TableStep(NamedTuple):
    """How to look up a signal of few bits: its bits select (raw, value)."""

    key: str
    shift: int
    mask: int
    table: tuple[tuple[int, int | float | None], ...]


class IntegerStep(NamedTuple):
    """How to compute one integer signal from the payload; `low` and `high` are raw."""

    key: str
    shift: int
    mask: int
    sign: int
    low: int
    high: int
    sentinels: frozenset[int | float]
    factor: int | float
    offset: int | float


class FloatStep(NamedTuple):
    """How to get one IEEE 754 signal; `low` and `high` are physical, `factor` None: unscaled."""

    key: str
    field: Field
    low: float
    high: float
    sentinels: frozenset[int | float]
    factor: int | float | None
    offset: int | float


class Mux(NamedTuple):
    """A multiplexer and the plan for each of its raw values."""

    name: str
    field: Field
    plans: Mapping[int | float, "Plan"]


class Integers(NamedTuple):
    """The integer signals of one page in one byte order."""

    order: Literal["little", "big"]
    tables: tuple[TableStep, ...]
    steps: tuple[IntegerStep, ...]


class Plan(NamedTuple):
    """All steps for one page of a message."""

    integers: tuple[Integers, ...]
    floats: tuple[FloatStep, ...]
    muxes: tuple[Mux, ...]


class Shape(NamedTuple):
    """What decides whether a frame decodes. Frames that select the same carry the same signals.

    Attributes:
        message: its name.
        length: of the data [byte].
        selecting: the bits of its multiplexers, as a mask of the payload read little-endian; 0:
            every frame of this length decodes.
    """

    message: str
    length: int
    selecting: int


class Entry(NamedTuple):
    """What to do with one (id, extended). `length` is that on the wire, None: any; `more`: also."""

    name: str
    size: int
    length: int | None
    more: tuple[int, ...]
    plan: Plan


@dataclass(frozen=True, slots=True)
class _Compiler:
    """Turns one message into a plan; `keys` are the wanted "Message.Signal", None: all."""

    database: Database
    message: Message
    keys: frozenset[str] | None
    limits: Mapping[str, SignalLimits]

    def plan(self, page: Page) -> Plan:
        wanted = self._wanted(page.names)
        floats = [self._float_step(*each) for each in wanted if each[2].is_float]
        muxes = [self._mux(name, pages) for name, pages in page.muxes.items()]
        orders: tuple[Literal["little", "big"], ...] = ("little", "big")
        integers = [self._integers(order, wanted) for order in orders]
        used = tuple(part for part in integers if part.tables or part.steps)
        return Plan(used, tuple(floats), tuple(muxes))

    def _integers(
        self, order: Literal["little", "big"], wanted: list[tuple[str, Signal, Field]]
    ) -> Integers:
        ours = [e for e in wanted if e[2].order == order and not e[2].is_float]
        steps = [(self._integer_step(*each), each[2].length) for each in ours]
        return Integers(
            order,
            tuple(_table_step(step) for step, length in steps if length <= TABLE_BITS),
            tuple(step for step, length in steps if length > TABLE_BITS),
        )

    def _wanted(self, names: tuple[str, ...]) -> list[tuple[str, Signal, Field]]:
        found = []
        for name in names:
            key = f"{self.message.name}.{name}"
            entry = self.database.signals.get(key)
            if entry is not None and (self.keys is None or key in self.keys):
                field = field_of(*entry)
                if field is not None:
                    found.append((key, entry[1], field))
        return found

    def _integer_step(self, key: str, signal: Signal, field: Field) -> IntegerStep:
        limits = self.limits.get(key, NO_LIMITS)
        low, high = raw_range(field, signal, limits)
        place = (field.shift, field.mask, field.sign)
        return IntegerStep(key, *place, low, high, limits.sentinels, *scale_of(signal))

    def _float_step(self, key: str, signal: Signal, field: Field) -> FloatStep:
        limits = self.limits.get(key, NO_LIMITS)
        scale = scale_of(signal)
        factor = None if scale.is_identity else scale.factor
        low, high = float_range(field, signal, limits)
        return FloatStep(key, field, low, high, limits.sentinels, factor, scale.offset)

    def _mux(self, name: str, pages: Mapping[int, Page]) -> Mux:
        key = f"{self.message.name}.{name}"
        field = field_of(self.message, self.message.get_signal_by_name(name))
        if field is None:
            raise BadDatabase(self.database.path, [f"{key}: multiplexer outside of its message"])
        return Mux(key, field, {value: self.plan(page) for value, page in pages.items()})


class Codec:
    """Decodes and encodes the messages of one database.

    Args:
        database: as loaded; its ambiguous ids are not decoded.
        wanted: signal names by message name, bare or as "Message.Signal"; None: all messages.
        limits: sentinels and ranges by "Message.Signal", in place of those of the DBC.
        integrity: rules by message name; their counters and checksums are not to be named in
            `encode`, which leaves them 0 for `Integrity.sealed`.

    Raises:
        BadDatabase: a wanted message or signal does not exist.
    """

    def __init__(
        self,
        database: Database,
        wanted: Mapping[str, Sequence[str]] | None = None,
        limits: Mapping[str, SignalLimits] = MappingProxyType({}),
        integrity: Mapping[str, IntegrityRule] = MappingProxyType({}),
    ) -> None:
        self.database = database
        self._limits = limits
        self._integrity = integrity
        names = database.messages if wanted is None else wanted
        keys = None if wanted is None else _keys(database, wanted)
        self._entries: dict[Key, Entry] = {}
        for name in names:
            message = database.messages[name]
            compiler = _Compiler(database, message, keys, limits)
            length = wire_length(message.length) if message.length else None
            more = database.more_lengths.get(name, ())
            entry = Entry(name, message.length, length, more, compiler.plan(page_of(message)))
            self._entries[message.frame_id, message.is_extended_frame] = entry

    def shapes(self) -> dict[Key, Shape]:
        """Return the messages of a known length, by (id, extended)."""
        return {
            key: Shape(entry.name, entry.length, _selecting(entry.plan))
            for key, entry in self._entries.items()
            if entry.length is not None
        }

    def decode(self, frame: Frame) -> tuple[str, dict[str, Sample]] | None:
        """Return message name and samples by "Message.Signal", None if the frame is not wanted.

        Raises:
            BadFrame: "length" or "mux"; nothing of the frame may be used.
        """
        entry = self._entries.get((frame.can_id, frame.extended))
        if entry is None:
            return None
        data = frame.data
        if len(data) != entry.length and entry.length is not None and len(data) not in entry.more:
            raise BadFrame("length", f"{entry.name}: {len(data)} bytes, not {entry.length}")
        samples: dict[str, Sample] = {}
        _collect(entry.plan, data[: entry.size], frame.at_s, samples)
        return entry.name, samples

    def encode(self, message: str, values: Mapping[str, int | float | str]) -> bytes:
        """Return the payload for physical values or choice names of all signals of a message.

        Unused bits, counter and checksum are 0. See `encoder.encode`.

        Raises:
            BadValue: a signal is missing or too many, or cannot carry its value exactly.
        """
        rule = self._integrity.get(message)
        sealed = () if rule is None else (rule.counter, rule.checksum)
        left_to_seal = frozenset(name for name in sealed if name is not None)
        if message not in self.database.messages:
            raise BadValue(f"{message}: no usable message of this name")
        return encode(self.database.messages[message], values, self._limits, left_to_seal)


def _keys(database: Database, wanted: Mapping[str, Sequence[str]]) -> frozenset[str]:
    keys = set()
    mistakes = [f"no usable message {name!r}" for name in wanted if name not in database.messages]
    for message, names in wanted.items():
        for name in names:
            key = name if name.startswith(f"{message}.") else f"{message}.{name}"
            keys.add(key)
            if key not in database.signals:
                mistakes.append(f"no usable signal {key!r}")
    if mistakes:
        raise BadDatabase(database.path, mistakes)
    return frozenset(keys)


def _collect(plan: Plan, data: bytes, at_s: float, samples: dict[str, Sample]) -> None:
    for part in plan.integers:
        word = int.from_bytes(data, part.order)
        for key, shift, mask, table in part.tables:
            samples[key] = _new(Sample, (*table[word >> shift & mask], at_s))
        for key, shift, mask, sign, low, high, sentinels, factor, offset in part.steps:
            raw = ((word >> shift & mask) ^ sign) - sign
            valid = low <= raw <= high and raw not in sentinels
            samples[key] = _new(Sample, (raw, raw * factor + offset if valid else None, at_s))
    for step in plan.floats:
        samples[step.key] = _float_sample(step, data, at_s)
    for mux in plan.muxes:
        selector = read(mux.field, data)
        page = mux.plans.get(selector)
        if page is None:
            raise BadFrame("mux", f"{mux.name}: no page {selector}")
        _collect(page, data, at_s, samples)


def _selecting(plan: Plan) -> int:
    """Return the bits of all multiplexers of a page and its pages."""
    found = 0
    for mux in plan.muxes:
        found |= occupied(mux.field)
        for page in mux.plans.values():
            found |= _selecting(page)
    return found


def _table_step(step: IntegerStep) -> TableStep:
    table = []
    for bits in range(step.mask + 1):
        raw = (bits ^ step.sign) - step.sign
        valid = step.low <= raw <= step.high and raw not in step.sentinels
        table.append((raw, raw * step.factor + step.offset if valid else None))
    return TableStep(step.key, step.shift, step.mask, tuple(table))


def _float_sample(step: FloatStep, data: bytes, at_s: float) -> Sample:
    raw = read(step.field, data)
    value = raw if step.factor is None else raw * step.factor + step.offset
    valid = math.isfinite(value) and step.low <= value <= step.high and raw not in step.sentinels
    return Sample(raw, value if valid else None, at_s)
