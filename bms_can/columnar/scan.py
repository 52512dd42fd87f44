"""A log as chunks, in constant memory. Frame by frame the same as `logfile.open_log` gives.

candump text is read as bytes: lines of the usual form by a fast lane, every other line by
bms_can.candump itself, which alone decides what a strange line means. Logs of other kinds come
through `open_log`.
"""

from collections.abc import Iterator
from pathlib import Path

from bms_can.candump import TEXT_KEPT
from bms_can.columnar import kernel
from bms_can.columnar.block import Block
from bms_can.columnar.chunk import Chunk
from bms_can.columnar.lane_kernel import KernelLane
from bms_can.columnar.lane_numpy import numpy_lane
from bms_can.columnar.lanes import Lane
from bms_can.columnar.rows import Rows
from bms_can.columnar.source import PACKED_SUFFIXES, Source
from bms_can.errors import BadInput, BadLogLine
from bms_can.frame import Frame
from bms_can.logfile import HEAD_BYTES, holds_candump, open_log

CHUNK_FRAMES = 50_000
BLOCK_BYTES = 1 << 20
UTF8_WIDEST = 4


def scan(path: str | Path, *, chunk_frames: int = CHUNK_FRAMES) -> Iterator[Chunk]:
    """Yield the data frames of a log, at most `chunk_frames` (and 60,000) at a time.

    Args:
        path: as `logfile.open_log`; candump text also as `.xz` and `.zst`.
        chunk_frames: frames in a chunk.

    Raises:
        BadInput: the file cannot be read, is of no known kind, or is damaged beyond a line.
    """
    path, rows = Path(path), Rows(chunk_frames)
    packed = path.suffix.lower() in PACKED_SUFFIXES
    suffix = (path.with_suffix("") if packed else path).suffix.lower()
    if holds_candump(suffix, _head(path)):
        return _candump(path, rows, _lane())
    if path.suffix.lower() in (".xz", ".zst"):
        raise BadInput(str(path), ["only candump text can be read so compressed; unpack it first"])
    return _entries(path, rows)


def _lane() -> Lane:
    library = kernel.library()
    return numpy_lane if library is None else KernelLane(library)


def _head(path: Path) -> str:
    """Return the first text of a file, as `open_log` looks at it; of a damaged archive, nothing."""
    room = bytearray(HEAD_BYTES * UTF8_WIDEST)
    end = 0
    with Source(path) as source, memoryview(room) as view:
        while end < len(room) and (got := source.fill(view[end:])):
            end += got
        damaged = bool(source.damage)
    return "" if damaged else room[:end].decode("utf-8", "replace")[:HEAD_BYTES]


def _candump(path: Path, rows: Rows, lane: Lane) -> Iterator[Chunk]:
    block = Block(BLOCK_BYTES)
    with Source(path) as source:
        while not block.ended:
            block.refill(source)
            yield from _drained(block, rows, lane)
            while block.overlong:
                _refuse(rows, "format", block.head(TEXT_KEPT))
                block.skip_line(source)
                yield from _drained(block, rows, lane)
        if source.damage:
            _refuse(rows, "damaged archive", source.damage)
    if not rows.empty:
        yield rows.take()


def _drained(block: Block, rows: Rows, lane: Lane) -> Iterator[Chunk]:
    lane(block, rows)
    while rows.full:
        yield rows.take()
        lane(block, rows)


def _refuse(rows: Rows, reason: str, text: str) -> None:
    rows.lines += 1
    rows.refuse(BadLogLine(rows.lines, reason, text))


def _entries(path: Path, rows: Rows) -> Iterator[Chunk]:
    for entry in open_log(path):
        rows.lines += 1
        if isinstance(entry, Frame):
            rows.used += 1
            rows.put(rows.used - 1, entry, rows.lines)
            if rows.full:
                yield rows.take()
        else:
            rows.refuse(entry)
    if not rows.empty:
        yield rows.take()
