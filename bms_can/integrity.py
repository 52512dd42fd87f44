"""Rolling counters and checksums: checked on receive, put in on send.

They find broken and frozen senders, not forged frames: CAN has no proof of the sender.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple

from bms_can.database import Database
from bms_can.errors import BadDatabase, BadFrame
from bms_can.layout import Field, field_of, occupied, read, wire_length, write
from bms_can.profile import IntegrityRule

Algorithm = Callable[[int, bytes, int], int]
"""(CAN id, payload, index of the checksum byte, which does not count) -> checksum 0..255."""

WRONG_LIMIT = 5  # leaky count at which a counter is no longer believed (reliability rule 30)
CHECKSUM_BITS = 8
MOST_RIGHT = 256  # payloads of a message that are known by heart


class Crc(NamedTuple):
    """A CRC of 8 bits over all bytes but the checksum's own."""

    polynomial: int
    start: int
    final: int


CRCS: Mapping[str, Crc] = MappingProxyType(
    {
        "crc8": Crc(0x07, 0x00, 0x00),
        "crc8-sae-j1850": Crc(0x1D, 0xFF, 0xFF),
        "crc8-autosar": Crc(0x2F, 0xFF, 0xFF),
        "crc8-nissan": Crc(0x85, 0x00, 0x00),
    }
)


def crc_table(polynomial: int) -> bytes:
    """Return the rest of each byte."""
    table = bytearray()
    for value in range(256):
        rest = value
        for _ in range(8):
            rest = (rest << 1 ^ (polynomial if rest & 0x80 else 0)) & 0xFF
        table.append(rest)
    return bytes(table)


def _crc8(crc: Crc) -> Algorithm:
    """Return a CRC as AUTOSAR E2E and J1850 users compute it."""
    table = tuple(crc_table(crc.polynomial))  # twice as fast as bytes

    def checksum(_can_id: int, data: bytes, index: int) -> int:
        rest = crc.start
        for byte in data[:index]:
            rest = table[rest ^ byte]
        if index + 1 < len(data):
            for byte in data[index + 1 :]:
                rest = table[rest ^ byte]
        return rest ^ crc.final

    return checksum


def _sum8(_can_id: int, data: bytes, index: int) -> int:
    return sum(data) - data[index] & 0xFF


def _xor8(_can_id: int, data: bytes, index: int) -> int:
    rest = data[index]
    for byte in data:
        rest ^= byte
    return rest


def _sum8_id_len(can_id: int, data: bytes, index: int) -> int:
    """Sum of id, length and bytes, as Orion BMS 2 sends it."""
    return can_id + len(data) + sum(data) - data[index] & 0xFF


ALGORITHMS: Mapping[str, Algorithm] = MappingProxyType(
    {
        "sum8": _sum8,
        "sum8-inverted": lambda *each: ~_sum8(*each) & 0xFF,
        "xor8": _xor8,
        "sum8-id-len": _sum8_id_len,
        **{name: _crc8(crc) for name, crc in CRCS.items()},
    }
)


@dataclass(slots=True)
class _Seal:
    """One message's places for counter and checksum, and what its counter did so far.

    `checksum_at`: position of the checksum in the data [byte]. `counter_at`: that of the counter,
    None if it lies in several bytes; `shift`: its lowest bit there. `right`: payloads whose
    checksum was right; a battery at rest repeats them each time that its counter has gone round.
    """

    name: str
    can_id: int
    lengths: tuple[int, ...]
    modulo: int
    counter: Field | None
    checksum: Field | None
    algorithm: Algorithm | None
    checksum_at: int = 0
    counter_at: int | None = None
    shift: int = 0
    last: int | None = None
    wrong: int = 0
    doubted: bool = False
    right: set[bytes] = field(default_factory=set)

    def sealed(self, payload: bytes, counter_value: int) -> bytes:
        """Return the payload with counter and checksum."""
        if self.counter is not None:
            payload = write(self.counter, payload, counter_value % self.modulo)
        if self.checksum is not None and self.algorithm is not None:
            checksum = self.algorithm(self.can_id, payload, self.checksum_at)
            payload = write(self.checksum, payload, checksum)
        return payload

    def step(self, value: int) -> int:
        """Take the next counter value; return how many frames were lost before it.

        Raises:
            BadFrame: "counter": repeated, out of range, or wrong too often of late.
        """
        step = (value - self.last) % self.modulo if self.last is not None else 1
        self.last = value
        right = step == 1 % self.modulo and value < self.modulo
        self.wrong = max(self.wrong - 1, 0) if right else min(self.wrong + 1, WRONG_LIMIT)
        self.doubted = self.wrong == WRONG_LIMIT or (self.doubted and self.wrong > 0)
        if value >= self.modulo:
            raise BadFrame("counter", f"{self.name}: {value} is not below {self.modulo}")
        if step == 0 and not right:
            raise BadFrame("counter", f"{self.name}: {value} repeated")
        if self.doubted:
            raise BadFrame("counter", f"{self.name}: wrong too often")
        return step - 1 if step else 0


