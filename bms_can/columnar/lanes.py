"""From a block of candump text to rows. The slow lane says what a line means; the others are fast.

A lane takes whole lines until the rows are full or none is left in the block.
"""

import ctypes
from collections.abc import Callable

import numpy as np

from bms_can.candump import candump_frames
from bms_can.columnar import kernel
from bms_can.columnar.block import Block
from bms_can.columnar.rows import Rows
from bms_can.frame import Frame

Lane = Callable[[Block, Rows], None]
ADDRESSED = ("at_s", "channel", "can_id", "extended", "length", "line", "data")


def fastest() -> Lane:
    """Return the fastest lane that there is here. It serves one log."""
    library = kernel.library()
    return slow_lane if library is None else KernelLane(library)


def slow_lane(block: Block, rows: Rows) -> None:
    """Read line by line with bms_can.candump."""
    while not rows.full and (line := block.next_line()) is not None:
        rows.lines += 1
        rows.used += 1
        judge(rows, rows.used - 1, line, rows.lines)


def judge(rows: Rows, row: int, line: bytes, number: int) -> None:
    """Fill the row that was taken for a line, or give it back."""
    text = line.decode("utf-8", "replace")
    if line.endswith((b"\n", b"\r")):
        text = text.rstrip("\r\n") + "\n"  # what a text file in Python makes of a line's end
    entry = next(candump_frames((text,), number), None)
    if isinstance(entry, Frame):
        rows.put(row, entry, number)
        return
    rows.drop(row)
    if entry is not None:
        rows.refuse(entry)


class KernelLane:
    """The compiled lane; what it does not know goes through `judge`."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._scan = library.bms_scan
        self._struct = kernel.RowsStruct(most_channels=kernel.MOST_CHANNELS)
        self._names = np.zeros((kernel.MOST_CHANNELS, kernel.NAME_ROOM), np.uint8)
        self._struct.names = kernel.address(self._names)
        self._known: dict[str, int] = {}
        self._odd = np.empty((3, 0), np.int64)

    def __call__(self, block: Block, rows: Rows) -> None:
        """Take lines; see the module."""
        stuck = False
        while block.start < block.end and not rows.full and not stuck:
            before = block.start
            self._some(block, rows)
            stuck = block.start == before
            if self._struct.too_narrow:
                rows.widen()
                stuck = False

    def _some(self, block: Block, rows: Rows) -> None:
        struct = self._struct
        self._point(rows)
        text = (ctypes.c_char * len(block.buffer)).from_buffer(block.buffer)
        block.start = self._scan(
            ctypes.addressof(text), block.start, block.end, block.final, ctypes.byref(struct)
        )
        del text  # else the block could not grow
        rows.used, rows.lines = struct.used, struct.lines
        for number in range(len(self._known), struct.channels):
            size, *name = self._names[number].tolist()
            rows.channels[bytes(name[:size]).decode()] = number
        for row, start, end in self._odd[:, : struct.odds].T.tolist():
            judge(rows, row, bytes(block.buffer[start:end]), int(rows.line[row]))

    def _point(self, rows: Rows) -> None:
        """Tell the kernel where the columns are, and which channels have an index."""
        struct = self._struct
        for name in ADDRESSED:
            setattr(struct, name, kernel.address(getattr(rows, name)))
        struct.width, struct.capacity = rows.data.shape[1], rows.capacity
        struct.used, struct.lines = rows.used, rows.lines
        if self._odd.shape[1] < rows.capacity:
            self._odd = np.empty((3, rows.capacity), np.int64)
            struct.odd_row, struct.odd_start, struct.odd_end = map(kernel.address, self._odd)
        if rows.channels is not self._known:
            self._names[:] = 0
            struct.last = 0
        for name, number in list(rows.channels.items())[: kernel.MOST_CHANNELS]:
            text = name.encode("ascii", "ignore")
            if text.decode() == name and len(text) < kernel.NAME_ROOM:
                self._names[number, 0] = len(text)
                self._names[number, 1 : 1 + len(text)] = np.frombuffer(text, np.uint8)
        struct.channels = min(len(rows.channels), kernel.MOST_CHANNELS)
        self._known = rows.channels
