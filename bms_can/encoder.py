"""Values to payload: strict, checked by reading back and by cantools' own encoder. Pure.

Meant for control frames, which are built once at load (reliability rule 29).
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from types import MappingProxyType

from cantools.database.can import Message
from cantools.errors import Error as CantoolsError

from bms_can.errors import BadValue
from bms_can.layout import Field, Page, field_of, page_of, read, wire_length, write
from bms_can.profile import SignalLimits
from bms_can.scaling import float_range, limits_of, raw_of, raw_range

Raws = dict[str, int | float]
NO_LIMITS = SignalLimits()


def encode(
    message: Message,
    values: Mapping[str, int | float | str],
    limits: Mapping[str, SignalLimits] = MappingProxyType({}),
    left_out: frozenset[str] = frozenset(),
) -> bytes:
    """Return the payload of a message, as long as it is on the wire. Unused bits are 0.

    Args:
        message: what to encode.
        values: every signal of the selected multiplexer pages, by bare name: a physical value in
            the DBC's unit, an int where the signal is unscaled, or a choice name.
        limits: ranges by "Message.Signal" in place of those of the DBC.
        left_out: counter and checksum: they stay 0 for the seal and must not be named.

    Raises:
        BadValue: names message and signal.
    """
    names = Counter(signal.name for signal in message.signals)
    for name, count in names.items():
        if count > 1:
            raise BadValue(f"{message.name}.{name}: there {count} times")
        _field(message, name)
    raws = _raws(message, values, limits, left_out)
    payload = bytes(message.length)
    for signal_name, raw in raws.items():
        payload = write(_field(message, signal_name), payload, raw)
    _check_back(message, raws, payload)
    _check_against_cantools(message, raws, payload)
    return payload.ljust(wire_length(message.length), b"\0")


def _raws(
    message: Message,
    values: Mapping[str, int | float | str],
    limits: Mapping[str, SignalLimits],
    left_out: frozenset[str],
) -> Raws:
    raws: Raws = {}
    for name in _selected(message, page_of(message), raws):
        key = f"{message.name}.{name}"
        if (name in values) == (name in left_out):
            raise BadValue(f"{key}: {'is set by the seal' if name in left_out else 'has no value'}")
        raw = 0 if name in left_out else _checked_raw(message, name, values[name], limits)
        raws[name] = raw
    if extra := sorted(set(values) - set(raws)):
        raise BadValue(f"{message.name}.{extra[0]}: not a signal of the selected page")
    return raws


def _selected(message: Message, page: Page, raws: Raws) -> Iterator[str]:
    """Yield the signals of a page; the caller puts each raw value into `raws` before the next."""
    yield from page.names
    for mux, pages in page.muxes.items():
        selected = pages.get(int(raws[mux]))
        if selected is None or int(raws[mux]) != raws[mux]:
            raise BadValue(f"{message.name}.{mux}: no page {raws[mux]}")
        yield from _selected(message, selected, raws)


def _checked_raw(
    message: Message, name: str, value: float | str, limits: Mapping[str, SignalLimits]
) -> int | float:
    key = f"{message.name}.{name}"
    signal = message.get_signal_by_name(name)
    field = _field(message, name)
    raw = raw_of(key, field, signal, value)
    if isinstance(value, str):
        return raw
    limit = limits.get(key, NO_LIMITS)
    ranges = float_range if field.is_float else raw_range
    low, high = ranges(field, signal, limit)
    if not low <= (value if field.is_float else raw) <= high:
        declared = "..".join(
            "" if each is None else f"{each:.10g}" for each in limits_of(signal, limit)
        )
        raise BadValue(f"{key}: {value!r} is outside of its declared range {declared}")
    return raw


def _field(message: Message, name: str) -> Field:
    field = field_of(message, message.get_signal_by_name(name))
    if field is None:
        raise BadValue(f"{message.name}.{name}: does not fit into its message")
    return field


def _check_back(message: Message, raws: Raws, payload: bytes) -> None:
    for name, raw in raws.items():
        field = _field(message, name)
        if read(field, payload) != read(field, write(field, payload, raw)):
            raise BadValue(f"{message.name}.{name}: overwritten by a signal on the same bits")


def _check_against_cantools(message: Message, raws: Raws, payload: bytes) -> None:
    """Two encoders that share no code must agree on a frame that moves a contactor."""
    try:
        other = message.encode(raws, scaling=False, padding=False, strict=False)
    except (CantoolsError, KeyError, ValueError, OverflowError) as error:
        raise BadValue(f"{message.name}: cantools refuses these values: {error}") from error
    if other != payload:
        raise BadValue(f"{message.name}: {payload.hex()} here, {other.hex()} by cantools")
