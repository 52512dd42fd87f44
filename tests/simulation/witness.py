"""What the box was told by the battery, read by hand: a second opinion on the driver.

Shares nothing with bms_can: identifiers, bits and checksum are written down here from the DBC's
text. It accepts at least what the driver accepts, so that what the driver claims must be here too.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

import can

STATE, ELECTRICAL, ALARMS, FAULTS = 0x1801E5F4, 0x1802E5F4, 0x1808E5F4, 0x1809E5F4
CONTROL = 0x1811F4E5
LIMIT_S = {STATE: 0.5, ELECTRICAL: 0.5, ALARMS: 1.0, FAULTS: 1.0}
CLOSED, OPEN = 1, 2
KEPT = 128
ROUNDING_S = 1e-6  # the driver subtracts times that were shifted by the start of the machine

_NO_BLOCK = 0x3F << 16  # state of health and of charge: their alarms do not keep it open
_ALARM_BITS = (1 << 38) - 1 & ~_NO_BLOCK
_FAULT_BITS = (1 << 21) - 1
_RESETTABLE = 0xFF | 1 << 20


def crc8(data: bytes) -> int:
    """Return the CRC-8 SAE J1850, bit by bit."""
    rest = 0xFF
    for byte in data:
        rest ^= byte
        for _ in range(8):
            rest = (rest << 1 ^ (0x1D if rest & 0x80 else 0)) & 0xFF
    return rest ^ 0xFF


class Seen(NamedTuple):
    """A valid frame: true time [s] and payload as one little-endian number."""

    at_s: float
    word: int

    def bits(self, start: int, length: int) -> int:
        """Return some of its bits."""
        return self.word >> start & (1 << length) - 1


class Facts(NamedTuple):
    """What the newest frames say; None: that message is not fresh."""

    contactor: int | None
    pending: int | None
    remote: bool | None
    stopped: bool | None
    current_a: float | None
    alarms: bool | None
    faults: bool | None
    reset_required: bool | None


@dataclass(slots=True)
class Witness:
    """The frames that one process of the agent received.

    Attributes:
        frames: newest valid frames by identifier.
        steady_s: since when each came without a gap [s].
        foreign: a control frame came that the box had not sent.
    """

    limits: ClassVar[Mapping[int, float]] = LIMIT_S

    frames: dict[int, deque[Seen]] = field(default_factory=dict)
    steady_s: dict[int, float] = field(default_factory=dict)
    counters: dict[int, int] = field(default_factory=dict)
    foreign: bool = False

    def hear(self, message: can.Message, now_s: float) -> None:
        """Take a frame that the box received."""
        data = bytes(message.data)
        can_id = message.arbitration_id
        if can_id not in LIMIT_S or not message.is_extended_id or len(data) != 8:
            return
        counter = data[6] & 0xF
        if crc8(data[:7]) != data[7]:
            return
        before, self.counters[can_id] = self.counters.get(can_id), counter
        if before != counter:
            self.keep(can_id, int.from_bytes(data, "little"), now_s)

    def keep(self, can_id: int, word: int, now_s: float) -> None:
        """Keep a valid frame."""
        kept = self.frames.setdefault(can_id, deque(maxlen=KEPT))
        if not kept or now_s - kept[-1].at_s > self.limits[can_id] + ROUNDING_S:
            self.steady_s[can_id] = now_s
        kept.append(Seen(now_s, word))

    def age_s(self, now_s: float) -> float:
        """Return the age of the required message that is oldest [s]; infinite if one is missing."""
        if any(can_id not in self.frames for can_id in self.limits):
            return float("inf")
        return max(now_s - self.frames[can_id][-1].at_s for can_id in self.limits)

    def connected(self, now_s: float) -> bool:
        """Tell whether every required message is inside its limit."""
        return all(self._fresh(can_id, now_s) is not None for can_id in self.limits)

    def steady(self, now_s: float, for_s: float) -> bool:
        """Tell whether all of them came without a gap for so long [s]."""
        return self.connected(now_s) and all(
            now_s - self.steady_s[can_id] >= for_s for can_id in self.limits
        )

    def facts(self, now_s: float) -> Facts:
        """Return what is known at this moment."""
        state, faults = self._fresh(STATE, now_s), self._fresh(FAULTS, now_s)
        power, alarms = self._fresh(ELECTRICAL, now_s), self._fresh(ALARMS, now_s)
        return Facts(
            contactor=None if state is None else state.bits(0, 2),
            pending=None if state is None else state.bits(2, 2),
            remote=None if state is None else state.bits(4, 1) == 1,
            stopped=None if state is None else state.bits(5, 1) == 1,
            current_a=None if power is None else _signed(power.bits(16, 16)) / 10,
            alarms=None if alarms is None else bool(alarms.word & _ALARM_BITS),
            faults=None if faults is None else bool(faults.word & _FAULT_BITS),
            reset_required=None if faults is None else faults.bits(32, 1) == 1,
        )

    def since(self, can_id: int, after_s: float) -> list[Seen]:
        """Return the valid frames of a message that are newer than a moment."""
        return [seen for seen in self.frames.get(can_id, ()) if seen.at_s > after_s]

    def proofs(self, code: int, after_s: float) -> list[bool]:
        """Tell of each newer frame of the deciding message whether it shows a command's effect."""
        return [shows(code, seen) for seen in self.since(deciding(code), after_s)]

    def _fresh(self, can_id: int, now_s: float) -> Seen | None:
        kept = self.frames.get(can_id)
        if not kept or now_s - kept[-1].at_s > self.limits[can_id] + ROUNDING_S:
            return None
        return kept[-1]


def shows(code: int, seen: Seen) -> bool:
    """Tell whether a frame of the deciding message shows the effect of a command."""
    if code == 1:
        return not seen.bits(32, 1) and not seen.word & _RESETTABLE
    return seen.bits(0, 2) == (CLOSED if code == 2 else OPEN)


def deciding(code: int) -> int:
    """Return the message that decides whether a command had its effect."""
    return FAULTS if code == 1 else STATE


def _signed(value: int) -> int:
    return value - 0x10000 if value & 0x8000 else value
