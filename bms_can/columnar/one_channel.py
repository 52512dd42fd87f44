"""The watch for a log that mixes two buses, on columns."""

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from bms_can.columnar.chunk import Chunk
from bms_can.columnar.plan import EXTENDED_BIT
from bms_can.one_channel import OneChannel

CHANNEL_BITS = 16


def one_channel(chunks: Iterable[Chunk], watch: OneChannel) -> Iterator[Chunk]:
    """Hand the chunks of one log through.

    Raises:
        TwoBuses: a chunk would mix buses; it is not handed on. See `OneChannel.look`.
    """
    if not watch.messages:
        yield from chunks
        return
    keys = [can_id | extended * EXTENDED_BIT for can_id, extended in watch.messages]
    wanted = np.array(keys, np.uint32)
    for chunk in chunks:
        _look(chunk, wanted, watch)
        yield chunk


def _look(chunk: Chunk, wanted: NDArray[np.uint32], watch: OneChannel) -> None:
    keys = chunk.can_id | chunk.extended * np.uint32(EXTENDED_BIT)
    rows = np.flatnonzero(np.isin(keys, wanted))
    pairs = keys[rows].astype(np.uint64) << np.uint64(CHANNEL_BITS) | chunk.channel[rows]
    for pair in np.unique(pairs).tolist():
        key, channel = divmod(pair, 1 << CHANNEL_BITS)
        extended = bool(key & EXTENDED_BIT)
        watch.look((key & ~EXTENDED_BIT, extended), chunk.channels[channel])
