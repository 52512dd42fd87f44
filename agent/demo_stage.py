"""Puts everything on one machine: a real platform process, the real agent, a simulated battery."""

import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from agent.clock import SystemClock
from agent.config import load
from agent.demo_operator import Operator
from agent.wiring import System, build
from bms_can import simulator_bus
from bms_can.bus import BusSettings, open_port
from bms_can.misbehaviour import Misbehaviour
from bms_can.shipped import profile_path
from bms_can.simulator import Simulator

DEVICE = "DEMO-1"
START_S, END_S = 20.0, 5.0
CONFIG = """\
[platform]
url = "{url}"
key_file = "{key_file}"
sync_period_s = 2

[agent]
state_dir = "{state_dir}"
log_level = "error"

[[device]]
uid = "{uid}"
profile = "{battery}"
read_only = false
[device.can]
interface = "virtual"
channel = "{channel}"
"""


class StageFailed(Exception):
    """The demonstration could not be set up."""


@dataclass(frozen=True, slots=True)
class Stage:
    """Everything that plays.

    Attributes:
        folder: journal, platform file and keys are here.
    """

    system: System
    simulator: Simulator
    operator: Operator
    folder: Path


@contextmanager
def stage(folder: Path, battery: str, wrong: Misbehaviour) -> Iterator[Stage]:
    """Set the stage, and clear it again whatever happens.

    Raises:
        StageFailed: the platform did not start.
    """
    with _platform(folder) as (url, operator_key):
        channel = f"demo-{folder.name}"
        system = build(load(_config(folder, url, battery, channel), {}), SystemClock())
        with _battery(system, channel, wrong) as simulator, _agent(system):
            operator = Operator(url, operator_key.read_text().strip(), str(operator_key), DEVICE)
            yield Stage(system, simulator, operator, folder)


def _config(folder: Path, url: str, battery: str, channel: str) -> Path:
    path, state_dir = folder / "agent.toml", folder / "state"
    state_dir.mkdir(mode=0o700, exist_ok=True)
    text = CONFIG.format(
        url=url,
        key_file=folder / "box.key",
        state_dir=state_dir,
        uid=DEVICE,
        battery=profile_path(battery).resolve(),
        channel=channel,
    )
    path.write_text(text, encoding="utf-8")
    return path


def _ems(*words: str) -> list[str]:
    return [sys.executable, "-m", "ems", *words]


def _ems_once(*words: str) -> str:
    done = subprocess.run(_ems(*words), capture_output=True, text=True, check=False)  # noqa: S603 - our own module
    if done.returncode:
        raise StageFailed(f"ems-server {' '.join(words)}: {done.stderr.strip()}")
    return done.stdout.strip()


def _key(path: Path, words: Sequence[str]) -> Path:
    key = _ems_once("key", "create", *words)
    path.touch(mode=0o600)
    path.write_text(key + "\n", encoding="ascii")
    return path


@contextmanager
def _platform(folder: Path) -> Iterator[tuple[str, Path]]:
    """Run the platform; yield its URL and the file with the operator's key."""
    db, ready = folder / "ems.db", folder / "ready"
    ready.unlink(missing_ok=True)
    if not db.exists():
        _ems_once("device", "add", DEVICE, "--name", "Demonstration battery", "--db", str(db))
        words = ["--name", "demo-operator", "--role", "operator", "--db", str(db)]
        _key(folder / "operator.key", words)
        words = ["--name", "demo-box", "--role", "device", "--device", DEVICE, "--db", str(db)]
        _key(folder / "box.key", words)
    words = ["run", "--db", str(db), "--port", "0", "--ready-file", str(ready)]
    words += ["--operator-per-s", "50"]  # the story looks ten times a second, a person may look too
    # A session of its own: Ctrl-C is for us, and the platform ends after the agent.
    process = subprocess.Popen(  # noqa: S603 - our own module
        _ems(*words), stdout=subprocess.DEVNULL, start_new_session=True
    )
    try:
        yield _await_ready(process, ready), folder / "operator.key"
    finally:
        process.terminate()
        try:
            process.wait(END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _await_ready(process: "subprocess.Popen[bytes]", ready: Path) -> str:
    """Return the platform's URL once it accepts connections."""
    clock, never = SystemClock(), threading.Event()
    end_s = clock.monotonic_s() + START_S
    while clock.monotonic_s() < end_s and process.poll() is None:
        if ready.exists() and (text := ready.read_text(encoding="utf-8").strip()):
            return text.split()[-1]
        clock.wait(never, 0.02)
    raise StageFailed("the platform did not start")


@contextmanager
def _battery(system: System, channel: str, wrong: Misbehaviour) -> Iterator[Simulator]:
    clock, stop = SystemClock(), threading.Event()
    profile = system.links[0].device.profile
    port = open_port(BusSettings("virtual", channel), clock.monotonic_s, own_frames=False)
    simulator = Simulator(profile, system.links[0].database, now_s=clock.monotonic_s())
    simulator.pack.misbehave(wrong)
    thread = threading.Thread(
        target=simulator_bus.run,
        args=(port, simulator, clock.monotonic_s, stop),
        name="battery",
    )
    thread.start()
    try:
        yield simulator
    finally:
        stop.set()
        thread.join(END_S)
        port.close()


@contextmanager
def _agent(system: System) -> Iterator[None]:
    thread = threading.Thread(target=system.run, name="supervisor")
    thread.start()
    try:
        yield
    finally:
        system.supervisor.stop()
        thread.join(END_S)
