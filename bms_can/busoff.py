"""What to do in bus-off, and for how long to keep quiet after it (reliability rule 23). Pure.

A controller in bus-off has left the bus. It gets a rest that doubles with each failure. What waits
in its queue would go out when it comes back, so the interface is then set down, which throws that
away, and up at once; and nothing is sent until the bus has been listened to for a while. The kernel
must not do this by itself: `restart-ms` stays 0.

During the rest the interface stays as it is. So one that is down was set down by a person, who also
decides when it comes up again; and an agent that ends in the middle leaves none down behind it.
"""

from dataclasses import dataclass
from enum import Enum

FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 60.0
LISTEN_S = 3.0
CALM_S = 60.0  # so long without bus-off, and the next rest is the first one again
RETRY_S = 5.0  # after an attempt that was refused


class Act(Enum):
    """What is to be done to the interface now."""

    NOTHING = ""
    DOWN = "down"
    UP = "up"


class Phase(Enum):
    """Where a recovery stands."""

    FINE = "fine"
    RESTING = "resting"  # in bus-off; to be restarted
    DOWN = "down"  # set down by us, to be set up at once
    LISTENING = "listening"  # it is up again, nothing may be sent
    HELPLESS = "helpless"  # it may not be set down
    LEFT = "left"  # somebody else has set it down


@dataclass(slots=True)
class BusOff:
    """The recovery of one interface. Its owner calls `step` often and does what it says.

    Attributes:
        phase: where it stands.
        until_s: end of the phase [s].
        wait_s: the next rest [s].
        refused: why the interface could not be set down or up, "" while it could.
        recoveries: how often it was set up again.
    """

    phase: Phase = Phase.FINE
    until_s: float = 0.0
    wait_s: float = FIRST_WAIT_S
    refused: str = ""
    recoveries: int = 0

    def step(self, now_s: float, *, bus_off: bool, up: bool | None = True) -> Act:
        """Return what to do now; tell by `done` how it went, and ask again.

        Args:
            now_s: now [s].
            bus_off: the controller is in bus-off.
            up: the interface is set up; None: nobody can tell.
        """
        if self.phase is Phase.DOWN:
            return self._lift(now_s, up=up)
        if up is False:
            self._leave()
            return Act.NOTHING
        if bus_off:
            return self._restart(now_s)
        if self.phase in {Phase.RESTING, Phase.HELPLESS, Phase.LEFT}:
            self._listen(now_s)  # somebody else has restarted it
        elif now_s >= self.until_s and self.phase is Phase.LISTENING:
            self.phase, self.until_s = Phase.FINE, now_s + CALM_S
        elif now_s >= self.until_s:
            self.wait_s = FIRST_WAIT_S
        return Act.NOTHING

    def _lift(self, now_s: float, *, up: bool | None) -> Act:
        """Set up again what we have set down."""
        if up:
            self._listen(now_s)  # somebody else was faster
            return Act.NOTHING
        return Act.UP if now_s >= self.until_s else Act.NOTHING

    def _leave(self) -> None:
        """Do not overrule a person who has set it down."""
        if self.phase is not Phase.FINE:
            self.phase, self.refused = Phase.LEFT, ""

    def _restart(self, now_s: float) -> Act:
        """Let it rest, and then throw away what waits."""
        if self.phase not in {Phase.RESTING, Phase.HELPLESS}:
            self.phase, self.until_s, self.refused = Phase.RESTING, now_s + self.wait_s, ""
            self.wait_s = min(2 * self.wait_s, LONGEST_WAIT_S)
        return Act.DOWN if now_s >= self.until_s else Act.NOTHING

    def over(self, now_s: float) -> None:
        """Somebody else (`restart-ms`) ended a bus-off between two looks: listen all the same."""
        if self.phase in {Phase.FINE, Phase.LISTENING}:
            self._listen(now_s)

    def done(self, act: Act, now_s: float, refused: str = "") -> None:
        """Note what came of an act; `refused`: why it could not be done."""
        self.refused = refused
        if act is Act.DOWN and refused:
            self.phase, self.until_s = Phase.HELPLESS, now_s + RETRY_S
        elif act is Act.DOWN:
            self.phase, self.until_s = Phase.DOWN, now_s
        elif act is Act.UP and refused:
            self.until_s = now_s + RETRY_S
        elif act is Act.UP:
            self.recoveries += 1
            self._listen(now_s)

    def text(self, now_s: float) -> str:
        """Return why nothing should be sent, "" while there is no reason."""
        left_s = max(0.0, self.until_s - now_s)
        why = f"; not restarted: {self.refused}" if self.refused else ""
        return {
            Phase.FINE: "",
            Phase.RESTING: f"bus-off: to be restarted in {left_s:.0f} s",
            Phase.DOWN: f"bus-off: set down by us, to be set up in {left_s:.0f} s{why}",
            Phase.LISTENING: f"bus-off is over: listening for {left_s:.0f} s more before any send",
            Phase.HELPLESS: f"bus-off{why}",
            Phase.LEFT: "the interface was set down after bus-off, not by us: it stays down",
        }[self.phase]

    def _listen(self, now_s: float) -> None:
        self.phase, self.until_s, self.refused = Phase.LISTENING, now_s + LISTEN_S, ""


class OnlyLooks(BusOff):
    """For who only listens: a bus-off is somebody else's to end, and nothing is done."""

    def step(self, now_s: float, *, bus_off: bool, up: bool | None = True) -> Act:  # noqa: ARG002 - as BusOff
        """Return that nothing is to be done."""
        return Act.NOTHING
