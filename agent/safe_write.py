"""Write a file that a person asked for: whole or not at all, and never over another by accident."""

import os
from pathlib import Path

from bms_can.errors import BadInput


def write_text(path: Path, text: str, *, force: bool) -> None:
    """Write UTF-8 text.

    Raises:
        BadInput: the file exists and `force` is not set, or it cannot be written.
    """
    if path.exists() and not force:
        raise BadInput(str(path), ["exists already; it is not overwritten"])
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_text(text, encoding="utf-8")
        beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise BadInput(str(path), [error.strerror or str(error)]) from error
