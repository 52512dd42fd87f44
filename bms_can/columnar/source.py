"""The bytes of a log: unpacked (gz, xz, zst by content, not by name), UTF-16 turned into UTF-8."""

import codecs
import gzip
import lzma
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from io import FileIO
from pathlib import Path
from typing import Self, cast

from bms_can.candump import TEXT_KEPT
from bms_can.errors import BadInput
from bms_can.logfile import GZIP_MAGIC, UTF16_MARKS, open_binary

XZ_MAGIC, ZSTD_MAGIC = b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd"
MAGIC_BYTES = 6
PACKED_SUFFIXES = (".gz", ".xz", ".zst")
PIECE_BYTES = 8192  # as the text reader of logfile: a damaged archive ends both at the same byte

Read = Callable[[int], bytes]


class Source:
    """One log file as a stream of bytes: UTF-8 without a mark. Use as `with`.

    Attributes:
        damage: why an archive ended early, "" as long as it did not.

    Raises:
        BadInput: the file cannot be opened or read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.damage = ""
        self._held = b""
        self._stack = ExitStack()
        try:
            self._pieces, self._plain = self._opened()
        except OSError as error:
            self.close()
            raise self._unreadable(error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._stack.close()

    def fill(self, room: memoryview) -> int:
        """Put the next bytes into `room`, as many as there are at hand; 0 is the end."""
        try:
            if self._plain is not None and not self._held:
                return self._plain.readinto(room) or 0
            self._held = self._held or next(self._pieces, b"")
        except OSError as error:
            raise self._unreadable(error) from error
        size = min(len(self._held), len(room))
        room[:size] = self._held[:size]
        self._held = self._held[size:]
        return size

    def _opened(self) -> tuple[Iterator[bytes], FileIO | None]:
        """Return the pieces of the text, and the file itself where its bytes are the text."""
        file = self._stack.enter_context(self.path.open("rb", buffering=0))
        magic = file.read(MAGIC_BYTES)
        file.seek(0)
        read = self._unpacker(magic)
        pieces = self._unpacked(read or cast("Read", file.read))
        first = next(pieces, b"")
        if first.startswith(UTF16_MARKS):
            return _utf16(first, pieces), None
        self._held = first.removeprefix(codecs.BOM_UTF8)
        return pieces, file if read is None else None

    def _unpacker(self, magic: bytes) -> Read | None:
        if magic.startswith(GZIP_MAGIC):
            return self._stack.enter_context(open_binary(self.path)).read1
        if magic.startswith(XZ_MAGIC):
            return self._stack.enter_context(lzma.open(self.path)).read1
        if magic.startswith(ZSTD_MAGIC):
            from pyarrow import CompressedInputStream, OSFile  # noqa: PLC0415 - slow to import

            file = self._stack.enter_context(OSFile(str(self.path)))
            stream = self._stack.enter_context(CompressedInputStream(file, "zstd"))
            return _translated(stream.read)
        return None

    def _unpacked(self, read: Read) -> Iterator[bytes]:
        try:
            while piece := read(PIECE_BYTES):
                yield piece
        except (EOFError, zlib.error, gzip.BadGzipFile, lzma.LZMAError) as error:
            self.damage = str(error)[:TEXT_KEPT]

    def _unreadable(self, error: OSError) -> BadInput:
        return BadInput(str(self.path), [error.strerror or str(error)])


def _translated(read: Read) -> Read:
    """Let Arrow's word for a damaged archive, an OSError without a number, be that of gzip."""

    def checked(size: int) -> bytes:
        try:
            return read(size)
        except OSError as error:
            if error.errno is not None:
                raise
            raise EOFError(str(error)) from error

    return checked


def _utf16(first: bytes, pieces: Iterator[bytes]) -> Iterator[bytes]:
    decoder = codecs.getincrementaldecoder("utf-16")("replace")
    yield decoder.decode(first).encode()
    for piece in pieces:
        if text := decoder.decode(piece):
            yield text.encode()
    yield decoder.decode(b"", final=True).encode()
