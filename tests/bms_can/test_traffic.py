"""Counting what goes over a bus: periods, moving bits, counters and checksums."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bms_can.frame import Frame
from bms_can.integrity import ALGORITHMS
from bms_can.traffic import MOST_IDS, Part, Probe, Traffic, probes_of


def frame(at_s: float, data: bytes, can_id: int = 0x100) -> Frame:
    """Return a frame."""
    return Frame(at_s, can_id, extended=False, data=data)


def test_period_and_changed_bytes() -> None:
    """Mean and longest gap, which byte moved last and when, and which bits of it."""
    traffic = Traffic()
    for number in range(11):
        traffic.take(frame(number * 0.1, bytes([7, number // 5])))
    seen = traffic.seen[0x100, False]
    assert seen.count == 11
    assert seen.mean_gap_s == pytest.approx(0.1)
    assert seen.gap_s == pytest.approx(0.1)
    assert seen.moved_at_s == [float("-inf"), pytest.approx(1.0)]
    assert seen.moved == b"\x00\x03"
    traffic.take(frame(3.0, bytes([7, 2])))
    assert seen.moved == b"\x00\x00"
    assert seen.longest_gap_s == pytest.approx(2.0)


def test_lengths_may_change() -> None:
    """A payload that grows or shrinks is no trouble."""
    traffic = Traffic()
    for number, data in enumerate((b"", b"\x01\x02", b"\x01", b"\x01\x02\x03")):
        traffic.take(frame(float(number), data))
    seen = traffic.seen[0x100, False]
    assert seen.lengths == {0, 1, 2, 3}
    assert seen.data == b"\x01\x02\x03"


def test_a_babbling_node_does_not_fill_the_memory() -> None:
    """Identifiers beyond the limit are counted together."""
    traffic = Traffic()
    for number in range(MOST_IDS + 50):
        traffic.take(Frame(0.0, number, extended=True, data=b""))
    assert (len(traffic.seen), traffic.more) == (MOST_IDS, 50)
    assert traffic.frames == MOST_IDS + 50


@given(st.lists(st.binary(max_size=8), max_size=60))
def test_any_payloads_are_taken(payloads: list[bytes]) -> None:
    """Neither counting nor probing ever fails, and every frame counts."""
    frames = [frame(float(number), data) for number, data in enumerate(payloads)]
    traffic, probes = Traffic(), probes_of(frames, {})
    for each in frames:
        traffic.take(each)
    assert traffic.frames == len(frames)
    assert sum(probe.frames for probe in probes.values()) == len(frames)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_counter_and_checksum_are_found(algorithm: str) -> None:
    """A counter in a low nibble and each checksum that we know, among bytes at random."""
    rng, probe, compute = random.Random(1), Probe(0x100), ALGORITHMS[algorithm]  # noqa: S311 - a test
    for number in range(200):
        data = bytes([rng.randrange(256), 0x30 | number % 16, rng.randrange(256), 0])
        probe.take(data[:3] + bytes([compute(0x100, data, 3)]))
    assert probe.counters() == [Part(1, 0, 4)]
    assert (3, algorithm) in probe.seals()
    assert str(Part(1, 0, 4)) == "byte 1 low nibble"


def test_a_whole_byte_counts_before_its_halves() -> None:
    """An 8-bit counter is named once."""
    probe = Probe(0x100)
    for number in range(300):
        probe.take(bytes([number % 256, 5]))
    assert probe.counters() == [Part(0, 0, 8)]


def test_a_measurement_is_no_counter() -> None:
    """Noise, and a ramp that stands still half of the time, are not named."""
    rng, noise, ramp = random.Random(2), Probe(1), Probe(2)  # noqa: S311 - a test
    for number in range(300):
        noise.take(bytes([rng.randrange(256)]))
        ramp.take(bytes([number // 2 % 256]))
    assert noise.counters() == ramp.counters() == []
    assert noise.seals() == []


def test_which_bits_flip() -> None:
    """Bit 0 of byte 1 flips each time, bit 1 every second time, the others never."""
    probe = Probe(0x100)
    for number in range(9):
        probe.take(bytes([0xAA, number % 4]))
    assert probe.flips[:8] == [0] * 8
    assert probe.flips[8:10] == [8, 4]
