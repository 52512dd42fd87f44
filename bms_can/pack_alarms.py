"""Alarms of a simulated battery, with a latch. Pure."""

from dataclasses import dataclass


@dataclass(slots=True)
class _Alarm:
    level: int
    latched: bool
    cause: bool = True


class PackAlarms:
    """Alarms by key. A latched one stays when its cause is gone, until a reset."""

    def __init__(self) -> None:
        self._on: dict[str, _Alarm] = {}

    def __contains__(self, key: object) -> bool:
        return key in self._on

    @property
    def levels(self) -> dict[str, int]:
        """Level by key of all alarms that are on."""
        return {key: alarm.level for key, alarm in self._on.items()}

    @property
    def latched(self) -> bool:
        """An alarm waits for a reset."""
        return any(alarm.latched for alarm in self._on.values())

    def put(self, key: str, level: int, *, latched: bool) -> None:
        """Raise an alarm; one that is latched stays latched."""
        before = self._on.get(key)
        self._on[key] = _Alarm(level, latched or (before is not None and before.latched))

    def clear(self, key: str) -> None:
        """The cause of an alarm is gone."""
        alarm = self._on.get(key)
        if alarm is not None and alarm.latched:
            alarm.cause = False
        elif alarm is not None:
            del self._on[key]

    def reset(self) -> bool:
        """Forget latched alarms whose cause is gone; tell whether none is left."""
        self._on = {k: alarm for k, alarm in self._on.items() if alarm.cause or not alarm.latched}
        return not self.latched
