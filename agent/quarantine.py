"""Keeps damaged files aside as NAME.corrupt-<n>, three at the most; knows traces of old ones."""

from contextlib import suppress
from pathlib import Path

from agent.durable import sync_folder

KEEP_CORRUPT = 3
TAILS = ("-wal", "-shm")  # what SQLite keeps beside a file


def traces(path: Path) -> list[Path]:
    """Return what says that `path` existed before: itself, what lay beside it, other databases."""
    found = {*path.parent.glob(f"{path.name}*"), *path.parent.glob("*.db")}
    return sorted(found)


def put_aside(path: Path) -> Path:
    """Rename a file, then its WAL; drop the oldest ones kept. Return where it is now.

    Raises:
        OSError: it cannot be renamed.
    """
    before = kept_aside(path)
    number = _number(before[-1]) + 1 if before else 1
    aside = path.with_name(f"{path.name}.corrupt-{number}")
    path.rename(aside)
    for tail in TAILS:
        with suppress(FileNotFoundError):
            path.with_name(path.name + tail).rename(f"{aside}{tail}")
    for old in before[: max(0, len(before) + 1 - KEEP_CORRUPT)]:
        for tail in ("", *TAILS):
            old.with_name(old.name + tail).unlink(missing_ok=True)
    sync_folder(path.parent)
    return aside


def kept_aside(path: Path) -> list[Path]:
    """Return the damaged files kept so far, oldest first."""
    found = path.parent.glob(f"{path.name}.corrupt-*")
    numbered = [each for each in found if each.suffix.removeprefix(".corrupt-").isdigit()]
    return sorted(numbered, key=_number)


def _number(path: Path) -> int:
    return int(path.suffix.removeprefix(".corrupt-"))
