"""All that is around one agent in the guest: platform, batteries, interfaces; what is measured."""

import itertools
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from agent.local import ask
from tests.socketcan.nodes import CONTROL_ID, PROFILE, SlcanNode, VcanNode, sh
from tests.socketcan.platform import Platform, Told

ROOT = Path(__file__).parents[2]
VCAN, SLCAN = "ON-VCAN", "ON-SLCAN"
RESET, CLOSE, OPEN = 1, 2, 3
START_S = 40.0
WITHDRAWN_S = 1.0  # 0.5 s deadline of the profile, and time to report
HEALTHY_S = 2.0  # issue 5, done 2
CONFIG = """\
[platform]
url = "{url}"
key_file = "box.key"
sync_period_s = 5
poll_wait_s = 1
[agent]
state_dir = "state"
log_level = "info"
[site]
override = "test: rate limits are lifted"
close_interval_s = 0
close_max = 1000
close_window_s = 1
steady_s = 1
[[device]]
uid = "ON-VCAN"
profile = "{profile}"
read_only = false
[device.can]
interface = "socketcan"
channel = "vcan0"
[[device]]
uid = "ON-SLCAN"
profile = "{profile}"
read_only = false
[device.can]
interface = "socketcan"
channel = "can0"
"""


class Row(NamedTuple):
    """One line of the table at the end; None: does not apply [s]."""

    fault: str
    withdrawn_s: float | None
    healthy_s: float | None
    late_frames: int
    note: str


TABLE: list[Row] = []


@dataclass
class Stage:
    """All that runs.

    Attributes:
        agent: the process of `bms-agent run`; its log is in `log`.
    """

    folder: Path
    platform: Platform
    vcan: VcanNode
    slcan: SlcanNode
    agent: "subprocess.Popen[bytes]"
    log: Path
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def newest(self, uid: str) -> Told:
        """Return the newest report of a device."""
        return self.platform.told[uid][-1]

    def fact(self, uid: str, name: str) -> Any:  # noqa: ANN401 - JSON
        """Return a fact about the bus from the newest report."""
        return self.newest(uid).body["box"]["bus"][name]

    def fresh_fact(self, uid: str, name: str) -> Any:  # noqa: ANN401 - JSON
        """Return a fact from a report that comes after now."""
        after_s = time.monotonic()
        assert self.platform.wait(lambda: self.newest(uid).at_s > after_s, 8.0), self.words()
        return self.fact(uid, name)

    def await_report(
        self, uid: str, what: Callable[[Told], object], since_s: float, seconds: float
    ) -> float:
        """Wait for a report since a time for which something holds; return when it came [s]."""

        def first() -> Told | None:
            newer = (each for each in self.platform.told.get(uid, ()) if each.at_s >= since_s)
            return next((each for each in newer if what(each)), None)

        assert self.platform.wait(first, seconds), self.words()
        found = first()
        assert found is not None
        return found.at_s

    def healthy(self, uid: str, since_s: float, seconds: float = 10.0) -> float:
        """Wait until a device is reported connected; return after how long [s]."""
        return self.await_report(uid, lambda told: told.connected, since_s, seconds) - since_s

    def withdrawn(self, uid: str, since_s: float, seconds: float = 10.0) -> float:
        """Wait until a status is withdrawn; return after how long [s]."""
        return self.await_report(uid, lambda told: not told.connected, since_s, seconds) - since_s

    def command(self, uid: str, code: int, life_s: float = 10.0) -> str:
        """Hand out a command; return its id."""
        identity = f"c{next(self._numbers)}"
        self.platform.command(uid, identity, code, life_s)
        return identity

    def steady(self, uid: str, seconds: float = 5.0) -> None:
        """Wait until the battery was heard for long enough without a gap for a close."""
        end_s = time.monotonic() + seconds
        while (why := self._refusal(uid)).startswith("fresh"):
            assert time.monotonic() < end_s, why
            time.sleep(0.05)

    def _refusal(self, uid: str) -> str:
        judged = self.local(do="judge", command="close_contactor")
        return str(judged["devices"][uid]["because"])

    def outcome(self, identity: str, seconds: float = 30.0) -> dict[str, Any]:
        """Wait for the end of a command; return its last step."""
        ends = {"succeeded", "rejected", "failed", "timed_out", "expired", "unknown", "cancelled"}

        def end() -> dict[str, Any] | None:
            steps = self.platform.results.get(identity, [])
            return next((each for each in steps if each["state"] in ends), None)

        assert self.platform.wait(end, seconds), f"{self.platform.results} {self.words()}"
        found = end()
        assert found is not None
        return found

    def local(self, **request: object) -> dict[str, Any]:
        """Ask the agent itself, as `bms-agent status` and its like do."""
        return ask(self.folder / "state", request)

    def words(self) -> str:
        """Return the end of the agent's log."""
        return self.log.read_text(encoding="utf-8")[-3000:]

    def control_frames(self) -> list[float]:
        """Return when control frames went by on vcan0, wall time [s], as candump has them."""
        lines = (self.folder / "candump.log").read_text(encoding="ascii").splitlines()
        return [float(line[1 : line.index(")")]) for line in lines]

    def row(
        self,
        fault: str,
        withdrawn_s: float | None,
        healthy_s: float | None,
        late: int = 0,
        note: str = "",
    ) -> None:
        """Put a line into the table, and hold the limits of issue 5 against it."""
        TABLE.append(Row(fault, withdrawn_s, healthy_s, late, note))
        assert self.agent.poll() is None, self.words()
        assert withdrawn_s is None or withdrawn_s <= WITHDRAWN_S, self.words()
        assert healthy_s is None or healthy_s <= HEALTHY_S, self.words()
        assert late == 0, TABLE[-1]


