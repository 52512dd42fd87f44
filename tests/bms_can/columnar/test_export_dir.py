"""The folder of an export: held by one, recovered after every kind of end, never of two kinds."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bms_can.columnar.export_dir import MANIFEST, WORK, Entry, ExportDir, held, new_attempt
from bms_can.columnar.export_plan import Options
from bms_can.errors import BadInput

OLD, NEW = b"old", b"newer"


class Killed(BaseException):
    """The process ends here."""


def attempt(folder: ExportDir, files: dict[str, bytes], path: str = "/a.log") -> tuple[str, Entry]:
    """Write files as a worker does; return what it reports."""
    made = new_attempt(folder.work)
    parts = []
    for number, (name, content) in enumerate(files.items()):
        (made / f"{number}.part").write_bytes(content)
        parts.append({"path": name, "temporary": f"{number}.part", "bytes": len(content)})
    entry = {"path": path, "name": "a.log", "dbc_sha256": "0", "size": 1, "files": parts}
    return made.name, entry


def content(out: Path) -> dict[str, bytes]:
    """Return what a reader finds: files whose path holds no name that readers pass over."""
    return {
        str(path.relative_to(out)): path.read_bytes()
        for path in out.rglob("*")
        if path.is_file() and not any(part[0] in "._" for part in path.relative_to(out).parts)
    }


def test_a_commit_puts_files_in_place_of_the_former(tmp_path: Path) -> None:
    """A log exported again leaves nothing of before."""
    with held(tmp_path, "test", Options()) as folder:
        folder.commit(*attempt(folder, {"m/x": OLD, "m/y": OLD}))
        folder.commit(*attempt(folder, {"m/y": NEW, "n/z": NEW}))
        folder.save()
    assert content(tmp_path) == {"m/y": NEW, "n/z": NEW}
    (source,) = json.loads((tmp_path / MANIFEST).read_text())["sources"]
    assert source["files"] == [{"path": "m/y", "bytes": 5}, {"path": "n/z", "bytes": 5}]
    assert [path.name for path in (tmp_path / WORK).iterdir()] == ["lock"]


def test_done_means_unchanged_and_all_there(tmp_path: Path) -> None:
    """Another stamp, a file that is gone or of another size: not done."""
    with held(tmp_path, "test", Options()) as folder:
        folder.commit(*attempt(folder, {"m/x": OLD}))
        folder.save()
    with held(tmp_path, "test", Options()) as folder:
        assert folder.is_done("/a.log", {"size": 1})
        assert not folder.is_done("/a.log", {"size": 2})
        assert not folder.is_done("/b.log", {"size": 1})
        (tmp_path / "m/x").write_bytes(b"")
        assert not folder.is_done("/a.log", {"size": 1})
        (tmp_path / "m/x").unlink()
        assert not folder.is_done("/a.log", {"size": 1})


def test_two_exports_into_one_folder_are_refused(tmp_path: Path) -> None:
    """The second one says so and touches nothing; afterwards it may."""
    with held(tmp_path, "test", Options()) as folder:
        made = new_attempt(folder.work)
        with (
            pytest.raises(BadInput, match="another export is writing"),
            held(tmp_path, "test", Options()),
        ):
            pass
        assert made.exists()
    with held(tmp_path, "test", Options()):
        assert not made.exists()


@pytest.mark.parametrize(
    "options", [Options(format="csv"), Options(wide_us=1), Options(signals=("A.b",))]
)
def test_a_folder_holds_one_kind_of_tables(tmp_path: Path, options: Options) -> None:
    """Other options would make a folder that nobody can read as a whole."""
    with held(tmp_path, "test", Options()) as folder:
        folder.commit(*attempt(folder, {"m/x": OLD}))
        folder.save()
    with (
        pytest.raises(BadInput, match=r"was made with .* use another folder"),
        held(tmp_path, "test", options),
    ):
        pass


@pytest.mark.parametrize(
    "text", ["{}", '{"kind": "bms-agent-export", "layout": 99}', "[", "[]", "3"]
)
def test_a_manifest_of_somebody_else_is_left_alone(tmp_path: Path, text: str) -> None:
    """Nothing is deleted for what it might mean."""
    (tmp_path / MANIFEST).write_text(text)
    with pytest.raises(BadInput, match=MANIFEST), held(tmp_path, "test", Options()):
        pass
    assert (tmp_path / MANIFEST).read_text() == text


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    """A file in its place is one reason."""
    (tmp_path / "out").touch()
    with pytest.raises(BadInput, match="out"), held(tmp_path / "out", "test", Options()):
        pass


def die_at(monkeypatch: pytest.MonkeyPatch, step: int) -> Callable[[], bool]:
    """Let the process end before its n-th call that changes the disk; tell whether it did."""
    left = [step]

    def guard(call: Callable[..., Any]) -> Callable[..., Any]:
        def guarded(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - any call
            if left[0] == 0:
                raise Killed
            left[0] -= 1
            return call(*args, **kwargs)

        return guarded

    monkeypatch.setattr(Path, "replace", guard(Path.replace))
    monkeypatch.setattr(Path, "unlink", guard(Path.unlink))
    monkeypatch.setattr(Path, "mkdir", guard(Path.mkdir))
    monkeypatch.setattr(os, "fsync", guard(os.fsync))
    monkeypatch.setattr(shutil, "rmtree", guard(shutil.rmtree))
    return lambda: left[0] == 0


def test_killed_anywhere_a_log_is_there_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
    """Every call of a commit, one after the other; the next run sees one of two states."""
    before, after = {"m/x": OLD, "m/y": OLD}, {"m/y": NEW, "n/z": NEW}
    seen, finished = [], False
    for step in range(200):
        out = tmp_path / str(step)
        with held(out, "test", Options()) as folder:
            folder.commit(*attempt(folder, before))
            folder.save()
        with pytest.MonkeyPatch.context() as patch, held(out, "test", Options()) as folder:
            made = attempt(folder, after)
            died = die_at(patch, step)
            try:
                folder.commit(*made)
                folder.save()
            except Killed:
                pass
            finished = not died()
            patch.undo()
        with held(out, "test", Options()) as folder:
            names = {file["path"] for file in folder.sources["/a.log"]["files"]}
        assert content(out) in (before, after)
        assert names == set(content(out))
        assert [path.name for path in (out / WORK).iterdir()] == ["lock"]
        seen.append(content(out) == after)
        if finished:
            break
    assert finished
    assert seen == sorted(seen)
    assert {True, False} == set(seen)
