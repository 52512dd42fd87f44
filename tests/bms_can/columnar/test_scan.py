"""Reading logs as columns: the same frames and the same faults as line by line."""

import gzip
import lzma
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import can
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bms_can.columnar import scan as module
from bms_can.columnar.block import LONGEST_LINE
from bms_can.columnar.chunk import CLASSICAL_WIDTH, FD_WIDTH, Chunk, frames
from bms_can.columnar.kernel import SWITCH, available
from bms_can.columnar.scan import scan
from bms_can.errors import BadInput, BadLogLine
from bms_can.frame import Frame
from bms_can.logfile import open_log
from tests.bms_can.columnar.texts import ENDS, STRANGE, entries, text

LINES = 6000
GOOD = b"(1.000000) can0 123#1122\n"


@pytest.fixture(params=["kernel", "numpy"], autouse=True)
def _lane(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "numpy":
        monkeypatch.setenv(SWITCH, "numpy")
    elif not available():
        pytest.skip("the kernel is not compiled here")


@pytest.fixture
def log(tmp_path: Path) -> Callable[[bytes], Path]:
    """Return what writes a log."""

    def write(content: bytes, name: str = "x.log") -> Path:
        (tmp_path / name).write_bytes(content)
        return tmp_path / name

    return write


def _told(chunks: list[Chunk]) -> tuple[list[tuple[int, Frame]], Counter[str]]:
    """Return frames with line numbers, and the number of bad lines by reason."""
    found = [
        pair for chunk in chunks for pair in zip(chunk.line.tolist(), frames(chunk), strict=True)
    ]
    return found, sum((Counter(chunk.bad_counts) for chunk in chunks), Counter())


def _same(path: Path, **options: int) -> None:
    """Compare with the slow parser: frames with their lines, and faults with theirs."""
    chunks = list(scan(path, **options))
    told, counts = _told(chunks)
    behind = [np.arange(chunk.data.shape[1]) >= chunk.length[:, None] for chunk in chunks]
    assert not any(chunk.data[empty].any() for chunk, empty in zip(chunks, behind, strict=True))
    expected = list(entries(path))
    assert told == [each for each in expected if isinstance(each[1], Frame)]
    bad = [each for _, each in expected if isinstance(each, BadLogLine)]
    assert counts == Counter(each.reason for each in bad)
    texts = {str(each) for each in bad}
    assert all(str(each) in texts for chunk in chunks for each in chunk.bad)


@pytest.mark.parametrize("seed", range(4))
def test_broken_text_reads_as_line_by_line(log: Callable[[bytes], Path], seed: int) -> None:
    """Mutated lines of every form: each good line is read, each bad one has the same reason."""
    _same(log(text(seed, LINES)))


LINE = st.one_of(
    st.binary(max_size=40),
    st.sampled_from([strange.encode() for strange in STRANGE]),
    st.from_regex(
        rb"\([0-9]{1,13}\.[0-9]{1,10}\) [a-z#]{1,3} [0-9A-Fa-f]{3,8}##?[0-9A-F]{0,20}( [RT])?"
    ),
)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(lines=st.lists(LINE, max_size=12), ends=st.sampled_from(ENDS))
def test_any_bytes(tmp_path: Path, lines: list[bytes], ends: bytes) -> None:
    """Whatever the bytes are, both parsers say the same of them."""
    path = tmp_path / "any.log"
    path.write_bytes(GOOD + ends.join(lines))  # or it could be an archive
    _same(path, chunk_frames=5)


@pytest.mark.parametrize("size", [64, 100, 997])
def test_borders_between_blocks_and_chunks(
    log: Callable[[bytes], Path], monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """Wherever a block or a chunk ends, nothing is lost, doubled, or read as two lines."""
    monkeypatch.setattr(module, "BLOCK_BYTES", size)
    _same(log(text(size, 800)), chunk_frames=7)


@pytest.mark.parametrize("end", [b"\r\n", b"\r", b" R\r\n"])
def test_an_end_of_two_characters_on_a_border(
    log: Callable[[bytes], Path], monkeypatch: pytest.MonkeyPatch, end: bytes
) -> None:
    """CR LF is one end of a line, also where a block ends between the two."""
    path = log(12 * (GOOD.strip() + end))
    for size in range(64, 64 + 2 * len(GOOD)):
        monkeypatch.setattr(module, "BLOCK_BYTES", size)
        _same(path)


def test_is_what_open_log_gives(log: Callable[[bytes], Path]) -> None:
    """The reference of these tests is `open_log`'s own answer."""
    path = log(text(9, LINES))
    assert [entry for entry in open_log(path) if isinstance(entry, Frame)] == [
        entry for _, entry in entries(path) if isinstance(entry, Frame)
    ]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be"])
def test_utf16(log: Callable[[bytes], Path], encoding: str) -> None:
    """A log that an editor saved as UTF-16 is read."""
    content = text(5, 300).decode("utf-8-sig", "replace")
    _same(
        log(
            ("\ufeff" if encoding == "utf-16-be" else "").encode(encoding)
            + content.encode(encoding)
        )
    )


def _zstd(content: bytes) -> bytes:
    return pa.Codec("zstd").compress(content, asbytes=True)  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("pack", "name"),
    [
        (gzip.compress, "x.log.gz"),
        (lzma.compress, "x.candump.xz"),
        (_zstd, "x.log.zst"),
        (lzma.compress, "named_wrongly.log"),
        (lzma.compress, "without_a_known_name.xz"),
    ],
)
def test_archives(tmp_path: Path, pack: Callable[[bytes], bytes], name: str) -> None:
    """gz, xz and zst are unpacked on the way, by their content."""
    content = text(6, 3000).removeprefix(b"\xef\xbb\xbf")
    (tmp_path / "plain.log").write_bytes(content)
    (tmp_path / name).write_bytes(pack(GOOD + content))
    told, _ = _told(list(scan(tmp_path / name)))
    plain, _ = _told(list(scan(tmp_path / "plain.log")))
    assert told[0] == (1, Frame(1.0, 0x123, False, b"\x11\x22", "can0"))  # noqa: FBT003 - Frame's order
    assert told[1:] == [(number + 1, frame) for number, frame in plain]


@pytest.mark.parametrize(
    ("pack", "name"),
    [(gzip.compress, "x.log.gz"), (lzma.compress, "x.log.xz"), (_zstd, "x.log.zst")],
)
def test_damaged_archives(tmp_path: Path, pack: Callable[[bytes], bytes], name: str) -> None:
    """What was read before the damage counts; the damage is told once."""
    packed = pack(text(7, 5000, broken=0))
    (tmp_path / name).write_bytes(packed[: len(packed) * 2 // 3])
    chunks = list(scan(tmp_path / name))
    told, counts = _told(chunks)
    assert counts == {"damaged archive": 1}
    assert chunks[-1].bad[-1].line_number > (told[-1][0] if told else 0)
    if name.endswith(".gz"):
        assert [frame for _, frame in told] == list(open_log(tmp_path / name))[:-1]
        assert len(told) > 1000


def test_width_follows_the_payloads(log: Callable[[bytes], Path]) -> None:
    """Chunks are 64 bytes wide only while a payload is longer than 8."""
    fd = b"(1.000000) can0 123##1" + b"AB" * 64 + b"\n"
    chunks = list(scan(log(3 * GOOD + fd + 5 * GOOD), chunk_frames=3))
    assert [chunk.data.shape for chunk in chunks] == [
        (3, CLASSICAL_WIDTH),
        (3, FD_WIDTH),
        (3, CLASSICAL_WIDTH),
    ]
    assert chunks[1].data[0].tolist() == [0xAB] * 64
    assert chunks[1].data[1].tolist() == [0x11, 0x22] + 62 * [0]
    eight = b"(1.000000) can0 123#FFFFFFFFFFFFFFFF\n"
    _same(log(20 * (fd + eight)), chunk_frames=4)
    assert chunks[2].data[2].tolist() == [0x11, 0x22] + 6 * [0]


def test_more_channels_than_the_table_holds(log: Callable[[bytes], Path]) -> None:
    """A log of a thousand channels is read; the table starts anew with a chunk."""
    content = b"".join(b"(1.000000) can%d 123#11\n" % number for number in range(1000))
    chunks = list(scan(log(content), chunk_frames=100))
    assert [frame.channel for _, frame in _told(chunks)[0]] == [f"can{n}" for n in range(1000)]
    assert max(len(chunk.channels) for chunk in chunks) < 500


def test_a_line_without_end_is_not_held(log: Callable[[bytes], Path]) -> None:
    """Megabytes without a line's end are one bad line; the next line is read."""
    path = log(2 * (GOOD + b"x" * (LONGEST_LINE * 3) + b"\n") + GOOD)
    told, counts = _told(list(scan(path)))
    assert [number for number, _ in told] == [1, 3, 5]
    assert counts == {"format": 2}


def test_long_blanks_are_judged_at_once(log: Callable[[bytes], Path]) -> None:
    """A line of a megabyte of blanks costs no more than its length: it took hours once."""
    blanks = b" " * (1 << 20)
    lines = (b"(1.0) can0 123 [1] 11" + blanks + b"x", b"(1.0) can0 123 [1] 11" + blanks, blanks)
    told, counts = _told(list(scan(log(b"\n".join(lines) + b"\n" + GOOD))))
    assert [number for number, _ in told] == [2, 4]
    assert counts == {"format": 1}


def test_only_bad_lines_still_make_a_chunk(log: Callable[[bytes], Path]) -> None:
    """A log of nothing but faults tells them; an empty one tells nothing."""
    (chunk,) = scan(log(b"no frame\n" * 50))
    assert len(chunk) == 0
    assert chunk.bad_counts == {"format": 50}
    assert len(chunk.bad) < 50
    assert list(scan(log(b"\n# nothing\n"))) == []


def test_logs_of_other_kinds(tmp_path: Path) -> None:
    """A log that python-can reads becomes the same chunks."""
    path = tmp_path / "x.blf"
    with can.Logger(str(path)) as logger:
        logger(can.Message(timestamp=1.5, arbitration_id=0x123, is_extended_id=False, data=[1]))
        logger(can.Message(timestamp=2.0, arbitration_id=0x123, is_remote_frame=True))
        logger(can.Message(timestamp=2.5, arbitration_id=0x123, data=[1, 2]))
    (chunk,) = scan(path)
    assert list(frames(chunk)) == [each for each in open_log(path) if isinstance(each, Frame)]
    assert chunk.line.tolist() == [1, 3]
    assert chunk.bad_counts == {"remote frame": 1}
    assert chunk.extended.tolist() == [False, True]


def test_what_cannot_be_read(tmp_path: Path) -> None:
    """A missing file, an unknown kind, and a packed log of another kind are said."""
    with pytest.raises(BadInput, match="No such file"):
        list(scan(tmp_path / "missing.log"))
    (tmp_path / "x.txt").write_text("nothing of a log\n")
    with pytest.raises(BadInput, match="neither candump"):
        list(scan(tmp_path / "x.txt"))
    (tmp_path / "x.asc.xz").write_bytes(lzma.compress(b"date Mon Jan 6 10:00:00.000 2025\n"))
    with pytest.raises(BadInput, match="unpack"):
        list(scan(tmp_path / "x.asc.xz"))


def test_columns_are_checked() -> None:
    """A chunk does not take columns that the compiled loops would misread."""
    columns = {
        "at_s": np.zeros(2),
        "channel": np.zeros(2, np.uint16),
        "can_id": np.zeros(2, np.uint32),
        "extended": np.zeros(2, np.bool_),
        "length": np.zeros(2, np.uint8),
        "data": np.zeros((2, 8), np.uint8),
        "line": np.zeros(2, np.int64),
    }
    rest = {"channels": ("",), "bad": (), "bad_counts": {}}
    assert len(Chunk(**columns, **rest)) == 2  # type: ignore[arg-type]  # built from a table
    for name, wrong in (
        ("can_id", np.zeros(2, np.int64)),
        ("data", np.zeros((2, 9), np.uint8)),
        ("line", np.zeros(4, np.int64)[::2]),
    ):
        with pytest.raises(ValueError, match=name):
            Chunk(**{**columns, name: wrong}, **rest)  # type: ignore[arg-type]  # same
