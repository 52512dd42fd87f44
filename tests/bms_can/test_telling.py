"""What wakes the control thread: all that changes a status or a condition, and little else."""

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from typing import NamedTuple

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from bms_can.codec import Codec
from bms_can.confirmation import is_met
from bms_can.database import Database
from bms_can.errors import BadFrame
from bms_can.frame import Frame
from bms_can.integrity import Integrity
from bms_can.layout import wire_length
from bms_can.profile import ActiveWhen, AlarmRule, CommandCode, Condition, Profile
from bms_can.profile_load import load_profile
from bms_can.shipped import profile_path, shipped_names
from bms_can.signals import Heard, Sample, Signals
from bms_can.status import BmsStatus, derive_status
from bms_can.telling import Teller, conditions, exact_signals, telling
from tests.bms_can.build import Battery

NOW_S = 1.0
ELECTRICAL = "BAU_Electrical"
PAGED = "BAU_CellVoltages"


class Case(NamedTuple):
    """One message of one battery, as it comes or with limits on some of its numbers."""

    profile: Profile
    database: Database
    message: str
    codec: Codec
    restless: int

    def samples(self, data: bytes) -> dict[str, Sample] | None:
        """Return what a payload brings, None if it is refused."""
        key = self.database.messages[self.message]
        frame = Frame(NOW_S, key.frame_id, key.is_extended_frame, data)
        try:
            decoded = self.codec.decode(frame)
        except BadFrame:
            return None
        return None if decoded is None else decoded[1]

    def told(self, samples: dict[str, Sample]) -> tuple[BmsStatus, list[bool]]:
        """Return all that anybody may conclude, numbers aside."""
        heard = {name: Heard(NOW_S, 0.0, 9) for name in self.profile.required}
        signals = Signals(samples, heard)
        met = [is_met(each, signals, self.profile, NOW_S) for each in conditions(self.profile)]
        status = derive_status(signals, self.profile, NOW_S)
        return replace(status, current_a=None), met


def with_limits(profile: Profile) -> Profile:
    """Return a battery with an alarm on each limit of numbers that telemetry reports."""
    names = sorted({name for field in profile.telemetry for name in field.signals})
    limits = [ActiveWhen(at_least=50.0), ActiveWhen(at_most=3.0)]
    more = [
        AlarmRule(f"{name} {n}", name, when, level, "", "")
        for name in names[:4]
        for n, (when, level) in enumerate(zip(limits, (2, None), strict=True))
    ]
    return replace(profile, alarms=(*profile.alarms, *more))


def cases() -> Iterator[Case]:
    """Yield every message that tells something of every shipped battery."""
    for name in shipped_names():
        plain, database = load_profile(profile_path(name))
        for profile in (plain, with_limits(plain)):
            codec = Codec(database, profile.wanted, profile.limits, profile.integrity)
            restless = Integrity(database, profile.integrity).restless
            for message in sorted(telling(profile)):
                yield Case(profile, database, message, codec, restless(message))


CASES = list(cases())


def payloads(size: int) -> st.SearchStrategy[bytes]:
    """Return payloads of about one length."""
    return st.one_of(
        st.binary(min_size=size, max_size=size),
        st.lists(st.sampled_from([0, 1, 0x7F, 0x80, 0xFE, 0xFF]), min_size=size, max_size=size).map(
            bytes
        ),
        st.binary(max_size=size + 1),
    )


@settings(max_examples=1000)
@given(st.data())
def test_what_is_no_news_changes_no_status_and_no_condition(data: st.DataObject) -> None:
    """Any two payloads, often alike, of any message of any battery that comes with the project."""
    case = data.draw(st.sampled_from(CASES))
    size = wire_length(case.database.messages[case.message].length)
    first = data.draw(payloads(size))
    second = data.draw(payloads(size))
    if data.draw(st.booleans()) and size:  # one bit or a few
        flips = data.draw(st.lists(st.integers(0, 8 * len(first) - 1), max_size=4)) if first else []
        word = int.from_bytes(first, "little")
        for bit in flips:
            word ^= 1 << bit
        second = word.to_bytes(len(first), "little")
    before = case.samples(first)
    teller = Teller(case.profile, case.database, case.message, case.restless)
    if before is None:
        return
    assert teller.note(first)
    is_news, after = teller.is_news(second), case.samples(second)
    if after is None:
        event("the second is refused")
        return
    event(f"news: {is_news}")
    if not is_news and not case.database.messages[case.message].is_multiplexed():
        assert case.told(before) == case.told(after)
    assert teller.note(second) is is_news
    assert not teller.is_news(second)


