"""Run a command in a guest kernel that has SocketCAN: `python -m tests.socketcan.guest CMD ...`.

The guest is Debian's user-mode-linux: a Linux kernel as a process, with can, vcan, vxcan and slcan
as modules. Its root is this machine's own file system, so the same Python, work tree and can-utils
run in it. The command's output and exit status come out unchanged (one stream for both outputs).

A processor with AMX has more register state than this kernel reserves room for, and it panics when
it writes that state back. So ptrace() refuses the whole state here (a seccomp filter), the kernel
takes the older call that holds the SSE registers only, and the guest's programs are told to use no
other ones (`ENVIRONMENT`). tests/socketcan/test_guest.py shows that no register is lost.

Exit status 125: the guest did not start or died; 124: the time was over.
"""

import argparse
import ctypes
import os
import platform
import shlex
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType

MODULES = "/usr/lib/uml/modules"
NEEDED = {
    "linux.uml": "user-mode-linux",
    "modprobe": "kmod",
    "ip": "iproute2",
    "candump": "can-utils",
    "unshare": "util-linux",
}
NOTHING: Mapping[str, str] = MappingProxyType({})
TIME_OVER, NO_GUEST = 124, 125
MACHINE = "x86_64"  # the seccomp filter and Debian's package
# A word of the last line of a user-mode-linux that cannot run -> what is missing.
REASONS = {
    "ptrace": "ptrace() is not allowed (yama's ptrace_scope, or the container's seccomp filter)",
    "noexec": "mount /dev/shm without noexec, or set TMPDIR to such a file system",
}
NO_FILTER = "no seccomp filter can be set"
BOOT_S = 40.0
TRIES = 3

# Names as glibc 2.36 knows them; OpenSSL has its own switch (AVX, FMA; AVX2, AVX-512, VAES).
NO_AVX = ("AVX", "AVX2", "AVX512F", "AVX512BW", "AVX512CD", "AVX512DQ", "AVX512VL", "FMA", "FMA4")
ENVIRONMENT = {
    "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX_Fast_Unaligned_Load,"
    + ",".join(f"-{name}" for name in NO_AVX),
    "OPENSSL_ia32cap": "~0x1000100000000000:~0x6f0230020",
    "NPY_DISABLE_CPU_FEATURES": "AVX2 FMA3 AVX512F AVX512CD AVX512_SKX",
}

INIT = """#!/bin/sh
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc; mount -t sysfs sysfs /sys; mount -t tmpfs tmpfs /run
mountpoint -q /dev || mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts; mount -t tmpfs tmpfs /dev/shm
ln -sf /proc/self/fd /dev/fd; ln -sf fd/0 /dev/stdin
ln -sf fd/1 /dev/stdout; ln -sf fd/2 /dev/stderr
hostname canguest; ip link set lo up
for each in can-dev can can-raw vcan vxcan slcan; do
  modprobe -d {work} $each 2>>{work}/modprobe
done
stty -F /dev/ttyS0 raw -echo
: >{work}/up; sync
sh {work}/command </dev/null >/dev/ttyS0 2>&1
echo $? >{work}/status.part
stty -F /dev/ttyS0 cooked  # returns when all that was written is out
mv {work}/status.part {work}/status; sync
echo o >/proc/sysrq-trigger; sleep 10
"""

# seccomp: classic BPF over struct seccomp_data (linux/seccomp.h); one row: code, jt, jf, k.
_LOAD, _EQUAL, _RETURN = 0x20, 0x15, 0x06
_NUMBER, _ARCH, _REQUEST, _TYPE = 0, 4, 16, 32
_X86_64, _PTRACE, _GET, _SET, _XSTATE = 0xC000003E, 101, 0x4204, 0x4205, 0x202
_ALLOW, _NO_DEVICE = 0x7FFF0000, 0x00050000 | 19
FILTER = (
    (_LOAD, 0, 0, _ARCH),
    (_EQUAL, 0, 8, _X86_64),
    (_LOAD, 0, 0, _NUMBER),
    (_EQUAL, 0, 6, _PTRACE),
    (_LOAD, 0, 0, _REQUEST),
    (_EQUAL, 1, 0, _GET),
    (_EQUAL, 0, 3, _SET),
    (_LOAD, 0, 0, _TYPE),
    (_EQUAL, 0, 1, _XSTATE),
    (_RETURN, 0, 0, _NO_DEVICE),
    (_RETURN, 0, 0, _ALLOW),
)
_PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS, _FILTER_MODE = 22, 38, 2


def refuse_xstate() -> None:
    """Let ptrace() of this process and its children refuse NT_X86_XSTATE from now on."""
    rows = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *row) for row in FILTER))
    program = struct.pack("HxxxxxxQ", len(FILTER), ctypes.addressof(rows))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(
        _PR_SET_SECCOMP, _FILTER_MODE, program, 0, 0
    ):
        raise OSError(ctypes.get_errno(), "prctl: no seccomp filter can be set")


def missing(more: Mapping[str, str]) -> list[str]:
    """Return the Debian packages that are needed and not installed; `more` is added to NEEDED."""
    path = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin", "/usr/bin"))
    needed = NEEDED | dict(more)
    return [package for tool, package in needed.items() if shutil.which(tool, path=path) is None]


