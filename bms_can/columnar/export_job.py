"""A whole export: which logs are to be done, what becomes of each, what the folder holds then."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bms_can.columnar.export_dir import Entry, ExportDir
from bms_can.columnar.export_log import Failed, Task, keep_loaded, stamp, versions
from bms_can.columnar.export_plan import log_names
from bms_can.columnar.export_run import Engine, export_all
from bms_can.database import Database
from bms_can.errors import BadInput

SAVE_SHARE = 20  # a manifest of many logs is long: writing it may take one part in so many


@dataclass(slots=True)
class Report:
    """What an export did.

    Attributes:
        done: entries of the manifest of the logs exported now.
        skipped: logs that were there already, and have not changed.
        failed: the others.
        other_dbc: logs in the folder that another DBC decoded.
    """

    done: list[Entry] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    failed: list[Failed] = field(default_factory=list)
    other_dbc: list[str] = field(default_factory=list)


class Job:
    """Exports logs into a folder.

    Args:
        folder: held by this process.
        database: that decodes.
        logs: as a person named them.
        now_s: monotonic clock [s].

    Raises:
        BadInput: a log is not there.
    """

    def __init__(
        self,
        folder: ExportDir,
        database: Database,
        logs: Sequence[Path],
        now_s: Callable[[], float],
    ) -> None:
        self._folder = folder
        self._database = database
        self._dbc = str(Path(database.path).absolute())
        keep_loaded(database, self._dbc)
        self._now_s = now_s
        self._saved_s = -1e9
        self._took_s = 0.0
        self.report = Report()
        paths = list(dict.fromkeys(str(log.absolute()) for log in logs))
        stamps = _stamps(paths, database.sha256)
        self.report.skipped = [path for path in paths if folder.is_done(path, stamps[path])]
        taken = {path: str(entry["name"]) for path, entry in folder.sources.items()}
        names = log_names(paths, taken)
        skipped = set(self.report.skipped)
        self.tasks = [self._task(path, names[path]) for path in paths if path not in skipped]
        self.sizes = {task.path: int(stamps[task.path]["size"]) for task in self.tasks}

    def _task(self, path: str, name: str) -> Task:
        return Task(
            path=path,
            name=name,
            dbc=self._dbc,
            dbc_sha256=self._database.sha256,
            options=self._folder.options,
            work=str(self._folder.work.absolute()),
            versions=versions(self._folder.tool),
        )

    def run(self, engine: Engine, tell: Callable[[Entry | Failed], None]) -> None:
        """Export what is to be done; `tell` hears of each log that is finished with.

        Raises:
            EngineLost: nobody is left to work; what is done is done.
            OSError: the folder does not take it.
        """
        try:
            for outcome in export_all(self.tasks, engine):
                if isinstance(outcome, Failed):
                    self.report.failed.append(outcome)
                    tell(outcome)
                else:
                    self._folder.commit(outcome.attempt, outcome.entry)
                    self.report.done.append(outcome.entry)
                    self._save_now_and_then()
                    tell(outcome.entry)
        finally:
            self._folder.save()
        self.report.other_dbc = [
            path
            for path, entry in self._folder.sources.items()
            if entry["dbc_sha256"] != self._database.sha256
        ]

    def _save_now_and_then(self) -> None:
        """Write the manifest, unless that took too much of the time lately."""
        now_s = self._now_s()
        if now_s - self._saved_s < SAVE_SHARE * self._took_s:
            return
        self._folder.save()
        self._saved_s = self._now_s()
        self._took_s = self._saved_s - now_s


def _stamps(paths: Sequence[str], dbc_sha256: str) -> dict[str, Entry]:
    stamps, mistakes = {}, []
    for path in paths:
        if (
            not path.isprintable()
        ):  # not UTF-8, or worse: neither manifest nor terminal could show it
            mistakes.append(f"{path!a}: rename it first, its name is no text")
            continue
        try:
            stamps[path] = stamp(path, dbc_sha256)
        except OSError as error:
            mistakes.append(f"{path}: {error.strerror}")
        else:
            if Path(path).is_dir():
                mistakes.append(f"{path}: is a folder; name its logs")
    if mistakes:
        raise BadInput("bms-agent export", mistakes)
    return stamps
