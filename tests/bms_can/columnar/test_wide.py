"""The wide grid against a plain reading of its rule, one instant and one signal at a time."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bms_can.columnar.export_rows import Block, Cells, mask_of
from bms_can.columnar.wide import REORDER_US, Grid, News, Times, stretches

PERIOD_US = 250_000
AGE_US = 700_000
NUMBER = np.dtype(np.int64)

Said = tuple[int, int, bool, bool]  # (time_us, value, heard, believed)
Row = tuple[int, int | None]


def news(said: list[Said]) -> News:
    """Build what the frames of one message with one signal said."""
    time_us, values, heard, valid = (np.array(column) for column in zip(*said, strict=True))
    cells = Cells(values.astype(np.int64), valid.astype(np.bool_) & heard.astype(np.bool_))
    return News(time_us.astype(np.int64), {0: heard.astype(np.bool_)}, {0: cells})


def rows(pieces: Iterator[tuple[Times, Block]]) -> list[Row]:
    """Return time and value of each row."""
    found: list[Row] = []
    for instants, (cells,) in pieces:
        for at, value, known in zip(instants, cells.values, mask_of(cells), strict=True):
            found.append((int(at), int(value) if known else None))
    return found


def plainly(said: list[Said]) -> list[Row]:
    """Return the rows by the rule: the newest frame at or before the instant, if young and good."""
    clock = [at for at, *_ in said]
    found: list[Row] = []
    for number in range(-(-min(clock) // PERIOD_US), max(clock) // PERIOD_US + 1):
        instant = number * PERIOD_US
        before = [each for each in said if each[0] <= instant and each[2]]
        if not before:
            continue
        at, value, _, believed = max(reversed(before), key=lambda each: each[0])
        if believed and instant - at <= AGE_US:
            found.append((instant, value))
    return found


def run(said: list[Said], cuts: list[int]) -> list[Row]:
    """Let a grid hear the frames in pieces."""
    grid, found = Grid(PERIOD_US, [(NUMBER, AGE_US)]), []
    edges = sorted({0, len(said), *(cut % (len(said) + 1) for cut in cuts)})
    for start, end in pairwise(edges):
        piece = news(said[start:end])
        grid.hear(piece.time_us, [piece])
        found += rows(grid.settled())
    return found + rows(grid.end())


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 1_500_000), st.integers(0, 99), st.booleans(), st.booleans(),
            st.integers(-REORDER_US // 2, 0),
        ),
        min_size=1,
        max_size=40,
    ),
    st.lists(st.integers(0, 1000), max_size=4),
)  # fmt: skip
def test_the_grid_is_its_rule(
    steps: list[tuple[int, int, bool, bool, int]], cuts: list[int]
) -> None:
    """Frames a little out of order, gaps, unheard and unbelieved values; cut anywhere."""
    at_us, said = 5_000_000, []
    for step_us, value, heard, believed, late_us in steps:
        at_us += step_us
        said.append((at_us + late_us, value, heard, believed))
    assert run(said, cuts) == plainly(said)


def test_a_silent_year_has_no_rows() -> None:
    """A clock that jumps costs neither time nor space."""
    year_us = 365 * 86_400_000_000
    said = [(0, 1, True, True), (year_us, 2, True, True)]
    found = run(said, [1])
    assert found == [(0, 1), (250_000, 1), (500_000, 1), (year_us, 2)]


def test_a_clock_that_goes_back_begins_a_new_stretch() -> None:
    """What was heard in the future says nothing about the past."""
    clock = np.array([10, 11, 12, 3, 4, 20], np.int64) * 1_000_000
    assert stretches(clock, -(1 << 62)) == [slice(0, 3), slice(3, 6)]
    assert stretches(clock[3:], 12_000_000) == [slice(0, 0), slice(0, 3)]
    grid = Grid(1_000_000, [(NUMBER, 10**9)])
    first = news([(10_000_000, 1, True, True)])
    grid.hear(first.time_us, [first])
    assert rows(grid.end()) == [(10_000_000, 1)]
    second = news([(3_000_000, 5, False, True), (4_500_000, 5, False, True)])
    grid.hear(second.time_us, [second])
    assert rows(grid.end()) == []
    assert grid.stretches == 2


@pytest.mark.parametrize("count", [1, 7])
def test_no_stretch_without_frames(count: int) -> None:
    """Nothing heard, no rows."""
    grid = Grid(PERIOD_US, [(NUMBER, AGE_US)] * count)
    assert rows(grid.settled()) == []
    assert rows(grid.end()) == []
