"""Batteries that nobody would build: whatever a database and a profile may say, drawn by chance."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from random import Random
from typing import Any

from cantools.database.can import Message, Signal
from cantools.database.conversion import BaseConversion

from bms_can import profile
from bms_can.database import Database, usable_signals
from bms_can.integrity import ALGORITHMS
from bms_can.profile_load import load_profile
from bms_can.shipped import profile_path
from bms_can.telling import conditions

Page = Mapping[str, Any]  # what says with which values of a multiplexer a signal comes
SHIPPED, _ = load_profile(profile_path("ess_bau"))  # for what an intake does not look at
PLAN = SHIPPED.commands[profile.CommandCode.CLOSE_CONTACTOR]
KEYS = [(number, extended) for number in range(0x100, 0x104) for extended in (False, True)]
SIZES = (1, 2, 3, 8, 8, 8, 8, 8, 12, 20)  # of messages [byte]
MORE_SIZES = (2, 3, 4, 5, 6, 7, 8, 12, 16, 20, 24)
LENGTHS = (1, 1, 1, 2, 3, 4, 5, 7, 8, 8, 12, 16, 16)  # of signals [bit]
SCALES = ((1, 0), (1, 0), (2, -10), (0.1, -100), (1, 0.5))
RANGES = ((None, None), (None, None), (None, None), (-20, 90), (0, 3))
SEALS = ((None, "checksum"), ("counter", None), ("counter", "checksum"), ("counter", "checksum"))


ALWAYS: Page = {}


def anywhere(chance: Random, size: int, length: int) -> tuple[int, int, Any]:
    """Return start, length and byte order of a signal; it may share bits with any other."""
    first = chance.randrange(8 * size - length + 1)
    from_the_top = 8 * (first // 8) + 7 - first % 8
    return chance.choice([(first, length, "little_endian"), (from_the_top, length, "big_endian")])


def any_signal(chance: Random, name: str, size: int, page: Page = ALWAYS) -> Signal:
    """Return a number of a message."""
    is_float = size >= 4 and chance.random() < 0.1
    length = chance.choice((16, 32)) if is_float else min(chance.choice(LENGTHS), 8 * size)
    scale, offset = chance.choice(SCALES)
    low, high = chance.choice(RANGES)
    return Signal(
        name,
        *anywhere(chance, size, length),
        is_signed=not is_float and chance.random() < 0.3,
        conversion=BaseConversion.factory(scale=scale, offset=offset, is_float=is_float),
        minimum=low,
        maximum=high,
        **page,
    )


def any_pages(chance: Random, name: str, size: int, page: Page = ALWAYS) -> Iterator[Signal]:
    """Yield a multiplexer and what stands on its pages, perhaps one more multiplexer."""
    bits = min(chance.choice((1, 2, 3, 4, 8)), 8 * size)
    values = chance.sample(range(1 << bits), chance.randint(1, min(1 << bits, 4)))
    signed = chance.random() < 0.1
    place = anywhere(chance, size, bits)
    yield Signal(name, *place, is_signed=signed, is_multiplexer=True, **page)
    for number in range(chance.randint(1, 5)):
        some = chance.sample(values, chance.randint(1, len(values)))
        inside = {"multiplexer_ids": some, "multiplexer_signal": name}
        yield any_signal(chance, f"{name}_{number}", size, inside)
        if page is ALWAYS and chance.random() < 0.15:
            yield from any_pages(chance, f"{name}_{number}_inner", size, inside)


def any_message(chance: Random, name: str, key: tuple[int, bool]) -> Message:
    """Return a message; it has room for a counter and a checksum, used or not."""
    size = chance.choice(SIZES)
    signals = [any_signal(chance, f"signal_{n}", size) for n in range(chance.randint(1, 3))]
    for number in range(chance.choice((0, 0, 0, 1, 1, 1, 2))):
        signals += any_pages(chance, f"page_{number}", size)
    if size > 1:
        bits, last = chance.choice((2, 4, 8)), 8 * (size - 1)
        signals += [Signal("counter", last - bits, bits), Signal("checksum", last, 8)]
    return Message(key[0], name, size, signals, is_extended_frame=key[1], strict=False)


def any_database(chance: Random) -> Database:
    """Return one to four messages."""
    keys = chance.sample(KEYS, chance.randint(1, 4))
    by_id = {key: any_message(chance, f"M{number}", key) for number, key in enumerate(keys)}
    messages = {message.name: message for message in by_id.values()}
    signals, _ = usable_signals(by_id.values())
    more_lengths = {
        name: tuple(size for size in chance.sample(MORE_SIZES, 3) if size > message.length)
        for name, message in messages.items()
        if chance.random() < 0.2
    }
    return Database("", "", "", (), messages, by_id, frozenset(), signals, more_lengths)


class Asked:
    """What a profile asks for, on any signals of a database."""

    def __init__(self, chance: Random, database: Database) -> None:
        self.chance, self.database = chance, database
        self.messages, self.signals = list(database.messages), list(database.signals)

    def some(self, names: list[str]) -> list[str]:
        """Return about half of some names."""
        return [name for name in names if self.chance.random() < 0.5]

    def signal(self) -> tuple[str, frozenset[int | float]]:
        """Return the name of a signal and one or two of its values."""
        name = self.chance.choice(self.signals)
        most = 1 << min(self.database.signals[name][1].length, 5)
        return name, frozenset(self.chance.sample(range(most), self.chance.randint(1, 2)))

    def condition(self) -> profile.Condition:
        """Return a condition."""
        return profile.Condition(*self.signal())

    def alarm(self, number: int) -> profile.AlarmRule:
        """Return an alarm of any kind."""
        signal, raws = self.signal()
        kinds: list[dict[str, Any]] = [{}, {"values": raws}, {"mask": 1}, {"mask": 3}]
        kinds += [{"at_least": 0.5}, {"at_least": 50}, {"at_most": -5}, {"at_most": 3}]
        when = profile.ActiveWhen(**self.chance.choice(kinds))
        level = self.chance.choice((1, 2, 3, None))
        return profile.AlarmRule(f"alarm_{number}", signal, when, level, "", "")

    def status(self) -> profile.StatusRule:
        """Return one of the ways to find a status."""
        chance, (signal, raws) = self.chance, self.signal()
        statuses = {raw: chance.choice(list(profile.OperatingStatus)) for raw in raws}
        state = profile.StateSignal(signal, statuses)
        feedback = [profile.ContactorSignal(*self.signal(), frozenset({0})) for _ in range(2)]
        contactor = profile.ContactorRule(tuple(feedback), series=chance.random() < 0.5)
        dead_band_a, when_open = chance.choice((0.0, 1.0, 5.0)), chance.random() < 0.5
        current = profile.CurrentRule(signal, -1.0, dead_band_a, ignored_when_open=when_open)
        at_rest = chance.choice((None, profile.OperatingStatus.IDLE))
        ways = {"state": state}, {"contactor": contactor, "current": current}
        return profile.StatusRule(
            **chance.choice((*ways, {"current": current, "at_rest": at_rest}))
        )

    def seal(self, message: str) -> profile.IntegrityRule:
        """Return how a message is sealed."""
        counter, checksum = self.chance.choice(SEALS)
        most = 1 << self.database.signals[f"{message}.counter"][1].length
        algorithm = checksum and self.chance.choice(list(ALGORITHMS))
        modulo = self.chance.choice((2, 3, most - 1, most))
        return profile.IntegrityRule(message, counter, modulo, checksum, algorithm)


def any_battery(chance: Random) -> tuple[profile.Profile, Database]:
    """Return a profile that may ask for anything and its database, as `load_profile` does."""
    asked = Asked(chance, any_database(chance))
    sealable = [name for name in asked.messages if f"{name}.counter" in asked.signals]
    proof = replace(PLAN.confirmed, conditions=(asked.condition(),))
    yes, no = asked.condition(), asked.condition()
    plan = replace(PLAN, acknowledged=yes, refused=no, confirmed=proof)
    locks = profile.InterlockRules(remote=asked.condition(), conditions=(asked.condition(),))
    limited = [asked.signal() for _ in range(chance.randint(0, 3))]
    asking = replace(
        SHIPPED,
        channel=chance.choice([None] * 9 + ["can7"]),
        required=tuple(asked.some(asked.messages)),
        deadlines_s={name: chance.choice((0.05, 0.5, 2.0)) for name in asked.messages},
        status=asked.status(),
        alarms=tuple(map(asked.alarm, range(chance.randint(0, 4)))),
        integrity={name: asked.seal(name) for name in asked.some(sealable)},
        limits={name: profile.SignalLimits(raws) for name, raws in limited},
        commands=chance.choice([{}, {}, {plan.code: plan}]),
        interlocks=chance.choice([profile.InterlockRules(), locks]),
    )
    awaited = [each.signal for each in conditions(asking)]
    used = {*asking.status_signals(), *awaited, *asked.some(asked.signals)}
    wanted: dict[str, tuple[str, ...]] = dict.fromkeys(asking.required, ())
    for name in sorted(used):
        message = name.split(".", 1)[0]
        wanted[message] = (*wanted.get(message, ()), name)
    return replace(asking, wanted=wanted), asked.database
