"""Gathers what `bms-agent doctor` judges: kernel, platform, disk, machine, the running agent."""

import os
import re
import socket
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import datetime
from email.utils import parsedate_to_datetime
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from tempfile import TemporaryFile

from agent.clock import Clock
from agent.cloud import Cloud
from agent.config import Config, PlatformConfig
from agent.doctor_box_rules import UNIT_WORDS
from agent.doctor_facts import AgentFacts, BoxFacts, BusFacts, DiskFacts, PlatformFacts
from agent.errors import CloudError, CloudRefused, CloudRefusedKey
from agent.facts import DISTRIBUTION
from agent.local import BadRequest, NotRunning, ask
from agent.lock import held
from bms_can.bus import BusSettings
from bms_can.netlink import read_link
from bms_can.socketcan import BUFFER_BYTES

RMEM_MAX = Path("/proc/sys/net/core/rmem_max")
SOFTNET = Path("/proc/net/softnet_stat")  # a line for each CPU; the second number: thrown away
SYSTEMD = Path("/run/systemd/system")  # sd_booted(3)
DISK_TRIES = 5
BLOCK = b"x" * 4096
SYSTEMCTL_S = 5.0
_REQUIREMENT = re.compile(r"^([\w-]+)([^;]*)")


def look_at_bus(settings: BusSettings, wanted_bitrate: int | None, *, commands: bool) -> BusFacts:
    """Return what the kernel says about a bus of SocketCAN."""
    return BusFacts(
        interface=settings.interface,
        channel=settings.channel,
        kernel_can=_knows_can(),
        asked=read_link("lo") is not None,
        link=read_link(settings.channel),
        wanted_bitrate=wanted_bitrate,
        commands=commands,
        fd=settings.fd,
        rmem_max=_number(RMEM_MAX),
        rmem_wanted=BUFFER_BYTES,
        backlog_lost=_backlog_lost(),
    )


def _backlog_lost() -> int | None:
    try:
        lines = SOFTNET.read_text(encoding="ascii").splitlines()
        return sum(int(line.split()[1], 16) for line in lines)
    except (OSError, ValueError, IndexError):
        return None


def _knows_can() -> bool:
    try:
        socket.socket(socket.AF_CAN, socket.SOCK_RAW, socket.CAN_RAW).close()
    except OSError:
        return False
    return True


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def look_at_platform(
    platform: PlatformConfig, clock: Clock, uids: Sequence[str] = ()
) -> PlatformFacts:
    """Ask the platform whether it takes the key, for each device; that changes nothing there."""
    url, key_file = platform.url, str(platform.key_file)
    ca_file = "" if platform.ca_file is None else str(platform.ca_file)
    cloud = Cloud(url, platform.key, clock, platform.deadline_s, platform.ca_file)
    before = PlatformFacts(url, key_file, ca_file, uids=tuple(uids))
    began_s = clock.monotonic_s()
    with closing(cloud):
        try:
            text = cloud.test_key()
        except CloudError as error:
            return replace(before, trouble=type(error).__name__, words=str(error))
        here, took_s = clock.wall(), clock.monotonic_s() - began_s
        refused = _refusals(cloud, uids)
    return replace(before, refused=refused, took_s=took_s, date=_date(text), here=here)


def _refusals(cloud: Cloud, uids: Sequence[str]) -> tuple[str, ...] | None:
    """Return for which devices the key may not report, and why; None: not all could be asked.

    An operator's key, or one of another box, passes `test-apikey` as well. A batch of no reports
    keeps nothing and is no sign of life (docs/api.md).
    """
    refused, asked = [], True
    for uid in uids:
        try:
            cloud.post_reports({"device_uid": uid, "reports": []})
        except (CloudRefused, CloudRefusedKey) as error:
            refused.append(f"{uid}: {error}")
        except CloudError:  # busy, or gone meanwhile: that says nothing about the key
            asked = False
    return tuple(refused) if refused or asked else None


def _date(text: str) -> datetime | None:
    """Read a Date header; None if there is none, or it has no zone."""
    try:
        found = parsedate_to_datetime(text)
    except ValueError:
        return None
    return None if found.tzinfo is None else found