@contextmanager
def stage(folder: Path) -> Iterator[Stage]:
    """Set up interfaces, platform, batteries and the agent; wait until both are reported."""
    sh("ip link add dev vcan0 type vcan && ip link set vcan0 up")
    with ExitStack() as end:
        platform = Platform()
        end.callback(platform.close)
        vcan, slcan = VcanNode(), SlcanNode()
        end.callback(vcan.stop)
        end.callback(slcan.stop)
        assert slcan.adapter.name == "can0"
        slcan.up()
        (folder / "state").mkdir(mode=0o700)
        (folder / "box.key").touch(mode=0o600)
        (folder / "box.key").write_text("k" * 43, encoding="ascii")
        config = folder / "agent.toml"
        config.write_text(CONFIG.format(url=platform.url, profile=PROFILE), encoding="utf-8")
        log = folder / "agent.log"
        agent = _start([sys.executable, "-m", "agent", "run", str(config)], log, end)
        only = f"any,{CONTROL_ID:08X}:DFFFFFFF"
        _start(["candump", "-L", only], folder / "candump.log", end)
        found = Stage(folder, platform, vcan, slcan, agent, log)
        ready = platform.wait(
            lambda: all(
                platform.told.get(uid) and found.newest(uid).connected for uid in (VCAN, SLCAN)
            ),
            START_S,
        )
        assert ready, found.words()
        yield found


def _start(words: list[str], output: Path, end: ExitStack) -> "subprocess.Popen[bytes]":
    file = end.enter_context(output.open("wb"))
    process = subprocess.Popen(words, cwd=ROOT, stdout=file, stderr=subprocess.STDOUT)  # noqa: S603 - ours
    end.callback(process.wait)
    end.callback(process.send_signal, signal.SIGTERM)
    return process


def table_text() -> str:
    """Return the table of all faults."""

    def s(value: float | None) -> str:
        return "-" if value is None else f"{value:.2f}"

    head = ("fault", "withdrawn after s", "healthy after s", "late frames", "note")
    rows = [(r.fault, s(r.withdrawn_s), s(r.healthy_s), str(r.late_frames), r.note) for r in TABLE]
    wide = [max(len(row[i]) for row in (head, *rows)) for i in range(4)]
    return "\n".join(
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, wide, strict=False)), row[4]])
        for row in (head, *rows)
    )
