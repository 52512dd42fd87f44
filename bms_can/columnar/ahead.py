"""Two cores for one log: a thread reads the next chunks while this one works on the last.

The compiled loops run without Python's lock, so reading and decoding overlap.
"""

import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from multiprocessing import parent_process

from bms_can.columnar.chunk import Chunk

CHUNKS_AHEAD = 2  # more would only cost memory


def ahead_where_idle(chunks: Iterator[Chunk]) -> Iterator[Chunk]:
    """Read ahead if this process may use a second core and is nobody's worker beside others."""
    alone = parent_process() is None and len(os.sched_getaffinity(0)) > 1
    return ahead(chunks) if alone else chunks


def ahead(chunks: Iterator[Chunk]) -> Iterator[Chunk]:
    """Yield the same chunks, read by a thread of its own that ends with this iterator.

    Raises:
        BadInput: as reading raises it, at the same place.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="scan") as pool:
        coming: deque[Future[Chunk | None]] = deque()
        while True:
            while len(coming) < CHUNKS_AHEAD:
                coming.append(pool.submit(next, chunks, None))
            chunk = coming.popleft().result()
            if chunk is None:
                return
            coming.append(pool.submit(next, chunks, None))
            yield chunk
