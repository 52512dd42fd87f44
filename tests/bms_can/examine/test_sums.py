"""Running sums: times, series, ISO-TP, fields. Their memory does not grow with the log."""

import numpy as np
import pytest

from bms_can.examine.fields import guess_fields
from bms_can.examine.isotp import carries_isotp, messages_in
from bms_can.examine.series import MOST, Grid
from bms_can.examine.timing import BINS, Timing

FRAMES = 1000


def timed(at_s: np.ndarray) -> Timing:
    """Return the sums of some times."""
    timing = Timing()
    timing.feed(at_s, np.arange(len(at_s)))
    return timing


@pytest.mark.parametrize("period_s", [0.001, 0.01, 0.1, 1.0, 7.5])
def test_a_period_is_found_to_a_thousandth(period_s: float) -> None:
    """With 2 % of noise on every time."""
    noise_s = np.random.default_rng(1).normal(0, period_s * 0.02, FRAMES)
    rhythm = timed(np.arange(FRAMES) * period_s + noise_s).rhythm()
    assert rhythm.period_s == pytest.approx(period_s, rel=1e-3)
    assert rhythm.is_periodic
    assert rhythm.gaps == ()


def test_pieces_make_no_difference() -> None:
    """Fed frame by frame or at once: the same counts."""
    at_s = np.cumsum(np.random.default_rng(2).exponential(0.1, FRAMES))
    whole, pieces = timed(at_s), Timing()
    for start in range(0, FRAMES, 37):
        pieces.feed(at_s[start : start + 37], np.arange(FRAMES)[start : start + 37])
    assert pieces.rhythm().late_s == whole.rhythm().late_s
    assert pieces.rhythm().gaps == whole.rhythm().gaps
    assert pieces.steps == whole.steps == FRAMES - 1
    assert len(pieces._counts) == BINS


def test_gaps_are_listed_longest_first() -> None:
    """With their start and the line that ended them."""
    at_s = np.arange(FRAMES) * 0.1
    at_s[500:] += 2.0
    at_s[700:] += 5.0
    rhythm = timed(at_s).rhythm()
    assert [round(gap.length_s, 6) for gap in rhythm.gaps] == [5.1, 2.1]
    assert [gap.line for gap in rhythm.gaps] == [700, 500]
    assert rhythm.gaps[1].from_s == pytest.approx(49.9)
    assert rhythm.gap_count == 2


def test_going_back_is_counted_and_is_no_step() -> None:
    """Time that goes back, or stands."""
    timing = timed(np.array([1.0, 2.0, 1.5, 1.5, 3.0]))
    assert (timing.steps, timing.back, timing.same) == (2, 1, 1)
    assert timing.worst_back_s == 0.5
    assert timed(np.array([1.0])).rhythm().period_s is None


def test_a_grid_keeps_every_spike_however_long_the_log() -> None:
    """A million seconds in 512 slots: the one high value is still the highest."""
    grid = Grid()
    for start_s in range(0, 1_000_000, 100_000):
        at_s = start_s + np.arange(0.0, 100_000, 50)
        values = np.sin(at_s)
        if start_s == 300_000:
            values[77] = 99.0
        grid.cover(float(at_s[0]), float(at_s[-1]))
        grid.put("x", at_s, values)
    series = grid.series["x"]
    assert len(series.high) == MOST
    assert np.nanmax(series.high) == 99
    slot = int(np.nanargmax(series.high))
    assert slot * grid.width_s <= 303_850 < (slot + 1) * grid.width_s
    assert MOST / 2 < grid.used(999_950.0) <= MOST


def test_what_is_older_than_the_first_frame_is_kept() -> None:
    """Channels merged a little out of order, and values that are no numbers."""
    grid = Grid(8)
    grid.cover(10.0, 10.02)
    grid.put("x", np.array([9.9, 10.01, 10.02]), np.array([1.0, np.nan, 3.0]))
    assert grid.series["x"].low[0] == 1
    assert np.count_nonzero(np.isfinite(grid.series["x"].low)) == 2


def isotp(*lengths: int) -> np.ndarray:
    """Return the frames of messages of these lengths."""
    rows = []
    for length in lengths:
        rows.append([0x10 | length >> 8, length & 0xFF, 1, 2, 3, 4, 5, 6])
        count = -(-(length - 6) // 7)
        rows += [[0x20 | number % 16, 9, 9, 9, 9, 9, 9, 9] for number in range(1, count + 1)]
    return np.array(rows, np.uint8)


def test_long_diagnostic_messages_are_seen() -> None:
    """Of any length, over the wrap of the frame number; the last may be cut off."""
    frames = isotp(62, 8, 200, 62)
    assert carries_isotp(frames)
    assert messages_in(frames)[0] == "01 (62 bytes)"
    assert carries_isotp(frames[:-3])


def test_other_payloads_are_no_diagnostics() -> None:
    """Random ones; pages 0x0A, 0x10, 0x12, 0x21 of a car; a long message with a frame missing."""
    rng = np.random.default_rng(3)
    assert not any(carries_isotp(rng.integers(0, 256, (20, 8), dtype=np.uint8)) for _ in range(300))
    pages = np.zeros((30, 8), np.uint8)
    pages[:, 0] = np.tile([0x0A, 0x0B, 0x10, 0x11, 0x12, 0x21], 5)
    assert not carries_isotp(pages)
    broken = isotp(62, 62)
    assert not carries_isotp(np.delete(broken, [3, 12], axis=0))


def test_two_bytes_are_one_number_where_one_carries_into_the_other() -> None:
    """Big and little endian; and not where the high byte never moves."""
    value = 1000 + 3 * np.arange(600)
    rows = np.zeros((600, 8), np.uint8)
    rows[:, 0], rows[:, 1] = value >> 8, value & 0xFF
    rows[:, 4], rows[:, 5] = value & 0xFF, value >> 8
    rows[:, 7] = np.arange(600) % 50
    words = [each.words for each in guess_fields(rows)]
    assert words == ["[0..1] big-endian 1000..2797", "[4..5] little-endian 1000..2797", "[7] 0..49"]
    rows[:, 0] = 3
    assert guess_fields(rows)[0].words == "[1] 0..255"


def test_random_bytes_are_no_numbers() -> None:
    """Unrelated neighbours are left apart."""
    rng = np.random.default_rng(4)
    for _ in range(100):
        rows = rng.integers(0, 256, (300, 8), dtype=np.uint8)
        assert all(each.first == each.last for each in guess_fields(rows))
