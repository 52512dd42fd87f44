"""docs/operations.md, done as it says: the shell blocks of a part of the page, run as they stand.

What a person does by hand there is done by programs that come first in the search path: `editor`
fills in the configuration, `apt` looks whether the packages are there (the guest has no network).
"""

import os
import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "operations.md"
BLOCK = re.compile(r"^ *```sh\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)
SHIMS = {
    "sudo": 'exec "$@"',
    "apt": 'shift; exec dpkg-query --show "$@"',
    "editor": 'sed -i -e "s|^url = .*|url = \\"$PAGE_URL\\"|" "$1"',
}
DEBIAN_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def block(first: str) -> str:
    """Return the one shell block that has a line which begins so."""
    found = [
        text
        for text in BLOCK.findall(PAGE.read_text(encoding="utf-8"))
        if any(line.strip().startswith(first) for line in text.splitlines())
    ]
    assert len(found) == 1, (first, found)
    return str(found[0])


class Technician:
    """Types what the page says, as root, in the folder of the source.

    Args:
        folder: for what stands in for a person's hands.
        wheels: where pip finds packages. A box has no C compiler; the agent needs none.
    """

    def __init__(self, folder: Path, wheels: Path) -> None:
        shims = folder / "shims"
        shims.mkdir()
        for name, body in SHIMS.items():
            (shims / name).write_text(f"#!/bin/sh\n{body}\n", encoding="ascii")
            (shims / name).chmod(0o755)
        self.environ = {
            "PATH": f"{shims}:{DEBIAN_PATH}",
            "HOME": "/root",
            "LANG": "C.UTF-8",
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(wheels),
            "CC": "false",
            "SYSTEMD_PAGER": "cat",
            "SYSTEMD_COLORS": "0",
        } | {name: os.environ[name] for name in ("GLIBC_TUNABLES", "OPENSSL_ia32cap")}

    def types(self, text: str, status: int = 0, seconds: float = 90.0) -> str:
        """Run shell lines, each of which must succeed; return what they say."""
        done = subprocess.run(  # noqa: S603 - the page's own words
            ["/bin/bash", "-euo", "pipefail", "-c", text],
            cwd=ROOT,
            env=self.environ,
            timeout=seconds,
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert done.returncode == status, f"{text}\n{done.returncode}: {done.stdout}"
        return done.stdout
