"""Threads that run one at a time on a clock that jumps: the same order in every run.

The agent's loops run in threads of their own, as on a box, but only one of them at any moment: who
waits picks the next one and hands over. If nobody can go on, time jumps to the next moment at which
somebody wants to. Nothing here depends on the speed of the machine or the order of a hash.
"""

import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from math import inf

Ready = Callable[[], bool]


class _Ended(BaseException):
    """Ends an actor where it waits; nothing of the agent catches it."""


class _Actor:
    """One thread. `ready`: what it waits for; `due_s`: when it goes on anyhow [s]."""

    def __init__(self, name: str, body: Callable[[], object]) -> None:
        self.name = name
        self.body = body
        self.ready: Ready = lambda: True
        self.due_s = -inf
        self.go = threading.Lock()
        self.go.acquire()
        self.ended = False
        self.error: BaseException | None = None
        self.thread: threading.Thread | None = None


class Stage:
    """The actors and their time.

    Args:
        start_s: where the clock begins [s].

    Attributes:
        now_s: the present [s].
    """

    def __init__(self, start_s: float) -> None:
        self.now_s = start_s
        self._until_s: Callable[[], float] = lambda: start_s
        self._actors: list[_Actor] = []
        self._turn = 0
        self._running: _Actor | None = None
        self._back = threading.Semaphore(0)
        self._over = False

    @property
    def alive(self) -> set[str]:
        """Names of the actors that have not ended."""
        return {actor.name for actor in self._actors if not actor.ended}

    def add(self, name: str, body: Callable[[], object]) -> None:
        """Add an actor; it begins with `run`."""
        self._actors.append(_Actor(name, body))

    def run(self, until_s: Callable[[], float]) -> None:
        """Let everybody act until a moment [s], that moment included; it is asked for each time.

        Raises:
            BaseException: what an actor raised.
        """
        for actor in self._actors:
            if actor.thread is None:
                actor.thread = threading.Thread(target=self._main, args=(actor,), name=actor.name)
                actor.thread.start()
        self._until_s = until_s
        chosen = self._pick()
        if chosen is not None:
            self._hand_to(chosen)
            self._back.acquire()
        self.now_s = max(self.now_s, until_s())
        for actor in self._actors:
            if actor.error is not None:
                raise actor.error

    def close(self) -> None:
        """End every actor where it waits."""
        if self._over:
            return
        self._over = True
        for actor in self._actors:
            if actor.thread is not None:
                actor.go.release()
                actor.thread.join()

    def wait(self, ready: Ready, timeout_s: float) -> None:
        """Let the actor that calls wait, at most so long [s]."""
        self.wait_until(ready, self.now_s + max(timeout_s, 0.0))

    def wait_until(self, ready: Ready, due_s: float) -> None:
        """Let the actor that calls wait, at most until a moment [s]; nobody else waits here."""
        me = self._running
        if me is None or threading.current_thread() is not me.thread:
            return
        if self._over:
            raise _Ended
        me.ready, me.due_s = ready, due_s
        chosen = self._pick()
        if chosen is not me:
            self._hand_to(chosen)
            me.go.acquire()
            if self._over:
                raise _Ended

    def _pick(self) -> _Actor | None:
        """Return who acts next, None when the time of this run is over or somebody failed."""
        count = len(self._actors)
        for step in range(1, count + 1):
            place = (self._turn + step) % count
            actor = self._actors[place]
            if not actor.ended and (actor.due_s <= self.now_s or actor.ready()):
                self._turn = place
                return actor
        waiting = [actor for actor in self._actors if not actor.ended]
        first = min(waiting, key=lambda actor: actor.due_s, default=None)
        if first is None or first.due_s > self._until_s():
            return None
        self.now_s = first.due_s
        self._turn = self._actors.index(first)
        return first

    def _hand_to(self, actor: _Actor | None) -> None:
        self._running = actor
        if actor is None:
            self._back.release()
        else:
            actor.go.release()

    def _main(self, actor: _Actor) -> None:
        actor.go.acquire()
        try:
            if not self._over:
                actor.body()
        except _Ended:
            pass
        except BaseException as error:  # noqa: BLE001 - handed over to who called `run`
            actor.error = error
        actor.ended = True
        if not self._over:
            self._hand_to(None if actor.error is not None else self._pick())


class StageClock:
    """The agent's Clock on a stage.

    Args:
        stage: where time passes.
        wall: the time of day at the stage's start, aware.
    """

    def __init__(self, stage: Stage, wall: datetime) -> None:
        self._stage = stage
        self._start_s = stage.now_s
        self._wall = wall

    def monotonic_s(self) -> float:
        """See agent.clock.Clock."""
        return self._stage.now_s

    def wall(self) -> datetime:
        """See agent.clock.Clock."""
        return self._wall + timedelta(seconds=self._stage.now_s - self._start_s)

    def boot_id(self) -> str:
        """See agent.clock.Clock."""
        return "replay"

    def wait(self, event: threading.Event, timeout_s: float) -> bool:
        """See agent.clock.Clock."""
        if not event.is_set():
            self._stage.wait(event.is_set, timeout_s)
        return event.is_set()
