"""Who waits for what, in this process: long polls, sync requests, event streams.

Rules:
- All state lives on the event loop. Other threads only call `wake` and `poke`, which hand over.
- A waiter listens before it looks into the store, so no wake-up is lost between the two.
- The newest poll of a device wins: an older one may hang on a dead connection and must not take a
  command.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from starlette.requests import Request

#: Events that an event stream may lag behind before it is closed.
MAX_LAG = 256
#: A report that was too old for a sync request wakes the poll again after this [s].
REASK_S = 0.2


class Channel:
    """One device: its waiters, its newest poll, and whether somebody asks for its status."""

    def __init__(self) -> None:
        self._waiters: set[asyncio.Event] = set()
        self._sync_requests = 0
        self._sync_told = True
        self.newest_poll: object = None

    def wake(self) -> None:
        """Wake all waiters; each looks for itself whether it is meant."""
        for waiter in self._waiters:
            waiter.set()

    @contextmanager
    def listen(self) -> Iterator[asyncio.Event]:
        """Wait here: the event is set at every wake-up."""
        waiter = asyncio.Event()
        self._waiters.add(waiter)
        try:
            yield waiter
        finally:
            self._waiters.discard(waiter)

    @contextmanager
    def sync_request(self) -> Iterator[None]:
        """Ask the device for a status while the block runs."""
        self._sync_requests += 1
        self.ask_sync_again()
        try:
            yield
        finally:
            self._sync_requests -= 1

    def ask_sync_again(self) -> None:
        """Make the sync request news for the next poll."""
        self._sync_told = False
        self.wake()

    @property
    def sync_wanted(self) -> bool:
        """Whether somebody waits for a status."""
        return self._sync_requests > 0

    @property
    def waiting(self) -> int:
        """How many wait on this device."""
        return len(self._waiters)

    def sync_is_news(self) -> bool:
        """Whether a poll must answer because of a sync request; telling it once is enough."""
        return self.sync_wanted and not self._sync_told

    def sync_was_told(self) -> None:
        """Note that a poll carried the request to the device."""
        self._sync_told = True


class Subscriber:
    """One event stream and its devices (None = all)."""

    def __init__(self, scope: frozenset[str] | None) -> None:
        self._scope = scope
        self.queue: asyncio.Queue[tuple[str, dict[str, Any]] | None] = asyncio.Queue(MAX_LAG)
        self.lost = False

    def offer(self, kind: str, data: dict[str, Any]) -> None:
        """Queue an event of a device in scope; a stream that lags too far is marked lost."""
        if self._scope is not None and data["device_uid"] not in self._scope:
            return
        try:
            self.queue.put_nowait((kind, data))
        except asyncio.QueueFull:
            self.lost = True


class Hub:
    """All channels and subscribers of the process."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._channels: dict[str, Channel] = {}
        self._subscribers: set[Subscriber] = set()
        self._last_status: dict[str, tuple[object, ...]] = {}
        self.closing = False
        self.poked = asyncio.Event()

    def bind(self) -> None:
        """Remember the running loop: other threads hand over to it."""
        self._loop = asyncio.get_running_loop()

    def _call(self, function: Callable[..., None], *args: object) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(function, *args)

    def channel(self, device_uid: str) -> Channel:
        """Return the channel of a device that exists (loop thread only)."""
        return self._channels.setdefault(device_uid, Channel())

    def wake(self, device_uid: str) -> None:
        """Tell the waiters of a device that something changed (any thread)."""
        self._call(lambda: self.channel(device_uid).wake())
        self.poke()

    def poke(self) -> None:
        """Tell the feeder that the store has new events (any thread)."""
        self._call(self.poked.set)

    def close(self) -> None:
        """End all waits: the process stops (any thread, also a signal handler)."""
        self.closing = True
        self._call(self._close)

    def _close(self) -> None:
        for channel in self._channels.values():
            channel.wake()
        for subscriber in self._subscribers:
            subscriber.lost = True
            if not subscriber.queue.full():
                subscriber.queue.put_nowait(None)
        self.poked.set()

    @contextmanager
    def subscribe(self, scope: frozenset[str] | None) -> Iterator[Subscriber]:
        """Receive events while the block runs (loop thread only)."""
        subscriber = Subscriber(scope)
        self._subscribers.add(subscriber)
        try:
            yield subscriber
        finally:
            self._subscribers.discard(subscriber)

    def publish(self, kind: str, data: dict[str, Any]) -> None:
        """Offer an event to all streams (loop thread only)."""
        for subscriber in self._subscribers:
            subscriber.offer(kind, data)

    def publish_status(self, data: dict[str, Any]) -> None:
        """Publish a status if it says something else than the last one (loop thread only)."""
        device_uid = data["device_uid"]
        said = tuple(data[name] for name in ("operating_status", "alarm_status", "disconnected"))
        if self._last_status.get(device_uid) != said:
            self._last_status[device_uid] = said
            self.publish("status", data)

    @property
    def waiting(self) -> int:
        """How many requests wait for a device."""
        return sum(channel.waiting for channel in self._channels.values())

    @property
    def streams(self) -> int:
        """How many event streams are open."""
        return len(self._subscribers)


@asynccontextmanager
async def until_gone(request: Request) -> AsyncIterator[asyncio.Task[None]]:
    """Watch whether the client goes away; the task ends when it does."""

    async def watch() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    task = asyncio.create_task(watch())
    try:
        yield task
    finally:
        task.cancel()


async def pause(event: asyncio.Event, gone: asyncio.Task[None], timeout_s: float) -> None:
    """Wait until the event is set, the client has gone, or the time is over."""
    waiting = asyncio.create_task(event.wait())
    try:
        await asyncio.wait({waiting, gone}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()
