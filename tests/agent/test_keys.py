"""Secrets are read from safe files and shown nowhere."""

import copy
import logging
import os
import pickle
from pathlib import Path

import pytest

from agent.errors import BadConfig
from agent.keys import HideSecrets, Secret, read_key_file

TEXT = "emsk_0123456789"


def test_a_secret_shows_nothing() -> None:
    """No usual way of printing shows it, and it cannot be written away."""
    secret = Secret(TEXT)
    for shown in (repr(secret), str(secret), f"{secret}", f"{[secret]}", f"{secret!s:>40}"):
        assert TEXT not in shown
    assert secret.reveal() == TEXT
    for write in (pickle.dumps, copy.copy):
        with pytest.raises(TypeError, match="not written"):
            write(secret)
    with pytest.raises(TypeError):
        hash(secret)


def test_secrets_compare_by_value() -> None:
    """Equal texts are equal secrets; another type is never equal."""
    assert Secret(TEXT) == Secret(TEXT)
    assert Secret(TEXT) != Secret("other_text")
    assert Secret(TEXT) != TEXT


def test_the_filter_hides_the_key(caplog: pytest.LogCaptureFixture) -> None:
    """The key is replaced in message, arguments and traceback."""
    log = logging.getLogger("test_keys")
    caplog.handler.addFilter(HideSecrets(Secret(TEXT), Secret("")))
    log.warning("header %s", TEXT)
    log.warning("nothing %d", 7)
    try:
        int(TEXT)
    except ValueError:
        log.exception("failed")
    assert TEXT not in caplog.text
    assert "header ***" in caplog.text
    assert "nothing 7" in caplog.text
    assert "literal for int() with base 10: '***'" in caplog.text


def key_file(folder: Path, content: bytes, mode: int = 0o600) -> Path:
    """Write a key file."""
    path = folder / "key"
    path.write_bytes(content)
    path.chmod(mode)
    return path


def test_a_key_file(tmp_path: Path) -> None:
    """White space around the key is dropped; owner-only modes are good."""
    for mode in (0o600, 0o400):
        path = key_file(tmp_path, f"  {TEXT}\r\n".encode(), mode)
        assert read_key_file(path).reveal() == TEXT
        path.unlink()


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "holds no key"),
        (b"short", "holds no key"),
        (b"x" * 5000, "holds no key"),
        (b"two words here", "holds a space"),
        (b"key\r\nX-Evil: header", "holds a space"),
        ("schlüssel-lang".encode(), "holds a space or a character that no key has"),
        (b"nul\x00nulnulnul", "holds a space or a character"),
    ],
)
def test_content_that_is_no_key(tmp_path: Path, content: bytes, why: str) -> None:
    """What cannot be a header value is refused, and not shown."""
    with pytest.raises(BadConfig, match=why) as caught:
        read_key_file(key_file(tmp_path, content))
    assert "Evil" not in str(caught.value)


def test_what_is_no_file(tmp_path: Path) -> None:
    """Folder, pipe and nothing at all are refused, without waiting."""
    os.mkfifo(tmp_path / "pipe", 0o600)
    for name, why in (
        ("pipe", "not a regular file"),
        ("none", "No such file"),
        (".", "not a regular file"),
    ):
        with pytest.raises(BadConfig, match=why):
            read_key_file(tmp_path / name)


def test_group_read_is_good_in_the_credentials_directory_only(tmp_path: Path) -> None:
    """The credentials grant by ACL, which shows as group-read; world-read is never good."""
    path = key_file(tmp_path, TEXT.encode(), 0o440)
    assert read_key_file(path, credentials_directory=str(tmp_path)).reveal() == TEXT
    for directory in (None, "/run/credentials/other"):
        with pytest.raises(BadConfig, match="0440 lets others"):
            read_key_file(path, credentials_directory=directory)
    path.chmod(0o444)
    with pytest.raises(BadConfig, match="0444 lets others"):
        read_key_file(path, credentials_directory=str(tmp_path))
