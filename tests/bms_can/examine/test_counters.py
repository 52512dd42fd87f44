"""Counters are found where they are, and nowhere else."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bms_can.examine.counters import MOST_BITS, find_counters
from tests.bms_can.examine.planted import count, noise

ROWS = 200
STREAMS = 400  # random ones; bench/false_findings.py does more


@pytest.mark.parametrize("kind", range(4))
def test_random_payloads_have_no_counter(kind: int) -> None:
    """Bits of any density, constant bytes, slow values: nothing counts by chance."""
    rng = np.random.default_rng(kind)
    for _ in range(STREAMS // 4):
        data = noise(rng, int(rng.integers(24, ROWS)), int(rng.integers(1, 9)), kind)
        assert find_counters(data) == []


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_planted_counter_is_found_whole(data: st.DataObject) -> None:
    """Any place, length and byte order, between random bits: exactly these bits."""
    bits = data.draw(st.integers(2, 7), "bits")
    little = data.draw(st.booleans(), "little")
    bit = data.draw(st.integers(0, 7), "bit")
    spill = (bit + bits - 1) // 8
    byte = data.draw(st.integers(0, 7 - spill) if little else st.integers(spill, 7), "byte")
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1), "seed"))
    rows = noise(rng, ROWS)
    planted = count(rows, (byte, bit), bits, little=little, low=0, modulo=1 << bits)
    found = find_counters(planted)
    assert [(each.byte, each.bit, each.bits) for each in found] == [(byte, bit, bits)]
    assert found[0].modulo == 1 << bits
    assert found[0].little == (little or not spill)
    assert not found[0].seen
    assert not found[0].is_page


@pytest.mark.parametrize(
    ("low", "modulo", "bits"), [(0, 15, 4), (1, 15, 4), (0, 10, 4), (1, 14, 4)]
)
def test_a_counter_need_not_use_all_its_values(low: int, modulo: int, bits: int) -> None:
    """0..14 of AUTOSAR, 1..15, decimal ones: where it begins, and how many values."""
    rows = noise(np.random.default_rng(5), ROWS)
    (found,) = find_counters(count(rows, (6, 0), bits, little=True, low=low, modulo=modulo))
    assert (found.low, found.modulo, found.bits) == (low, modulo, bits)


def test_lost_frames_do_not_hide_a_counter() -> None:
    """One frame in twenty is lost: it is found, and the jumps are counted with their lines."""
    rng = np.random.default_rng(6)
    rows = count(noise(rng, 600), (3, 4), 4, little=True, low=0, modulo=16)
    kept = np.flatnonzero(rng.random(600) > 0.05)
    (found,) = find_counters(rows[kept])
    found.feed(rows[kept], kept.astype(np.float64), kept)
    jumps = int(np.count_nonzero(np.diff(kept) != 1))
    assert (found.bits, found.steps) == (4, len(kept) - 1)
    assert found.steps - found.good == jumps
    line, _, wanted, got = found.misses[0]
    assert line == kept[np.flatnonzero(np.diff(kept) != 1)[0] + 1]
    assert (got - wanted) % 16 != 0


def test_steps_go_on_over_pieces() -> None:
    """Fed in two pieces, the step between them is looked at, too."""
    rows = count(noise(np.random.default_rng(7), 100), (0, 0), 8, little=True, low=0, modulo=256)
    (found,) = find_counters(rows)
    at = np.arange(100.0)
    for piece in (slice(0, 41), slice(41, 100)):
        found.feed(rows[piece], at[piece], np.arange(100)[piece])
    assert (found.steps, found.good) == (99, 99)
    assert found.seen == 100


def test_a_sum_that_follows_a_counter_is_none() -> None:
    """A checksum over a counter alone goes 0x32 .. 0x41 and back: always the same jump."""
    rows = np.zeros((ROWS, 8), np.uint8)
    rows[:, 2] = 0x55 + np.arange(ROWS) % 15
    assert find_counters(rows) == []


def test_a_page_number_is_told_from_a_counter() -> None:
    """The other bytes return with the number, and not sooner."""
    rng = np.random.default_rng(8)
    pages = rng.integers(0, 256, (16, 8), dtype=np.uint8)
    rows = count(np.tile(pages, (12, 1)), (0, 0), 8, little=True, low=0, modulo=16)
    assert [each.is_page for each in find_counters(rows)] == [True]
    two = np.tile(pages[:2], (96, 1))  # a message of two pages with a counter of 16 beside
    rows = count(two, (7, 0), 8, little=True, low=0, modulo=16)
    assert [each.is_page for each in find_counters(rows) if each.byte == 7] == [False]


def test_too_few_frames_say_nothing() -> None:
    """23 frames of a perfect counter are not enough."""
    rows = count(noise(np.random.default_rng(9), 23), (0, 0), 4, little=True, low=0, modulo=16)
    assert find_counters(rows) == []
    assert MOST_BITS == 16
