"""Frames as a block: the reader makes the same of any messages as it does one by one."""

import ctypes
import struct
from collections.abc import Sequence
from typing import NamedTuple

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from bms_can import block as module
from bms_can.babble import MOST_PER_S, Babble
from bms_can.block import Block, Sorter, joined, key_of
from bms_can.can_frame import ERROR, EXTENDED, REMOTE, frame_bytes
from bms_can.frame import Frame
from bms_can.rawcan import CONFIRM, SO_RXQ_OVFL, TRUNCATED, Batch, FrameReader, Moment
from bms_can.recvmmsg import CMSG, CONTROL

NOW_S, WALL_S = 1000.0, 1_700_000_000.0
STAMP = CMSG.size + struct.calcsize("@ll")
SOL_SOCKET, STAMPED = 1, 35
LOCAL = 0x4  # MSG_DONTROUTE: sent on this machine (can.rst, 4.1.7)


class Message(NamedTuple):
    """What the kernel says about a message: `stamp`: wall clock in nanoseconds, None: no stamp."""

    head: bytes
    data: bytes
    stamp: int | None
    marks: int
    size: int
    dropped: int | None


class Scripted(FrameReader):
    """A reader whose kernel is the test."""

    def __init__(self, *, fd_frames: bool, tells_own: bool) -> None:
        super().__init__(-1, "b", fd_frames=fd_frames, tells_own=tells_own)
        self.script: Sequence[Message] = ()
        self._slots.fill = self._fill  # type: ignore[method-assign]  # the test is the kernel

    def _fill(self, fd: int) -> int:  # noqa: ARG002 - as Slots.fill
        slots = self._slots
        ctypes.memmove(slots._headers, slots._fresh, len(slots._fresh))
        for place, message in enumerate(self.script):
            at = self._size * place
            slots.data[at : at + self._size] = (message.head + message.data).ljust(72, b"\0")[
                : self._size
            ]
            control = _control(message)
            slots.control[CONTROL * place : CONTROL * place + len(control)] = control
            header = slots._headers[place]
            header.message.control_length, header.message.flags = len(control), message.marks
            header.length = message.size
        slots._used = len(self.script)
        return slots._used


class OneByOne(Scripted):
    """The same, and it never makes a block."""

    def _block(self, *_: object) -> None:
        return None


def _control(message: Message) -> bytes:
    found = b""
    if message.stamp is not None:
        found += CMSG.pack(STAMP, SOL_SOCKET, STAMPED)
        found += struct.pack("@ll", *divmod(message.stamp, 10**9))
    if message.dropped is not None:
        found += CMSG.pack(CMSG.size + 4, SOL_SOCKET, SO_RXQ_OVFL)
        found += struct.pack("=I4x", message.dropped)
    return found


IDS = (0x100, 0x101, 0x100 | EXTENDED, 0x1801E5F4 | EXTENDED)
HEADS = st.one_of(
    st.tuples(st.sampled_from(IDS), st.just(8), st.just(b"\0\0\0")),
    st.tuples(st.sampled_from(IDS), st.integers(0, 8), st.just(b"\0\0\0")),
    st.tuples(
        st.one_of(
            st.integers(0, 2**32 - 1),
            st.sampled_from([ERROR | 0x40, REMOTE | 0x100, 0x800, 0x100 | 0x1000]),
            st.sampled_from([REMOTE | EXTENDED | 0x100, ERROR | EXTENDED | 0x100]),
        ),
        st.sampled_from([0, 8, 8, 8, 9, 255]),
        st.sampled_from([b"\0\0\0", b"\0\0\1", b"\xff\xff\xff"]),
    ),
)
STEPS = st.one_of(st.integers(-(10**6), 10**6), st.integers(-(10**6), 10**9))
USUAL = st.tuples(st.sampled_from(IDS), st.just(8), st.just(b"\0\0\0"))


