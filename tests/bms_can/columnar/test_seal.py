"""Counters and checksums on columns are those of the live checks."""

from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bms_can.columnar.seal import SUMS, checksums, unsigned
from bms_can.integrity import ALGORITHMS, CRCS
from bms_can.layout import Field, read


def test_every_algorithm_has_its_columns() -> None:
    """An algorithm that is added to the live checks and not here would be slow, never wrong."""
    assert set(ALGORITHMS) == {*CRCS, *SUMS}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_checksums_are_the_same(algorithm: str) -> None:
    """On random payloads of every length, with the checksum in any byte."""
    random = Random(algorithm)  # noqa: S311 - test data
    for size in (1, 2, 5, 8, 12, 64):
        can_id, index = random.getrandbits(29), random.randrange(size)
        rows = [random.randbytes(size) for _ in range(30)]
        data = np.frombuffer(b"".join(rows), np.uint8).reshape(-1, size)
        zeroed = [row[:index] + b"\0" + row[index + 1 :] for row in rows]
        expected = [ALGORITHMS[algorithm](can_id, row, index) for row in zeroed]
        assert checksums(algorithm, can_id, data, index).tolist() == expected


@given(st.data(), st.booleans(), st.integers(1, 32), st.integers(1, 12))
def test_unsigned_fields_are_the_same(
    data: st.DataObject,
    little: bool,  # noqa: FBT001 - drawn
    length: int,
    size: int,
) -> None:
    """At any place, in both byte orders."""
    length = min(length, 8 * size)
    shift = data.draw(st.integers(0, 8 * size - length))
    field = Field(size, little, shift, (1 << length) - 1, 0, length, is_float=False)
    payload = data.draw(st.binary(min_size=size, max_size=size))
    row = np.frombuffer(payload.ljust(64, b"\xaa"), np.uint8).reshape(1, 64)
    found = unsigned(field, row)
    assert found is not None
    assert found.tolist() == [read(field, payload)]
