"""The compiled lane: kernel_text.c takes the usual lines of a block, `judge` all others."""

import ctypes

import numpy as np

from bms_can.columnar import kernel
from bms_can.columnar.block import Block
from bms_can.columnar.lanes import judge
from bms_can.columnar.rows import Rows

ADDRESSED = ("at_s", "channel", "can_id", "extended", "length", "line", "data")


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
