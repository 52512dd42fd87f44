"""`make socketcan` where no guest kernel can run: one sentence that names what is missing."""

from pathlib import Path

import pytest

from tests.socketcan import guest

FAILED_PTRACE = "Checking that ptrace can change system call numbers...ptrace failed: EPERM"
NOEXEC = "the memory file system must be not mounted noexec"


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a folder in which programs may be put that are found first."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/sbin:/usr/bin:/sbin:/bin")
    monkeypatch.setattr(guest, "NEEDED", {"linux.uml": "user-mode-linux", "sh": "dash"})
    return tmp_path


def kernel(folder: Path, *words: str) -> None:
    """Put a kernel there that says something and ends."""
    program = folder / "linux.uml"
    program.write_text("#!/bin/sh\n" + "".join(f"echo '{each}'\n" for each in words) + "exit 1\n")
    program.chmod(0o755)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((FAILED_PTRACE,), "ptrace() is not allowed"),
        (
            ("Checking that ptrace can change system call numbers...OK", NOEXEC),
            "mount /dev/shm without noexec",
        ),
        (("Linux version 6.1", "Kernel panic: what nobody knows"), "what nobody knows"),
        ((), "it said nothing"),
    ],
)
def test_a_kernel_that_does_not_start(
    tools: Path, capfd: pytest.CaptureFixture[str], words: tuple[str, ...], said: str
) -> None:
    """Its own last words, or what they mean, in one line; exit status 125."""
    kernel(tools, *words)
    assert guest.run(["true"], 5.0, 64) == guest.NO_GUEST
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("No guest kernel can run here: ")
    assert said in line


def test_missing_packages_are_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the command that installs them."""
    monkeypatch.setattr(guest, "NEEDED", {"no-such-program": "no-such-package", "sh": "dash"})
    monkeypatch.setattr("sys.argv", ["guest", "true"])
    assert guest.main() == guest.NO_GUEST
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("apt-get install --no-install-recommends no-such-package")


def test_another_machine(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The kernel and its filter are those of one architecture."""
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    monkeypatch.setattr("sys.argv", ["guest", "true"])
    assert guest.main() == guest.NO_GUEST
    assert "it needs x86_64, this is aarch64" in capsys.readouterr().err
