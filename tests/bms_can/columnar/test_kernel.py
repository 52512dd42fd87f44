"""The compiled loops: built from these sources, without a warning, and where they must be."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from random import Random

import pytest

import hatch_build
from bms_can.columnar import kernel
from bms_can.columnar.scan import scan
from hatch_build import FLAGS, SOURCES, compiled

ROOT = Path(__file__).parents[3]
STRICT = ("-std=gnu11", "-Wall", "-Wextra", "-Werror", "-Wshadow", "-Wpointer-arith")
needs_cc = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler here")


def test_is_there_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    """CI has a compiler, so nothing there may quietly test numpy alone."""
    if os.environ.get("CI") != "true":
        pytest.skip("only CI must have a compiler")
    monkeypatch.delenv(kernel.SWITCH, raising=False)
    assert kernel.why_not() == ""


@needs_cc
@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.name)
def test_compiles_without_a_warning(source: Path, tmp_path: Path) -> None:
    """Each source passes the compiler's own review."""
    command = ["cc", *FLAGS, *STRICT, "-o", str(tmp_path / "x.so"), str(source)]
    found = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - cc
    assert found.returncode == 0, found.stderr


@needs_cc
def test_a_library_of_other_sources_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was compiled before the sources changed is left alone, and said."""
    library = tmp_path / "libkernel.so"
    assert compiled(library) == ""
    monkeypatch.setattr(kernel, "LIBRARY", library)
    found, reason = kernel._loaded.__wrapped__()
    assert (found is not None, reason) == (True, "")
    monkeypatch.setattr(kernel, "SOURCE_HASH", "another")
    found, reason = kernel._loaded.__wrapped__()
    assert found is None
    assert "other sources" in reason


@needs_cc
def test_sources_that_change_under_a_process_are_not_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its structures are those of before: with a library of after, it would read wild memory."""
    changed = [tmp_path / source.name for source in hatch_build.HASHED]
    for source, copy in zip(hatch_build.HASHED, changed, strict=True):
        text = source.read_text().replace("struct rows {\n", "struct rows {\n    int64_t more;\n")
        copy.write_text(text)
    monkeypatch.setattr(hatch_build, "HASHED", changed)
    monkeypatch.setattr(hatch_build, "SOURCES", changed[1:])
    library = tmp_path / "libkernel.so"
    assert compiled(library) == ""
    monkeypatch.setattr(kernel, "LIBRARY", library)
    monkeypatch.setattr(kernel, "SOURCES", tuple(changed))
    found, reason = kernel._loaded.__wrapped__()
    assert found is None
    assert "other sources" in reason


READER = """
import sys
from pathlib import Path
from bms_can.columnar import kernel
from bms_can.columnar.scan import scan
kernel.LIBRARY = Path(sys.argv[1])
print("ready", flush=True)
count = 0
while not Path(sys.argv[3]).exists():
    kernel._loaded.cache_clear()
    assert kernel.why_not() == ""
    assert sum(map(len, scan(sys.argv[2]))) == 20000
    count += 1
print(count)
"""


@needs_cc
def test_a_library_may_be_compiled_while_others_run_it(tmp_path: Path) -> None:
    """It is replaced as a whole: who has the old one keeps it, who loads it finds a whole one."""
    library, log, enough = (tmp_path / name for name in ("libkernel.so", "x.log", "enough"))
    log.write_text("(1.000000) can0 123#0011223344556677\n" * 20_000)
    assert compiled(library, ("-O0",)) == ""
    command = [
        sys.executable,
        "-X",
        "faulthandler",
        "-c",
        READER,
        *map(str, (library, log, enough)),
    ]
    environment = {key: value for key, value in os.environ.items() if key != kernel.SWITCH}
    with subprocess.Popen(  # noqa: S603 - ourselves
        command,
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as reader:
        assert reader.stdout is not None
        assert reader.stdout.readline() == "ready\n"
        for _ in range(4):
            with library.open("rb") as old:
                assert compiled(library, ("-O0",)) == ""
                assert os.fstat(old.fileno()).st_nlink == 0, "written over, not replaced"
        enough.touch()
        told, wrong = reader.communicate(timeout=60)
    assert (reader.returncode, wrong) == (0, "")
    assert int(told) > 0
    assert [path.name for path in tmp_path.glob("libkernel*")] == ["libkernel.so"]


def test_without_a_compiler_nothing_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without cc builds a pure package, and says why the loops are not there."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    assert compiled(tmp_path / "libkernel.so") == "no C compiler"
    monkeypatch.setattr(kernel, "LIBRARY", tmp_path / "libkernel.so")
    found, reason = kernel._loaded.__wrapped__()
    assert found is None
    assert "not compiled" in reason
    (tmp_path / "libkernel.so").write_text("no library")
    assert kernel._loaded.__wrapped__()[0] is None


@pytest.mark.parametrize("compiler", [pytest.param(True, marks=needs_cc), False])
def test_the_wheel_holds_it_where_there_is_a_compiler(tmp_path: Path, *, compiler: bool) -> None:
    """With a compiler the wheel is one for this machine; without, a pure one for any."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    environment = {"PATH": os.environ["PATH"] if compiler else str(tmp_path)}
    subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True)  # noqa: S603 - hatchling
    (wheel,) = tmp_path.glob("*.whl")
    assert ("py3-none-linux_" in wheel.name, "py3-none-any" in wheel.name) == (
        compiler,
        not compiler,
    )
    held = zipfile.ZipFile(wheel).namelist()
    assert ("bms_can/columnar/libkernel.so" in held) == compiler
    assert "bms_can/columnar/kernel_text.c" in held


def test_the_switch_turns_it_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """BMS_COLUMNAR=numpy is obeyed."""
    monkeypatch.setenv(kernel.SWITCH, "numpy")
    assert not kernel.available()
    assert kernel.library() is None


@pytest.mark.parametrize("lane", ["kernel", "numpy"])
def test_times_are_those_of_float(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lane: str
) -> None:
    """Any time of up to 12 and 9 digits is the very number that Python reads."""
    if lane == "numpy":
        monkeypatch.setenv(kernel.SWITCH, "numpy")
    random = Random(4)  # noqa: S311 - cases, not secrets
    times = [
        f"{random.randrange(10 ** random.randrange(1, 13)):0{random.randrange(1, 13)}}."
        f"{random.randrange(10**digits):0{digits}}"
        for digits in (*range(1, 10), 6, 9, 9)
        for _ in range(400)
    ]
    path = tmp_path / "x.log"
    path.write_text("".join(f"({time}) can0 123#\n" for time in times))
    assert [at_s for chunk in scan(path) for at_s in chunk.at_s.tolist()] == list(map(float, times))
