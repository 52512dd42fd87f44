"""What the demonstration shows: plain lines, or a live picture in a terminal (rich)."""

from collections import deque
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from agent.clock import SystemClock
from agent.demo_stage import Stage
from agent.demo_story import Line
from agent.render_replay import alarm_words, status_words
from agent.wiring_device import Link
from bms_can.telemetry import read_telemetry

if TYPE_CHECKING:
    from rich.console import Group

MARKS = {"step": "==", "curl": " $", "seen": "  ", "proof": "ok", "missing": "!!"}
STYLES = {"step": "bold cyan", "curl": "dim", "seen": "", "proof": "green", "missing": "bold red"}
REFRESH_S = 0.25
KEPT_LINES = 200
SHOWN_FIELDS = (
    ("total_voltage", "V"),
    ("total_current", "A"),
    ("power", "kW"),
    ("soc", "%"),
    ("soh", "%"),
    ("highest_cell_voltage", "V"),
    ("lowest_cell_voltage", "V"),
    ("highest_cell_temp", "°C"),
)


class View(Protocol):
    """Shows the story."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...
    def show(self, line: Line) -> None:
        """Add a line."""

    def refresh(self) -> None:
        """Bring the picture up to date."""


class PlainView:
    """One line after the other, for logs and pipes."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def show(self, line: Line) -> None:
        """See View."""
        if line.kind == "step":
            print(flush=True)  # noqa: T201 - the command's output
        print(f"{MARKS[line.kind]} {line.text}", flush=True)  # noqa: T201 - the command's output

    def refresh(self) -> None:
        """See View."""


class LiveView:
    """A picture that is drawn again a few times a second."""

    def __init__(self, stage: Stage) -> None:
        from rich.console import Console  # noqa: PLC0415 - rich is an extra, only for terminals
        from rich.live import Live  # noqa: PLC0415 - same

        self._stage = stage
        self._lines: deque[Line] = deque(maxlen=KEPT_LINES)
        self._clock = SystemClock()
        self._drawn_s = 0.0
        self._frames = (self._clock.monotonic_s(), 0)
        self._rate = 0.0
        self._console = Console()
        self._live = Live(console=self._console, screen=True, auto_refresh=False)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()
        for line in self._lines:
            self._console.print(f"{MARKS[line.kind]} {line.text}", style=STYLES[line.kind])

    def show(self, line: Line) -> None:
        """See View."""
        self._lines.append(line)
        self._drawn_s = 0.0
        self.refresh()

    def refresh(self) -> None:
        """See View."""
        now_s = self._clock.monotonic_s()
        if now_s - self._drawn_s >= REFRESH_S:
            self._drawn_s = now_s
            self._live.update(self._picture(now_s), refresh=True)

    def _picture(self, now_s: float) -> "Group":
        from rich.columns import Columns  # noqa: PLC0415 - rich is an extra
        from rich.console import Group  # noqa: PLC0415 - same
        from rich.panel import Panel  # noqa: PLC0415 - same
        from rich.text import Text  # noqa: PLC0415 - same

        link = self._stage.system.links[0]
        self._measure(link, now_s)
        left = Panel(Text("\n".join(self._battery_lines(link, now_s))), title="battery on CAN")
        right = Panel(Text("\n".join(self._box_lines(link, now_s))), title="agent and platform")
        story = Text()
        for line in self._newest(self._console.size.height - 17, self._console.size.width - 4):
            story.append(f"{MARKS[line.kind]} {line.text}\n", style=STYLES[line.kind])
        width = self._console.size.width // 2 - 2
        return Group(
            Columns([left, right], width=width, expand=True),
            Panel(story, title="story", subtitle="Ctrl-C ends it"),
        )

    def _newest(self, rows: int, width: int) -> list[Line]:
        """Return the newest lines that fit, long ones wrapped."""
        found: list[Line] = []
        for line in reversed(self._lines):
            rows -= 1 + (len(line.text) + 3) // max(width, 20)
            if rows < 0 and found:
                break
            found.append(line)
        return found[::-1]

    def _measure(self, link: Link, now_s: float) -> None:
        then_s, before = self._frames
        if now_s - then_s >= 1.0:
            self._rate = (link.receiver.frames - before) / (now_s - then_s)
            self._frames = (now_s, link.receiver.frames)

    def _battery_lines(self, link: Link, now_s: float) -> list[str]:
        status = link.observer.status
        words = "not looked yet" if status is None else status_words(status)
        alarms = "" if status is None else alarm_words(status)
        telemetry = read_telemetry(link.device.table.snapshot(), link.device.profile, now_s)
        fields = [
            f"{name:<22}{'unknown' if telemetry.get(name) is None else telemetry[name]!s:>9} {unit}"
            for name, unit in SHOWN_FIELDS
            if name in telemetry
        ]
        return [f"{words}", f"{alarms}", f"{self._rate:.0f} frames/s", "", *fields]

    def _box_lines(self, link: Link, now_s: float) -> list[str]:
        sync = link.sync
        ago = "never" if sync.last_s is None else f"{now_s - sync.last_s:.1f} s ago"
        head = [
            f"device          {link.device.uid}",
            f"reports         {sync.done} taken, last {ago}",
            f"bad frames      {link.device.intake.bad.total()}",
            f"trouble         {sync.trouble or link.poller.trouble or 'none'}",
            "",
            "commands, newest first",
        ]
        recent = self._stage.system.journal.recent(6)
        return head + [
            f"  {entry.command.code.name.lower():<16}{entry.state}"
            + (f" ({entry.reason})" if entry.reason else "")
            for entry in recent
        ]
