"""Compile the loops of bms_can.columnar when the package is built, if there is a C compiler.

Without one nothing fails: the wheel is then a pure one, and numpy does the work. `make kernel` runs
this file by itself.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FOLDER = Path(__file__).parent / "bms_can" / "columnar"
SOURCES = (FOLDER / "kernel_text.c", FOLDER / "kernel_fields.c")
HASHED = (FOLDER / "kernel_digits.h", *SOURCES)
LIBRARY = FOLDER / "libkernel.so"
FLAGS = ("-O3", "-ffp-contract=off", "-fPIC", "-shared")


def compiled(library: Path = LIBRARY, extra: tuple[str, ...] = ()) -> str:
    """Compile the kernel to `library`; return why not, "" if it is there."""
    compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc")
    if compiler is None or not sys.platform.startswith("linux"):
        return "no C compiler" if compiler is None else f"not on {sys.platform}"
    digest = hashlib.sha256(b"".join(source.read_bytes() for source in HASHED)).hexdigest()[:16]
    new = library.with_suffix(f".{os.getpid()}")
    define = f'-DSOURCE_HASH="{digest}"'
    command = [compiler, *FLAGS, *extra, define, "-o", str(new), *map(str, SOURCES)]
    found = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - the compiler of this machine
    if found.returncode:
        new.unlink(missing_ok=True)
        return found.stderr.strip() or f"{compiler} ended with {found.returncode}"
    new.replace(library)
    return ""


class CustomBuildHook(BuildHookInterface):  # type: ignore[type-arg]  # untyped before hatchling 2
    """Put the compiled loops into the wheel, which is then one for this machine."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, before files are gathered. `version` is "standard" or "editable"."""
        if self.target_name != "wheel":
            return
        reason = compiled()
        if reason:
            self.app.display_warning(f"columnar kernel not compiled ({version}): {reason}")
            return
        build_data["artifacts"].append("bms_can/columnar/libkernel.so")
        build_data["pure_python"] = False
        platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data["tag"] = f"py3-none-{platform}"


if __name__ == "__main__":
    print(compiled() or f"compiled {LIBRARY}")  # noqa: T201 - a tool for the shell
