"""A node that sends too much is named; a busy bus is not."""

from hypothesis import given
from hypothesis import strategies as st

from bms_can.babble import MOST_PER_S, Babble
from bms_can.frame import Frame


def frames(count: int, can_id: int = 0x123, *, extended: bool = False) -> list[Frame]:
    """Return so many frames of one identifier."""
    return [Frame(0.0, can_id, extended, bytes(8))] * count


def test_a_full_bus_of_many_identifiers_is_no_babble() -> None:
    """9,000 frames a second, none of them from one identifier alone."""
    watch = Babble()
    watch.see([], 0.0)
    for tick in range(1, 101):
        watch.see([frame for i in range(90) for frame in frames(1, i)], tick / 100)
    assert watch.text == ""


def test_one_identifier_above_the_rate_is_named() -> None:
    """With its rate, as candump writes it; standard and extended are told apart."""
    watch = Babble()
    watch.see([], 0.0)
    watch.see(frames(1500) + frames(900, extended=True), 1.0)
    assert watch.text == "babbling: 123 1500/s"
    watch.see(frames(3000, 0x1804E5F4, extended=True), 3.0)
    assert watch.text == "babbling: 1804E5F4 1500/s"
    assert watch.seconds == 2
    watch.see(frames(10), 4.0)
    assert watch.text == ""


def test_exactly_the_rate_is_allowed() -> None:
    """The limit itself is not above the limit."""
    watch = Babble()
    watch.see([], 0.0)
    watch.see(frames(int(MOST_PER_S)), 1.0)
    assert watch.text == ""


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 300)), max_size=60))
def test_only_who_is_above_the_rate_is_named(ticks: list[tuple[int, int]]) -> None:
    """However the frames are spread over a second."""
    watch, totals = Babble(), [0] * 4
    watch.see([], 0.0)
    for at, (can_id, count) in enumerate(ticks):
        watch.see(frames(count, can_id), at / 100)
        totals[can_id] += count
    watch.see([], 1.0)
    named = {can_id for can_id in range(4) if f"{can_id:03X} " in watch.text}
    assert named == {can_id for can_id in range(4) if totals[can_id] > MOST_PER_S}
