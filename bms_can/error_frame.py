"""What a SocketCAN error frame says. Pure; numbers and meaning: linux/can/error.h.

An error frame is made by the local driver; it never was on the wire. Its identifier holds one bit
for each class, its data the details of some classes.
"""

from typing import NamedTuple

# Bit of the identifier -> name under which such frames are counted.
CLASSES = {
    0x001: "tx-timeout",
    0x002: "lost-arbitration",
    0x004: "controller",
    0x008: "protocol",
    0x010: "transceiver",
    0x020: "no-ack",
    0x040: "bus-off",
    0x080: "bus-error",
    0x100: "restarted",
}
COUNTERS = 0x200  # data[6] and data[7] hold the error counters (TEC, REC)
# data[1] of class "controller", by bit; "active" ends a warning or passive state.
CONTROLLER = {
    0x01: "rx-overflow",
    0x02: "tx-overflow",
    0x04: "warning",
    0x08: "warning",
    0x10: "passive",
    0x20: "passive",
    0x40: "active",
}
# data[2] of class "protocol", by bit.
PROTOCOL = {
    0x01: "bit",
    0x02: "form",
    0x04: "stuff",
    0x08: "bit0",
    0x10: "bit1",
    0x20: "overload",
    0x40: "active-error-flag",
    0x80: "on-send",
}
LENGTH = 8
ACTIVE, WARNING, PASSIVE, BUS_OFF = "error-active", "error-warning", "error-passive", "bus-off"
# What says the state of the controller, the worst first: one frame may name two.
STATE_OF = {
    "bus-off": BUS_OFF,
    "controller/passive": PASSIVE,
    "controller/warning": WARNING,
    "controller/active": ACTIVE,
    "restarted": ACTIVE,
}


class BusError(NamedTuple):
    """One error frame.

    Attributes:
        kinds: what it reports: names of classes; of "controller" and "protocol" the details too,
            as "controller/rx-overflow".
        state: state of the controller after it, None if it does not say.
        tx_errors, rx_errors: error counters of the controller, None if it does not say.
    """

    kinds: tuple[str, ...]
    state: str | None
    tx_errors: int | None
    rx_errors: int | None

    @property
    def tells_bus_off(self) -> bool:
        """Whether the controller is in bus-off, or was until now."""
        return not {"bus-off", "restarted"}.isdisjoint(self.kinds)


def read_error(can_id: int, data: bytes) -> BusError:
    """Return what an error frame says; `can_id` without flag bits. Missing data count as 0."""
    data = data.ljust(LENGTH, b"\0")
    kinds = []
    for bit, name in CLASSES.items():
        if can_id & bit:
            details = _details(name, data)
            kinds += [f"{name}/{detail}" for detail in details] or [name]
    tx_errors, rx_errors = (data[6], data[7]) if can_id & COUNTERS else (None, None)
    return BusError(tuple(kinds), _state(kinds), tx_errors, rx_errors)


def _details(name: str, data: bytes) -> list[str]:
    bits, names = {"controller": (data[1], CONTROLLER), "protocol": (data[2], PROTOCOL)}.get(
        name, (0, {})
    )
    return list(dict.fromkeys(detail for bit, detail in names.items() if bits & bit))


def _state(kinds: list[str]) -> str | None:
    return next((state for kind, state in STATE_OF.items() if kind in kinds), None)
