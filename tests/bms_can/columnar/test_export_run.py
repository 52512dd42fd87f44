"""Many logs over an executor that loses workers: every log ends, and each says how."""

from collections import Counter
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Executor, Future
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bms_can.columnar.export_log import Exported, Failed, Progress, Task
from bms_can.columnar.export_plan import Options
from bms_can.columnar.export_run import TRIES, EngineLost, Outcome, export_all

GOOD, LOST, BREAKS, BAD, BUG, CANCELLED = "good", "disk", "breaks", "final", "bug", "cancelled"


def task(path: str) -> Task:
    """Build a task."""
    return Task(path, path, "d.dbc", "", Options(), "work", ("test", "arrow"))


@dataclass
class Scripted(Executor):
    """An executor whose futures end as told: for each log one word a try, then good.

    A word "breaks" takes down all that run in it, as a process pool does.
    """

    script: dict[str, list[str]]
    broken: bool = False
    running: dict[Future[Outcome], str] = field(default_factory=dict)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:  # noqa: ANN401, ARG002 - as Executor's
        """See Executor."""
        if self.broken:
            raise BrokenExecutor("broken")
        future: Future[Outcome] = Future()
        self.running[future] = args[0].path
        return future

    def step(self) -> None:
        """Let all that runs end."""
        words = {
            future: (self.script.get(path) or [GOOD]).pop(0)
            for future, path in self.running.items()
        }
        self.broken = self.broken or BREAKS in words.values()
        for future, word in words.items():
            self._end(future, self.running.pop(future), word)

    def _end(self, future: Future[Outcome], path: str, word: str) -> None:
        if self.broken:
            future.set_exception(BrokenExecutor("a worker was lost"))
        elif word == CANCELLED:
            future.cancel()
            future.set_running_or_notify_cancel()
        elif word == BUG:
            future.set_exception(ZeroDivisionError("oops"))
        elif word == GOOD:
            future.set_result(Exported(path, {"path": path}))
        else:
            future.set_result(Failed(path, word, final=word == BAD))


@dataclass
class Engine:
    """An engine of such executors: looking at it makes time pass."""

    script: dict[str, list[str]]
    width: int = 3
    progress: Progress | None = None
    made: list[Scripted] = field(default_factory=list)
    most: int = 0

    def executor(self) -> Executor:
        """Make a new one, as after a break."""
        self.made.append(Scripted(self.script))
        return self.made[-1]

    def check(self) -> None:
        """Let what runs end."""
        self.most = max(self.most, len(self.made[-1].running))
        self.made[-1].step()

    def close(self) -> None:
        """Nothing to end."""


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """A scripted executor needs no time."""
    monkeypatch.setattr("bms_can.columnar.export_run.LOOK_S", 0)


def run(script: dict[str, list[str]], width: int = 3) -> tuple[dict[str, Outcome], Engine]:
    """Export the logs of a script."""
    engine = Engine({path: list(words) for path, words in script.items()}, width)
    found = {}
    for outcome in export_all([task(path) for path in script], engine):
        path = outcome.path if isinstance(outcome, Failed) else str(outcome.entry["path"])
        assert path not in found
        found[path] = outcome
    assert found.keys() == script.keys()
    return found, engine


def test_a_lost_worker_loses_no_log() -> None:
    """All that ran with it is done anew, each alone; the rest goes on."""
    found, engine = run({"a": [], "b": [BREAKS], "c": [], "d": []})
    assert all(isinstance(outcome, Exported) for outcome in found.values())
    assert len(engine.made) == 2


def test_a_log_that_kills_its_workers_is_named_and_takes_nobody_along() -> None:
    """Its neighbours were there when the pool broke, and are exported all the same."""
    found, _ = run({"a": [], "poison": [BREAKS] * 9, "c": [], "d": [], "e": []})
    failed = {path for path, outcome in found.items() if isinstance(outcome, Failed)}
    assert failed == {"poison"}
    assert found["poison"] == Failed("poison", "a worker was lost (3 tries)", final=True)


def test_two_such_logs_are_told_apart() -> None:
    """Even if they ran at the same time."""
    found, _ = run({"a": [], "p": [BREAKS] * 9, "q": [BREAKS] * 9, "d": []})
    assert {path for path, outcome in found.items() if isinstance(outcome, Failed)} == {"p", "q"}


@pytest.mark.parametrize(
    ("word", "tries", "reason"),
    [(LOST, 3, "disk (3 tries)"), (BUG, 3, "oops (3 tries)"), (CANCELLED, 3, "CancelledError (3"),
     (BAD, 1, "final")],
)  # fmt: skip
def test_what_may_pass_is_tried_again(word: str, tries: int, reason: str) -> None:
    """A file that is wrong stays wrong; all else gets three tries."""
    found, _ = run({"a": [word] * 9, "b": []})
    outcome = found["a"]
    assert isinstance(outcome, Failed)
    assert outcome.reason.startswith(reason)
    again, _ = run({"a": [word] * (tries - 1), "b": []})
    assert isinstance(again["a"], Exported)


def test_nobody_left_to_work_ends_it() -> None:
    """What is done was told; the rest is not waited for."""

    class Lost(Engine):
        def check(self) -> None:
            raise EngineLost("no worker")

    with pytest.raises(EngineLost, match="no worker"):
        list(export_all([task("a")], Lost({})))


@given(
    st.lists(st.lists(st.sampled_from([GOOD, LOST, BUG, BAD, CANCELLED]), max_size=4), max_size=8),
    st.integers(1, 4),
)
def test_every_log_ends_once(scripts: list[list[str]], width: int) -> None:
    """Failures of all kinds: as many tries as allowed, no log twice, none forgotten."""
    script = {str(number): words for number, words in enumerate(scripts)}
    found, engine = run(script, width)
    assert engine.most <= width
    for path, words in script.items():
        bad = next((n for n, word in enumerate(words) if word == GOOD), len(words))
        expected_fail = BAD in words[: min(bad, TRIES)] or bad >= TRIES
        assert isinstance(found[path], Failed) == expected_fail, Counter(words)
