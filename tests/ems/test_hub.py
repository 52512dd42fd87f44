"""Waiters, streams and hand-over between threads."""

import threading
from collections.abc import Awaitable, Callable

import anyio
import anyio.lowlevel

from ems.hub import MAX_LAG, Hub


def run(work: Callable[[], Awaitable[None]]) -> None:
    """Run a coroutine function."""
    anyio.run(work)


def test_a_wake_from_another_thread_arrives() -> None:
    """A thread of a `def` endpoint ends a wait on the event loop."""

    async def work() -> None:
        hub = Hub()
        hub.bind()
        with hub.channel("A").listen() as event:
            threading.Thread(target=hub.wake, args=("A",)).start()
            with anyio.fail_after(5):
                await event.wait()
                await hub.poked.wait()
        assert hub.waiting == 0

    run(work)


def test_a_wake_is_for_one_device() -> None:
    """Others keep waiting."""

    async def work() -> None:
        hub = Hub()
        hub.bind()
        with hub.channel("A").listen() as mine, hub.channel("B").listen() as other:
            hub.wake("A")
            await anyio.lowlevel.checkpoint()
            await anyio.lowlevel.checkpoint()
            assert (mine.is_set(), other.is_set()) == (True, False)

    run(work)


def test_nothing_is_lost_before_the_loop_runs() -> None:
    """Without a loop there is no waiter: a wake is no error."""
    Hub().wake("A")


def test_a_sync_request_is_told_once_until_asked_again() -> None:
    """The poll answers once; the request stays wanted until it is withdrawn."""

    async def work() -> None:
        channel = Hub().channel("A")
        assert not channel.sync_is_news()
        with channel.sync_request():
            assert channel.sync_is_news()
            channel.sync_was_told()
            assert (channel.sync_is_news(), channel.sync_wanted) == (False, True)
            channel.ask_sync_again()
            assert channel.sync_is_news()
        assert (channel.sync_is_news(), channel.sync_wanted) == (False, False)

    run(work)


def test_a_stream_that_lags_is_given_up() -> None:
    """A reader that does not read costs a bounded queue, then it is marked lost."""

    async def work() -> None:
        hub = Hub()
        with hub.subscribe(None) as subscriber:
            for _ in range(MAX_LAG):
                hub.publish("command", {"device_uid": "A"})
            assert not subscriber.lost
            hub.publish("command", {"device_uid": "A"})
            assert subscriber.lost
        assert hub.streams == 0

    run(work)


def test_a_stream_hears_only_its_devices() -> None:
    """Events of other devices are not even queued."""

    async def work() -> None:
        hub = Hub()
        with hub.subscribe(frozenset({"A"})) as subscriber:
            hub.publish("command", {"device_uid": "B"})
            hub.publish("command", {"device_uid": "A"})
            assert subscriber.queue.qsize() == 1

    run(work)


def test_only_changes_of_a_status_are_published() -> None:
    """The same status again is not an event."""

    async def work() -> None:
        hub = Hub()
        said = {"device_uid": "A", "operating_status": 1, "alarm_status": 0, "disconnected": 0}
        with hub.subscribe(None) as subscriber:
            hub.publish_status(said)
            hub.publish_status(dict(said))
            hub.publish_status(said | {"alarm_status": 1})
            assert subscriber.queue.qsize() == 2

    run(work)


def test_closing_ends_all_waits() -> None:
    """Waiters and streams wake up when the process stops."""

    async def work() -> None:
        hub = Hub()
        hub.bind()
        with hub.channel("A").listen() as event, hub.subscribe(None) as subscriber:
            hub.close()
            with anyio.fail_after(5):
                await event.wait()
                assert await subscriber.queue.get() is None

    run(work)
