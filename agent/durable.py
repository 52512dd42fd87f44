"""What it takes that a file survives a power cut, beyond writing it."""

import os
from pathlib import Path

_CHUNK = 64 * 1024


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable.

    Raises:
        OSError: nobody knows whether they are.
    """
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def rewrite(path: Path) -> None:
    """Write what a file holds over itself and sync it; a missing file is none.

    After a failed fsync the kernel calls the pages clean, though they never reached the disk, and
    the next fsync succeeds without writing them. What is read here from memory gets there now; the
    bytes do not change, so a power cut in the midst of it harms nothing.

    Raises:
        OSError: it is not durable.
    """
    try:
        handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        at = 0
        while data := os.pread(handle, _CHUNK, at):
            at += os.pwrite(handle, data, at)
        os.fsync(handle)
    finally:
        os.close(handle)
