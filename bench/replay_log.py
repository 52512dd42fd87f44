"""The log of `make bench-replay`: a storage site's bus, and its DBC. Same numbers for a same seed.

Times and identifiers are those of a bus with jitter; payload bits are random, which is fair for
speed and means nothing else. Every multiplexer value has a page.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

SEED = 41
START_S = 1_790_000_000
BATCH = 200_000  # frames written at once
STANDARD_MAX = 0x7FF
HEX = np.frombuffer(b"0123456789ABCDEF", np.uint8)
STRINGS = 12
CELL_PAGES, CELLS_A_PAGE = 16, 3
ALARMS = 40


@dataclass(frozen=True)
class Sender:
    """One message: how often it comes [ms], and the `SG_` lines of its signals."""

    name: str
    can_id: int
    size: int
    period_ms: int
    signals: tuple[str, ...]
    pages: int = 0

    @property
    def extended(self) -> bool:
        """Whether the identifier has 29 bits."""
        return self.can_id > STANDARD_MAX


def _signal(name: str, place: str, scale: str, unit: str = "", mux: str = "") -> str:
    return f' SG_ {name} {mux}: {place} ({scale}) [0|0] "{unit}" EMS'


def senders() -> tuple[Sender, ...]:
    """Return the messages of the site: 21, with 242 signals in both byte orders."""
    return (
        Sender("Pack", 0x110, 8, 10, _pack()),
        Sender("Limits", 0x111, 8, 100, _limits()),
        Sender("Charge", 0x112, 6, 100, _charge()),
        Sender("Alarms", 0x113, 8, 100, _alarms()),
        Sender("Cells", 0x120, 8, 10, _cells(), CELL_PAGES),
        Sender("Cooling", 0x130, 4, 200, _cooling()),
        Sender("Meter", 0x140, 8, 20, _meter()),
        Sender("Insulation", 0x150, 8, 1000, _insulation()),
        Sender("Inverter", 0x18FF1003, 8, 10, _inverter()),
        *(
            Sender(f"String{number}", 0x18FF5000 + number, 8, 20, _string())
            for number in range(1, STRINGS + 1)
        ),
    )


def _pack() -> tuple[str, ...]:
    return (
        _signal("Voltage", "0|16@1+", "0.1,0", "V"),
        _signal("Current", "16|16@1-", "0.1,0", "A"),
        _signal("Soc", "32|10@1+", "0.1,0", "%"),
        _signal("State", "42|4@1+", "1,0"),
        _signal("Contactor", "46|2@1+", "1,0"),
        _signal("Soh", "48|8@1+", "0.5,0", "%"),
        _signal("Count", "56|4@1+", "1,0"),
        _signal("Valid", "60|1@1+", "1,0"),
    )


def _limits() -> tuple[str, ...]:
    return (
        _signal("ChargeVoltage", "0|16@1+", "0.1,0", "V"),
        _signal("ChargeCurrent", "16|16@1+", "0.1,0", "A"),
        _signal("DischargeCurrent", "32|16@1+", "0.1,0", "A"),
        _signal("DischargeVoltage", "48|16@1+", "0.1,0", "V"),
    )


def _charge() -> tuple[str, ...]:
    return (
        _signal("ChargedKwh", "0|24@1+", "0.01,0", "kWh"),
        _signal("DischargedKwh", "24|24@1+", "0.01,0", "kWh"),
    )


def _alarms() -> tuple[str, ...]:
    flags = [_signal(f"Alarm{bit}", f"{bit}|1@1+", "1,0") for bit in range(ALARMS)]
    return (*flags, _signal("Level", "40|4@1+", "1,0"), _signal("Cell", "48|16@1+", "1,0"))


def _cells() -> tuple[str, ...]:
    found = [_signal("Page", "0|8@1+", "1,0", mux="M ")]
    for page in range(CELL_PAGES):
        for place in range(CELLS_A_PAGE):
            name = f"Cell{page * CELLS_A_PAGE + place + 1}"
            found.append(_signal(name, f"{16 + 16 * place}|16@1+", "0.001,0", "V", f"m{page} "))
    return tuple(found)


def _cooling() -> tuple[str, ...]:
    return (
        _signal("Inlet", "7|8@0+", "1,-40", "degC"),
        _signal("Outlet", "15|8@0+", "1,-40", "degC"),
        _signal("Flow", "23|12@0+", "0.1,0", "l/min"),
        _signal("Pump", "27|4@0+", "1,0"),
    )


def _meter() -> tuple[str, ...]:
    return (
        _signal("Power", "7|24@0-", "0.001,0", "kW"),
        _signal("Reactive", "31|24@0-", "0.001,0", "kvar"),
        _signal("Frequency", "55|16@0+", "0.001,0", "Hz"),
    )


def _insulation() -> tuple[str, ...]:
    return (
        _signal("Positive", "0|20@1+", "1,0", "kOhm"),
        _signal("Negative", "20|20@1+", "1,0", "kOhm"),
        _signal("Hours", "40|24@1+", "1,0", "h"),
    )


def _inverter() -> tuple[str, ...]:
    return (
        _signal("DcVoltage", "7|16@0+", "0.1,0", "V"),
        _signal("DcCurrent", "23|14@0-", "0.1,0", "A"),
        _signal("Mode", "25|2@0+", "1,0"),
        _signal("Heatsink", "39|11@0-", "0.1,0", "degC"),
        _signal("Fault", "44|5@0+", "1,0"),
        _signal("Setpoint", "55|12@0-", "1,0", "kW"),
        _signal("Beat", "59|4@0+", "1,0"),
    )


def _string() -> tuple[str, ...]:
    return (
        _signal("Voltage", "7|16@0+", "0.1,0", "V"),
        _signal("Current", "23|16@0-", "0.1,0", "A"),
        _signal("Highest", "39|8@0-", "1,0", "degC"),
        _signal("Lowest", "47|8@0-", "1,0", "degC"),
        _signal("Soc", "55|8@0+", "0.5,0", "%"),
        _signal("Closed", "56|1@1+", "1,0"),
        _signal("Precharge", "57|1@1+", "1,0"),
        _signal("Balancing", "58|1@1+", "1,0"),
        _signal("Fault", "59|1@1+", "1,0"),
        _signal("Beat", "60|4@1+", "1,0"),
    )


def dbc_text() -> str:
    """Return the site's DBC."""
    lines = ['VERSION ""', "NS_ :", "BS_:", "BU_: BMS EMS"]
    for sender in senders():
        number = sender.can_id | (0x80000000 if sender.extended else 0)
        lines += ["", f"BO_ {number} {sender.name}: {sender.size} BMS", *sender.signals]
    lines += ["", 'VAL_ 272 State 0 "off" 1 "standby" 2 "precharge" 3 "run" 4 "fault" ;', ""]
    return "\n".join(lines)


