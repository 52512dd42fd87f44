"""From a block of candump text to rows. The slow lane says what a line means; the others are fast.

A lane takes whole lines until the rows are full or none is left in the block.
"""

from collections.abc import Callable

from bms_can.candump import candump_frames
from bms_can.columnar.block import Block
from bms_can.columnar.rows import Rows
from bms_can.frame import Frame

Lane = Callable[[Block, Rows], None]


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