@st.composite
def batches(draw: st.DrawFn) -> list[Message]:
    """Draw a batch: mostly of the usual kind, with what breaks it in any place."""
    kinds = st.sampled_from(["head", "stamp", "marks", "size", "dropped"])
    odd = draw(st.one_of(st.just(set[str]()), st.sets(kinds, max_size=2)))
    count = draw(st.integers(1, 12))
    own = draw(st.sampled_from([0, 0, LOCAL, LOCAL | CONFIRM]))
    stamp = int(WALL_S * 1e9) - draw(st.integers(0, 16 * 10**8))
    found = []
    for _ in range(count):
        word, length, rest = draw(HEADS if "head" in odd else USUAL)
        stamp += draw(STEPS if "stamp" in odd else st.integers(0, 10**5))
        stamps = st.sampled_from([stamp] * 8 + [None, 5 * 10**8])  # none, and in 1970
        found.append(
            Message(
                struct.pack("=IB3s", word, length, rest),
                draw(st.binary(min_size=8, max_size=8)),
                draw(stamps) if "stamp" in odd else stamp,
                draw(st.sampled_from([0, LOCAL, CONFIRM, TRUNCATED])) if "marks" in odd else own,
                draw(st.sampled_from([16, 16, 15, 72])) if "size" in odd else 16,
                draw(st.integers(0, 2**32 - 1)) if "dropped" in odd else None,
            )
        )
    return found


def seen(batch: Batch | None) -> tuple[object, ...]:
    """Return all that a batch says, its frames one by one."""
    assert batch is not None
    frames, errors = list(batch.frames), list(batch.errors)
    return frames, errors, dict(batch.other), batch.lost, batch.more


@given(
    st.lists(
        st.tuples(batches(), st.sampled_from([0.0, 0.0, 0.0, 0.5, 3600.0, -3600.0, 0.01])),
        max_size=4,
    ),
    st.sampled_from([False, False, False, True]),
    st.booleans(),
)
def test_a_batch_says_the_same_with_and_without_blocks(
    script: list[tuple[list[Message], float]],
    fd_frames: bool,  # noqa: FBT001 - drawn
    tells_own: bool,  # noqa: FBT001 - drawn
) -> None:
    """Any identifiers, flags, lengths, stamps, steps of the clock, losses: batch after batch."""
    fast = Scripted(fd_frames=fd_frames, tells_own=tells_own)
    plain = OneByOne(fd_frames=fd_frames, tells_own=tells_own)
    for number, (messages, set_on_s) in enumerate(script):
        now_s = NOW_S + number
        moment = Moment(now_s, WALL_S + number + set_on_s, now_s - 1.5)
        fast.script = plain.script = messages
        batch = fast.read(moment)
        assert seen(batch) == seen(plain.read(moment))
        assert fast._offset_s == plain._offset_s
        assert fast._dropped == plain._dropped
        event(f"block: {batch is not None and isinstance(batch.frames, Block)}")


def usual(*ids: int, marks: int = 0, length: int = 8) -> list[Message]:
    """Return messages of the usual kind, a millisecond apart, half a second old."""
    first = int((WALL_S - 0.5) * 1e9)
    return [
        Message(
            struct.pack("=IB3x", word, length), bytes(8), first + 10**6 * place, marks, 16, None
        )
        for place, word in enumerate(ids)
    ]


MOMENT = Moment(NOW_S, WALL_S, NOW_S - 1.0)


def read(messages: Sequence[Message], moment: Moment = MOMENT) -> Sequence[Frame]:
    """Return the frames of one batch."""
    reader = Scripted(fd_frames=False, tells_own=True)
    reader.script = messages
    batch = reader.read(moment)
    assert batch is not None
    return batch.frames


