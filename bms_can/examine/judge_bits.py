"""Findings on the bits of payloads: counters, checksums, pages, bits without a signal. Pure."""

import re
from collections.abc import Iterator

from cantools.database.can import Message

from bms_can.examine.counters import Counter
from bms_can.examine.finding import Finding, Numbers, Weight
from bms_can.examine.judge import LEAST_FRAMES, Evidence, listed
from bms_can.examine.stream import Stream
from bms_can.layout import Field, field_of, occupied

WHOLE = 0.985  # share at which a counter or checksum holds
MANY_STEPS = 100
SURE, LIKELY = 0.99, 0.9
BYTE = 8
COUNTER_NAME = re.compile(
    r"(counter|^mc_|(^|_)(rc|rolling|alive|alvcnt|cntr?|msgcnt|sqc|bz|botschaftszaehler)(_|\d|$))|计数|生命",
    re.IGNORECASE,
)
CHECKSUM_NAME = re.compile(
    r"(checksum|chksum|cksum|(^|_)(crc\d*|chk|cs|bcc)(_|\d|$))|校验", re.IGNORECASE
)
MOST_COUNTER_BITS = 16


def fields_of(message: Message) -> dict[str, Field]:
    """Return the places of a message's signals."""
    found = {signal.name: field_of(message, signal) for signal in message.signals}
    return {name: place for name, place in found.items() if place is not None}


