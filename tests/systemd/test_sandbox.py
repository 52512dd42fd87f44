"""The unit's lines, one by one: each denies what it is there for, in this kernel, by itself.

An attempt succeeds as root without any line, and fails as root with that one line. What the agent
needs is not denied: the other tests run it under all of them.
"""

import re
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.systemd.box import UNIT, Box
from tests.systemd.page import ROOT

SHIPPED = ROOT / "deploy" / UNIT
EXPOSURE, EXPOSURE_WITH_DROP_IN = "1.5", "1.8"  # docs/operations.md
MEMORY_MAX = 128 * 1024**2
PYTHON = "/usr/bin/python3 -ISc"


class Attempt(NamedTuple):
    """Something that a line must deny.

    Attributes:
        lines: of the unit; the last one is that under test.
        shell: what is tried, as root.
    """

    lines: tuple[str, ...]
    shell: str


def python(text: str) -> str:
    """Return the shell words that run Python."""
    return f'{PYTHON} "{text}"'


FILTER = ("SystemCallErrorNumber=EPERM", "SystemCallFilter=@system-service")
LESS = (*FILTER, "SystemCallFilter=~@privileged @resources")
PREPARE = """\
touch /root/probe /tmp/probe; mkdir -p /run/probe; cp /bin/true /run/probe/true
ip addr add 192.0.2.9/32 dev lo || true
"""
SEND = "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'', ('{}', 9))"
THREADS = """\
import threading
end = threading.Event()
[threading.Thread(target=end.wait, daemon=True).start() for _ in range(70)]"""
ATTEMPTS = [
    Attempt(("DynamicUser=yes",), 'test "$(id -u)" = 0'),
    Attempt(("CapabilityBoundingSet=",), "chown 1 /run/probe/true"),
    Attempt(
        ("RestrictAddressFamilies=AF_CAN AF_INET AF_INET6 AF_NETLINK AF_UNIX",),
        python("import socket; socket.socket(socket.AF_PACKET, socket.SOCK_RAW)"),
    ),
    Attempt(("ProtectSystem=strict",), "touch /etc/probe /usr/probe /var/lib/probe"),
    Attempt(
        ("ProtectSystem=strict", "ProtectControlGroups=yes", "ReadOnlyPaths=/run"),
        "touch /run/lock/probe",
    ),
    Attempt(("ProtectHome=yes",), "test -e /root/probe"),
    Attempt(("PrivateDevices=yes",), "test -e /dev/ttyS0"),
    Attempt(("DevicePolicy=closed",), "exec </dev/kmsg"),
    Attempt(("PrivateTmp=yes",), "test -e /tmp/probe"),
    Attempt(
        ("ProtectClock=yes",),
        python("import time; time.clock_settime(0, time.clock_gettime(0))"),
    ),
    Attempt(("ProtectControlGroups=yes",), "mkdir /sys/fs/cgroup/p && rmdir /sys/fs/cgroup/p"),
    Attempt(("ProtectHostname=yes",), 'hostname "$(hostname)"'),
    Attempt(("ProtectKernelLogs=yes",), "dmesg"),
    Attempt(("ProtectKernelModules=yes",), "modprobe dummy && modprobe -r dummy"),
    Attempt(("ProtectKernelTunables=yes",), "sysctl -w net.core.rmem_default=212992"),
    Attempt(("User=nobody", "ProtectProc=invisible"), "test -d /proc/1"),
    Attempt(("LockPersonality=yes",), "setarch x86_64 -R true"),
    Attempt(("MemoryDenyWriteExecute=yes",), python("import mmap; mmap.mmap(-1, 4096, prot=7)")),
    Attempt(("RestrictNamespaces=yes",), "unshare --net true"),
    Attempt(("RestrictRealtime=yes",), "chrt -r 5 true"),
    Attempt(("RestrictSUIDSGID=yes",), "chmod 4755 /run/probe/true"),
    Attempt(FILTER, "mount -n -t tmpfs none /mnt && umount -n /mnt"),
    Attempt(LESS, "chroot / true"),
    Attempt(LESS, "taskset 1 true"),
    Attempt(
        ("MemoryMax=128M",), "dd if=/dev/zero of=/dev/shm/probe bs=1M count=140; rm /dev/shm/probe"
    ),
    Attempt(("TasksMax=64",), python(THREADS)),
    Attempt(("LimitCORE=0",), 'test "$(ulimit -H -c)" != 0'),
    Attempt(("UMask=0077",), "test $(umask) = 0022"),
    Attempt(
        ("IPAddressAllow=localhost 203.0.113.7", "IPAddressDeny=any"),
        python(SEND.format("192.0.2.9")),
    ),
]
# What is proven otherwise, or not at all, and where.
ELSEWHERE = {
    "Type=notify": "test_install.py",
    "ExecStart=/opt/bms-agent/bin/bms-agent run /etc/bms-agent/agent.toml": "test_install.py",
    "WatchdogSec=15": "test_service.py",
    "Restart=always": "test_service.py",
    "RestartSec=2": "test_service.py",
    "RestartPreventExitStatus=78": "test_service.py",
    "LoadCredential=api-key:/etc/bms-agent/api-key": "test_install.py",
    "Environment=BMS_AGENT_PLATFORM__KEY_FILE=%d/api-key": "test_install.py",
    "Environment=GLIBC_TUNABLES=glibc.malloc.tcache_count=0": "test_install.py",
    "StateDirectory=bms-agent": "test_the_state_directory_is_the_service_s_alone",
    "StateDirectoryMode=0700": "test_the_state_directory_is_the_service_s_alone",
    "PrivateMounts=yes": "test_what_the_running_process_has",
    "NoNewPrivileges=yes": "test_what_the_running_process_has",
    "TimeoutStartSec=120": "not proven: nothing takes that long",
    "TimeoutStopSec=45": "not proven: nothing takes that long",
    "RemoveIPC=yes": "not proven: the agent makes no System V or POSIX IPC object",
    "KeyringMode=private": "not proven: the agent puts nothing into a keyring",
    "SystemCallArchitectures=native": "not proven: this kernel knows no other architecture",
}


