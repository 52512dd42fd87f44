"""bms-agent demo: the whole thing on one machine, playing a story and proving each step."""

import contextlib
import signal
import sys
import tempfile
import threading
from argparse import Namespace
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from agent.clock import SystemClock
from agent.demo_listening import play_for
from agent.demo_stage import Stage, StageFailed, stage
from agent.demo_story import Line, Refused, Unproven
from agent.demo_view import LiveView, PlainView, View
from bms_can.errors import BadInput, BadValue
from bms_can.misbehaviour import Misbehaviour, misbehaviour

EXIT_UNPROVEN = 1
HINT = 'install the extra: pip install "bms-can-agent[demo]"'


class Ended(Exception):
    """A person asked for the end."""


def main(arguments: Namespace) -> int:
    """Play the story; without --once everything goes on afterwards until Ctrl-C."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    wrong = _wrong(arguments.fault)
    plain = arguments.plain or not sys.stdout.isatty()
    if missing := _missing(plain=plain):
        print(f"bms-agent demo: {missing} is missing; {HINT}", file=sys.stderr)  # noqa: T201 - the command's output
        return EXIT_UNPROVEN
    try:
        with _folder(arguments.keep) as folder, stage(folder, arguments.battery, wrong) as played:
            view: View = PlainView() if plain else LiveView(played)
            with view:
                return _play(played, view, stop, once=arguments.once)
    except StageFailed as error:
        print(f"bms-agent demo: {error}", file=sys.stderr)  # noqa: T201 - the command's output
        return EXIT_UNPROVEN


def _play(played: Stage, view: View, stop: threading.Event, *, once: bool) -> int:
    clock = SystemClock()

    def wait(seconds: float) -> None:
        view.refresh()
        if clock.wait(stop, seconds):
            raise Ended

    profile = played.system.links[0].device.profile
    play = play_for(profile, played.operator, played.simulator, wait, clock.monotonic_s)
    code = 0
    try:
        for line in play.story():
            view.show(line)
            wait(0.0)
        view.show(Line("proof", "every step was proven"))
    except (Unproven, Refused) as error:
        view.show(Line("missing", str(error)))
        code = EXIT_UNPROVEN
    except Ended:
        view.show(Line("seen", "ended before the story was over"))
        return EXIT_UNPROVEN if once else 0
    if once:
        return code
    view.show(
        Line(
            "step", "The story is over; everything still runs. Try the curl lines. Ctrl-C ends it."
        )
    )
    with contextlib.suppress(Ended):
        while True:
            wait(0.25)
    return 0


def _missing(*, plain: bool) -> str:
    """Return the first package of the extra that is not installed, "" if all are."""
    needed = ("fastapi", "sqlalchemy", "uvicorn", *(() if plain else ("rich",)))
    return next((name for name in needed if find_spec(name) is None), "")


def _wrong(words: list[str]) -> Misbehaviour:
    try:
        return misbehaviour(words)
    except BadValue as error:
        raise BadInput("--fault", [str(error)]) from error


@contextlib.contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    """Yield the folder for all files; a temporary one unless a person wants to keep them."""
    if keep is not None:
        keep.mkdir(mode=0o700, parents=True, exist_ok=True)
        yield keep.resolve()
        return
    with tempfile.TemporaryDirectory(prefix="bms-demo-") as name:
        yield Path(name)
