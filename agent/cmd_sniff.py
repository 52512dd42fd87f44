"""bms-agent sniff: what do the identifiers do that no DBC explains?"""

import math
import signal
import sys
import threading
from argparse import Namespace

from agent.battery_words import battery_of
from agent.bus_feed import BusFeed
from agent.clock import Clock, SystemClock
from agent.cmd_monitor import Wish
from agent.monitor_screen import Piece, Style, cut, fitted, rendered
from agent.options import bus_settings
from agent.sniff import Sniffer
from agent.terminal import full_screen
from bms_can.errors import BusDown

PLAIN_SECONDS = 10.0
HELP = "type to filter by id, arrows scroll, Esc clears, Ctrl-C ends"


def _live(sniffer: Sniffer, clock: Clock, feed: BusFeed) -> None:
    wish = Wish("", "id")
    with full_screen() as terminal:
        for frame in feed.frames():
            if frame is not None:
                sniffer.take(frame)
                continue
            width, height = terminal.size
            for key in terminal.pressed():
                wish.press(key, height - 3)
            lines = fitted(
                sniffer.lines(clock.monotonic_s(), wish.query), width, height - 1, wish.skip
            )
            words = Piece(f"filter: {wish.query or 'none'}   {HELP}", Style.FAINT)
            # What is wrong stands first: a narrow terminal cuts the rest.
            foot = cut([Piece(f"{feed.silence}   ".lstrip(), Style.BAD), words], width)
            terminal.show([rendered(line, colour=True) for line in (*lines, foot)])


def main(arguments: Namespace) -> int:
    """Watch until Ctrl-C, SIGTERM or --seconds, then print what was found."""
    _, database = battery_of(arguments)
    sniffer = Sniffer(() if database is None or arguments.all else database.by_id)
    settings, clock, stop = bus_settings(arguments), SystemClock(), threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    live = sys.stdin.isatty() and sys.stdout.isatty() and not arguments.plain
    end_s = clock.monotonic_s() + (arguments.seconds or (math.inf if live else PLAIN_SECONDS))
    feed = BusFeed(settings, clock, end_s, stop, patient=live)
    try:
        if live:
            _live(sniffer, clock, feed)
        for frame in feed.frames():
            if frame is not None:
                sniffer.take(frame)
    except BusDown as error:
        print(f"bms-agent sniff: {error}", file=sys.stderr)  # noqa: T201 - the command's output
        return 1
    for line in sniffer.lines(clock.monotonic_s()):
        print(rendered(line, colour=False))  # noqa: T201 - the command's output
    if silence := feed.silence:
        print(f"bms-agent sniff: {silence}", file=sys.stderr)  # noqa: T201 - the command's output
    return 0
