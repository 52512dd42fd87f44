"""Data frames that one look brought, still as the kernel packed them. Pure.

To make an object of each frame costs more than all else that is done with most of them: other
nodes' frames are only counted, and of a message that came often only the newest values are looked
at. So a block knows which identifier came where, and makes a frame only for who asks.

It is a sequence of frames as any other. Who does not know blocks goes through them one by one; who
does must come to the same result (tests/bms_can/test_block.py).
"""

import struct
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar, cast, overload

from bms_can.can_frame import (
    CLASSICAL,
    CLASSICAL_DATA,
    DATA_AT,
    EXTENDED,
    ID_MASK,
    LENGTH_AT,
    SPECIAL,
    STANDARD_MASK,
)
from bms_can.frame import Frame

Key = tuple[int, bool]  # (CAN id, extended)
Run = tuple[Sequence[bytes], Sequence[float], Frame]  # payloads, their times [s], newest frame

Heads = tuple[list[int], set[Key]]  # first eight bytes of each frame; identifiers in them
T = TypeVar("T")

MOST_HEADS = 4096  # a node with random identifiers must not fill the memory
_HEAD = struct.Struct("=IB3x")  # identifier word, length, what says nothing
_ROW = struct.Struct("=IB3x8s")
_new = tuple.__new__


class Block(Sequence[Frame]):
    """Classical data frames, oldest first. Two frames of one identifier have the same length.

    Ask `type(frames) is Block`: isinstance() on an abstract class costs as much as some frames.

    Attributes:
        packed: struct can_frame of each, one after the other.
        at_s: time of each [s]; never goes back.
        heads: first eight bytes of each, as a number.
        keys: the identifiers that are in it.
        channel, own: see Frame; the same for all.
    """

    __slots__ = ("_places", "at_s", "channel", "heads", "keys", "own", "packed")

    def __init__(
        self,
        packed: bytes,
        at_s: Sequence[float],
        heads: Heads,
        channel: str,
        own: bool | None,  # noqa: FBT001 - a field of Frame
    ) -> None:
        self.packed = packed
        self.at_s = at_s
        self.heads, self.keys = heads
        self._places: Mapping[Key, Sequence[int]] | None = None
        self.channel = channel
        self.own = own

    @property
    def places(self) -> Mapping[Key, Sequence[int]]:
        """Where the frames of each identifier are, oldest first; found when first asked for."""
        if self._places is None:
            by_head: dict[int, list[int]] = defaultdict(list)
            for place, head in enumerate(self.heads):
                by_head[head].append(place)
            # An identifier has one head in a block, see Sorter.
            self._places = {
                key: by_head[head] for head in by_head if (key := key_of(head)) is not None
            }
        return self._places

    def __len__(self) -> int:
        return len(self.at_s)

    @overload
    def __getitem__(self, place: int) -> Frame: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[Frame]: ...
    def __getitem__(self, place: int | slice) -> Frame | Sequence[Frame]:
        if isinstance(place, slice):
            return [self[each] for each in range(*place.indices(len(self)))]
        at_s = self.at_s[place]
        word, length, data = _ROW.unpack_from(self.packed, place % len(self.at_s) * CLASSICAL)
        extended = word >= EXTENDED
        return _new(Frame, (at_s, word & ID_MASK, extended, data[:length], self.channel, self.own))

    def frame(self, key: Key, place: int) -> Frame:
        """Return a frame, given its identifier; faster than by its place alone."""
        own = self.own
        return _new(Frame, (self.at_s[place], *key, self.data(place), self.channel, own))

    def run(self, key: Key, places: Sequence[int]) -> Run:
        """Return what some frames of one identifier bring, oldest first."""
        packed, times_s, newest = self.packed, self.at_s, places[-1]
        at = newest * CLASSICAL + DATA_AT
        length = packed[at - DATA_AT + LENGTH_AT]
        data, at_s = packed[at : at + length], times_s[newest]
        frame = _new(Frame, (at_s, *key, data, self.channel, self.own))
        if len(places) == 1:  # mostly, on a bus that is looked at a hundred times a second
            return (data,), (at_s,), frame
        begins = [place * CLASSICAL + DATA_AT for place in places]
        payloads = [packed[begin : begin + length] for begin in begins]
        return payloads, [times_s[place] for place in places], frame

    def __iter__(self) -> Iterator[Frame]:
        return map(self.__getitem__, range(len(self)))

    def data(self, place: int) -> bytes:
        """Return the payload of a frame."""
        at = place * CLASSICAL
        return self.packed[at + DATA_AT : at + DATA_AT + self.packed[at + LENGTH_AT]]


def joined(blocks: Sequence[Block]) -> Sequence[Block]:
    """Return the frames of blocks that follow each other, in one block if they can be one."""
    first = blocks[0]
    if any((block.own, block.channel) != (first.own, first.channel) for block in blocks):
        return blocks
    heads, at_s = list[int](), list[float]()
    for block in blocks:
        heads += block.heads
        at_s += block.at_s
    keys = first.keys.union(*[block.keys for block in blocks])
    if len(keys) < len(set(heads)):
        return blocks
    packed = b"".join([block.packed for block in blocks])
    return (Block(packed, at_s, (heads, keys), first.channel, first.own),)


class ByHead(dict[int, T]):
    """What belongs to the first eight bytes of a frame. Learns, and forgets before it grows large.

    Args:
        of: what belongs to an identifier; None: these are no plain data frames.
    """

    def __init__(self, of: Callable[[Key | None], T]) -> None:
        super().__init__()
        self._of = of

    def __missing__(self, head: int) -> T:
        if len(self) >= MOST_HEADS:
            self.clear()
        self[head] = found = self._of(key_of(head))
        return found


class Sorter:
    """Finds out what frames there are. Remembers what it has seen; used by one thread."""

    def __init__(self) -> None:
        self._keys = ByHead[Key | None](lambda key: key)

    def heads(self, packed: bytes) -> Heads | None:
        """Return the heads of struct can_frame after struct can_frame, and the identifiers.

        None if these are no block: not all are data frames, or one identifier has two lengths.
        """
        heads = memoryview(packed).cast("Q")[:: CLASSICAL // 8].tolist()
        distinct = set(heads)
        keys = {self._keys[head] for head in distinct}
        if None in keys or len(keys) < len(distinct):
            return None
        return heads, cast("set[Key]", keys)


def key_of(head: int) -> Key | None:
    """Return whose frames begin with these eight bytes; None if these are no plain data frames."""
    word, length = _HEAD.unpack(head.to_bytes(_HEAD.size, sys.byteorder))
    if word & SPECIAL or length > CLASSICAL_DATA:
        return None
    if word >= EXTENDED:
        return word & ID_MASK, True
    return (word, False) if word <= STANDARD_MASK else None
