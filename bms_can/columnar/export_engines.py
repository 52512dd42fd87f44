"""Where logs are exported: in this process, in processes of this machine, or on a Dask cluster."""

import logging
import multiprocessing
import os
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from typing import Any, ParamSpec, TypeVar

from bms_can.columnar.export_log import Progress
from bms_can.columnar.export_run import Engine, EngineLost
from bms_can.errors import BadInput

P = ParamSpec("P")
T = TypeVar("T")

PATIENCE_S = 60.0  # without any worker: a cluster that restarts one needs some seconds
CONNECT_S = 10.0
AHEAD = 2  # tasks for each thread of a cluster: the next one is there when one ends


class _Here(Executor):
    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        future: Future[T] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


@dataclass(slots=True)
class InProcess:
    """One log after the other, here."""

    progress: Progress | None = None
    width: int = 1

    def executor(self) -> Executor:
        """See Engine."""
        return _Here()

    def check(self) -> None:
        """See Engine."""

    def close(self) -> None:
        """See Engine."""


@dataclass(slots=True)
class Processes:
    """Some logs at once, each in a process of its own interpreter.

    Args:
        width: how many.
    """

    width: int
    progress: Progress | None = None
    _pool: ProcessPoolExecutor | None = None

    def executor(self) -> Executor:
        """See Engine."""
        self.close()
        context = multiprocessing.get_context("spawn")
        self._pool = ProcessPoolExecutor(self.width, context, initializer=end_with_parent)
        return self._pool

    def check(self) -> None:
        """See Engine. A broken pool says so by itself."""

    def close(self) -> None:
        """See Engine."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None


def end_with_parent() -> None:
    """Let this process end when the one that started it is gone, however it went."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_follow, args=(parent.sentinel,), daemon=True).start()


def _follow(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)


@dataclass(slots=True)
class Dask:
    """The workers of a Dask cluster; they see the same files under the same names.

    Args:
        address: of the scheduler, such as tcp://10.0.0.5:8786.
        now_s: monotonic clock [s].

    Raises:
        BadInput: nobody answers there.
    """

    address: str
    now_s: Callable[[], float]
    progress: Progress | None = None
    width: int = 1
    _client: Any = None  # distributed has types in part only
    _seen_s: float = field(default=0.0)

    def __post_init__(self) -> None:
        from distributed import Client  # noqa: PLC0415 - extra [cluster], and slow to import

        for name in ("distributed", "distributed.client"):  # what it logs, we say in a sentence
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)
        try:
            connect: Any = Client
            self._client = connect(self.address, timeout=CONNECT_S, set_as_default=False)
        except (OSError, ValueError) as error:
            raise BadInput("--scheduler", [f"{self.address}: {error}"]) from error
        self._seen_s = self.now_s()
        self.check()

    def executor(self) -> Executor:
        """See Engine."""
        executor: Executor = self._connected.get_executor(pure=False)
        return executor

    @property
    def _connected(self) -> Any:  # noqa: ANN401 - see above
        if self._client is None or self._client.status not in ("running", "connecting"):
            raise EngineLost(f"{self.address}: the scheduler is gone")
        return self._client

    def check(self) -> None:
        """See Engine."""
        try:
            threads = sum(self._connected.nthreads().values())
        except (OSError, RuntimeError, ValueError) as error:  # what a client says that was closed
            raise EngineLost(f"{self.address}: the scheduler is gone: {error}") from error
        if threads:
            self.width = AHEAD * threads
            self._seen_s = self.now_s()
        elif self.now_s() - self._seen_s > PATIENCE_S:
            raise EngineLost(f"{self.address}: no worker for {PATIENCE_S:g} s")

    def close(self) -> None:
        """See Engine."""
        if self._client is not None:
            self._client.close()
            self._client = None


def engine_of(jobs: int, scheduler: str | None, now_s: Callable[[], float]) -> Engine:
    """Return the engine that was asked for.

    Raises:
        BadInput: the cluster does not answer.
    """
    if scheduler is not None:
        return Dask(scheduler, now_s)
    return Processes(jobs) if jobs > 1 else InProcess()