def teller_of(profile: Profile, database: Database, message: str) -> Teller:
    """Return the teller of a message."""
    restless = Integrity(database, profile.integrity).restless(message)
    return Teller(profile, database, message, restless)


@pytest.mark.parametrize(
    ("before_a", "after_a", "news"),
    [
        (400, 410, False),
        (400, 0, True),
        (0, 400, True),
        (400, -400, True),
        (-400, -0.3, True),
        (0, 0.3, False),
    ],
)
def test_a_current_is_news_when_it_turns(
    loaded: tuple[Profile, Database],
    battery: Battery,
    before_a: float,
    after_a: float,
    *,
    news: bool,
) -> None:
    """Charging, discharging or neither is what a status takes from it."""
    teller = teller_of(*loaded, ELECTRICAL)
    assert teller.note(battery.frame(ELECTRICAL, 0.0, total_current=before_a).data)
    after = battery.frame(ELECTRICAL, 0.1, total_current=after_a).data
    assert teller.is_news(after) is news
    assert teller.note(after) is news


def test_a_drift_is_news_when_it_arrives(
    loaded: tuple[Profile, Database], battery: Battery
) -> None:
    """Each step is small; what counts is what was said when there was news last."""
    teller = teller_of(*loaded, ELECTRICAL)
    news = [
        teller.note(battery.frame(ELECTRICAL, 0.0, total_current=current).data)
        for current in range(300, -300, -10)
    ]
    assert sum(news) == 3


def test_numbers_beside_the_current_are_no_news(
    loaded: tuple[Profile, Database], battery: Battery
) -> None:
    """A voltage trembles; it is reported, and nothing rests on it."""
    teller = teller_of(*loaded, ELECTRICAL)
    assert teller.note(battery.frame(ELECTRICAL, 0.0, total_voltage=700).data)
    assert not teller.is_news(battery.frame(ELECTRICAL, 0.1, total_voltage=701).data)


def test_a_limit_is_news_when_it_is_crossed(
    loaded: tuple[Profile, Database], battery: Battery
) -> None:
    """An alarm that our box derives from a number comes and goes with its limit."""
    profile, database = loaded
    rule = AlarmRule(
        "high", f"{ELECTRICAL}.total_voltage", ActiveWhen(at_least=750.0), 2, "", "high"
    )
    teller = teller_of(replace(profile, alarms=(rule,)), database, ELECTRICAL)
    volts = 700, 749, 750, 760, 749
    said = [teller.note(battery.frame(ELECTRICAL, 0.0, total_voltage=each).data) for each in volts]
    assert said == [True, False, True, False, True]


def test_a_refused_payload_is_no_answer_for_a_good_one(
    loaded: tuple[Profile, Database], battery: Battery
) -> None:
    """It may have the same bits where the number stands, and say nothing."""
    teller = teller_of(*loaded, ELECTRICAL)
    assert teller.note(battery.frame(ELECTRICAL, 0.0, total_current=400).data)
    more = battery.frame(ELECTRICAL, 0.1, total_current=410).data
    assert teller.is_news(more + b"\0")
    assert teller.is_news(more[:3])
    assert not teller.is_news(more)


def with_alarm(loaded: tuple[Profile, Database], signal: str) -> tuple[Profile, Database]:
    """Return our battery with nothing but an alarm on a signal."""
    profile, database = loaded
    rule = AlarmRule("low", signal, ActiveWhen(at_most=2.0), 2, "", "low")
    return replace(profile, alarms=(rule,)), database


def flipped(data: bytes, at: int, bits: int = 0xFF) -> bytes:
    """Return a payload with some bits of one byte turned round."""
    return bytes(byte ^ (bits if place == at else 0) for place, byte in enumerate(data))