@pytest.fixture(scope="module")
def prepared(box: Box) -> Box:
    """Put there what the attempts reach for."""
    box.types(PREPARE)
    return box


def settings(text: str) -> list[str]:
    """Return the lines of a unit's [Service]."""
    body = text.partition("[Service]")[2].partition("[Install]")[0]
    return [line for line in body.splitlines() if re.match(r"\w+=", line)]


def test_no_line_of_the_unit_is_left_out() -> None:
    """Each is the one under test below, or it is said where it is proven, or why it is not."""
    found = {each.lines[-1] for each in ATTEMPTS} | {"SystemCallErrorNumber=EPERM"}
    assert sorted(set(settings(SHIPPED.read_text(encoding="utf-8"))) - found - set(ELSEWHERE)) == []


@pytest.mark.parametrize("attempt", ATTEMPTS, ids=lambda each: each.lines[-1])
def test_a_line_by_itself_denies(prepared: Box, attempt: Attempt) -> None:
    """Root may do it, and may not with this line."""
    script = "/run/probe/attempt"  # a file: systemd would expand a $ on a command line
    Path(script).write_text(f"set -e\n{attempt.shell}\n", encoding="ascii")
    prepared.types(f"sh {script}")
    options = "".join(f" -p '{line}'" for line in attempt.lines)
    run = f"systemd-run --quiet --wait --pipe --service-type=exec{options} sh {script}"
    said = prepared.types(f"{run} 2>&1 || echo refused")
    assert said.endswith("refused\n"), said


def test_systemd_finds_no_mistake_in_the_files(box: Box) -> None:
    """Neither in the unit nor in what the page adds to it."""
    assert box.types(f"systemd-analyze verify {SHIPPED} 2>&1") == ""
    assert box.types(f"systemd-analyze verify /etc/systemd/system/{UNIT} 2>&1") == ""


def test_the_exposure_is_what_the_page_says(box: Box) -> None:
    """Without the drop-in as the page installs the unit, and with it (it lies beside the file)."""
    said = box.types(f"systemd-analyze security --no-pager {UNIT}")
    assert f"Overall exposure level for {UNIT}: {EXPOSURE} OK" in said
    said = box.types(f"systemd-analyze security --no-pager --offline=true {SHIPPED}")
    assert f"Overall exposure level for {UNIT}: {EXPOSURE_WITH_DROP_IN} OK" in said


def test_what_the_running_process_has(box: Box) -> None:
    """No capability, no way to more rights, a filter, mounts of its own; no core file."""
    pid = box.pid()
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    fields = {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
    for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(fields[name], 16) == 0, name
    assert (fields["NoNewPrivs"], fields["Seccomp"], fields["Umask"]) == ("1", "2", "0077")
    assert int(fields["Uid"].split()[0]) >= 61184  # DynamicUser, systemd.exec(5)
    assert box.types(f"readlink /proc/{pid}/ns/mnt") != box.types("readlink /proc/1/ns/mnt")
    limits = Path(f"/proc/{pid}/limits").read_text(encoding="ascii")
    assert re.search(r"Max core file size +0 +0 ", limits)


def test_nothing_but_its_own_state_can_be_written(box: Box) -> None:
    """The mounts of the process: all are read-only but its state, /tmp, /dev and the like."""
    lines = Path(f"/proc/{box.pid()}/mountinfo").read_text(encoding="ascii").splitlines()
    writable = {line.split()[4] for line in lines if line.split()[5].startswith("rw")}
    own = {"/var/lib/private/bms-agent", "/tmp", "/var/tmp"}  # noqa: S108 - PrivateTmp=
    kernel = {each for each in writable if re.match(r"/(proc|dev|sys)(/|$)", each)}
    guest = {each for each in writable if "/canguest." in each}  # hidden by its own /tmp
    assert writable - kernel - guest == own


def test_the_state_directory_is_the_service_s_alone(box: Box) -> None:
    """0700, of the dynamic user, below a folder that only root enters."""
    uid = Path(f"/proc/{box.pid()}").stat().st_uid
    for name in ("", "/journal.db", "/agent.sock"):
        found = Path(f"/var/lib/private/bms-agent{name}").stat()
        assert (found.st_uid, found.st_mode & 0o077) == (uid, 0), name
    assert Path("/var/lib/private").stat().st_mode & 0o777 == 0o700


def test_the_memory_it_needs_is_half_of_what_it_may(box: Box) -> None:
    """As the unit says of MemoryMax; both are counted by the kernel for the service's group."""
    group = Path("/sys/fs/cgroup" + box.types(f"systemctl show -P ControlGroup {UNIT}").strip())
    assert int((group / "memory.max").read_text(encoding="ascii")) == MEMORY_MAX
    assert int((group / "pids.max").read_text(encoding="ascii")) == 64
    assert int((group / "memory.peak").read_text(encoding="ascii")) < MEMORY_MAX / 2
    assert int((group / "pids.peak").read_text(encoding="ascii")) < 32
