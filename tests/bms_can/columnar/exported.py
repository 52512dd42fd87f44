"""Export a log in a test, and compare the tables with the live codec."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet

from bms_can.codec import Codec
from bms_can.columnar.export_dir import Entry, held
from bms_can.columnar.export_log import Exported, Task, export_log, versions
from bms_can.columnar.export_plan import Options
from bms_can.database import Database, load
from bms_can.errors import BadFrame
from bms_can.frame import Frame
from bms_can.logfile import open_log

Rows = list[dict[str, Any]]


def export(log: Path, dbc: Path, out: Path, **options: Any) -> Entry:  # noqa: ANN401 - as Options
    """Export a log into a folder; return what the manifest says of it."""
    chosen = Options(**options)
    with held(out, "test", chosen) as folder:
        task = Task(
            str(log), log.name, str(dbc), load(dbc).sha256, chosen, str(folder.work),
            versions("test"),
        )  # fmt: skip
        outcome = export_log(task)
        assert isinstance(outcome, Exported), outcome
        folder.commit(*outcome)
        folder.save()
        return folder.sources[str(log)]


def rows(out: Path, message: str) -> Rows:
    """Return the rows of a message in the order of the files."""
    found: Rows = []
    for path in sorted((out / f"message={message}").rglob("*.parquet")):
        found += pa.parquet.ParquetFile(path).read().to_pylist()
    return found


def live_rows(log: Path, database: Database) -> dict[str, Rows]:
    """Return what the live codec says about each frame of a log: what it knows, and the second."""
    codec = Codec(database)
    found: dict[str, Rows] = {}
    for frame in open_log(log):
        if not isinstance(frame, Frame):
            continue
        try:
            decoded = codec.decode(frame)
        except BadFrame:
            continue
        if decoded is not None:
            row = {key: each.value for key, each in decoded[1].items() if each.value is not None}
            found.setdefault(decoded[0], []).append(row | {"": _second(frame.at_s)})
    return found


def _second(at_s: float) -> datetime:
    return datetime.fromtimestamp(round(at_s * 1e6) // 10**6, UTC)


def _number(value: Any) -> Any:  # noqa: ANN401 - a cell
    """Return the integer where a column holds digits, as it does beyond 64 bits."""
    return int(value) if isinstance(value, str) else value


def compare(log: Path, database: Database, out: Path) -> int:
    """Compare the tables of a log with the live codec; return how many values were compared."""
    count = 0
    for message, lines in live_rows(log, database).items():
        names = {
            field.name: field.metadata[b"signal"].decode()
            for path in (out / f"message={message}").rglob("*.parquet")
            for field in pa.parquet.read_schema(path)
            if field.metadata and b"choices" not in field.metadata
        }
        told = [
            {key: _number(row[name]) for name, key in names.items() if row[name] is not None}
            | {"": row["time"].replace(microsecond=0)}
            for row in rows(out, message)
        ]
        assert told == lines, message
        count += sum(map(len, told))
    return count
