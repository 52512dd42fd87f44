"""The cells of a simulated battery: charge, energy, voltage, temperature. Pure.

Simple on purpose: plausible numbers, not a prediction. Current > 0 is charging. Constants are those
of lithium iron phosphate cells.
"""

import math
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True, slots=True)
class PackSettings:
    """Size and timing of a battery.

    Attributes:
        cells: in series, spread evenly over `packs`; temp_points: temperature sensors.
        capacity_ah: [Ah]; soc_pct, soh_pct: at the start [%].
        resistance_ohm: of the whole string [Ohm].
        max_current_a: limit in both directions [A].
        ambient_degc: [degC]; insulation_kohm: [kOhm].
        precharge_s, opening_s: duration of closing and opening [s].
    """

    cells: int = 48
    packs: int = 4
    temp_points: int = 16
    capacity_ah: float = 280.0
    soc_pct: float = 60.0
    soh_pct: float = 98.5
    resistance_ohm: float = 0.03
    max_current_a: float = 250.0
    ambient_degc: float = 25.0
    insulation_kohm: float = 5200.0
    precharge_s: float = 2.0
    opening_s: float = 0.2


FULL_PCT = 100.0
# Open-circuit voltage of one cell [V] over state of charge [%], rounded from common data sheets.
OCV_V = ((0.0, 2.80), (10.0, 3.20), (30.0, 3.27), (90.0, 3.34), (FULL_PCT, 3.45))
WARMING_DEGC_PER_A2 = 2.0e-4
WARMING_S = 900.0  # time constant of the whole battery [s]
CELL_SPREAD_V = 0.006  # largest distance of a cell from the mean [V]
TEMP_SPREAD_DEGC = 1.5
SECONDS_PER_HOUR = 3600.0


def open_circuit_v(soc_pct: float) -> float:
    """Return the voltage of one resting cell [V]."""
    for (low, low_v), (high, high_v) in pairwise(OCV_V):
        if soc_pct <= high:
            return low_v + (high_v - low_v) * (max(soc_pct, low) - low) / (high - low)
    return OCV_V[-1][1]


def _spread(index: int) -> float:
    """Return a fixed place in -1..1 for each cell or sensor, without a pattern to the eye."""
    return math.sin(1.0 + 2.4 * index)


class Cells:
    """All cells of one battery.

    Attributes:
        soc_pct: state of charge [%], 0..100.
        warming_degc: temperature above ambient [degC].
        charged_kwh, discharged_kwh: since the start [kWh].
    """

    def __init__(self, settings: PackSettings) -> None:
        self.settings = settings
        self.soc_pct = min(max(settings.soc_pct, 0.0), FULL_PCT)
        self.warming_degc = 0.0
        self.charged_kwh = 0.0
        self.discharged_kwh = 0.0

    def carry(self, current_a: float, duration_s: float) -> None:
        """Let a constant current flow for a time."""
        voltage_v, before_pct = self.voltage_v(current_a), self.soc_pct
        moved_ah = current_a * duration_s / SECONDS_PER_HOUR
        wanted_pct = before_pct + FULL_PCT * moved_ah / self.settings.capacity_ah
        self.soc_pct = min(max(wanted_pct, 0.0), FULL_PCT)
        held_ah = (self.soc_pct - before_pct) * self.settings.capacity_ah / FULL_PCT
        self.charged_kwh += max(held_ah, 0.0) * voltage_v / 1000
        self.discharged_kwh += max(-held_ah, 0.0) * voltage_v / 1000
        target_degc = WARMING_DEGC_PER_A2 * current_a**2
        share = -math.expm1(-duration_s / WARMING_S)
        self.warming_degc += (target_degc - self.warming_degc) * share

    def voltage_v(self, current_a: float) -> float:
        """Return the voltage of the whole string [V]."""
        resting_v = self.settings.cells * open_circuit_v(self.soc_pct)
        return resting_v + current_a * self.settings.resistance_ohm

    def capacity_kwh(self) -> float:
        """Return the energy of the full battery [kWh], at its resting voltage at half charge."""
        half_v = self.settings.cells * open_circuit_v(FULL_PCT / 2)
        return half_v * self.settings.capacity_ah * self.settings.soh_pct / FULL_PCT / 1000

    def voltages_v(self, current_a: float) -> tuple[float, ...]:
        """Return the voltage of each cell [V], to the millivolt."""
        mean_v = self.voltage_v(current_a) / self.settings.cells
        cells = range(self.settings.cells)
        return tuple(round(mean_v + CELL_SPREAD_V * _spread(index), 3) for index in cells)

    def temps_degc(self) -> tuple[float, ...]:
        """Return the temperature at each sensor [degC], to a tenth."""
        mean_degc = self.settings.ambient_degc + self.warming_degc
        points = range(self.settings.temp_points)
        return tuple(round(mean_degc + TEMP_SPREAD_DEGC * _spread(index), 1) for index in points)
