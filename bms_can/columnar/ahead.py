"""Two cores for one log: a thread reads the next chunks while this one works on the last.

The compiled loops run without Python's lock, so reading and decoding overlap.
"""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from bms_can.columnar.chunk import Chunk

CHUNKS_AHEAD = 2  # more would only cost memory


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