def test_a_counter_on_a_page_is_no_news(loaded: tuple[Profile, Database], battery: Battery) -> None:
    """Where pages share their bits each bit counts, but for those of counter and checksum."""
    told = with_alarm(loaded, f"{PAGED}.cell_voltage_4")
    teller, data = Teller(*told, PAGED, 0xFF << 56), battery.frame(PAGED, 0.0, page=1).data
    assert teller.note(data)
    assert not teller.is_news(flipped(data, 7))
    assert all(teller.is_news(flipped(data, at)) for at in range(7))
    assert teller.is_news(data + b"\0")


def test_pages_on_which_nothing_rests_are_no_news(
    loaded: tuple[Profile, Database], battery: Battery
) -> None:
    """A battery may be asked for just to be heard by a message that brings page after page."""
    profile, database = loaded
    required = replace(profile, required=(PAGED,))
    assert PAGED in telling(required)
    teller = Teller(required, database, PAGED, 0)
    news = [teller.note(battery.frame(PAGED, 0.0, page=page).data) for page in (0, 1, 2, 0)]
    assert news == [True, False, False, False]


def test_a_signal_that_shares_bits_with_the_counter_counts(
    loaded: tuple[Profile, Database], battery: Battery
) -> None:
    """A DBC may let them overlap, and a counter may be the page: no change of those is lost."""
    data = battery.frame(PAGED, 0.0, page=1).data
    for restless, signal, at in (
        (0xFF, f"{PAGED}.cell_voltage_4", 0),  # the multiplexer counts
        (0xFFFF << 8, f"{PAGED}.cell_voltage_4", 2),
    ):
        teller = Teller(*with_alarm(loaded, signal), PAGED, restless)
        teller.note(data)
        assert teller.is_news(flipped(data, at)), (restless, at)
    data = battery.frame(ELECTRICAL, 0.0, total_current=400).data
    teller = Teller(*loaded, ELECTRICAL, (1 << 64) - 1)
    teller.note(data)
    assert teller.is_news(battery.frame(ELECTRICAL, 0.0, total_current=-400).data)


def found_in(thing: object) -> Iterator[str]:
    """Yield the signals of all conditions, wherever they are."""
    if isinstance(thing, Condition):
        yield thing.signal
    elif is_dataclass(thing):
        for field in fields(thing):
            yield from found_in(getattr(thing, field.name))
    elif isinstance(thing, Mapping):
        yield from found_in(tuple(thing.values()))
    elif isinstance(thing, tuple):
        for each in thing:
            yield from found_in(each)


@pytest.mark.parametrize("name", shipped_names())
def test_no_condition_of_a_profile_is_forgotten(name: str) -> None:
    """Interlocks, answers, refusals, proofs, and any kind that is added one day."""
    profile, _ = load_profile(profile_path(name))
    asked = set(found_in(profile))
    assert asked == {each.signal for each in conditions(profile)}
    assert asked <= set(exact_signals(profile))


def test_what_proves_a_command_counts(ess_bau: Profile) -> None:
    """Also where no status and no interlock asks for the same signal."""
    plan = ess_bau.commands[CommandCode.FAULT_RESET]
    soc = Condition("BAU_Energy.soc", frozenset({1}))
    for changed in (
        replace(plan, acknowledged=soc),
        replace(plan, refused=soc),
        replace(plan, confirmed=replace(plan.confirmed, conditions=(soc,))),
    ):
        profile = replace(ess_bau, commands={CommandCode.FAULT_RESET: changed})
        assert telling(profile) - telling(ess_bau) == {"BAU_Energy"}


def test_many_numbers_do_not_fill_the_memory(
    loaded: tuple[Profile, Database], battery: Battery
) -> None:
    """What is known by heart is forgotten before it becomes much, and found out again."""
    teller = teller_of(*loaded, ELECTRICAL)
    teller.note(battery.frame(ELECTRICAL, 0.0, total_current=10).data)
    for current in range(10, 3000):
        assert not teller.note(battery.frame(ELECTRICAL, 0.0, total_current=current).data)
    assert len(teller._grades) <= 1024
    assert teller.note(battery.frame(ELECTRICAL, 0.0, total_current=0).data)
