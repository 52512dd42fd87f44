"""The folder of an export: who may write, what is in it, and how a log gets into it as a whole.

    DIR/_manifest.json       every log that is done, and its files
    DIR/.export/lock         held while somebody exports into DIR
    DIR/.export/w-*/         files under way; nobody reads them, the next run removes them
    DIR/.export/w-*/commit   from here on the log is done: whoever finds it finishes the renames

Readers pass over names that begin with `_` or `.`: DIR as a whole is a data set.

A process may be killed anywhere. Before `commit` is there nothing of the log counts; afterwards all
of it does. Files get their names by renaming what is complete and synced.
"""

import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bms_can.columnar.export_plan import LAYOUT, Options
from bms_can.errors import BadInput

MANIFEST, WORK, COMMIT, LOCK = "_manifest.json", ".export", "commit", "lock"
KIND = "bms-agent-export"
Entry = dict[str, Any]


@dataclass(slots=True)
class ExportDir:
    """An export's folder, held by this process. Make it by `held`.

    Attributes:
        path: the folder.
        tool: name and version of the program.
        options: what it holds.
        sources: what is known of each log, by its absolute path.
    """

    path: Path
    tool: str
    options: Options
    sources: dict[str, Entry] = field(default_factory=dict)
    _saved: bool = True
    _finished: list[Path] = field(default_factory=list)

    @property
    def work(self) -> Path:
        """Where files are written before they count."""
        return self.path / WORK

    def commit(self, attempt: str, entry: Entry) -> None:
        """Let the files of one log count, in place of those that it had before.

        Args:
            attempt: name of the folder in `work` that holds them.
            entry: of the log; its "files" name each file and its temporary name.

        Raises:
            OSError: it is not done, or not durable; the next run finds out which.
        """
        folder = self.work / attempt
        before = self.sources.get(entry["path"], {"files": []})["files"]
        kept = {file["path"] for file in entry["files"]}
        gone = [file["path"] for file in before if file["path"] not in kept]
        _write(folder / COMMIT, {"entry": entry, "gone": gone})
        self._finish(folder, entry, gone)

    def _finish(self, folder: Path, entry: Entry, gone: list[str]) -> None:
        """Do what a commit says; doing it twice is as good as once."""
        for file in entry["files"]:
            final = self.path / file["path"]
            final.parent.mkdir(parents=True, exist_ok=True)
            with suppress(FileNotFoundError):  # an earlier run got as far as here
                (folder / file["temporary"]).replace(final)
        for path in gone:
            (self.path / path).unlink(missing_ok=True)
        _sync_up({self.path / file["path"] for file in entry["files"]}, self.path)
        files = [
            {key: value for key, value in file.items() if key != "temporary"}
            for file in entry["files"]
        ]
        self.sources[entry["path"]] = {**entry, "files": files}
        self._finished.append(folder)
        self._saved = False

    def save(self) -> None:
        """Write the manifest, if there is something new in it.

        Raises:
            OSError: it is not durable.
        """
        if self._saved:
            return
        document = {
            "kind": KIND,
            "layout": LAYOUT,
            "tool": self.tool,
            "options": self.options.values(),
            "sources": [self.sources[path] for path in sorted(self.sources)],
        }
        _write(self.path / MANIFEST, document)
        self._saved = True
        for folder in self._finished:
            shutil.rmtree(folder, ignore_errors=True)
        self._finished.clear()

    def is_done(self, path: str, stamp: Mapping[str, Any]) -> bool:
        """Tell whether a log is in the folder as it is now: same stamp, all files in place."""
        entry = self.sources.get(path)
        if entry is None or any(entry.get(key) != value for key, value in stamp.items()):
            return False
        return all(_size(self.path / file["path"]) == file["bytes"] for file in entry["files"])

    def recover(self) -> None:
        """Finish what an earlier run had decided, remove what it had not.

        Raises:
            OSError: the folder cannot be written.
        """
        for folder in sorted(self.work.glob("w-*")):
            commit = _read(folder / COMMIT)
            if commit is not None:
                self._finish(folder, commit["entry"], commit["gone"])
        self.save()
        self.clear()

    def clear(self) -> None:
        """Remove files that nobody waits for any more, such as those of a lost worker."""
        for folder in self.work.glob("w-*"):
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def held(path: Path, tool: str, options: Options) -> Iterator[ExportDir]:
    """Hold a folder for an export, made if it is not there; what a killed run left is cleared up.

    Raises:
        BadInput: it cannot be used, another export writes into it, or it holds another kind.
    """
    with ExitStack() as stack:
        try:
            (path / WORK).mkdir(parents=True, exist_ok=True)
            handle = os.open(path / WORK / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            stack.callback(os.close, handle)
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            found = ExportDir(path, tool, options, _sources(path, options))
            found.recover()
        except BlockingIOError as error:
            raise BadInput(str(path), ["another export is writing into this folder"]) from error
        except OSError as error:
            raise BadInput(str(path), [str(error)]) from error
        yield found


def _sources(path: Path, options: Options) -> dict[str, Entry]:
    """Return what the manifest holds.

    Raises:
        BadInput: the folder is of another kind.
    """
    manifest = path / MANIFEST
    document = _read(manifest)
    if document is None:
        return {}
    try:
        kind, made_with = (document["kind"], document["layout"]), dict(document["options"])
        sources = {str(entry["path"]): _checked(entry) for entry in document["sources"]}
    except (KeyError, TypeError, ValueError) as error:
        raise BadInput(
            str(manifest), ["is no manifest of an export; use another folder"]
        ) from error
    if kind != (KIND, LAYOUT):
        raise BadInput(str(manifest), [f"is no manifest of layout {LAYOUT}; use another folder"])
    others = [key for key, value in options.values().items() if made_with.get(key) != value]
    if others:
        told = ", ".join(f"{key} = {json.dumps(made_with.get(key))}" for key in others)
        raise BadInput(str(manifest), [f"the folder was made with {told}; use another folder"])
    return sources


def _checked(entry: Entry) -> Entry:
    """Return an entry that has what is asked of it later."""
    _ = (
        entry["name"],
        entry["dbc_sha256"],
        [(file["path"], file["bytes"]) for file in entry["files"]],
    )
    return entry


def new_attempt(work: Path) -> Path:
    """Make a folder for the files of one attempt; no other process uses it."""
    return Path(tempfile.mkdtemp(prefix=f"w-{os.uname().nodename}-{os.getpid()}-", dir=work))


def _read(path: Path) -> Any:  # noqa: ANN401 - JSON
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise BadInput(str(path), [f"no JSON: {error}"]) from error


def _write(path: Path, document: object) -> None:
    """Replace a file by a JSON document, durably and as a whole."""
    text = json.dumps(document, ensure_ascii=False, indent=1) + "\n"
    beside = path.with_name(f".{path.name}.new")
    with beside.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
    _sync(path.parent)


def _sync_up(files: set[Path], root: Path) -> None:
    """Make the names of files durable, and those of the folders up to the root."""
    folders = {each for file in files for each in file.parents if each.is_relative_to(root)}
    for folder in sorted(folders):
        _sync(folder)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None
