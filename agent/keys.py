"""Secrets: read them from a file that nobody else can read, never show them.

A key comes from a file or from systemd's credentials directory. It is never taken from a command
line, an environment variable or the configuration file: those are inherited, listed and backed up.
"""

import hmac
import logging
import os
import stat
from pathlib import Path
from typing import NoReturn

from agent.errors import BadConfig

_MAX_BYTES = 4096
_MIN_CHARS = 8
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


class Secret:
    """A text that no log, traceback or repr shows."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the text itself, for the one place that needs it."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(***)"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._value.encode(), other._value.encode())

    __hash__ = None  # type: ignore[assignment]  # a secret is no key of anything

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not written anywhere")


class HideSecrets(logging.Filter):
    """Replaces secrets in log records: the last net, for texts that others made.

    Put it on every handler; it sees the finished message and the arguments' text.
    """

    def __init__(self, *secrets: Secret) -> None:
        super().__init__()
        self._values = [secret.reveal() for secret in secrets if secret.reveal()]

    def filter(self, record: logging.LogRecord) -> bool:
        """Clean the record; let it pass."""
        message = record.getMessage()
        if any(value in message for value in self._values):
            for value in self._values:
                message = message.replace(value, "***")
            record.msg, record.args = message, ()
        if record.exc_info and record.exc_text is None:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
        for value in self._values:
            record.exc_text = (record.exc_text or "").replace(value, "***") or None
        return True


def read_key_file(path: str | Path, *, credentials_directory: str | None = None) -> Secret:
    """Read a key.

    Args:
        path: the file.
        credentials_directory: systemd's $CREDENTIALS_DIRECTORY. It grants access by ACL, which
            shows up as a group-read bit; inside it, that bit is accepted.

    Raises:
        BadConfig: missing, readable by others, not a file, or not a key. Never names the content.
    """
    ours = credentials_directory is not None and Path(path).parent == Path(credentials_directory)
    forbidden = _OTHERS & ~stat.S_IRGRP if ours else _OTHERS
    try:
        mode, data = _read(path)
    except OSError as error:
        raise BadConfig(str(path), [f"cannot be read: {error.strerror or error}"]) from error
    if not stat.S_ISREG(mode):
        raise BadConfig(str(path), ["is not a regular file"])
    if mode & forbidden:
        why = f"mode {stat.S_IMODE(mode):04o} lets others read the key; run: chmod 600 {path}"
        raise BadConfig(str(path), [why])
    return _to_secret(path, data)


def _read(path: str | Path) -> tuple[int, bytes]:
    """Return mode and content of what is open, so that nobody swaps the file in between."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        mode = os.fstat(descriptor).st_mode
        return mode, os.read(descriptor, _MAX_BYTES + 1) if stat.S_ISREG(mode) else b""
    finally:
        os.close(descriptor)


def _to_secret(path: str | Path, data: bytes) -> Secret:
    text = data.strip().decode("ascii", errors="replace")
    if not _MIN_CHARS <= len(text) <= _MAX_BYTES:
        raise BadConfig(str(path), [f"holds no key of {_MIN_CHARS} to {_MAX_BYTES} characters"])
    if not all("!" <= char <= "~" for char in text):
        raise BadConfig(str(path), ["holds a space or a character that no key has"])
    return Secret(text)
