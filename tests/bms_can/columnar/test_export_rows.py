"""Rows gathered into groups, and the names of raw values."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bms_can.columnar.export_plan import Field, Kind
from bms_can.columnar.export_rows import (
    Cells,
    ChannelNames,
    ChoiceIndex,
    RowGroups,
    by_day,
    mask_of,
    microseconds,
)

Seen = list[int | None]


def seen(cells: Cells) -> Seen:
    """Return the values, None where nothing is known."""
    pairs = zip(cells.values.tolist(), mask_of(cells).tolist(), strict=True)
    return [value if known else None for value, known in pairs]


@given(
    st.lists(st.tuples(st.integers(0, 3000), st.sampled_from(["all", "some", "none"])), max_size=9),
    st.integers(1, 2500),
)
def test_groups_hold_every_row_once_in_order(pieces: list[tuple[int, str]], group: int) -> None:
    """Whatever the sizes of the pieces, and with columns that are sometimes known in full."""
    groups, found, expected, number = RowGroups(group), list[Seen](), Seen(), 0
    for size, known in pieces:
        values = np.arange(number, number + size, dtype=np.int32)
        number += size
        mask = {"all": None, "some": values % 3 == 0, "none": np.zeros(size, np.bool_)}[known]
        piece = Cells(values, mask)
        expected += seen(piece)
        found += [seen(cells) for (cells,) in groups.add([piece])]
    assert {len(each) for each in found} <= {group}
    rest = groups.rest()
    if rest is not None:
        assert 0 < len(rest[0].values) < group
        found.append(seen(rest[0]))
    assert [value for each in found for value in each] == expected
    assert groups.rest() is None


@pytest.mark.parametrize(
    ("dtype", "raw", "places"),
    [
        ("u1", [0, 7, 3, 255], [1, 2, None, None]),
        ("i2", [-1, 0, 7, 8], [0, 1, 2, None]),
        ("u8", [2**64 - 1, 7, 0, 1], [3, 2, 1, None]),
        ("f8", [7.0, 7.5, -1.0, float("nan")], [2, None, 0, None]),
    ],
)
def test_names_of_raw_values(dtype: str, raw: list[float], places: Seen) -> None:
    """Choices that the type cannot hold are no obstacle; an unheard value has no name."""
    choices = ((-1, "minus"), (0, "zero"), (7, "seven"), (2**64 - 1, "all"))
    index = ChoiceIndex(Field("x_text", Kind.TEXT, "M.x", "x", choices=choices))
    values = np.array(raw, dtype)
    assert seen(index(values, None)) == places
    heard = np.array([False, True, True, True])
    assert seen(index(values, heard)) == [None, *places[1:]]


def test_no_choice_fits() -> None:
    """A choice beyond the bits of its signal never occurs."""
    index = ChoiceIndex(Field("x_text", Kind.TEXT, "M.x", "x", choices=((300, "far"),)))
    assert seen(index(np.array([44], "u1"), None)) == [None]


@given(st.integers(0, 4_000_000_000_000_000))
def test_six_digits_of_a_time_are_exact(at_us: int) -> None:
    """Through text and float64, as a log gives it, until the year 2096."""
    text = f"{at_us // 10**6}.{at_us % 10**6:06}"
    assert microseconds(np.array([float(text)])).tolist() == [at_us]


def test_days_and_channels() -> None:
    """Rows keep their order within a day; a channel keeps its number over chunks."""
    day = 86_400_000_000
    found = {
        number: np.arange(3)[rows].tolist()
        for number, rows in by_day(np.array([day, 5, day + 7], np.int64))
    }
    assert found == {0: [1], 1: [0, 2]}
    assert list(by_day(np.array([], np.int64))) == []
    channels = ChannelNames()
    assert channels.numbers(["can0", "can1"]).tolist() == [0, 1]
    assert channels.numbers(["can2", "can0"]).tolist() == [2, 0]
    assert channels.names == ("can0", "can1", "can2")
