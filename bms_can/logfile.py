"""Open a log of any known kind and yield its frames. The only import of python-can's readers.

candump text is read line by line by candump.py and loses only bad lines. The other kinds are
python-can's, whose readers give up at the first fault: what came before it has been yielded, then
BadInput names the file. `.gz` is opened on the way.
"""

import gzip
import io
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO, TextIO, cast

import can
import can.io.sqlite
from can.io.blf import BLFParseError, BLFReader
from can.io.generic import MessageReader, TextIOMessageReader
from can.io.player import MESSAGE_READERS

from bms_can.candump import TEXT_KEPT, candump_frames, looks_like_candump
from bms_can.errors import BadInput, BadLogLine
from bms_can.frame import Frame
from bms_can.gvret import gvret_frames, looks_like_gvret
from bms_can.slcan import looks_like_slcan, slcan_frames
from bms_can.trc import dated_trc_frames, is_dated_trc

Entry = Frame | BadLogLine

CANDUMP_SUFFIXES = (".log", ".candump")
PYTHON_CAN_CSV = "timestamp,"
HEAD_BYTES = 65536  # enough to see what kind of text it is
GZIP_MAGIC = b"\x1f\x8b"
UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
_SQLITE_ERROR: type[Exception] = vars(can.io.sqlite)["sqlite3"].Error  # python-can's; not ours
FOREIGN_ERRORS = (  # what python-can's readers are known to raise on a damaged file
    can.CanError,
    BLFParseError,
    ValueError,
    LookupError,
    TypeError,
    ArithmeticError,
    AttributeError,
    AssertionError,
    RuntimeError,  # NotImplementedError where asammdf is missing; an empty csv
    OSError,
    EOFError,
    struct.error,
    zlib.error,
    _SQLITE_ERROR,
)


def open_log(path: str | Path) -> Iterator[Entry]:
    """Yield each frame of a log, and each line that holds no usable one, in the file's order.

    Args:
        path: candump text (`.log`, `.candump`, or any other name whose content looks like it), or
            `.asc .blf .trc .mf4 .csv .db`; the CSV of SavvyCAN; slcan text; text and blf also
            with `.gz`.

    Raises:
        BadInput: the file cannot be opened, is of no known kind, or is damaged beyond a line.
    """
    path = Path(path)
    suffix = _suffix(path)
    head = _head(path)
    if suffix == ".trc" and is_dated_trc(head):
        return _text_entries(path, dated_trc_frames)
    if holds_candump(suffix, head):
        return read_candump(path)
    if looks_like_gvret(head):
        return _text_entries(path, gvret_frames)
    if suffix == ".csv" and not head.startswith(PYTHON_CAN_CSV):
        first = head.partition("\n")[0].lstrip("\ufeff").rstrip()[:TEXT_KEPT]
        why = f"a CSV that starts with {first!r}; those of python-can and SavvyCAN are read"
        raise BadInput(str(path), [why])
    if suffix in MESSAGE_READERS:
        return _python_can_entries(path, MESSAGE_READERS[suffix])
    if looks_like_slcan(head):
        return _text_entries(path, slcan_frames)
    known = ", ".join([*CANDUMP_SUFFIXES, *sorted(set(MESSAGE_READERS) - {".log"})])
    raise BadInput(str(path), [f"neither candump nor slcan text nor one of {known}"])


def is_candump(path: Path) -> bool:
    """Return whether a log is read as candump text; one packed as `.xz` or `.zst` can be no other.

    Raises:
        BadInput: the file cannot be read.
    """
    if path.suffix.lower() in (".xz", ".zst"):
        return True
    suffix, head = _suffix(path), _head(path)
    return not (suffix == ".trc" and is_dated_trc(head)) and holds_candump(suffix, head)


def holds_candump(suffix: str, head: str) -> bool:
    """Return whether a log of this suffix (without `.gz`) and first text is read as candump."""
    if suffix in CANDUMP_SUFFIXES or suffix in MESSAGE_READERS:
        return suffix in CANDUMP_SUFFIXES
    return not head.strip() or any(looks_like_candump(line) for line in head.splitlines())


