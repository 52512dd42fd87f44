"""What can be measured on a simulated battery, in the platform's words and units. Pure."""

from collections.abc import Sequence
from typing import NamedTuple

from bms_can.pack import Answer, Pack, Phase, Refusal
from bms_can.pack_cells import FULL_PCT
from bms_can.profile import CommandCode

Number = float | tuple[float, ...]

COMMAND_WORDS = {
    CommandCode.CLOSE_CONTACTOR: "close",
    CommandCode.OPEN_CONTACTOR: "open",
    CommandCode.FAULT_RESET: "reset",
}


class View(NamedTuple):
    """A battery at one moment.

    Attributes:
        pack: the battery itself.
        numbers: by field name of the platform's `sub_ems_bms`, in its units, and a few more.
        words: by subject, such as phase = "precharging"; the subjects are those of `_words`.
        answer: the newest answer to a command, None before the first one.
    """

    pack: Pack
    numbers: dict[str, Number]
    words: dict[str, str]
    answer: Answer | None


def view(pack: Pack, answer: Answer | None = None, command_counter: int = 0) -> View:
    """Return everything that can be measured now.

    Args:
        pack: the battery.
        answer: its newest answer to a command.
        command_counter: rolling counter of the command frame that was answered.
    """
    numbers = {**_electrical(pack), **_cells(pack), "command_counter": float(command_counter)}
    return View(pack, numbers, _words(pack, answer), answer)


def _electrical(pack: Pack) -> dict[str, Number]:
    cells, settings = pack.cells, pack.settings
    current_a, voltage_v = pack.current_a, pack.voltage_v
    full_kwh = cells.capacity_kwh()
    stored_kwh = full_kwh * cells.soc_pct / FULL_PCT
    return {
        "soc": cells.soc_pct,
        "soh": settings.soh_pct,
        "total_voltage": voltage_v,
        "total_current": current_a,
        "power": voltage_v * current_a / 1000,
        "current_chargeable_energy": full_kwh - stored_kwh,
        "current_dis_chargeable_energy": stored_kwh,
        "charge_accumulated_energy": cells.charged_kwh,
        "discharge_accumulated_energy": cells.discharged_kwh,
        # A simulated day never ends: these count from the start.
        "daily_charge_energy": cells.charged_kwh,
        "daily_discharge_energy": cells.discharged_kwh,
        "max_allowed_charge_power": pack.charge_limit_a * voltage_v / 1000,
        "max_allowed_discharge_power": pack.discharge_limit_a * voltage_v / 1000,
        "max_allowed_charge_current": pack.charge_limit_a,
        "max_allowed_dis_charge_current": pack.discharge_limit_a,
        "battery_stack_insulation_resistance": settings.insulation_kohm,
    }


def _cells(pack: Pack) -> dict[str, Number]:
    voltages_v = pack.cells.voltages_v(pack.current_a)
    temps_degc = pack.cells.temps_degc()
    return {
        "cell_voltage": voltages_v,
        "cell_temp": temps_degc,
        "average_cell_voltage": sum(voltages_v) / len(voltages_v),
        "average_cell_temperature": sum(temps_degc) / len(temps_degc),
        "voltage_diff": max(voltages_v) - min(voltages_v),
        "temp_diff": max(temps_degc) - min(temps_degc),
        "highest_cell_voltage": max(voltages_v),
        "lowest_cell_voltage": min(voltages_v),
        "highest_cell_temp": max(temps_degc),
        "lowest_cell_temp": min(temps_degc),
        **_place("highest_voltage", voltages_v, max(voltages_v), pack.settings.packs),
        **_place("lowest_voltage", voltages_v, min(voltages_v), pack.settings.packs),
        **_place("highest_temp", temps_degc, max(temps_degc), pack.settings.packs),
        **_place("lowest_temp", temps_degc, min(temps_degc), pack.settings.packs),
    }


def _place(name: str, values: Sequence[float], value: float, packs: int) -> dict[str, Number]:
    """Return pack and number inside the pack of a value, both counted from 1."""
    pack, place = divmod(values.index(value), max(1, len(values) // packs))
    return {f"{name}_pack": pack + 1, f"{name}_id": place + 1}


def _words(pack: Pack, answer: Answer | None) -> dict[str, str]:
    resting = pack.phase in {Phase.OPEN, Phase.STUCK}
    answered = "none" if answer is None else COMMAND_WORDS[answer.code]
    accepted = answer is not None and answer.accepted
    refusal = Refusal.NONE if answer is None else answer.refusal
    return {
        "phase": pack.phase.value,
        "state": "fault" if resting and pack.reset_required else pack.phase.value,
        "feedback": pack.feedback.value,
        "mode": "remote" if pack.remote else "local",
        "emergency_stop": "yes" if pack.emergency_stop else "no",
        "reset_required": "yes" if pack.reset_required else "no",
        "pending": "none" if pack.pending is None else COMMAND_WORDS[pack.pending],
        "accepted": answered if accepted else "none",
        "refused": "none" if accepted else answered,
        "refusal": refusal.value,
    }
