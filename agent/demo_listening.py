"""The story for a battery that can only be read: its status follows, and nothing is ever sent.

Each step does something to the simulated battery and waits for what the platform must show then.
At the end the three commands are given, must be rejected as read-only, and the bus must have
carried no frame but the battery's own.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from agent.demo_operator import Operator
from agent.demo_story import (
    CLOSE,
    FAULT,
    OPEN,
    RESET,
    WARNING,
    Line,
    Play,
    Unproven,
    outcome,
    set_current,
)
from bms_can.commands import Reason
from bms_can.pack import Pack
from bms_can.profile import CommandCode, OperatingStatus, Profile, StatusRule
from bms_can.simulator import Simulator

MOST_CURRENT_A = 20.0
WORDS = {1: "powered down", 2: "idle", 3: "charging", 4: "discharging", None: "unknown"}


@dataclass(frozen=True, slots=True)
class Listening(Play):
    """The story of one battery; see `Play` for the rest.

    Attributes:
        profile: what its status and alarms rest on.
    """

    profile: Profile

    def story(self) -> Iterator[Line]:
        """Play all steps and yield what happens.

        Raises:
            Unproven: a proof is missing.
            Refused: the platform refused a call.
        """
        yield Line("step", f"{self.profile.name} can only be read: {self.profile.read_only_reason}")
        if self.simulator.note:
            yield Line("seen", f"the simulated battery: {self.simulator.note}")
        if self.profile.status.unknown:
            yield Line("seen", f"operating_status stays unknown: {self.profile.status.unknown}")
        yield Line("curl", self.operator.shell_variables())
        yield Line("curl", self.operator.curl_status())
        yield from self._battery("The battery is heard", lambda _: None, 1)
        yield from self._battery("The battery closes its contactor by itself", _close, 2)
        yield from self._battery("The inverter charges", set_current(MOST_CURRENT_A), 3)
        yield from self._battery("The inverter discharges", set_current(-MOST_CURRENT_A), 4)
        yield from self._battery("The current goes back to zero", set_current(0.0), 2)
        yield from self._alarm()
        for text, command in (("Close", CLOSE), ("Open", OPEN), ("Fault reset", RESET)):
            yield from self._rejected(f"{text} is rejected: read-only", command)
        yield from self._battery("The battery opens its contactor by itself", _open, 1)
        yield Line("step", "Not one frame was sent")
        if self.simulator.others:
            raise Unproven(f"{self.simulator.others} frames on the bus were not the battery's")
        yield Line("proof", "every frame on the bus was the battery's")

    def _battery(self, text: str, action: Callable[[Pack], None], status: int) -> Iterator[Line]:
        shown = self._shown(OperatingStatus(status))
        yield Line("step", text)
        self.simulator.tell(action)
        wanted = {"operating_status": shown, "disconnected": 0}
        yield self._see(f"the platform shows {WORDS[shown]}", **wanted)

    def _shown(self, true: OperatingStatus) -> int | None:
        """Return what this battery's frames can say of its true status; None: nothing."""
        return int(true) if true in speakable(self.profile.status) else None

    def _alarm(self) -> Iterator[Line]:
        if not self.profile.alarms:
            yield Line("seen", "no alarm of this battery is known: alarm_status stays unknown")
            return
        key = self.profile.alarms[0].key
        yield Line("step", f"An alarm comes and goes: {key}")
        yield self._see("no alarm", alarm_status=0)
        self.simulator.tell(lambda pack: pack.raise_alarm(key, 2))
        yield self._see("one alarm", alarm_status=1)
        self.simulator.tell(lambda pack: pack.clear_alarm(key))
        yield self._see("no alarm", alarm_status=0)

    def _rejected(self, text: str, command: int) -> Iterator[Line]:
        yield Line("step", text)
        yield Line("curl", self.operator.curl_send(command))
        record = self._until_ended(self.operator.send(command))
        last = (record.get("events") or [{}])[-1]
        if record["state"] != "rejected" or last.get("reason") != Reason.READ_ONLY:
            raise Unproven(f"{text}: it should have been; {outcome(record)}")
        yield Line("proof", outcome(record))


def speakable(rule: StatusRule) -> frozenset[OperatingStatus]:
    """Return the statuses that a battery's frames can say at all."""
    if rule.state is not None:
        return frozenset(rule.state.states.values())
    flowing = {OperatingStatus.CHARGING, OperatingStatus.DISCHARGING}
    if rule.unknown:
        return frozenset()
    if rule.contactor is None:
        return frozenset(flowing | ({rule.at_rest} if rule.at_rest is not None else set()))
    opens = [bool(one.open) for one in rule.contactor.signals]
    says_open = any(opens) if rule.contactor.series else all(opens)
    found = flowing | {OperatingStatus.IDLE}
    return frozenset(found | ({OperatingStatus.POWERED_DOWN} if says_open else set()))


def play_for(
    profile: Profile,
    operator: Operator,
    simulator: Simulator,
    wait: Callable[[float], None],
    now_s: Callable[[], float],
) -> Play:
    """Return the story that fits a battery: with commands, or listening only."""
    if profile.commands:
        warning, fault = alarms_of(profile)
        play = Play(operator, simulator, wait, now_s, warning=warning, fault=fault)
        can_reset = CommandCode.FAULT_RESET in profile.commands
        return replace(play, hears_requests=profile.held is not None, can_reset=can_reset)
    return Listening(operator, simulator, wait, now_s, profile)


def alarms_of(profile: Profile) -> tuple[str, str]:
    """Return an alarm that opens nothing and one that does; those of our battery if it has them."""
    keys = [alarm.key for alarm in profile.alarms]
    if WARNING in keys and FAULT in keys:
        return WARNING, FAULT
    harmless = [alarm.key for alarm in profile.alarms if not alarm.blocks_close]
    others = [key for key in keys if key not in harmless]
    return (harmless or keys)[0], (others or keys)[-1]


def _close(pack: Pack) -> None:
    """The battery closes without being asked: nobody can ask it."""
    pack.switch(CommandCode.CLOSE_CONTACTOR)


def _open(pack: Pack) -> None:
    pack.switch(CommandCode.OPEN_CONTACTOR)
