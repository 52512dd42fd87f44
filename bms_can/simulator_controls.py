"""Recognises the commands of a profile in the frames of its control message, each once.

A sender repeats the frame of one command with a moving counter; that is one session and one
command. Counter and checksum are checked as a real battery does.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

from bms_can.codec import Codec
from bms_can.database import Database
from bms_can.frame import Frame
from bms_can.integrity import Integrity
from bms_can.profile import CommandCode, Profile
from bms_can.signals import Sample

SESSION_PERIODS = 3  # a repetition comes within so many periods of its command ...
LEAST_SESSION_S = 0.5  # ... and this is always soon enough [s]

Values = dict[str, int | float]


class Control(NamedTuple):
    """A valid control frame.

    Attributes:
        code: the command it carries, None for values that are no command.
        repeated: it belongs to a command that was taken already.
        counter: its rolling counter, 0 where there is none.
    """

    code: CommandCode | None
    repeated: bool
    counter: int


class Controls:
    """The battery's ear for commands."""

    def __init__(self, profile: Profile, database: Database) -> None:
        plans = [plan for plan in profile.commands.values() if plan.frames]
        wanted = {
            plan.message: tuple(each.name for each in database.messages[plan.message].signals)
            for plan in plans
        }
        self._rules = profile.integrity
        self._database = database
        self._codec = Codec(database, wanted, profile.limits, profile.integrity)
        self._integrity = Integrity(database, profile.integrity)
        self._gap_s = max(LEAST_SESSION_S, *(SESSION_PERIODS * plan.period_s for plan in plans), 0)
        self._last_s = -math.inf
        self._session: CommandCode | None = None
        self._meanings: list[tuple[CommandCode, Values]] = []
        for plan in plans:
            decoded = self._codec.decode(plan.frames[0])
            if decoded is not None:
                self._meanings.append((plan.code, self._values(*decoded)))

    def take(self, frame: Frame, now_s: float) -> Control | None:
        """Return what a frame says, None if it is no control frame.

        Raises:
            BadFrame: wrong length, checksum or counter; it changes nothing.
        """
        decoded = self._codec.decode(frame)
        if decoded is None:
            return None
        if now_s - self._last_s > self._gap_s:  # a new sender may start its counter anywhere
            self._session = None
            self._integrity = Integrity(self._database, self._rules)
        self._integrity.check(decoded[0], frame.data)
        values = self._values(*decoded)
        code = next((code for code, meant in self._meanings if meant == values), None)
        repeated = code is not None and code is self._session
        self._session, self._last_s = code, now_s
        return Control(code, repeated, self._counter(*decoded))

    def _values(self, message: str, samples: Mapping[str, Sample]) -> Values:
        """Return the raw values without counter and checksum."""
        rule = self._rules.get(message)
        sealed = () if rule is None else (f"{message}.{rule.counter}", f"{message}.{rule.checksum}")
        return {name: sample.raw for name, sample in samples.items() if name not in sealed}

    def _counter(self, message: str, samples: Mapping[str, Sample]) -> int:
        rule = self._rules.get(message)
        sample = None if rule is None else samples.get(f"{message}.{rule.counter}")
        return 0 if sample is None else int(sample.raw)
