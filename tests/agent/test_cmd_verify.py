"""`bms-agent verify`: the journal as it was written, and every way in which it is not."""

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from agent.cli import main
from agent.clock import FakeClock
from agent.journal import Journal
from agent.journal_rows import Stamp

Capture = pytest.CaptureFixture[str]
CONFIG = """\
[platform]
url = "http://127.0.0.1:9/x"
key_file = "key"
[agent]
state_dir = "state"
[[device]]
uid = "B"
profile = "ess_bau"
[device.can]
interface = "virtual"
channel = "verify"
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Give a box whose journal has a few rows."""
    (tmp_path / "key").touch(mode=0o600)
    (tmp_path / "key").write_text("secret-secret", encoding="ascii")
    (tmp_path / "state").mkdir(mode=0o700)
    stamp = Stamp.of(FakeClock())
    with closing(Journal(tmp_path / "state" / "journal.db", stamp)) as journal:
        for number in range(5):
            journal.note("start", stamp, {"number": number})
    path = tmp_path / "agent.toml"
    path.write_text(CONFIG, encoding="utf-8")
    return path


def forge(journal: Path) -> None:
    """Alter every row, past the triggers that forbid it."""
    with closing(sqlite3.connect(journal)) as db:
        names = db.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall()
        for (name,) in names:
            db.execute(f"DROP TRIGGER {name}")
        db.execute("UPDATE event SET detail = 'forged'")
        db.commit()


def cut(journal: Path) -> None:
    """Take the newest row away, and let the journal forget it."""
    with closing(sqlite3.connect(journal)) as db:
        names = db.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall()
        for (name,) in names:
            db.execute(f"DROP TRIGGER {name}")
        db.execute("DELETE FROM event WHERE seq = 5")
        (hash_before,) = db.execute("SELECT hash FROM event WHERE seq = 4").fetchone()
        db.execute("UPDATE meta SET value = '4' WHERE key = 'head_seq'")
        db.execute("UPDATE meta SET value = ? WHERE key = 'head_hash'", (hash_before,))
        db.commit()


def scramble(journal: Path) -> None:
    """Put something else in its place."""
    journal.write_bytes(b"no database " * 1000)


def test_a_good_journal(config: Path, capsys: Capture) -> None:
    """Rows and head; the same as JSON."""
    assert main(["verify", str(config)]) == 0
    assert "5 rows, the chain is whole; head 5 " in capsys.readouterr().out
    assert main(["verify", str(config), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["good"], answer["rows"], answer["mistakes"]) == (True, 5, [])
    assert answer["head"]["seq"] == 5


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (forge, "WRONG row 1"),
        (cut, "row 5: had been written and is missing"),
        (scramble, "cannot be read"),
    ],
)
def test_a_bad_journal(
    config: Path, capsys: Capture, harm: Callable[[Path], None], words: str
) -> None:
    """Altered, cut off with the journal's own books in order, or no journal at all."""
    harm(config.parent / "state" / "journal.db")
    assert main(["verify", str(config)]) == 1
    assert words in capsys.readouterr().out
    assert main(["verify", str(config), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["good"] is False


def test_looking_changes_nothing(config: Path) -> None:
    """The file's bytes are the same after it."""
    journal = config.parent / "state" / "journal.db"
    before = journal.read_bytes()
    assert main(["verify", str(config)]) == 0
    assert journal.read_bytes() == before