def checksum_bytes(message: Message) -> tuple[int, ...]:
    """Return the bytes that a DBC calls a checksum by name."""
    found = []
    for name, place in fields_of(message).items():
        mask = occupied(place)
        low = (mask & -mask).bit_length() - 1
        if CHECKSUM_NAME.search(name) and place.length == BYTE and low % BYTE == 0:
            found.append(low // BYTE)
    return tuple(found)


def judge_bits(evidence: Evidence) -> Iterator[Finding]:
    """Yield what the payloads of each identifier say."""
    for stream in evidence.streams():
        message = message_of(evidence, stream)
        for counter in stream.counters:
            yield from _counter(evidence, stream, message, counter)
        yield from _checksum(evidence, stream, message)
        if not evidence.is_known(stream.key):
            yield from _fields(evidence, stream)
        if message is not None:
            yield from _uncovered(evidence, stream, message)
            yield from _named_but_not(evidence, stream, message)


def message_of(evidence: Evidence, stream: Stream) -> Message | None:
    """Return the message of a stream, where its channel is the DBC's."""
    if evidence.database is None or not evidence.described(stream.key.channel):
        return None
    return evidence.database.by_id.get((stream.key.can_id, stream.key.extended))


def place_words(counter: Counter) -> str:
    """Return where a counter lies, in one form for both languages."""
    top = counter.bit + counter.bits - 1
    if top < BYTE:
        return f"[{counter.byte}] bit {counter.bit}..{top}"
    last = counter.byte + top // BYTE * (1 if counter.little else -1)
    order = "little-endian" if counter.little else "big-endian"
    return f"[{counter.byte}] bit {counter.bit} .. [{last}] bit {top % BYTE}, {order}"


def covering(message: Message | None, mask: int) -> str:
    """Return the signal that takes exactly these bits, "" if none does."""
    if message is None:
        return ""
    exact = [name for name, place in fields_of(message).items() if occupied(place) == mask]
    return exact[0] if exact else ""


def containing(message: Message | None, mask: int) -> str:
    """Return a signal that holds these bits and more, "" if none does."""
    if message is None:
        return ""
    found = [name for name, place in fields_of(message).items() if not mask & ~occupied(place)]
    return found[0] if found else ""


def _counter(
    evidence: Evidence, stream: Stream, message: Message | None, counter: Counter
) -> Iterator[Finding]:
    signal, inside = (look(message, counter.mask()) for look in (covering, containing))
    if counter.is_page and message is not None and any(s.is_multiplexer for s in message.signals):
        return  # the DBC knows
    doubtful = message is not None and counter.byte in checksum_bytes(message)
    if doubtful and counter.share < WHOLE:
        return  # a checksum that follows a counter
    values: Numbers = {
        "place": place_words(counter),
        "bits": counter.bits,
        "modulo": counter.modulo,
        "low": counter.low,
        "seen": counter.seen,
        "signal": signal,
        "inside": "" if signal else inside,
        "missing": int(message is not None and not signal and not inside),
        "repeated": counter.repeated,
        "lost": counter.steps - counter.good - counter.repeated,
    }
    kind = "page" if counter.is_page else "counter"
    weight = Weight.LOOK if values["missing"] or counter.share < WHOLE else Weight.NOTE
    place = counter.misses[0] if counter.misses else None
    yield Finding(
        kind, weight, evidence.stream_name(stream),
        SURE if counter.steps >= MANY_STEPS and counter.share >= WHOLE else LIKELY,
        counter.good, counter.steps,
        None if place is None else place[1], stream.first_line if place is None else place[0],
        values,
    )  # fmt: skip


def _checksum(evidence: Evidence, stream: Stream, message: Message | None) -> Iterator[Finding]:
    found = stream.checksum
    if found is None:
        return
    place_mask = 0xFF << BYTE * found.byte
    signal, inside = (look(message, place_mask) for look in (covering, containing))
    values: Numbers = {
        "inside": "" if signal else inside,
        "missing": int(message is not None and not signal and not inside),
        "byte": found.byte,
        "words": found.words,
        "name": found.name,
        "signal": signal,
        "bad": found.frames - found.good,
    }
    weight = Weight.LOOK if values["missing"] or found.good < found.frames else Weight.NOTE
    place = found.misses[0] if found.misses else None
    yield Finding(
        "checksum", weight, evidence.stream_name(stream),
        SURE if found.frames >= MANY_STEPS and found.share >= WHOLE else LIKELY,
        found.good, found.frames,
        None if place is None else place[1], stream.first_line if place is None else place[0],
        values,
    )  # fmt: skip


def _fields(evidence: Evidence, stream: Stream) -> Iterator[Finding]:
    """What an unknown identifier carries, as far as can be guessed without counters."""
    taken = {stream.checksum.byte} if stream.checksum is not None else set()
    for counter in stream.counters:
        taken |= {byte for byte in range(64) if counter.mask() >> BYTE * byte & 0xFF}
    words = [each.words for each in stream.fields if not taken & {each.first, each.last}]
    if not words or stream.isotp or stream.frames < LEAST_FRAMES:
        return
    values: Numbers = {"count": len(words), "list": listed(words, 8)}
    yield Finding(
        "fields", Weight.NOTE, evidence.stream_name(stream), 0.5, stream.frames, stream.frames,
        None, stream.first_line, values,
    )  # fmt: skip


def _uncovered(evidence: Evidence, stream: Stream, message: Message) -> Iterator[Finding]:
    """Bits that change although no signal of the DBC is there."""
    covered = 0
    for signal in message.signals:  # all of them: two may have one name
        place = field_of(message, signal)
        covered |= 0 if place is None else occupied(place)
    for counter in stream.counters:
        covered |= counter.mask()
    if stream.checksum is not None:
        covered |= 0xFF << BYTE * stream.checksum.byte
    moving = int.from_bytes(stream.changed.tobytes(), "little") & ~covered
    if not moving or stream.frames < LEAST_FRAMES or stream.isotp:
        return
    by_byte = {byte: moving >> BYTE * byte & 0xFF for byte in range(64)}
    words = [f"[{byte}] 0x{bits:02X}" for byte, bits in by_byte.items() if bits]
    values: Numbers = {"bits": moving.bit_count(), "list": listed(words, 8)}
    weight = Weight.LOOK if moving.bit_count() >= BYTE else Weight.NOTE
    yield Finding(
        "uncovered", weight, evidence.stream_name(stream), 1.0, stream.frames, stream.frames,
        None, stream.first_line, values,
    )  # fmt: skip


def _named_but_not(evidence: Evidence, stream: Stream, message: Message) -> Iterator[Finding]:
    """Signals that the DBC calls counter or checksum, and that do not behave so."""
    if stream.frames < 2 * LEAST_FRAMES or stream.timing.steps == 0:
        return
    counted = {covering(message, each.mask()) for each in stream.counters}
    checked = (
        "" if stream.checksum is None else covering(message, 0xFF << BYTE * stream.checksum.byte)
    )
    moving = int.from_bytes(stream.changed.tobytes(), "little")
    for name, place in fields_of(message).items():
        still = not moving & occupied(place)
        byte = None if stream.checksum is None else stream.checksum.byte
        inside = byte is not None and not occupied(place) & ~(0xFF << BYTE * byte)
        values: Numbers = {
            "signal": name,
            "still": int(still),
            "checksum": byte if inside else None,
        }
        subject = f"{evidence.stream_name(stream)}.{name}"
        numbers = (stream.frames, stream.frames, None, stream.first_line, values)
        is_counter = COUNTER_NAME.search(name) and 2 <= place.length <= MOST_COUNTER_BITS  # noqa: PLR2004 - one bit is a flag
        if is_counter and name not in counted and not _part_of(place, stream):
            yield Finding("no-counter", Weight.NOTE, subject, 0.8, *numbers)
        elif CHECKSUM_NAME.search(name) and place.length == BYTE and name != checked and not still:
            yield Finding("no-checksum", Weight.LOOK, subject, 0.8, *numbers)


def _part_of(place: Field, stream: Stream) -> bool:
    """Tell whether a counter that was found lies inside the signal: it just did not run full."""
    return any(not each.mask() & ~occupied(place) for each in stream.counters)
