"""What the agent touches of the world, as one value: a replay puts a log in its place.

`wiring.build` takes the real parts unless it is given others. Nothing else may be replaced, so that
what is tested is what runs.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from agent.cloud import Cloud
from agent.local import LocalDoor
from agent.schedule import Schedule
from bms_can.bus import Port
from bms_can.database import Database
from bms_can.profile import Profile


@dataclass(frozen=True, slots=True)
class Outside:
    """The border of the agent.

    Attributes:
        cloud: makes the client of the platform, called as `Cloud`.
        open_port: opens a bus, called as `bms_can.bus.open_port`.
        schedule: makes the scheduler, called as `Schedule`.
        door: makes the local door, called as `LocalDoor`.
        chance: a random number in 0..1, for back-off and jitter.
        load_profile: reads a profile and its DBC, called as `load_profile`.
    """

    cloud: Callable[..., Cloud]
    open_port: Callable[..., Port]
    schedule: Callable[..., Schedule]
    door: Callable[..., LocalDoor]
    chance: Callable[[], float]
    load_profile: Callable[[Path], tuple[Profile, Database]]
