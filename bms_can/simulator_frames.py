"""The messages that a simulated battery sends: period, pages, counter, payload."""

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from cantools.database.can import Message

from bms_can.database import Database, cycle_time_ms
from bms_can.layout import Field, Page, field_of, page_of, wire_length, write
from bms_can.pack_view import View
from bms_can.profile import Profile
from bms_can.simulator_values import Inverse, Raw, Setter

DEADLINE_PERIODS = 3  # period of a message without a cycle time: this part of its deadline

BEAT_TOLERANCE_S = 1e-6  # rounding of times [s]

Selected = dict[str, Raw]
SignalPage = tuple[Selected, tuple[str, ...]]  # (multiplexer values, signals that are there)


@dataclass(slots=True)
class Sender:
    """One message on its way out, its pages in turn.

    Attributes:
        message: its definition.
        period_s: [s], None for a message that only answers.
        pages, fields, setters: what the payload is made of.
        start_s: time of the first beat [s]; beat: number of the next one.
        sent: frames so far.
        counter: rolling counter of the next frame, not yet wrapped.
    """

    message: Message
    period_s: float | None
    pages: tuple[SignalPage, ...]
    fields: Mapping[str, Field]
    setters: Mapping[str, Setter]
    start_s: float
    beat: int = 0
    sent: int = 0
    counter: int = 0

    @property
    def next_s(self) -> float:
        """When it is due next [s]; infinite for a message that only answers.

        A multiple of the period since the start, so that no error adds up.
        """
        return math.inf if self.period_s is None else self.start_s + self.beat * self.period_s

    def is_due(self, now_s: float) -> bool:
        """Tell whether it is due and plan the next beat; missed ones are left out."""
        if self.period_s is None or now_s + BEAT_TOLERANCE_S < self.next_s:
            return False
        passed = math.floor((now_s + BEAT_TOLERANCE_S - self.start_s) / self.period_s)
        self.beat = max(self.beat, passed) + 1  # rounding must not let a beat come twice
        return True

    def payload(self, shown: View) -> bytes:
        """Return the unsealed payload of the page whose turn it is."""
        selected, names = self.pages[self.sent % len(self.pages)]
        data = bytes(self.message.length)
        for name in names:
            raw = selected[name] if name in selected else self.setters[name](shown)
            data = write(self.fields[name], data, raw)
        return data.ljust(wire_length(self.message.length), b"\0")


def senders_of(profile: Profile, database: Database, now_s: float) -> list[Sender]:
    """Return a sender for each message that the profile reads; the first frames are due at once.

    Raises:
        BadProfile: [simulator.signals] does not fit the DBC.
    """
    inverse = Inverse(profile, database)
    commands = {plan.message for plan in profile.commands.values()}
    return [
        _sender(profile, database.messages[name], inverse, now_s)
        for name in profile.wanted
        if name not in commands
    ]


def _sender(profile: Profile, message: Message, inverse: Inverse, now_s: float) -> Sender:
    places = {signal.name: field_of(message, signal) for signal in message.signals}
    fitting = {name: field for name, field in places.items() if field is not None}
    pages = tuple(
        (selected, tuple(name for name in names if name in fitting))
        for selected, names in _pages(page_of(message))
    )
    setters = {name: inverse.setter(message, name) for name in fitting}
    return Sender(message, _period_s(profile, message), pages, fitting, setters, now_s)


def _period_s(profile: Profile, message: Message) -> float | None:
    """Return the period of a message [s], None for one that only answers."""
    cycle_ms = cycle_time_ms(message)
    if cycle_ms:
        return cycle_ms / 1000
    for plan in profile.commands.values():
        for condition in (plan.acknowledged, plan.refused):
            if condition is not None and condition.message == message.name:
                return None
    return profile.deadlines_s[message.name] / DEADLINE_PERIODS


def _pages(page: Page) -> Iterator[SignalPage]:
    """Yield every combination of multiplexer values with all signals that are there."""
    choices: list[list[SignalPage]] = [
        [
            ({mux: value, **selected}, names)
            for value, child in children.items()
            for selected, names in _pages(child)
        ]
        for mux, children in page.muxes.items()
    ]
    for chosen in itertools.product(*choices):
        selected: Selected = {}
        names = list(page.names)
        for values, more in chosen:
            selected |= values
            names += more
        yield selected, tuple(names)
