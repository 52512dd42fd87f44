"""Threads that run one at a time, on command: the agent's own loops, without a race of the host.

Each loop of the agent runs in a thread of its own, but only between `resume` and its next `wait`.
So the order of everything is the caller's choice, and the same seed gives the same run.
"""

import threading
from collections.abc import Callable

Ready = Callable[[], bool]


class Killed(BaseException):
    """Ends a fibre where it waits, as `kill -9` ends a process: nothing of the agent catches it."""


class Crash(BaseException):
    """The process dies here and now; raised at a hook."""


class Fibre:
    """One thread of the agent.

    Args:
        name: for the trace.
        body: what it runs.

    Attributes:
        ready: the condition that it waits for; `due_s`: when it goes on anyhow [s].
        hold_s: it does not run before this time [s]: the host gave it no processor.
        alone: while it waits, only the bus lives: it waits for the disk.
        error: what ended it, None for a normal end.
    """

    def __init__(self, name: str, body: Callable[[], object]) -> None:
        self.name = name
        self._body = body
        self._go, self._back = threading.Lock(), threading.Lock()
        self._go.acquire()
        self._back.acquire()
        self._killed = False
        self.ready: Ready = lambda: True
        self.due_s = 0.0
        self.hold_s = 0.0
        self.alone = False
        self.ended = False
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._main, name=name, daemon=True)
        self._thread.start()

    def runnable(self, now_s: float) -> bool:
        """Tell whether it would go on now."""
        return not self.ended and now_s >= self.hold_s and (now_s >= self.due_s or self.ready())

    def resume(self) -> None:
        """Let it run to its next wait or its end. Raises Crash if it crashed."""
        self._go.release()
        self._back.acquire()
        if isinstance(self.error, Crash):
            raise self.error

    def wait(self, ready: Ready, due_s: float) -> None:
        """Give control back until `ready` or `due_s` [s]; called in the fibre itself."""
        self.ready, self.due_s = ready, due_s
        self._back.release()
        self._go.acquire()
        if self._killed:
            raise Killed

    def kill(self) -> None:
        """End it where it waits."""
        self._killed = True
        while not self.ended:
            self.resume()
        self._thread.join()

    def _main(self) -> None:
        self._go.acquire()
        try:
            if not self._killed:
                self._body()
        except Killed:
            pass
        except BaseException as error:  # noqa: BLE001 - handed over to the world, which fails on it
            self.error = error
        self.ended = True
        self._back.release()
