"""Export many logs over any executor: a lost worker loses no log, and no log stops the others.

A log that takes its worker down with it must not take the others along: whatever was under way when
a pool broke is tried again alone, so that the next break has one culprit.
"""

from collections import Counter, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    CancelledError,
    Executor,
    Future,
    wait,
)
from dataclasses import dataclass, field
from typing import Protocol

from bms_can.columnar.export_log import Exported, Failed, Progress, Task, export_log

TRIES = 3
LOOK_S = 0.5  # how often to see whether the engine still has workers

Outcome = Exported | Failed


class EngineLost(Exception):
    """There is nobody left to export anything."""


class Engine(Protocol):
    """Where logs are exported.

    Attributes:
        width: how many at once.
        progress: told on the way, where the engine can.
    """

    width: int
    progress: Progress | None

    def executor(self) -> Executor:
        """Return one that works; it is asked for anew after it broke."""

    def check(self) -> None:
        """See whether somebody works.

        Raises:
            EngineLost: nobody does, and nobody will.
        """

    def close(self) -> None:
        """End it."""


def export_all(tasks: Sequence[Task], engine: Engine) -> Iterator[Outcome]:
    """Yield what became of each log, in the order in which they end.

    Raises:
        EngineLost: what was yielded so far stands.
    """
    queue = _Queue(engine, deque(tasks))
    while queue.left:
        queue.fill()
        done, _ = wait(queue.running, LOOK_S, FIRST_COMPLETED)
        if not done or any(future.cancelled() for future in done):
            engine.check()
        for future in done:
            outcome = queue.settle(future)
            if outcome is not None:
                yield outcome


@dataclass(slots=True)
class _Queue:
    """Tasks on their way through an engine."""

    engine: Engine
    waiting: deque[Task]
    alone: deque[Task] = field(default_factory=deque)
    failures: Counter[str] = field(default_factory=Counter)
    running: dict[Future[Outcome], Task] = field(default_factory=dict)
    _executor: Executor | None = None

    @property
    def left(self) -> bool:
        """Whether there is anything to be done."""
        return bool(self.waiting or self.alone or self.running)

    def fill(self) -> None:
        """Hand on as many tasks as may run now."""
        while self.waiting and len(self.running) < self.engine.width:
            self._submit(self.waiting)
        if self.alone and not self.running:
            self._submit(self.alone)

    def _submit(self, queue: deque[Task]) -> None:
        if self._executor is None:
            self._executor = self.engine.executor()
        arguments = (self.engine.progress,) if self.engine.progress else ()
        try:
            future = self._executor.submit(export_log, queue[0], *arguments)
        except BrokenExecutor:
            self._executor = None  # the next round makes a new one; nobody is to blame yet
        else:
            self.running[future] = queue.popleft()

    def settle(self, future: Future[Outcome]) -> Outcome | None:
        """Return what became of a task, None if it is tried again."""
        task = self.running.pop(future)
        error = CancelledError() if future.cancelled() else future.exception()
        if error is None:
            outcome = future.result()
            if isinstance(outcome, Exported) or outcome.final:
                return outcome
            return self._again(task, outcome.reason, self.waiting)
        broken = isinstance(error, BrokenExecutor)
        if broken:
            self._executor = None
        reason = str(error) or type(error).__name__
        return self._again(task, reason, self.alone if broken else self.waiting)

    def _again(self, task: Task, reason: str, queue: deque[Task]) -> Failed | None:
        self.failures[task.path] += 1
        if self.failures[task.path] >= TRIES:
            return Failed(task.path, f"{reason} ({TRIES} tries)", final=True)
        queue.append(task)
        return None
