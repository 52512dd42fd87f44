"""A box on which docs/operations.md was followed: systemd, networkd, an adapter, the service."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from bms_can.link import LinkState
from bms_can.netlink import read_link
from tests.socketcan.adapter import Adapter
from tests.socketcan.nodes import SlcanNode
from tests.socketcan.platform import Platform, Told
from tests.systemd.page import ROOT, Technician, block

UNIT, CONFIG, UID = "bms-agent.service", "/etc/bms-agent/agent.toml", "SITE-1"
RESET, CLOSE, OPEN = 1, 2, 3
ENDS = {
    *("succeeded", "held", "rejected", "failed", "timed_out", "expired", "unknown", "cancelled"),
}
FINGERPRINT = ("ActiveState", "SubState", "Result", "NRestarts", "MainPID", "ExecMainStatus")
START_S = 25.0  # of an agent in the guest: some 4 s


class Seen(NamedTuple):
    """What there was while the page was being followed.

    Attributes:
        apt, can0, check, log, why: what the page's commands said.
        first: the interface as the page's files set it up; `replugged`: after the adapter was out.
        files: networkctl's word on which files were used.
        report: the first one of the service as installed, which only listens.
    """

    apt: str
    can0: str
    first: LinkState
    replugged: LinkState
    files: str
    check: str
    log: str
    report: dict[str, Any]
    why: str


class Box:
    """The box, its battery behind an adapter, and the platform.

    Args:
        folder: scratch.
        wheels: where pip finds packages.
    """

    def __init__(self, folder: Path, wheels: Path) -> None:
        self.platform, self.slcan = Platform(), SlcanNode()
        self.technician = Technician(folder, wheels)
        self.technician.environ["PAGE_URL"] = self.platform.url
        self._numbers = 0

    def close(self) -> None:
        """End what is ours; the guest goes anyway."""
        self.slcan.stop()
        self.platform.close()

    def types(self, text: str, status: int = 0) -> str:
        """Type shell lines as root."""
        return self.technician.types(text, status)

    def replug(self) -> LinkState:
        """Pull the adapter out and put it back; wait until networkd has set it up."""
        self.slcan.adapter.pull()
        self.slcan.adapter = Adapter(self.slcan._take)
        return self.link(lambda link: link.up and link.state == "ERROR-ACTIVE")

    def link(self, what: Callable[[LinkState], object], seconds: float = 15.0) -> LinkState:
        """Wait until something holds for can0."""
        end_s = time.monotonic() + seconds
        while (link := read_link("can0")) is None or not what(link):
            assert time.monotonic() < end_s, (link, self.types("networkctl status can0 || true"))
            time.sleep(0.05)
        return link

    def show(self) -> dict[str, str]:
        """Return what systemd says of the service."""
        names = "".join(f" -p {name}" for name in FINGERPRINT)
        lines = self.types(f"systemctl show {UNIT}{names}").splitlines()
        return dict(line.split("=", 1) for line in lines)

    def pid(self) -> int:
        """Return the main process, 0 if there is none."""
        return int(self.show()["MainPID"])

    def state(self, what: Callable[[dict[str, str]], object], seconds: float) -> dict[str, str]:
        """Wait until something holds for what systemd says."""
        end_s = time.monotonic() + seconds
        while not what(found := self.show()):
            assert time.monotonic() < end_s, (found, self.log())
            time.sleep(0.3)
        return found

    def log(self, last: int = 30) -> str:
        """Return the end of the service's log."""
        return self.types(f"journalctl -u {UNIT} --no-pager -o cat -n {last}")

    def status(self) -> dict[str, Any]:
        """Return what `bms-agent status` says to root."""
        found: dict[str, Any] = json.loads(self.types(f"bms-agent status --json {CONFIG}"))
        return found

    def report(self, since_s: float, seconds: float = START_S) -> Told:
        """Wait for a report since then that says what the battery does."""

        def first() -> Told | None:
            newer = (each for each in self.platform.told.get(UID, ()) if each.at_s >= since_s)
            return next((each for each in newer if each.connected), None)

        assert self.platform.wait(first, seconds), self.log()
        found = first()
        assert found is not None
        return found

    def command(self, code: int) -> dict[str, Any]:
        """Give a command at the platform; return its last step."""
        return self._outcome(code, ENDS)

    def command_begun(self, code: int) -> dict[str, Any]:
        """Give a command at the platform; return the step at which its frames went out."""
        return self._outcome(code, ENDS | {"sent"})

    def _outcome(self, code: int, ends: set[str]) -> dict[str, Any]:
        """Try again while it is refused: the battery was not heard for long enough yet."""
        end_s = time.monotonic() + START_S
        step = self._once(code, ends)
        while step["state"] == "rejected":
            assert time.monotonic() < end_s, step
            time.sleep(0.5)
            step = self._once(code, ends)
        return step

    def _once(self, code: int, ends: set[str]) -> dict[str, Any]:
        self._numbers += 1
        identity = f"c{self._numbers}"
        self.platform.command(UID, identity, code)

        def end() -> dict[str, Any] | None:
            steps = self.platform.results.get(identity, [])
            return next((each for each in steps if each["state"] in ends), None)

        assert self.platform.wait(end, 40.0), f"{self.platform.results} {self.log()}"
        found = end()
        assert found is not None
        return found


@contextmanager
def installed(folder: Path, wheels: Path) -> Iterator[tuple[Box, Seen]]:
    """Follow the page from its top to a box that may command."""
    box = Box(folder, wheels)
    with ExitStack() as end:
        end.callback(box.close)
        yield box, follow(box)


def follow(box: Box) -> Seen:
    """Type what the page says, in its order."""
    apt = box.types(block("sudo apt install"))
    can0 = box.types(block("sudo cp deploy/80-can0.network"))
    first = box.link(lambda link: link.up)
    replugged = box.replug()
    files = box.types("networkctl status can0")
    box.types(block("echo net.core.rmem_max"))
    (ROOT / "box.key").write_text("k" * 43, encoding="ascii")  # the guest's own layer takes it
    check = box.types(block("sudo install -d /etc/bms-agent"))
    began_s = time.monotonic()
    box.types(block("sudo cp deploy/bms-agent.service").replace("journalctl -u bms-agent -f", ""))
    log = box.log()
    report = box.report(began_s).body
    why = box.types(block("sudo networkctl reload && sudo ip link"))
    return Seen(apt, can0, first, replugged, files, check, log, report, why)