@pytest.mark.parametrize("marks", [0, LOCAL, LOCAL | CONFIRM])
@pytest.mark.parametrize("length", [0, 3, 8])
def test_frames_of_the_usual_kind_come_as_a_block(marks: int, length: int) -> None:
    """A block knows where each identifier is; own and foreign frames do not share one."""
    frames = read(usual(0x100, 0x101, 0x100 | EXTENDED, 0x101, marks=marks, length=length))
    assert isinstance(frames, Block)
    assert frames.places == {(0x100, False): [0], (0x101, False): [1, 3], (0x100, True): [2]}
    assert [each.own for each in frames] == [bool(marks & CONFIRM)] * 4
    assert [len(each.data) for each in frames] == [length] * 4


@pytest.mark.parametrize(
    "odd",
    [
        pytest.param(usual(ERROR | 0x40), id="error"),
        pytest.param(usual(REMOTE | 0x100), id="remote"),
        pytest.param(usual(REMOTE | EXTENDED | 0x105), id="remote, 29 bit"),
        pytest.param(usual(ERROR | EXTENDED | 0x105), id="error, 29 bit"),
        pytest.param(usual(0x105, marks=CONFIRM), id="echo"),
        pytest.param(usual(0x105, marks=TRUNCATED), id="cut off"),
        pytest.param(usual(0x100, length=7), id="another length"),
        pytest.param(usual(0x100, length=9), id="nine bytes"),
        pytest.param(usual(0x905), id="standard identifier too large"),
        pytest.param(usual(0x900), id="and like another one but for that"),
    ],
)
def test_anything_else_among_them_and_there_is_no_block(odd: list[Message]) -> None:
    """Then each is looked at by itself, in order and with its own time."""
    messages = usual(0x100, 0x101, 0x102, 0x103)
    messages[2] = odd[0]._replace(stamp=messages[2].stamp)
    frames = read(messages)
    assert not isinstance(frames, Block)
    times_s = [each.at_s for each in frames]
    assert times_s == sorted(set(times_s))


def test_messages_that_were_all_cut_off_are_no_frames() -> None:
    """They are longer than a frame, whatever their first bytes say."""
    assert list(read(usual(0x100, 0x101, marks=TRUNCATED))) == []