def _write(work: Path, command: Sequence[str], init_text: str) -> None:
    """Lay out what the guest reads: its first process, the command, and where its modules are."""
    (work / "lib").mkdir()
    (work / "lib" / "modules").symlink_to(MODULES)
    init = work / "init"
    init.write_text(init_text.format(work=shlex.quote(str(work))))
    init.chmod(0o755)
    wanted = os.environ | ENVIRONMENT | {"TMPDIR": "/run", "CAN_GUEST": "uml"}
    lines = [f"export {name}={shlex.quote(text)}" for name, text in wanted.items() if _plain(name)]
    lines += [f"cd {shlex.quote(str(Path.cwd()))}", f"exec {shlex.join(command)}"]
    (work / "command").write_text("\n".join(lines) + "\n")


def _plain(name: str) -> bool:
    return name.isidentifier()


def _start(work: Path, memory_mb: int, output: int) -> subprocess.Popen[bytes]:
    """Start the kernel, if possible in a PID namespace: when it goes, all of the guest goes."""
    kernel = [
        *(shutil.which("linux.uml") or "linux.uml", f"mem={memory_mb}M"),
        *("root=/dev/root", "rootfstype=hostfs", "rootflags=/", "rw", f"init={work / 'init'}"),
        *("quiet", "panic=1", "oops=panic", f"uml_dir={work}", "umid=guest"),
        *("con=null", "con0=null,null", "ssl=null", f"ssl0=null,fd:{output}"),
        # An argument with a name the kernel does not know becomes part of init's environment.
        *(f"GLIBC_TUNABLES={ENVIRONMENT['GLIBC_TUNABLES']}",),
    ]
    with (work / "kernel.log").open("wb") as log:
        return subprocess.Popen(  # noqa: S603 - our own arguments
            [*_alone(), *kernel],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=(output,),
            start_new_session=True,
            preexec_fn=refuse_xstate,  # noqa: PLW1509 - no threads run here
        )


def _alone() -> list[str]:
    """Return what gives a command a PID namespace, as far as that is allowed here."""
    pids = ["--pid", "--fork", "--kill-child=KILL"]
    for words in (["unshare", *pids], ["unshare", "--user", "--map-root-user", *pids]):
        if subprocess.run([*words, "true"], capture_output=True, check=False).returncode == 0:  # noqa: S603 - util-linux
            return words
    return []


def _boots(work: Path, kernel: subprocess.Popen[bytes]) -> bool:
    """Wait until the command begins, or the kernel ends, or it takes too long."""
    for _ in range(int(BOOT_S / 0.1)):
        if (work / "up").exists():
            return True
        try:
            kernel.wait(0.1)
        except subprocess.TimeoutExpired:
            continue
        return (work / "up").exists()
    return False


def run(command: Sequence[str], limit_s: float, memory_mb: int, init: str = INIT) -> int:
    """Run a command in a guest; return its exit status, or one of ours.

    Args:
        command: words.
        limit_s: for the whole command [s].
        memory_mb: of the guest [MB].
        init: shell script of the guest's first process; `{work}` stands for the folder in which
            it finds `command`, makes `up` when that begins, and leaves its exit `status`.
    """
    why = ""
    for _ in range(TRIES):
        with tempfile.TemporaryDirectory(prefix="canguest.") as folder:
            try:
                status = _once(Path(folder), command, limit_s, memory_mb, init)
            except (OSError, subprocess.SubprocessError) as error:
                why = NO_FILTER if "preexec_fn" in str(error) else str(error)
                break
            log = Path(folder) / "kernel.log"
            why = _why(log.read_text(errors="replace") if status is None else "")
        if status is not None:
            return status
    _say(f"No guest kernel can run here: {why}.")
    return NO_GUEST


def _why(log: str) -> str:
    """Return what is missing, by the last words of a kernel that did not start."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    last = lines[-1] if lines else f"it said nothing within {BOOT_S:g} s"
    return next((reason for word, reason in REASONS.items() if word in last), last)


def _once(
    work: Path, command: Sequence[str], limit_s: float, memory_mb: int, init: str
) -> int | None:
    """Return the exit status of one guest, None if it never began to run the command."""
    _write(work, command, init)
    # Through cat: the guest makes its end non-blocking, which must not reach our own output.
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as pipe:  # noqa: S607 - coreutils
        assert pipe.stdin is not None
        kernel = _start(work, memory_mb, pipe.stdin.fileno())
        pipe.stdin.close()
        try:
            booted = _boots(work, kernel)
            if booted:
                kernel.wait(limit_s)
        except subprocess.TimeoutExpired:
            _say(f"the guest was ended after {limit_s:g} s")
            return TIME_OVER
        finally:
            with suppress(ProcessLookupError):
                os.killpg(kernel.pid, signal.SIGKILL)
            kernel.wait()
    status = work / "status"
    if status.exists():
        return int(status.read_text())
    if not booted:
        return None
    _say((work / "kernel.log").read_text(errors="replace")[-2000:])
    return NO_GUEST


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def main(init: str = INIT, more: Mapping[str, str] = NOTHING) -> int:
    """Run from the command line; `more`: programs that this init needs, and their packages."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--limit", type=float, default=600.0, help="seconds")
    parser.add_argument("--memory", type=int, default=768, help="MB")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    asked = parser.parse_args()
    if platform.machine() != MACHINE:
        _say(f"No guest kernel can run here: it needs {MACHINE}, this is {platform.machine()}.")
        return NO_GUEST
    if packages := missing(more):
        install = "apt-get install --no-install-recommends " + " ".join(packages)
        _say(f"No guest kernel can run here: packages are missing; as root: {install}")
        return NO_GUEST
    return run(asked.command, asked.limit, asked.memory, init)


if __name__ == "__main__":
    sys.exit(main())
