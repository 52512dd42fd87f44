"""Checksums are found where they are, with their name, and nowhere else."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bms_can.examine.checksums import FAMILIES, find_checksum, residue
from bms_can.integrity import ALGORITHMS
from tests.bms_can.examine.planted import count, noise, seal

ROWS = 120
STREAMS = 200


@pytest.mark.parametrize("kind", range(4))
def test_random_payloads_have_no_checksum(kind: int) -> None:
    """Bits of any density, constant bytes, slow values: no variant fits by chance."""
    rng = np.random.default_rng(kind)
    for _ in range(STREAMS // 4):
        data = noise(rng, int(rng.integers(12, ROWS)), int(rng.integers(2, 9)), kind)
        assert find_checksum(data, 0x123) is None


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(sorted(ALGORITHMS)),
    st.integers(0, 7),
    st.integers(3, 8),
    st.integers(0, 0x1FFFFFFF),
    st.integers(0, 2**32 - 1),
)
def test_every_algorithm_of_a_profile_is_found_and_named(
    algorithm: str, byte: int, size: int, can_id: int, seed: int
) -> None:
    """At any byte; XOR fits every byte alike, so the DBC's or the last one is taken."""
    byte = min(byte, size - 1)
    rows = seal(noise(np.random.default_rng(seed), ROWS, size), byte, algorithm, can_id)
    found = find_checksum(rows, can_id, (byte,))
    assert found is not None
    same = algorithm == "sum8-id-len" and (can_id + size) & 0xFF == 0  # then they are one
    assert found.name == ("sum8" if same else algorithm)
    assert found.byte == byte
    found.feed(rows, np.arange(float(ROWS)), np.arange(ROWS))
    assert found.share == 1


@pytest.mark.parametrize("family", sorted(FAMILIES))
@pytest.mark.parametrize("constant", [0x00, 0x5A])
def test_any_start_value_is_found(family: str, constant: int) -> None:
    """What is added to all frames alike does not matter."""
    rows = noise(np.random.default_rng(3), ROWS)
    values = np.arange(256, dtype=np.uint8)
    for row in rows:
        each = np.tile(row, (256, 1))
        each[:, 7] = values
        row[7] = values[residue(each, 7, family) == constant][0]
    found = find_checksum(rows, 0x123)
    assert found is not None
    assert (found.byte, found.family, found.constant) == (7, family, constant)
    assert found.words


def test_a_few_damaged_frames_do_not_hide_it() -> None:
    """They are counted, with the line of the first."""
    rows = seal(noise(np.random.default_rng(4), 400), 7, "crc8-sae-j1850", 0x100)
    rows[40, 2] ^= 1
    rows[77, 3] ^= 1
    found = find_checksum(rows, 0x100)
    assert found is not None
    found.feed(rows, np.arange(400.0), np.arange(400))
    assert (found.frames - found.good, found.misses[0][0]) == (2, 40)


def test_a_counter_and_nothing_else_is_enough_for_a_crc() -> None:
    """Idle payload with a 4-bit counter: 16 payloads, 32 bits of evidence."""
    rows = count(np.zeros((64, 8), np.uint8), (6, 0), 4, little=True, low=0, modulo=16)
    found = find_checksum(seal(rows, 7, "crc8-autosar", 0x1), 0x1)
    assert found is not None
    assert (found.byte, found.name) == (7, "crc8-autosar")


@pytest.mark.parametrize("copy", [lambda x: x, lambda x: ~x, lambda x: x + 7, lambda x: 9 - x])
def test_a_byte_that_repeats_another_is_no_checksum(copy: object) -> None:
    """Sent twice, inverted, or shifted: a second copy, not a checksum of the frame."""
    assert callable(copy)
    rows = noise(np.random.default_rng(5), ROWS)
    rows[:, 4:] = copy(rows[:, :4])
    assert find_checksum(rows, 0x123) is None


def test_long_frames_are_searched_at_their_ends() -> None:
    """CAN FD: 64 bytes, a checksum in the first byte."""
    rows = seal(noise(np.random.default_rng(6), 40, 64), 0, "crc8", 0x1)
    found = find_checksum(rows, 0x1)
    assert found is not None
    assert (found.byte, found.name) == (0, "crc8")
