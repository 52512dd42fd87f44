"""One battery as the agent knows it: its profile, its values, its way to the bus."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from bms_can.control import ControlPort
from bms_can.intake import Intake
from bms_can.profile import Profile
from bms_can.table import SignalTable


@dataclass(frozen=True, slots=True)
class Device:
    """What belongs to one device_uid.

    Attributes:
        profile: its interlocks are already tightened by the site.
        read_only: it is configured to listen only.
        echo: the bus gives our own frames back, so that a frame counts as sent only then.
        true_echo: returns whether it does so when a frame was sent; some adapters' drivers do it
            when it was queued, which says nothing about the bus.
        listening_since_s: start of listening, monotonic [s].
        bus_facts: returns how the bus is doing, for people.
        bus_doubt: returns why a frame could be late or lost on the bus now, "" while all is well.
    """

    uid: str
    profile: Profile
    intake: Intake
    control: ControlPort
    read_only: bool
    echo: bool
    listening_since_s: float
    bus_doubt: Callable[[], str] = str
    bus_facts: Callable[[], Mapping[str, object]] = dict
    true_echo: Callable[[], bool] = lambda: True

    @property
    def echo_proves(self) -> bool:
        """Whether a frame that came back was on the bus."""
        return self.echo and self.true_echo()

    @property
    def table(self) -> SignalTable:
        """The newest values of the battery."""
        return self.intake.table
