"""Export one log: the unit of work, on this machine or another. Its files do not count yet."""

import os
import resource
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Protocol

import pyarrow as pa

from bms_can.columnar.ahead import ahead_where_idle
from bms_can.columnar.chunk import Chunk, of_channel
from bms_can.columnar.decode import Decoder
from bms_can.columnar.export_cells import Decoding, SignalCells
from bms_can.columnar.export_dir import Entry, new_attempt
from bms_can.columnar.export_long import LongTables
from bms_can.columnar.export_plan import LAYOUT, Options
from bms_can.columnar.export_tables import Part, Tables
from bms_can.columnar.export_tally import Tally
from bms_can.columnar.export_wide import WideTables
from bms_can.columnar.place import position
from bms_can.columnar.scan import scan
from bms_can.database import Database, load
from bms_can.errors import BadInput

OPEN_FILES = 4096  # two days of a thousand messages, and what else is open
Progress = Callable[[int, int], None]  # frames so far, bytes of the file so far


class Task(NamedTuple):
    """One log to be exported. Travels to other processes and machines.

    Attributes:
        path: of the log, absolute.
        name: what its files are called.
        dbc, dbc_sha256: the database; a worker must see the same.
        options: what is wanted.
        work: folder for files under way.
        versions: of what writes the bytes; a worker must have the same.
    """

    path: str
    name: str
    dbc: str
    dbc_sha256: str
    options: Options
    work: str
    versions: tuple[str, str]


class Exported(NamedTuple):
    """The files of a log are written and synced.

    Attributes:
        attempt: name of their folder in `work`.
        entry: for the manifest; its files have their temporary names beside.
    """

    attempt: str
    entry: Entry


class Failed(NamedTuple):
    """A log that cannot be exported, and why. Trying again would not help if `final`."""

    path: str
    reason: str
    final: bool


class Sink(Protocol):
    """What takes the chunks of a log."""

    def take(self, chunk: Chunk) -> None:
        """Take one chunk."""

    def close(self) -> list[Part]:
        """Finish all files."""


def versions(tool: str) -> tuple[str, str]:
    """Return what decides about the bytes of a file."""
    return tool, f"pyarrow {pa.__version__}"


def stamp(path: str, dbc_sha256: str) -> Entry:
    """Return what tells a log from itself after a change.

    Raises:
        OSError: the log cannot be looked at.
    """
    found = Path(path).stat()
    return {"size": found.st_size, "mtime_ns": found.st_mtime_ns, "dbc_sha256": dbc_sha256}


def export_log(task: Task, progress: Progress | None = None) -> Exported | Failed:
    """Write the files of one log into a new folder of `task.work`."""
    _allow_open_files()
    try:
        database = _database(task.dbc, task.dbc_sha256)
        _check_versions(task)
        attempt = new_attempt(Path(task.work))
    except BadInput as error:
        return Failed(task.path, "; ".join(error.mistakes), final=True)
    except OSError as error:
        return Failed(task.path, str(error), final=False)
    try:
        return Exported(attempt.name, _written(task, database, attempt, progress))
    except BadInput as error:
        shutil.rmtree(attempt, ignore_errors=True)
        return Failed(task.path, "; ".join(error.mistakes), final=True)
    except OSError as error:
        shutil.rmtree(attempt, ignore_errors=True)
        return Failed(task.path, str(error), final=False)


_loaded: dict[tuple[str, str], Database] = {}  # the newest by path and SHA-256: a process has one


def keep_loaded(database: Database, path: str) -> None:
    """Let the logs exported in this process use a database that is loaded already."""
    _loaded.clear()
    _loaded[path, database.sha256] = database


def _database(path: str, sha256: str) -> Database:
    if (path, sha256) not in _loaded:
        database = load(path)
        if database.sha256 != sha256:
            raise BadInput(path, [f"{path}: not the same file on this machine"])
        keep_loaded(database, path)
    return _loaded[path, sha256]


def _allow_open_files() -> None:
    """Ask the kernel for as many open files as a long DBC needs; 1024 is the usual limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _check_versions(task: Task) -> None:
    here = versions(task.versions[0])
    if here != task.versions:
        told = f"the worker has {here[1]}, the exporter {task.versions[1]}"
        raise BadInput(task.path, [f"{told}: their files would differ"])


def _written(task: Task, database: Database, attempt: Path, progress: Progress | None) -> Entry:
    options = task.options
    before = stamp(task.path, task.dbc_sha256)
    decoder = Decoder(database, options.signals)
    cells = SignalCells(database, all_values=options.all_values)
    tables = Tables(task.path, attempt, task.name, options.format, options.compression)
    tally = Tally()
    sink = _sink(task, Decoding(decoder, cells, tally), tables)
    for chunk in ahead_where_idle(scan(task.path)):
        tally.lines(chunk)
        chosen = of_channel(chunk, options.channel)
        tally.choose(chosen)
        sink.take(chosen)
        if progress is not None:
            progress(tally.frames, position(task.path))
    parts = sink.close()
    _sync(attempt)
    return {
        "path": task.path,
        **before,
        "dbc": Path(task.dbc).name,
        "name": task.name,
        **tally.values(),
        "impossible": dict(sorted(cells.impossible.items())),
        "files": [part._asdict() for part in parts],
    }


def _sink(task: Task, decoding: Decoding, tables: Tables) -> Sink:
    metadata = {
        "layout": str(LAYOUT),
        "tool": task.versions[0],
        "log": Path(task.path).name,
        "dbc": Path(task.dbc).name,
        "dbc_sha256": task.dbc_sha256,
    }
    if task.options.wide_us is None:
        return LongTables(decoding, tables, metadata)
    return WideTables(decoding, task.options, tables, metadata)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
