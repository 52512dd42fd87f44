"""bms-agent monitor: a bus, live: every message with its period, every value with its age."""

import math
import signal
import sys
import threading
from argparse import Namespace
from dataclasses import dataclass

from agent.battery_words import battery_of
from agent.bus_feed import BusFeed
from agent.clock import Clock, SystemClock
from agent.monitor import SORTS, Monitor
from agent.monitor_screen import Line, Piece, Style, cut, fitted, rendered, table
from agent.options import bus_settings
from agent.terminal import full_screen
from bms_can.errors import BusDown
from bms_can.frame import frame_text

PLAIN_SECONDS = 5.0
PLAIN_WIDTH = 140
HELP = "type to filter, Tab sorts, arrows scroll, Esc clears, Ctrl-C ends"
SHORT_HELP = "type: filter  Tab: sort  arrows: scroll  Esc: clear  Ctrl-C: end"


@dataclass(slots=True)
class Wish:
    """What the person at the keyboard wants to see."""

    query: str
    sort: str
    skip: int = 0

    def press(self, key: str, page: int) -> None:
        """Take a key."""
        moves = {"up": -1, "down": 1, "page-up": -page, "page-down": page}
        if key in moves:
            self.skip = max(0, self.skip + moves[key])
        elif key == "tab":
            names = list(SORTS)
            self.sort = names[(names.index(self.sort) + 1) % len(names)]
        elif key == "erase":
            self.query = self.query[:-1]
        elif key == "escape":
            self.query, self.skip = "", 0
        elif key.isprintable():
            self.query, self.skip = self.query + key, 0


def main(arguments: Namespace) -> int:
    """Show the bus until Ctrl-C, SIGTERM or --seconds."""
    profile, database = battery_of(arguments)
    monitor = Monitor(database, profile)
    settings, clock, stop = bus_settings(arguments), SystemClock(), threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    live = sys.stdin.isatty() and sys.stdout.isatty() and not (arguments.plain or arguments.changes)
    seconds = arguments.seconds or (math.inf if live or arguments.changes else PLAIN_SECONDS)
    end_s = clock.monotonic_s() + seconds
    patient = live or arguments.changes
    feed = BusFeed(settings, clock, end_s, stop, patient=patient)
    wish = Wish(arguments.filter, arguments.sort)
    try:
        if live:
            _live(monitor, feed, wish, clock, f"{settings.interface} {settings.channel}")
        elif arguments.changes:
            _changes(monitor, feed, wish)
        else:
            _snapshot(monitor, feed, wish, clock)
            for said in filter(None, (feed.silence, monitor.traffic.left_out)):
                print(f"bms-agent monitor: {said}", file=sys.stderr)  # noqa: T201 - the command's output
    except BusDown as error:
        print(f"bms-agent monitor: {error}", file=sys.stderr)  # noqa: T201 - the command's output
        return 1
    return 0


def _live(monitor: Monitor, feed: BusFeed, wish: Wish, clock: Clock, where: str) -> None:
    with full_screen() as terminal:
        for frame in feed.frames():
            if frame is not None:
                monitor.take(frame)
                continue
            for key in terminal.pressed():
                wish.press(key, terminal.size[1] - 4)
            title = [
                Piece(f"{feed.silence}   ".lstrip(), Style.BAD)
            ]  # a narrow screen cuts the rest
            title.append(Piece(f"{where}: {_counts(monitor)}", Style.NAME))
            lines = _screen(monitor, wish, clock, title, terminal.size)
            terminal.show([rendered(line, colour=True) for line in lines])


def _counts(monitor: Monitor) -> str:
    traffic = monitor.traffic
    said = f"{traffic.frames} frames, {len(traffic.seen)} identifiers"
    return f"{said}; {traffic.left_out}" if traffic.more else said


def _screen(
    monitor: Monitor, wish: Wish, clock: Clock, title: Line, size: tuple[int, int]
) -> list[Line]:
    width, height = size
    rows = monitor.rows(clock.monotonic_s(), wish.query, wish.sort)
    shown = f"filter: {wish.query or 'none'}   sorted by {wish.sort}   {HELP}"
    if len(shown) > width:
        shown = f"{wish.query or ''}   {SHORT_HELP}".strip()
    body = fitted(table(rows, width), width, height - 2, wish.skip)
    return [cut(title, width), *body, cut([Piece(shown, Style.FAINT)], width)]


def _changes(monitor: Monitor, feed: BusFeed, wish: Wish) -> None:
    """Print a line for each frame that changes a value."""
    first_s: float | None = None
    told = ""
    query = wish.query.lower()
    for frame in feed.frames():
        if frame is None:
            if feed.trouble != told:
                print(feed.trouble or "the bus is back", file=sys.stderr)  # noqa: T201 - the command's output
            told = feed.trouble
            continue
        first_s = frame.at_s if first_s is None else first_s
        text = frame_text(frame.can_id, frame.extended, frame.data)
        for name, before, after in monitor.take(frame):
            line = f"{frame.at_s - first_s:10.3f}  {text}  {name}: {before} -> {after}"
            if query in line.lower():
                print(line, flush=True)  # noqa: T201 - the command's output


def _snapshot(monitor: Monitor, feed: BusFeed, wish: Wish, clock: Clock) -> None:
    """Print the table once, at the end."""
    for frame in feed.frames():
        if frame is not None:
            monitor.take(frame)
    for line in table(monitor.rows(clock.monotonic_s(), wish.query, wish.sort), PLAIN_WIDTH):
        print(rendered(line, colour=False))  # noqa: T201 - the command's output
