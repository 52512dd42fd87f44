"""Where the bits of a signal lie, and how to read and write them. Pure.

A DBC counts bits from bit 0 of byte 0; the start bit is the lowest bit of a little-endian signal
and the highest of a big-endian one. Here a signal is a shift and a mask on the whole payload, read
as one integer in the signal's own byte order.
"""

import struct
from collections.abc import Iterator, Mapping
from typing import NamedTuple, cast

from cantools.database.can import Message, Signal

FD_LENGTHS = (12, 16, 20, 24, 32, 48, 64)  # ISO 11898-1: payload lengths above 8 bytes
FLOAT_FORMATS = {16: ">e", 32: ">f", 64: ">d"}  # IEEE 754 by length in bits


class Field(NamedTuple):
    """A signal's place in its payload.

    Attributes:
        size: declared length of the message [bytes]; longer data is read up to here.
        little: True: Intel byte order, False: Motorola.
        shift, mask: the raw bits are `(payload >> shift) & mask`.
        sign: the sign bit, 0 for an unsigned signal.
        length: number of bits.
        is_float: the bits are an IEEE 754 number.
    """

    size: int
    little: bool
    shift: int
    mask: int
    sign: int
    length: int
    is_float: bool

    @property
    def order(self) -> str:
        """Byte order as `int.from_bytes` names it."""
        return "little" if self.little else "big"

    @property
    def lowest(self) -> int:
        """Smallest raw integer that the bits can hold."""
        return -self.sign

    @property
    def highest(self) -> int:
        """Largest raw integer that the bits can hold."""
        return self.sign - 1 if self.sign else self.mask


class Page(NamedTuple):
    """The signals of a message, or of one multiplexer value.

    Attributes:
        names: signals that are always there, multiplexers among them.
        muxes: for each multiplexer its raw values and the page that each selects.
    """

    names: tuple[str, ...]
    muxes: Mapping[str, Mapping[int, "Page"]]


def field_of(message: Message, signal: Signal) -> Field | None:
    """Return the place of a signal, None if it lies outside or is a float of no known length."""
    little = signal.byte_order == "little_endian"
    first = signal.start
    if not little:
        first = 8 * (signal.start // 8) + 7 - signal.start % 8
    shift = first if little else 8 * message.length - first - signal.length
    if first < 0 or signal.length < 1 or first + signal.length > 8 * message.length:
        return None
    is_float = signal.conversion.is_float
    if is_float and signal.length not in FLOAT_FORMATS:
        return None
    sign = 1 << (signal.length - 1) if signal.is_signed and not is_float else 0
    mask = (1 << signal.length) - 1
    return Field(message.length, little, shift, mask, sign, signal.length, is_float)


def page_of(message: Message) -> Page:
    """Return the multiplexing tree of a message."""
    return _page(cast("list[object]", message.signal_tree))


def _page(tree: list[object]) -> Page:
    names: list[str] = []
    muxes: dict[str, dict[int, Page]] = {}
    for node in tree:
        if not isinstance(node, dict):
            names.append(str(node))
            continue
        for name, pages in node.items():
            names.append(name)
            muxes[name] = {int(value): _page(page) for value, page in pages.items()}
    return Page(tuple(names), muxes)


def read(field: Field, data: bytes) -> int | float:
    """Return the raw value of a field; `data` has at least the declared length."""
    word = int.from_bytes(data[: field.size], "little" if field.little else "big")
    bits = (word >> field.shift) & field.mask
    return bits_to_float(bits, field.length) if field.is_float else (bits ^ field.sign) - field.sign


def write(field: Field, data: bytes, raw: float) -> bytes:
    """Return `data` with the field set to a raw value that fits."""
    bits = float_to_bits(raw, field.length) if field.is_float else int(raw) & field.mask
    head, tail = data[: field.size], data[field.size :]
    word = int.from_bytes(head, "little" if field.little else "big")
    word = word & ~(field.mask << field.shift) | bits << field.shift
    return word.to_bytes(field.size, "little" if field.little else "big") + tail


def bits_to_float(bits: int, length: int) -> float:
    """Return the IEEE 754 number of 16, 32 or 64 bits."""
    return float(struct.unpack(FLOAT_FORMATS[length], bits.to_bytes(length // 8, "big"))[0])


def float_to_bits(value: float, length: int) -> int:
    """Return the bits of an IEEE 754 number. Raises OverflowError if it is too large."""
    return int.from_bytes(struct.pack(FLOAT_FORMATS[length], value), "big")


def occupied(field: Field) -> int:
    """Return the bits that a field takes, as a mask that is the same for both byte orders."""
    mask = (field.mask << field.shift).to_bytes(field.size, "little" if field.little else "big")
    return int.from_bytes(mask, "little")


def overlaps(message: Message) -> Iterator[tuple[str, str]]:
    """Yield each pair of signals that share bits in one frame, once."""
    masks = {}
    for signal in message.signals:
        if (field := field_of(message, signal)) is not None:
            masks[signal.name] = occupied(field)
    yield from dict.fromkeys(_overlaps(page_of(message), masks, ()))


def _overlaps(
    page: Page, masks: dict[str, int], above: tuple[str, ...]
) -> Iterator[tuple[str, str]]:
    present = above
    for name in page.names:
        mask = masks.get(name, 0)
        yield from ((other, name) for other in present if masks.get(other, 0) & mask)
        present = (*present, name)
    for pages in page.muxes.values():
        for child in pages.values():
            yield from _overlaps(child, masks, present)


def wire_length(size: int) -> int:
    """Return the payload length on the bus: CAN FD pads to its next larger length."""
    if size <= 8:  # noqa: PLR2004 - a classical frame holds 8 bytes
        return size
    return next((length for length in FD_LENGTHS if length >= size), size)
