"""bms-agent verify: is the journal as it was written?"""

import json
import os
import sqlite3
import sys
from argparse import Namespace
from contextlib import closing
from pathlib import Path

from agent.config import load
from agent.journal_beside import HeadFile
from agent.journal_check import mistakes
from agent.journal_rows import Head, head_of, knows

EXIT_FAILED, EXIT_NO_FILE = 1, 66  # EX_NOINPUT of sysexits.h
JOURNAL_FILE = "journal.db"
MOST_SHOWN = 100


def main(arguments: Namespace) -> int:
    """Check the hash chain and the states that rest on it; 1 if anything is wrong."""
    path = load(arguments.config, os.environ).state_dir / JOURNAL_FILE
    if not path.is_file():
        print(f"bms-agent: there is no {path}", file=sys.stderr)  # noqa: T201 - the command's output
        return EXIT_NO_FILE
    try:
        wrong, rows, head = _look(path)
    except (sqlite3.Error, UnicodeDecodeError) as error:
        wrong, rows, head = [f"{path.name} cannot be read: {error}"], 0, Head(0, "")
    if arguments.json:
        answer = {"good": not wrong, "rows": rows, "head": head._asdict(), "mistakes": wrong}
        print(json.dumps(answer, indent=1))  # noqa: T201 - the command's output
        return EXIT_FAILED if wrong else 0
    for line in wrong[:MOST_SHOWN]:
        print(f"WRONG {line}")  # noqa: T201 - the command's output
    if len(wrong) > MOST_SHOWN:
        print(f"and {len(wrong) - MOST_SHOWN} more")  # noqa: T201 - the command's output
    verdict = f"{len(wrong)} mistakes" if wrong else "the chain is whole"
    print(f"{path}: {rows} rows, {verdict}; head {head.seq} {head.hash}")  # noqa: T201 - the command's output
    return EXIT_FAILED if wrong else 0


def _look(path: Path) -> tuple[list[str], int, Head]:
    """Return the mistakes, the number of rows, and the head; the agent may run meanwhile."""
    kept = HeadFile(path).read()  # first: rows that come meanwhile are in the journal, not in here
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None)) as db:
        db.execute("BEGIN")  # one state of the file for all that follows
        found = list(mistakes(db))
        if kept is not None and not knows(db, kept):
            found.append(f"row {kept.seq}: had been written and is missing")
        (rows,) = db.execute("SELECT count(*) FROM event").fetchone()
        return found, rows, head_of(db)
