"""Chunks for tests: the recorded half minute of our simulator, changed on purpose."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from bms_can.columnar.chunk import Chunk
from bms_can.columnar.rows import Rows
from bms_can.database import Database, load
from bms_can.examine.examination import Examination, examine
from bms_can.examine.finding import Finding
from bms_can.frame import Frame
from bms_can.logfile import open_log
from bms_can.profile import Profile

ROOT = Path(__file__).parents[3]
LOG = ROOT / "tests" / "data" / "ess_bau" / "half_minute.log"
DBC = ROOT / "dbc" / "ess_bau.dbc"


def recorded() -> list[Frame]:
    """Return the frames of the recording."""
    return [entry for entry in open_log(LOG) if isinstance(entry, Frame)]


def chunks(frames: Iterable[Frame], size: int = 500) -> Iterator[Chunk]:
    """Return frames as chunks; the number of a frame is its line."""
    rows = Rows(size)
    for line, frame in enumerate(frames, 1):
        if rows.full:
            yield rows.take()
        row = rows.used
        rows.used += 1
        rows.put(row, frame, line)
    yield rows.take()


def examined(
    frames: Iterable[Frame], database: Database | None = None, profile: Profile | None = None
) -> Examination:
    """Examine frames, with our own DBC if no other is given."""
    return examine(chunks(frames), database or load(DBC), profile)


def of_kind(seen: Examination, kind: str) -> list[Finding]:
    """Return the findings of one kind."""
    return [finding for finding in seen.findings if finding.kind == kind]