def write_log(path: Path, frames: int, seed: int = SEED) -> None:
    """Write a candump log of so many frames."""
    new = path.with_suffix(".new")
    with new.open("wb") as file:
        for block in _blocks(frames, seed):
            file.write(block.tobytes())
    new.replace(path)


def _blocks(frames: int, seed: int) -> Iterator[NDArray[np.uint8]]:
    random = np.random.default_rng(seed)
    known = senders()
    rate = sum(1000 / sender.period_ms for sender in known)
    shares = np.array([1000 / sender.period_ms / rate for sender in known])
    now_us = START_S * 1_000_000
    for first in range(0, frames, BATCH):
        size = min(BATCH, frames - first)
        which = random.choice(len(known), size, p=shares)
        gaps_us = random.integers(1, round(2e6 / rate), size)
        at_us = now_us + np.cumsum(gaps_us)
        now_us = int(at_us[-1])
        yield _lines(known, which, at_us, random)


def _lines(
    known: tuple[Sender, ...],
    which: NDArray[np.int64],
    at_us: NDArray[np.int64],
    random: np.random.Generator,
) -> NDArray[np.uint8]:
    """Return the text of some frames."""
    lengths = np.array([len(_head(sender)) + 2 * sender.size + 1 for sender in known])[which]
    ends = np.cumsum(lengths)
    text = np.empty(int(ends[-1]), np.uint8)
    for number, sender in enumerate(known):
        rows = np.flatnonzero(which == number)
        head = _head(sender)
        line = np.empty((len(rows), len(head) + 2 * sender.size + 1), np.uint8)
        line[:, : len(head)] = np.frombuffer(head, np.uint8)
        _digits(line[:, 1:11], at_us[rows] // 1_000_000)
        _digits(line[:, 12:18], at_us[rows] % 1_000_000)
        data = random.integers(0, 256, (len(rows), sender.size), np.uint8)
        if sender.pages:
            data[:, 0] %= sender.pages
        line[:, len(head) : -1 : 2] = HEX[data >> 4]
        line[:, len(head) + 1 : -1 : 2] = HEX[data & 15]
        line[:, -1] = ord("\n")
        text[(ends[rows] - lengths[rows])[:, None] + np.arange(line.shape[1])] = line
    return text


def _head(sender: Sender) -> bytes:
    width = 8 if sender.extended else 3
    return f"(0000000000.000000) can0 {sender.can_id:0{width}X}#".encode()


def _digits(columns: NDArray[np.uint8], numbers: NDArray[np.int64]) -> None:
    for place in reversed(range(columns.shape[1])):
        columns[:, place] = numbers % 10 + ord("0")
        numbers = numbers // 10
