"""The rules of a profile turned round: from a battery to the raw values of its signals. Pure.

The profile says how signals become a status; here the same rules say which signals make that
status. What the profile cannot say, such as a battery's own state machine, stands in its table
[simulator.signals]. A signal without a rule keeps the start value of the DBC, or 0.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

from cantools.database.can import Message, Signal

from bms_can.database import Database, raw_values
from bms_can.errors import BadProfile
from bms_can.layout import Field, field_of
from bms_can.pack import Feedback
from bms_can.pack_view import View
from bms_can.profile import (
    AlarmRule,
    CommandCode,
    Condition,
    ContactorSignal,
    OperatingStatus,
    Profile,
    SignalLimits,
    StateSignal,
    TelemetryField,
)
from bms_can.scaling import raw_range, scale_of

Raw = int | float
Setter = Callable[[View], Raw]
Rule = tuple[str, Setter]  # (Message.Signal, how to find its raw value)

IDLE_BELOW_A = 0.05
MOST_TRIED = 256  # values looked at to find one that means something else


class Slot(NamedTuple):
    """A signal's definition and place."""

    message: Message
    signal: Signal
    field: Field
    limits: SignalLimits


class Inverse:
    """The rules of one profile, turned round. The last rule for a signal wins.

    Raises:
        BadProfile: [simulator.signals] does not fit the DBC.
    """

    def __init__(self, profile: Profile, database: Database) -> None:
        self._profile = profile
        self._database = database
        self._setters: dict[str, Setter] = {}
        for signal, setter in self._rules():
            if signal in database.signals:
                self._setters[signal] = setter

    def setter(self, message: Message, name: str) -> Setter:
        """Return how to find the raw value of a signal."""
        setter = self._setters.get(f"{message.name}.{name}")
        return _constant(self._initial(message, name)) if setter is None else setter

    def _initial(self, message: Message, name: str) -> Raw:
        slot = self._slot(f"{message.name}.{name}")
        if slot.signal.raw_initial:
            return slot.signal.raw_initial
        return _inside(slot, 0)

    def _slot(self, name: str) -> Slot:
        message, signal = self._database.signals[name]
        field = field_of(message, signal)
        if field is None:
            raise BadProfile(self._profile.path, [f"{name} does not fit into its message"])
        return Slot(message, signal, field, self._profile.limits.get(name, SignalLimits()))

    def _rules(self) -> Iterator[Rule]:
        profile = self._profile
        for field in profile.telemetry:
            yield from self._telemetry(field)
        yield from self._interlocks()
        if profile.status.state is not None:
            yield self._state(profile.status.state)
        if profile.status.contactor is not None:
            yield from map(self._contactor, profile.status.contactor.signals)
        if profile.status.current is not None:
            yield self._current(profile.status.current.signal, profile.status.current.sign)
        yield from self._alarms(profile.alarms)
        plans = profile.commands.items()
        yield from self._answers([(code, plan.acknowledged) for code, plan in plans], taken=True)
        yield from self._answers([(code, plan.refused) for code, plan in plans], taken=False)
        yield from self._own()

    def _telemetry(self, field: TelemetryField) -> Iterator[Rule]:
        def setter(slot: Slot, index: int) -> Setter:
            def raw(view: View) -> Raw:
                value = view.numbers.get(field.name, 0.0)
                if isinstance(value, tuple):
                    value = value[index % len(value)]
                return physical_to_raw(slot, (value - field.offset) / field.factor)

            return raw

        for index, signal in enumerate(field.signals):
            yield signal, setter(self._slot(signal), index)

    def _interlocks(self) -> Iterator[Rule]:
        """Every interlock condition holds; the remote one follows the switch."""
        for condition in self._profile.interlocks.conditions:
            yield condition.signal, _constant(min(condition.values))
        remote = self._profile.interlocks.remote
        if remote is not None:
            chosen = min(remote.values)
            local = other_raw(self._slot(remote.signal), remote.values, chosen)
            yield remote.signal, lambda view: chosen if view.pack.remote else local

    def _state(self, rule: StateSignal) -> Rule:
        raws: dict[OperatingStatus, Raw] = {}
        for raw, status in rule.states.items():
            raws.setdefault(status, raw)
        between = other_raw(self._slot(rule.signal), rule.states, next(iter(raws.values())))

        def setter(view: View) -> Raw:
            if view.pack.feedback is Feedback.PARTIAL:
                return between
            closed = view.pack.feedback is Feedback.CLOSED
            status = _flow(view.pack.current_a) if closed else OperatingStatus.POWERED_DOWN
            return raws.get(status, between)

        return rule.signal, setter

    def _contactor(self, rule: ContactorSignal) -> Rule:
        opened = min(rule.open, default=other_raw(self._slot(rule.signal), rule.closed, 0))
        partial = other_raw(self._slot(rule.signal), rule.closed | rule.open, opened)
        raws = {
            Feedback.OPEN: opened,
            Feedback.CLOSED: min(rule.closed, default=opened),
            Feedback.PARTIAL: partial,
        }
        return rule.signal, lambda view: raws[view.pack.feedback]

    def _current(self, signal: str, sign: float) -> Rule:
        slot = self._slot(signal)
        return signal, lambda view: physical_to_raw(slot, view.pack.current_a / sign)

    def _alarms(self, rules: Iterable[AlarmRule]) -> Iterator[Rule]:
        by_signal: dict[str, list[AlarmRule]] = {}
        for rule in rules:
            by_signal.setdefault(rule.signal, []).append(rule)
        for signal, sharing in by_signal.items():
            yield signal, self._alarm(signal, sharing)

    def _alarm(self, signal: str, rules: list[AlarmRule]) -> Setter:
        slot = self._slot(signal)
        values = frozenset[Raw]().union(*(rule.when.values or () for rule in rules))
        before = self._setters.get(signal, _constant(other_raw(slot, values, 0) if values else 0))

        def raw(view: View) -> Raw:
            levels = view.pack.alarms
            on = [(rule, levels[rule.key]) for rule in rules if rule.key in levels]
            if not on:
                return before(view)
            masks = 0
            for rule, level in on:
                if rule.when.mask is None:
                    return _inside(slot, _alarm_raw(slot, rule, level))
                masks |= rule.when.mask & -rule.when.mask
            return masks

        return raw

    def _answers(
        self, conditions: Iterable[tuple[CommandCode, Condition | None]], *, taken: bool
    ) -> Iterator[Rule]:
        by_signal: dict[str, dict[CommandCode, Raw]] = {}
        for code, condition in conditions:
            if condition is not None:
                by_signal.setdefault(condition.signal, {})[code] = min(condition.values)
        for signal, raws in by_signal.items():
            none = other_raw(self._slot(signal), raws.values(), 0)
            yield signal, _answer(raws, none, taken=taken)

    def _own(self) -> Iterator[Rule]:
        """Read [simulator.signals]: a constant, or { from = subject, word = value, ... }."""
        table = self._profile.simulator.get("signals", {})
        if not isinstance(table, Mapping):
            raise BadProfile(self._profile.path, ["simulator.signals: must be a table"])
        for name, said in table.items():
            if name not in self._database.signals:
                raise BadProfile(self._profile.path, [f"simulator.signals: no signal {name}"])
            yield name, self._own_setter(name, said)

    def _own_setter(self, name: str, said: object) -> Setter:
        slot = self._slot(name)
        if not isinstance(said, Mapping):
            return _constant(self._one_raw(slot, said))
        subject = str(said.get("from", ""))
        raws = {word: self._one_raw(slot, value) for word, value in said.items() if word != "from"}
        if not raws:
            return lambda view: physical_to_raw(slot, _number(view, subject))
        first = self._initial(slot.message, slot.signal.name)
        return lambda view: raws.get(view.words.get(subject, ""), first)

    def _one_raw(self, slot: Slot, said: object) -> Raw:
        if isinstance(said, str | int | float):
            return min(raw_values(slot.message, slot.signal, [said]))
        where = f"simulator.signals: {slot.message.name}.{slot.signal.name}"
        raise BadProfile(self._profile.path, [f"{where}: {said!r} is neither number nor choice"])