class Integrity:
    """Checks what is received and seals what is sent. Stateful per message; one thread receives.

    Args:
        database: holds the messages.
        rules: by message name; messages without a rule pass unchecked.

    Raises:
        BadDatabase: a rule does not fit its message; see `rule_mistakes`.
    """

    def __init__(self, database: Database, rules: Mapping[str, IntegrityRule]) -> None:
        mistakes = [m for rule in rules.values() for m in rule_mistakes(database, rule)]
        if mistakes:
            raise BadDatabase(database.path, mistakes)
        self._seals = {name: _seal(database, rule) for name, rule in rules.items()}
        self._lost: Counter[str] = Counter()
        self._refused: Counter[str] = Counter()

    @property
    def lost_frames(self) -> int:
        """Frames that the counters say were sent and not received."""
        return self._lost.total()

    @property
    def lost_by_message(self) -> Mapping[str, int]:
        """The same by message name, a copy."""
        return dict(self._lost)

    @property
    def refused(self) -> Mapping[str, int]:
        """Refused frames by reason ("length", "checksum", "counter"), a copy."""
        return dict(self._refused)

    def check(self, message_name: str, data: bytes) -> None:
        """Accept a received payload of this message, or raise. A refused one may not be used.

        Raises:
            BadFrame: "length"; "checksum", then the counter is not looked at; "counter".
        """
        seal = self._seals.get(message_name)
        if seal is None:
            return
        try:
            lost = _step(seal, data)
        except BadFrame as error:
            self._refused[error.reason] += 1
            raise
        if lost:
            self._lost[message_name] += lost

    def faults(self, message: str, payloads: Sequence[bytes]) -> Mapping[int, str]:
        """Take payloads of a message in order; see `check`.

        Returns:
            the reason for which a payload is refused, by its place; empty: all may be used.
        """
        faults = {}
        for place, data in enumerate(payloads):
            try:
                self.check(message, data)
            except BadFrame as error:
                faults[place] = error.reason
        return faults

    def restless(self, message: str) -> int:
        """Return the bits of counter and checksum, as a mask of the payload read little-endian."""
        seal = self._seals.get(message)
        fields = () if seal is None else (seal.counter, seal.checksum)
        return sum(occupied(each) for each in fields if each is not None)

    def steady(self, message: str) -> int | None:
        """Return the newest counter value of a message; None unless all before it were right."""
        seal = self._seals[message]
        return None if seal.wrong or seal.doubted else seal.last

    def go_on(self, message: str, counter_value: int) -> None:
        """Take note of frames that were checked elsewhere, all right, up to this counter value."""
        self._seals[message].last = counter_value

    def sealed(self, message: str, payload: bytes, counter_value: int) -> bytes:
        """Return the payload with counter (modulo its range) and checksum in place."""
        seal = self._seals.get(message)
        return payload if seal is None else seal.sealed(payload, counter_value)

    def counter_frames(self, message: str, payload: bytes) -> tuple[bytes, ...]:
        """Return one sealed payload for each counter value, one where there is no counter."""
        seal = self._seals.get(message)
        count = 1 if seal is None or seal.counter is None else seal.modulo
        return tuple(self.sealed(message, payload, value) for value in range(count))


