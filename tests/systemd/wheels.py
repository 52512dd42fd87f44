"""Fetch what `pip install` in the guest will ask for: `python -m tests.systemd.wheels FOLDER`.

The guest has no network. So pip fetches here, by the hashes of the lock files, and installs there.
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

LOCKS = Path(__file__).parents[2] / "requirements"
BACKEND = "hatchling"
PACKAGE = re.compile(r"^\S.*(?:\n\s.*)*", re.MULTILINE)


def backend_lock(text: str) -> str:
    """Return the part of a lock file that the build backend needs: itself, and what it asks for."""
    wanted = re.compile(rf"^{BACKEND}==|# +(?:via )?{BACKEND}$", re.MULTILINE)
    found = [package for package in PACKAGE.findall(text) if wanted.search(package)]
    assert found, BACKEND
    return "\n".join(found) + "\n"


def fetch(folder: Path) -> None:
    """Fetch all wheels into a folder, for this Python."""
    with tempfile.NamedTemporaryFile("w", suffix=".lock") as backend:
        backend.write(backend_lock((LOCKS / "dev.lock").read_text(encoding="utf-8")))
        backend.flush()
        for lock in (LOCKS / "base.lock", Path(backend.name)):
            words = ["download", "--quiet", "--no-deps", "--require-hashes", "--only-binary=:all:"]
            where = ["--requirement", str(lock), "--dest", str(folder)]
            subprocess.run([sys.executable, "-m", "pip", *words, *where], check=True)  # noqa: S603 - ours


if __name__ == "__main__":
    fetch(Path(sys.argv[1]))
