"""Ctrl-C while a program is still being loaded."""

import subprocess
import sys

import pytest

LOADING = """
import sys
class Interrupt:
    def find_spec(self, name, path=None, target=None):
        if name == "{package}.cli":
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupt())
from {package}.__main__ import main
sys.exit(main())
"""


@pytest.mark.parametrize("package", ["agent", "ems"])
def test_ctrl_c_while_loading(package: str) -> None:
    """No traceback; the exit code of an interrupted command."""
    code = LOADING.format(package=package)
    ended = subprocess.run(  # noqa: S603 - our own words
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=20
    )
    assert (ended.returncode, ended.stderr, ended.stdout) == (130, "", "")