def read_candump(path: str | Path) -> Iterator[Entry]:
    """Yield each frame of a candump text file, gzipped or not, and each line that is none.

    Raises:
        BadInput: the file cannot be read.
    """
    return _text_entries(Path(path), candump_frames)


def _text_entries(path: Path, parse: Callable[[Iterable[str]], Iterator[Entry]]) -> Iterator[Entry]:
    lines = _Lines(path)
    yield from parse(lines)
    if lines.damage:
        yield BadLogLine(lines.count + 1, "damaged archive", lines.damage)


class _Lines:
    """The lines of a text file. A damaged archive ends it early, and `damage` says so."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.count = 0
        self.damage = ""

    def __iter__(self) -> Iterator[str]:
        try:
            with _text(self._path) as file:
                for line in file:
                    self.count += 1
                    yield line
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            self.damage = str(error)[:TEXT_KEPT]
        except OSError as error:
            raise _unreadable(self._path, error) from error


def _python_can_entries(path: Path, kind: type[MessageReader]) -> Iterator[Entry]:
    count = 0
    try:
        with ExitStack() as stack:
            messages = iter(stack.enter_context(_reader(path, kind, stack)))
            while (message := next(messages, None)) is not None:
                count += 1
                yield _entry(count, message)
    except FOREIGN_ERRORS as error:
        where = f"after {count} frames" if count else "cannot be read"
        raise BadInput(str(path), [f"{where}: {str(error) or type(error).__name__}"]) from error


def _reader(path: Path, kind: type[MessageReader], stack: ExitStack) -> MessageReader:
    """Build a python-can reader; `stack` closes its file even if the reader refuses it."""
    if issubclass(kind, TextIOMessageReader):
        return kind(stack.enter_context(_text(path)))
    if kind is BLFReader:
        return kind(cast("BinaryIO", stack.enter_context(open_binary(path))))
    if path.suffix.lower() == ".gz":
        raise BadInput(str(path), ["this kind cannot be read compressed; unpack it first"])
    return kind(str(path))


def _entry(number: int, message: can.Message) -> Entry:
    if message.is_error_frame or message.is_remote_frame:
        reason = "error frame" if message.is_error_frame else "remote frame"
        return BadLogLine(number, reason, str(message)[:TEXT_KEPT])
    channel = "" if message.channel is None else str(message.channel)
    data = bytes(message.data)
    return Frame(message.timestamp, message.arbitration_id, message.is_extended_id, data, channel)


def _suffix(path: Path) -> str:
    """Return the suffix that names the kind, without `.gz`, in lower case."""
    name = path.with_suffix("") if path.suffix.lower() == ".gz" else path
    return name.suffix.lower()


def _head(path: Path) -> str:
    """Return the first text of a file; of a damaged archive, nothing."""
    try:
        with _text(path) as file:
            return file.read(HEAD_BYTES)
    except (EOFError, zlib.error, gzip.BadGzipFile):
        return ""
    except OSError as error:
        raise _unreadable(path, error) from error


def _text(path: Path) -> TextIO:
    """Open as text: UTF-16 by its mark, else UTF-8; what is neither becomes U+FFFD."""
    with ExitStack() as stack:
        file = stack.enter_context(open_binary(path))
        encoding = "utf-16" if file.peek(2)[:2] in UTF16_MARKS else "utf-8-sig"
        stack.pop_all()
        return io.TextIOWrapper(file, encoding=encoding, errors="replace")


def open_binary(path: Path) -> io.BufferedReader:
    """Open a file for reading, unpacked where the content is gzip's."""
    file = path.open("rb")
    if file.peek(2)[:2] != GZIP_MAGIC:
        return file
    file.close()
    return io.BufferedReader(cast("io.RawIOBase", gzip.open(path)))


def _unreadable(path: Path, error: OSError) -> BadInput:
    return BadInput(str(path), [error.strerror or str(error)])