def _step(seal: _Seal, data: bytes) -> int:
    """Take a payload; return how many frames were lost before it. This runs for every frame."""
    if len(data) not in seal.lengths:
        raise BadFrame("length", f"{seal.name}: {len(data)} bytes, not {seal.lengths[0]}")
    if seal.algorithm is not None and data not in seal.right:
        got = data[seal.checksum_at]
        expected = seal.algorithm(seal.can_id, data, seal.checksum_at)
        if got != expected:
            raise BadFrame("checksum", f"{seal.name}: 0x{got:02X}, not 0x{expected:02X}")
        if len(seal.right) >= MOST_RIGHT:
            seal.right.clear()
        seal.right.add(data)
    counter, at = seal.counter, seal.counter_at
    if counter is None:
        return 0
    value = int(read(counter, data)) if at is None else data[at] >> seal.shift & counter.mask
    last = seal.last
    if last is not None and seal.wrong == 0 and value == (last + 1) % seal.modulo:  # nearly always
        seal.last, seal.doubted = value, False
        return 0
    return seal.step(value)


def rule_mistakes(database: Database, rule: IntegrityRule) -> tuple[str, ...]:
    """Return every reason why a rule cannot serve its message; empty: it can."""
    if rule.message not in database.messages:
        return (f"no usable message {rule.message!r}",)
    mistakes = []
    if (rule.checksum is None) != (rule.algorithm is None):
        mistakes.append(f"{rule.message}: checksum and algorithm go together")
    if rule.algorithm is not None and rule.algorithm not in ALGORITHMS:
        mistakes.append(
            f"{rule.message}: algorithm {rule.algorithm!r}, not of {', '.join(ALGORITHMS)}"
        )
    named = [name for name in (rule.counter, rule.checksum) if name is not None]
    places = {name: _place_mistake(database, rule, name) for name in named}
    return (*mistakes, *(f"{rule.message}.{name}: {text}" for name, text in places.items() if text))


def _place_mistake(database: Database, rule: IntegrityRule, name: str) -> str:
    field = _field(database, rule.message, name)
    if field is None:
        return "no usable signal of this name"
    if (
        field.sign
        or field.is_float
        or database.signals[f"{rule.message}.{name}"][1].multiplexer_ids
    ):
        return "must be unsigned and on every page"
    if name == rule.checksum and (field.length != CHECKSUM_BITS or field.shift % 8):
        return "a checksum must be one whole byte"
    if name == rule.counter and not 2 <= rule.modulo <= field.mask + 1:  # noqa: PLR2004
        return f"modulo {rule.modulo}, not in 2..{field.mask + 1}"
    return ""


def _field(database: Database, message: str, name: str | None) -> Field | None:
    found = database.signals.get(f"{message}.{name}")
    return None if name is None or found is None else field_of(*found)


def _seal(database: Database, rule: IntegrityRule) -> _Seal:
    message = database.messages[rule.message]
    counter = _field(database, rule.message, rule.counter)
    checksum = _field(database, rule.message, rule.checksum)
    return _Seal(
        name=rule.message,
        can_id=message.frame_id,
        lengths=(wire_length(message.length), *database.more_lengths.get(rule.message, ())),
        modulo=rule.modulo,
        counter=counter,
        checksum=checksum,
        algorithm=None if rule.algorithm is None else ALGORITHMS[rule.algorithm],
        checksum_at=_byte_of(checksum) or 0,
        counter_at=_byte_of(counter),
        shift=0 if counter is None else counter.shift % 8,
    )


def _byte_of(field: Field | None) -> int | None:
    """Return where a field is in the data [byte]; None: it lies in several, or there is none."""
    if field is None or field.shift % 8 + field.length > 8:  # noqa: PLR2004 - bits of a byte
        return None
    from_the_right = field.shift // 8
    return from_the_right if field.little else field.size - 1 - from_the_right