def test_a_batch_over_the_end_of_a_second() -> None:
    """Its frames are still a millisecond apart."""
    first = int(WALL_S) * 10**9 - 4 * 10**6
    messages = [
        each._replace(stamp=first + place * 10**6) for place, each in enumerate(usual(*range(9)))
    ]
    assert len({(each.stamp or 0) // 10**9 for each in messages}) == 2
    frames = read(messages, MOMENT._replace(now_s=NOW_S + 0.1, wall_s=WALL_S + 0.1))
    assert isinstance(frames, Block)
    assert [frame.at_s - frames[0].at_s for frame in frames] == pytest.approx(
        [place / 1000 for place in range(9)], abs=1e-6
    )


def test_stamps_that_go_back_within_a_batch() -> None:
    """The clock was set back by a millisecond while frames came: times never do."""
    messages = [
        each._replace(stamp=(each.stamp or 0) + step * 10**6)
        for each, step in zip(usual(*range(4)), (0, 1, -1, 0), strict=True)
    ]
    times_s = [frame.at_s for frame in read(messages)]
    assert times_s == sorted(times_s)
    assert times_s[3] - times_s[0] == pytest.approx(0.003, abs=1e-6)


def test_frames_without_stamps_are_new_also_after_some_with() -> None:
    """What the kernel wrote for an earlier batch counts no more."""
    reader = Scripted(fd_frames=False, tells_own=True)
    reader.script = usual(0x100, 0x101)
    assert reader.read(MOMENT)
    reader.script = [each._replace(stamp=None) for each in reader.script]
    later = reader.read(MOMENT._replace(now_s=NOW_S + 1.0, wall_s=WALL_S + 1.0))
    assert later is not None
    assert [frame.at_s for frame in later.frames] == [NOW_S + 1.0] * 2


def test_bytes_that_say_nothing_change_nothing() -> None:
    """A sender may leave anything in the three bytes after the length."""
    messages = usual(0x100, 0x101, 0x100)
    same = [each._replace(head=each.head[:5] + b"\1\2\3") for each in messages]
    assert list(read(same)) == list(read(messages))
    assert list(read([*messages[:2], same[2]])) == list(read(messages))


def made(frames: Sequence[Frame]) -> Block | None:
    """Return frames as a block, None if they cannot be one."""
    packed = b"".join(map(frame_bytes, frames))
    heads = Sorter().heads(packed)
    if heads is None:
        return None
    return Block(packed, [each.at_s for each in frames], heads, "", None)


FRAMES = [
    Frame(float(place), 0x100 + place % 2, extended=False, data=bytes([place] * 8))
    for place in range(5)
]


def test_a_block_is_a_sequence_of_frames() -> None:
    """As a list of the same frames."""
    block = made(FRAMES)
    assert block is not None
    assert list(block) == FRAMES
    assert [block[place] for place in (0, 4, -1, -5)] == [FRAMES[place] for place in (0, 4, -1, -5)]
    assert block[1:4] == FRAMES[1:4]
    assert block[::-2] == FRAMES[::-2]
    assert len(block) == 5
    with pytest.raises(IndexError):
        block[5]
    with pytest.raises(IndexError):
        block[-6]
    assert [block.frame((0x100, False), place) for place in (0, 2)] == [FRAMES[0], FRAMES[2]]


def test_random_identifiers_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """A babbling node: what was learnt is forgotten, and learnt anew."""
    monkeypatch.setattr(module, "MOST_HEADS", 10)
    sorter = Sorter()
    for first in range(0, 100, 7):
        ids = [first + more for more in range(7)]
        frames = [Frame(0.0, each, extended=False, data=b"") for each in ids]
        found = sorter.heads(b"".join(map(frame_bytes, frames)))
        assert found is not None
        assert found[1] == {(each, False) for each in ids}
        assert len(sorter._keys) <= 10


@given(st.binary(min_size=8, max_size=8))
def test_a_key_is_what_a_frame_has(head: bytes) -> None:
    """Eight bytes with a key are how a data frame begins; the last three of them say nothing."""
    key = key_of(int.from_bytes(head, "little"))
    if key is not None:
        assert frame_bytes(Frame(0.0, *key, bytes(head[4])))[:5] == head[:5]


def test_a_babbling_node_is_noticed_in_blocks() -> None:
    """The same counts as frame by frame."""
    judges = Babble(), Babble()
    for second in range(3):
        frames = [FRAMES[place % 5] for place in range(int(MOST_PER_S) + 500 * second)]
        block = made(frames)
        assert block is not None
        judges[0].see(block, float(second))
        judges[1].see(frames, float(second))
        assert judges[0].text == judges[1].text
    assert judges[0].seconds == judges[1].seconds == 2


@given(
    st.lists(st.lists(st.sampled_from([0x100, 0x101, 0x100 | EXTENDED]), max_size=5), max_size=5)
)
def test_joined_blocks_are_their_frames(runs: list[list[int]]) -> None:
    """In the same order, and each identifier where it is."""
    blocks = [read(usual(*run)) for run in runs if run]
    kept = [each for each in blocks if isinstance(each, Block)]
    if kept:
        (block,) = joined(kept)
        assert list(block) == [frame for each in kept for frame in each]
        for key, places in block.places.items():
            assert {block[place][1:3] for place in places} == {key}
        assert sum(map(len, block.places.values())) == len(block)


@pytest.mark.parametrize("other", [{"length": 3}, {"marks": CONFIRM | LOCAL}])
def test_blocks_that_are_not_alike_stay_apart(other: dict[str, int]) -> None:
    """One identifier with two lengths, or frames of ours beside others', are no block."""
    blocks = [read(usual(0x100)), read(usual(0x100, **other))]
    kept = [each for each in blocks if isinstance(each, Block)]
    assert joined(kept) == kept
