"""The kinds of world: which battery the box has, and who judges it."""

from typing import NamedTuple

from tests.simulation.held import REQUEST, REST, HeldInvariants
from tests.simulation.invariants import Invariants
from tests.simulation.witness import CONTROL

HELD_SHARE = 4  # one world of so many has a held request


class Kind(NamedTuple):
    """One kind of battery.

    Attributes:
        name: of the kind.
        profile: as agent.toml names it.
        control: identifier of the control frames, and whether it is an extended one.
        foreign: what another master says; zeros follow.
        silent, frozen: messages that can fail.
        alarms, faults: what it can report, and what it latches.
        invariants: the promises.
        steps: of one world before it is healed.
        rest: the frame that goes out all the time, None if there is none.
    """

    name: str
    profile: str
    control: tuple[int, bool]
    foreign: tuple[bytes, ...]
    silent: tuple[str, ...]
    frozen: tuple[str, ...]
    alarms: tuple[str, ...]
    faults: tuple[str, ...]
    invariants: type[Invariants]
    steps: int = 2500
    rest: bytes | None = None


PLAIN = Kind(
    name="plain",
    profile="ess_bau",
    control=(CONTROL, True),
    foreign=(b"\x01", b"\x02", b"\x00\x01"),
    silent=("BAU_State", "BAU_Electrical", "BAU_Alarms", "BAU_Faults"),
    frozen=("BAU_State", "BAU_Electrical", "BAU_Faults"),
    alarms=("cell_high_temp_alarm", "insulation_low_alarm", "soc_low_alarm"),
    faults=("machine_fault", "contactor_fault", "fan_fault"),
    invariants=Invariants,
)
HELD = Kind(
    name="held",
    profile="foxbms2",
    control=REQUEST,
    foreign=(b"\x01", b"\x02", b"\x00"),
    silent=("BMS_State", "BMS_Pack"),
    frozen=("BMS_State",),  # it has no counter: nothing is wrong then
    alarms=("alert_error", "insulation_error", "general_warning"),
    faults=("main_fuse_error", "interlock_error"),
    invariants=HeldInvariants,
    steps=7500,  # most of them are frames at rest
    rest=REST,
)
KINDS = {each.name: each for each in (PLAIN, HELD)}


def kind_of(seed: int) -> Kind:
    """Return the kind of the world with this seed."""
    return PLAIN if seed % HELD_SHARE else HELD