def physical_to_raw(slot: Slot, value: float) -> Raw:
    """Return the nearest raw value inside the signal's range."""
    factor, offset = scale_of(slot.signal)
    if factor == 0:
        return 0
    raw = (value - offset) / factor
    return raw if slot.field.is_float else _inside(slot, round(raw))


def other_raw(slot: Slot, taken: Iterable[Raw], default: Raw) -> Raw:
    """Return a raw value that is not among `taken`, rather one with a name; else `default`."""
    known = set(taken)
    named = sorted(int(raw) for raw in slot.signal.choices or {})
    tried = itertools.chain(named, range(min(slot.field.highest + 1, MOST_TRIED)))
    return next((raw for raw in tried if raw not in known), default)


def _inside(slot: Slot, raw: Raw) -> Raw:
    if slot.field.is_float:
        return raw
    low, high = raw_range(slot.field, slot.signal, slot.limits)
    return min(max(raw, low), high) if low <= high else raw


def _alarm_raw(slot: Slot, rule: AlarmRule, level: int) -> Raw:
    if rule.when.values is not None:
        return min(rule.when.values)
    for threshold in (rule.when.at_least, rule.when.at_most):
        if threshold is not None:
            return physical_to_raw(slot, threshold)
    return level if rule.level is None else 1


def _answer(raws: Mapping[CommandCode, Raw], none: Raw, *, taken: bool) -> Setter:
    def raw(view: View) -> Raw:
        if view.answer is None or view.answer.accepted is not taken:
            return none
        return raws.get(view.answer.code, none)

    return raw


def _number(view: View, subject: str) -> float:
    value = view.numbers.get(subject, 0.0)
    return value[0] if isinstance(value, tuple) else value


def _flow(current_a: float) -> OperatingStatus:
    if abs(current_a) < IDLE_BELOW_A:
        return OperatingStatus.IDLE
    return OperatingStatus.CHARGING if current_a > 0 else OperatingStatus.DISCHARGING


def _constant(raw: Raw) -> Setter:
    return lambda _: raw
