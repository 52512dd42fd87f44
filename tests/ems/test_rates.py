"""How often callers may call, on a clock that tests step."""

import pytest

from ems.rates import MAX_ADDRESSES, KeyRates, Refusals


def test_a_burst_then_a_steady_rate() -> None:
    """Twenty at once, then ten a second; what is refused costs nothing."""
    rates = KeyRates()
    assert [rates.wait_s("k", 10, 5_000) for _ in range(20)] == [0] * 20
    assert [rates.wait_s("k", 10, 5_000) for _ in range(5)] == [1] * 5
    passed = [rates.wait_s("k", 10, 5_000 + 10 * step) for step in range(1, 501)].count(0)
    assert passed == 50


def test_keys_do_not_share() -> None:
    """One key's requests are not counted for another."""
    rates = KeyRates()
    for _ in range(30):
        rates.wait_s("a", 10, 0)
    assert rates.wait_s("b", 10, 0) == 0


@pytest.mark.parametrize("per_s", [1, 3, 7, 100, 100_000])
def test_waiting_as_told_is_enough(per_s: int) -> None:
    """After the seconds that were named the next request passes."""
    rates = KeyRates()
    now_ms = 0
    while not (wait_s := rates.wait_s("k", per_s, now_ms)):
        pass
    assert wait_s == 1
    assert rates.wait_s("k", per_s, now_ms + 1000 * wait_s) == 0


def test_wrong_keys_in_a_sliding_minute() -> None:
    """The 21st within any minute is told how long to wait; others are not touched."""
    refusals = Refusals(20)
    assert [refusals.wait_s("x", 1_000 * step) for step in range(20)] == [0] * 20
    assert refusals.wait_s("x", 20_000) == 40
    assert refusals.wait_s("y", 20_000) == 0
    assert refusals.wait_s("x", 59_999) == 1
    assert refusals.wait_s("x", 60_000) == 0
    assert refusals.wait_s("x", 60_001) == 1


def test_memory_is_bounded() -> None:
    """Many addresses push out the ones that were quiet the longest."""
    refusals = Refusals(1)
    for number in range(MAX_ADDRESSES + 10):
        refusals.wait_s(str(number), 0)
    assert len(refusals._at_ms) == MAX_ADDRESSES
    assert refusals.wait_s("0", 1) == 0
    assert refusals.wait_s(str(MAX_ADDRESSES), 1) == 60
