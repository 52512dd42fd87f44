"""A window over the bytes of a log: whole lines, as Python's text files split them."""

from bms_can.columnar.source import Source

PADDING = 64  # zeros behind the bytes, so that a parser may look a little ahead
LONGEST_LINE = 16 << 20  # bytes; a longer line is not held
NEWLINE, RETURN = b"\n", b"\r"


class Block:
    """Bytes of a log that are at hand: `buffer[start:end]`. What is behind is readable, no line's.

    A line ends with LF, CR LF or CR, and with the log.

    Attributes:
        ended: nothing follows.
        final: nothing follows, and nothing is missing: the rest is a line.
    """

    def __init__(self, size: int) -> None:
        self.buffer = bytearray(size + PADDING)
        self.start = self.end = 0
        self.ended = self.final = False

    def refill(self, source: Source) -> None:
        """Keep what is left, put the next bytes behind it; the room grows with a long line."""
        left = self.end - self.start
        self.buffer[:left] = self.buffer[self.start : self.end]
        self.start, self.end = 0, left
        if left + PADDING >= len(self.buffer):
            self.buffer.extend(bytes(len(self.buffer)))
        most = len(self.buffer) - PADDING
        with memoryview(self.buffer) as view:
            while self.end < most and (got := source.fill(view[self.end : most])):
                self.end += got
            self.ended = self.end < most
            view[self.end : self.end + PADDING] = bytes(PADDING)
        self.final = self.ended and not source.damage

    @property
    def overlong(self) -> bool:
        """Whether the line at hand is longer than any can be."""
        return self.end - self.start > LONGEST_LINE

    def head(self, size: int) -> str:
        """Return the first characters of what is at hand."""
        return bytes(self.buffer[self.start : self.start + size]).decode("utf-8", "replace")

    def skip_line(self, source: Source) -> None:
        """Pass over the rest of the line at hand."""
        while not self.ended:
            self.start = self.end
            self.refill(source)
            if self.next_line() is not None:
                return

    def next_line(self) -> bytes | None:
        """Return the next line with its end, and move on; None if it is not there in whole."""
        stop = self.line_end(self.start)
        if stop is None:
            return None
        line = bytes(self.buffer[self.start : stop])
        self.start = stop
        return line

    def line_end(self, start: int) -> int | None:
        """Return where the line that begins at `start` ends, None if that is not known yet."""
        if start >= self.end:
            return None
        newline = self.buffer.find(NEWLINE, start, self.end)
        stop = self.end if newline < 0 else newline
        found = self.buffer.find(RETURN, start, stop)
        if found < 0:
            return newline + 1 if newline >= 0 else self.end if self.final else None
        if found + 1 == newline:
            return newline + 1
        return found + 1 if found + 1 < self.end or self.final else None
