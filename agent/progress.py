"""How far a long job is, on stderr: a bar in a terminal that has rich, else a line now and then."""

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Protocol, TextIO

PLAIN_EVERY_S = 10.0
BAR_EVERY_S = 0.1


class Shown(Protocol):
    """Takes what there is to be seen."""

    def __call__(self, share: float, text: str) -> None:
        """Show the share that is done, 0 to 1, and what goes with it."""


@dataclass(slots=True)
class Progress:
    """Counts bytes and frames of some logs.

    Args:
        total: bytes of all logs.
        now_s: monotonic clock [s].
        show: where to.
        every_s: not more often than this [s].
        aside: makes room for other output, as `with`.
    """

    total: int
    now_s: Callable[[], float]
    show: Shown
    every_s: float
    aside: Callable[[], AbstractContextManager[object]] = nullcontext
    _before: int = 0
    _frames_before: int = 0
    _here: int = 0
    _frames_here: int = 0
    _began_s: float = field(init=False)
    _shown_s: float = field(init=False)

    def __post_init__(self) -> None:
        self._began_s = self._shown_s = self.now_s()

    def within(self, frames: int, position: int) -> None:
        """Hear how far the present log is: frames and bytes since its start."""
        self._frames_here, self._here = frames, position
        self._look()

    def finished(self, size: int, frames: int) -> None:
        """Hear that a log is through: its bytes and frames."""
        self._before += size
        self._frames_before += frames
        self._here = self._frames_here = 0
        self._look()

    def _look(self) -> None:
        now_s = self.now_s()
        if now_s - self._shown_s >= self.every_s:
            self._shown_s = now_s
            self.show(*self._state(now_s - self._began_s))

    def _state(self, took_s: float) -> tuple[float, str]:
        done = min(self._before + self._here, self.total)
        frames = self._frames_before + self._frames_here
        share = done / self.total if self.total else 0.0
        text = f"{frames / 1e6:.1f} M frames, {frames / 1e6 / took_s:.2f} M/s"
        if share > 0:
            text += f", {_duration(took_s / share - took_s)} left"
        return share, text


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"


@contextmanager
def progress(total: int, now_s: Callable[[], float], stream: TextIO) -> Iterator[Progress]:
    """Show on a stream how far a job of `total` bytes is."""
    if stream.isatty() and find_spec("rich") is not None:
        with _bar() as (show, aside):
            yield Progress(total, now_s, show, BAR_EVERY_S, aside)
    else:
        yield Progress(total, now_s, _line(stream), PLAIN_EVERY_S)


def _line(stream: TextIO) -> Shown:
    def show(share: float, text: str) -> None:
        print(f"{share:.0%}, {text}", file=stream, flush=True)

    return show


@contextmanager
def _bar() -> Iterator[tuple[Shown, Callable[[], AbstractContextManager[object]]]]:
    from rich.console import Console  # noqa: PLC0415 - rich is an extra, only for terminals
    from rich.progress import BarColumn, TextColumn  # noqa: PLC0415 - same
    from rich.progress import Progress as Bar  # noqa: PLC0415 - same

    columns = (
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TextColumn("{task.description}"),
    )
    with Bar(
        *columns,
        console=Console(file=sys.stderr),
        transient=True,
        redirect_stdout=False,  # stdout may be a pipe: it gets what belongs to it
        redirect_stderr=False,
    ) as bar:
        task = bar.add_task("", total=1.0)

        def show(share: float, text: str) -> None:
            bar.update(task, completed=share, description=text)

        @contextmanager
        def aside() -> Iterator[None]:
            bar.stop()
            yield
            bar.start()

        yield show, aside
