"""The ring: whole frames, in order, bounded in time and memory, and exact about what is gone."""

import threading
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent import frame_ring
from agent.frame_ring import CHUNK_BYTES, FrameRing, unpack
from bms_can.block import Block
from bms_can.frame import Frame
from tests.bms_can.build import block_of

PACKED_BYTES = 13  # time 8, identifier 4, length 1


def frames_of(parts: list[bytes]) -> list[Frame]:
    """Return the frames of parts."""
    found = []
    for part in parts:
        at = 0
        while at < len(part):
            at_s, can_id, extended, data, at = unpack(part, at)
            found.append(Frame(at_s, can_id, extended, data))
    return found


def run_of(count: int, *, period_s: float = 0.01, size: int = 8) -> list[Frame]:
    """Return frames that differ, from 1000 s on."""
    return [
        Frame(1000 + i * period_s, i % 0x800, extended=False, data=(i % 256).to_bytes(1) * size)
        for i in range(count)
    ]


def filled(frames: list[Frame], ring: FrameRing) -> FrameRing:
    """Put frames into a ring."""
    for frame in frames:
        ring.take(frame)
    return ring


frame_strategy = st.one_of(
    st.tuples(st.integers(0, 0x7FF), st.just(value=False)),
    st.tuples(st.integers(0, 0x1FFFFFFF), st.just(value=True)),
)


@given(st.lists(st.tuples(frame_strategy, st.binary(max_size=64)), max_size=50))
def test_frames_come_out_as_they_went_in(
    given_frames: list[tuple[tuple[int, bool], bytes]],
) -> None:
    """Identifier, kind, data and time of every frame survive, FD included."""
    frames = [
        Frame(float(i), can_id, extended, data)
        for i, ((can_id, extended), data) in enumerate(given_frames)
    ]
    ring = filled(frames, FrameRing(60.0))
    assert frames_of(ring.read(0).parts) == frames


def test_a_reader_goes_on_where_it_was() -> None:
    """A place is the number of bytes before it: reading from the end gives only what is new."""
    frames = run_of(2000)
    ring = filled(frames[:1500], FrameRing(60.0))
    first = ring.read(0)
    place = sum(len(part) for part in first.parts)
    assert ring.read(place).parts == []
    filled(frames[1500:], ring)
    second = ring.read(place)
    assert (first.lost, second.lost) == (0, 0)
    assert frames_of([*first.parts, *second.parts]) == frames


def test_old_frames_go() -> None:
    """The ring reaches back as long as it is told, and at the most one chunk further."""
    ring = filled(run_of(20_000), FrameRing(10.0))  # 200 s
    kept = frames_of(ring.read(0).parts)
    per_chunk = CHUNK_BYTES // (PACKED_BYTES + 8) + 1
    assert 1000 <= len(kept) <= 1000 + 2 * per_chunk
    assert kept[-1] == run_of(20_000)[-1]


def test_memory_is_bounded() -> None:
    """A full bus cannot take more memory than allowed, however long the time is."""
    limit = 10 * CHUNK_BYTES
    ring = filled(run_of(20_000), FrameRing(1e9, limit))
    reading = ring.read(0)
    kept = sum(len(part) for part in reading.parts)
    assert limit - 2 * CHUNK_BYTES < kept <= limit + CHUNK_BYTES
    assert reading.lost == 20_000 * (PACKED_BYTES + 8) - kept


def test_a_limit_below_one_chunk_keeps_a_chunk() -> None:
    """The newest frames stay, whatever the limit."""
    ring = filled(run_of(5000), FrameRing(60.0, 1))
    assert frames_of(ring.read(0).parts)[-1] == run_of(5000)[-1]


def test_place_of_a_moment() -> None:
    """From the place of a moment on, no frame since then is missing and few are older."""
    frames = run_of(5000)
    ring = filled(frames, FrameRing(100.0))
    since_s = frames[3000].at_s
    found = frames_of(ring.read(ring.place_of(since_s)).parts)
    assert frames[3000] in found
    assert len(found) < 2000 + CHUNK_BYTES // PACKED_BYTES
    assert ring.read(ring.place_of(1e9)).lost == 0


def test_an_empty_ring() -> None:
    """A bus that never spoke has no frames, and that is no error."""
    ring = FrameRing(30.0)
    assert ring.read(ring.place_of(0.0)) == ([], 0)


def test_reading_while_frames_come() -> None:
    """A reader in another thread sees whole frames, each once, in order."""
    frames = run_of(60_000, size=3)
    ring = FrameRing(1e9, 1 << 30)
    writer = threading.Thread(target=filled, args=(frames, ring))
    writer.start()
    place, found = 0, list[Frame]()
    while len(found) < len(frames):
        parts, lost = ring.read(place)
        assert lost == 0
        place += sum(len(part) for part in parts)
        found += frames_of(parts)
    writer.join()
    assert found == frames


def test_frames_that_come_during_a_look_are_not_torn(monkeypatch: pytest.MonkeyPatch) -> None:
    """A frame and then a block, while a reader packs what waits: both come with the next look."""
    early, late = run_of(40), run_of(60)[40:]
    ring = filled(early[:20], FrameRing(60.0))
    ring.take_many(block_of(early[20:]))
    packed, calls = frame_ring._packed, list[int]()

    def switched(blocks: Sequence[Block]) -> bytes:
        calls.append(len(blocks))
        if len(calls) == 2:  # here the receive thread goes on
            ring.take(late[0])
            ring.take_many(block_of(late[1:]))
        return packed(blocks)

    monkeypatch.setattr(frame_ring, "_packed", switched)
    ring.take(early[0])  # nothing waits from here on
    first = ring.read(0)
    second = ring.read(sum(len(part) for part in first.parts))
    found = frames_of([*first.parts, *second.parts])
    assert found == [*early, early[0], *late]


def test_the_docstring_s_figure() -> None:
    """The memory holds the 50 s of a full bus that the documentation promises."""
    assert frame_ring.RING_BYTES / (PACKED_BYTES + 8) / 4000 > 49
