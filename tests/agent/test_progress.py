"""How far a long job is."""

import io

import pytest

from agent.clock import FakeClock
from agent.progress import PLAIN_EVERY_S, Progress, progress


def test_lines_come_now_and_then_with_rate_and_time_left() -> None:
    """Without a terminal: a line each ten seconds, never more."""
    clock, stream = FakeClock(), io.StringIO()
    with progress(1000, clock.monotonic_s, stream) as shown:
        for step in range(1, 41):
            clock.advance(PLAIN_EVERY_S / 10)
            shown.within(step * 100_000, step * 10)
        shown.finished(400, 4_000_000)
        clock.advance(60)
        shown.finished(600, 6_000_000)
    assert stream.getvalue().splitlines() == [
        "10%, 1.0 M frames, 0.10 M/s, 0:01:30 left",
        "20%, 2.0 M frames, 0.10 M/s, 0:01:20 left",
        "30%, 3.0 M frames, 0.10 M/s, 0:01:10 left",
        "40%, 4.0 M frames, 0.10 M/s, 0:01:00 left",
        "100%, 10.0 M frames, 0.10 M/s, 0:00:00 left",
    ]


def test_nothing_is_invented_where_nothing_is_known() -> None:
    """Empty logs, or a reader that cannot tell its place: no time left is claimed."""
    clock, told = FakeClock(), list[tuple[float, str]]()
    shown = Progress(0, clock.monotonic_s, lambda share, text: told.append((share, text)), 0.0)
    clock.advance(2)
    shown.within(5_000_000, 0)
    assert told == [(0.0, "5.0 M frames, 2.50 M/s")]


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        """See TextIO."""
        return True


def test_a_terminal_gets_a_bar_that_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bar is on stderr alone; what else is said stands by itself."""
    clock, terminal, out = FakeClock(), Terminal(), io.StringIO()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setattr("sys.stdout", out)
    with progress(1000, clock.monotonic_s, terminal) as shown:
        clock.advance(1)
        shown.finished(500, 1_000_000)
        with shown.aside():
            out.write("a.log: done\n")
    assert "1.0 M frames, 1.00 M/s, 0:00:01 left" in terminal.getvalue()
    assert "a.log" not in terminal.getvalue()
    assert out.getvalue() == "a.log: done\n"  # rich writes nothing there