def look_at_disk(config: Config) -> DiskFacts:
    """Look at the state directory; a file without a name is written and goes away again."""
    path, quota = config.state_dir, config.recorder.max_bytes
    wanted = config.journal_max_bytes + config.outbox_max_bytes + quota
    try:
        mode = path.stat().st_mode
        free = os.statvfs(path)
    except FileNotFoundError:
        return DiskFacts(str(path), there=False, wanted_bytes=wanted)
    except OSError as error:
        return DiskFacts(str(path), there=True, trouble=str(error), wanted_bytes=wanted)
    if not stat.S_ISDIR(mode):
        return DiskFacts(str(path), there=False, trouble="is no directory", wanted_bytes=wanted)
    mode = stat.S_IMODE(mode)
    trouble, fsync_s = _durable_write(path)
    free_bytes = free.f_bavail * free.f_frsize
    return DiskFacts(str(path), True, mode, trouble, free_bytes, wanted, fsync_s)  # noqa: FBT003 - there


def _durable_write(folder: Path) -> tuple[str, float | None]:
    """Return what keeps us from writing, and the slowest of a few durable writes [s]."""
    slowest_s = 0.0
    try:
        with TemporaryFile(dir=folder) as file:
            for _ in range(DISK_TRIES):
                began_s = time.perf_counter()
                file.write(BLOCK)
                file.flush()
                os.fsync(file.fileno())
                slowest_s = max(slowest_s, time.perf_counter() - began_s)
    except OSError as error:
        return error.strerror or str(error), None
    return "", slowest_s


def look_at_agent(config: Config) -> AgentFacts:
    """Ask the running agent."""
    path, lock = str(config.path), held(config.state_dir)
    try:
        answer = ask(config.state_dir, {"do": "vitals"})
    except (NotRunning, BadRequest) as error:
        return AgentFacts(path, lock, words=str(error))
    devices = answer.get("devices")
    found: Mapping[str, Mapping[str, object]] = devices if isinstance(devices, dict) else {}
    box = answer.get("box")
    may = box.get("net_admin") if isinstance(box, dict) else None
    return AgentFacts(path, held=True, answers=True, devices=found, net_admin=may)


def look_at_box(clock: Clock) -> BoxFacts:
    """Look at versions and at systemd."""
    systemd = SYSTEMD.is_dir()
    unit = _unit() if systemd else None
    python = sys.version.split()[0]
    return BoxFacts(clock.wall(), python, _packages(), systemd, unit, sys.executable)


def _unit() -> Mapping[str, str] | None:
    words = ["systemctl", "show", "bms-agent.service", f"--property={','.join(UNIT_WORDS)}"]
    try:
        done = subprocess.run(  # noqa: S603 - systemd's own program, constant words
            words, capture_output=True, text=True, timeout=SYSTEMCTL_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    pairs = (line.partition("=") for line in done.stdout.splitlines())
    return {key: value for key, _, value in pairs} or None


def _packages() -> dict[str, tuple[str, str, bool] | None]:
    found: dict[str, tuple[str, str, bool] | None] = {
        DISTRIBUTION: (version(DISTRIBUTION), "", True),
        "sqlite": (sqlite3.sqlite_version, "", True),
    }
    for line in requires(DISTRIBUTION) or ():
        if "extra ==" not in line:
            name, wanted = _REQUIREMENT.findall(line.replace(" ", ""))[0]
            found[name] = _package(name, wanted)
    return found


def _package(name: str, wanted: str) -> tuple[str, str, bool] | None:
    try:
        here = version(name)
    except PackageNotFoundError:
        return None
    return here, wanted, fits(here, wanted)


def fits(here: str, wanted: str) -> bool:
    """Tell whether a version is in a range such as "<4,>=3.11"; letters at its end do not count."""
    return all(
        _parts(clause[2:]) <= _parts(here)
        if clause.startswith(">=")
        else _parts(here) < _parts(clause[1:])
        for clause in wanted.split(",")
    )


def _parts(text: str) -> tuple[int, ...]:
    """Return the numbers of a version, without zeros at the end: 4.0 is 4."""
    found = [int(part) for part in re.findall(r"\d+", re.sub(r"[a-z].*", "", text))]
    while found and not found[-1]:
        found.pop()
    return tuple(found)
