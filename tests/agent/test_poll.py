"""The poll loop: hands on what it gets, backs off when it gets nothing, ends when told."""

import logging
import threading
from collections import deque

import pytest

from agent.clock import FakeClock
from agent.errors import (
    CloudClosed,
    CloudError,
    CloudNonsense,
    CloudRefused,
    CloudRefusedKey,
    CloudThrottled,
    CloudUnreachable,
)
from agent.executor import Offer
from agent.payload import Pending, PendingCommand, RefusedItem
from agent.poll import REFUSED_WAIT_S, Poller
from bms_can.profile import CommandCode

CLOSE = PendingCommand("c-1", CommandCode.CLOSE_CONTACTOR, 10.0, "li", 1, cancel_requested=False)
NOTHING = Pending(0.0, 0.0, sync_requested=False, commands=(), refused=())


class Bench:
    """A poller whose platform plays a script; it ends when the script is over.

    Attributes:
        asked_s: when it asked, on the fake clock [s].
        offers: what it handed on; `syncs`: how often a sync was asked for.
    """

    def __init__(self, *script: Pending | CloudError) -> None:
        self.clock = FakeClock(auto=True)
        self.asked_s: list[float] = []
        self.offers: list[Offer] = []
        self.syncs = 0
        self._script = deque(script)
        self.poller = Poller(
            ask=self._ask,
            device_uid="BAT-1",
            clock=self.clock,
            offer=self.offers.append,
            wake_sync=self._wake,
            chance=lambda: 0.5,
        )

    def _wake(self) -> None:
        self.syncs += 1

    def _ask(self) -> Pending:
        self.asked_s.append(self.clock.monotonic_s())
        if not self._script:
            raise CloudClosed("over")
        answer = self._script.popleft()
        if isinstance(answer, CloudError):
            raise answer
        return answer._replace(asked_at_s=self.asked_s[-1])

    def run(self) -> "Bench":
        """Run to the end of the script."""
        self.poller.run()
        return self

    @property
    def pauses_s(self) -> list[float]:
        """Time between two calls [s]."""
        pairs = zip(self.asked_s, self.asked_s[1:], strict=False)
        return [round(after - before, 3) for before, after in pairs]


def test_a_command_is_handed_on_with_its_deadline() -> None:
    """Its life counts from the start of the request that brought it."""
    bench = Bench(NOTHING._replace(commands=(CLOSE,))).run()
    (offer,) = bench.offers
    assert offer.command.id == "c-1"
    assert offer.command.device_uid == "BAT-1"
    assert offer.command.deadline_s == bench.asked_s[0] + 10.0
    assert offer.command.boot_id == bench.clock.boot_id()
    assert offer.cancelled is False


def test_the_same_command_may_come_again_and_with_a_cancel() -> None:
    """What the platform repeats is handed on again; the executor knows what it has."""
    again = CLOSE._replace(cancel_requested=True, version=2)
    bench = Bench(
        NOTHING._replace(commands=(CLOSE,)), NOTHING._replace(commands=(again,))
    ).run()  # fmt: skip
    assert [offer.cancelled for offer in bench.offers] == [False, True]


def test_a_command_that_makes_no_sense_is_named_and_left(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is not handed on; the log says which and why; the others go on."""
    refused = RefusedItem("c-9", 1, "command 7 is none of 1, 2, 3")
    bench = Bench(NOTHING._replace(commands=(CLOSE,), refused=(refused,))).run()
    assert [offer.command.id for offer in bench.offers] == ["c-1"]
    assert "'c-9' not taken: command 7" in caplog.text


def test_a_wish_for_a_status_wakes_the_sync() -> None:
    """Once for each answer that says so."""
    bench = Bench(NOTHING._replace(sync_requested=True), NOTHING).run()
    assert bench.syncs == 1


def test_it_keeps_the_platform_s_pause() -> None:
    """0 means at once: the long poll itself is the pause."""
    bench = Bench(NOTHING, NOTHING._replace(poll_after_s=2.5), NOTHING).run()
    assert bench.pauses_s == [0.0, 2.5, 0.0]
    assert bench.poller.beats == 4


def test_failures_back_off_and_success_forgets_them() -> None:
    """The wait doubles with each failure in a row, and starts anew after an answer."""
    gone = CloudUnreachable("nobody there")
    bench = Bench(gone, gone, gone, NOTHING, gone).run()
    assert bench.pauses_s == [0.5, 1.0, 2.0, 0.0, 0.5]


@pytest.mark.parametrize(
    ("error", "least_s"),
    [
        (CloudThrottled("slowly", 30.0), 30.0),
        (CloudRefusedKey("key"), 300.0),
        (CloudRefused(400, 140008, "no such device"), REFUSED_WAIT_S),
        (CloudNonsense("a portal"), 0.1),
    ],
)
def test_each_failure_has_its_pause(error: CloudError, least_s: float) -> None:
    """None of them is answered by asking again at once, and none ends the loop."""
    bench = Bench(error, NOTHING).run()
    assert bench.pauses_s[0] >= least_s
    assert len(bench.asked_s) == 3


def test_trouble_is_shown_while_it_lasts(caplog: pytest.LogCaptureFixture) -> None:
    """One warning for one reason, however often; one line when it is over."""
    caplog.set_level(logging.INFO)
    gone = CloudUnreachable("nobody there")
    bench = Bench(gone, gone, gone)
    bench.run()
    assert bench.poller.trouble == "nobody there"
    assert caplog.text.count("cannot ask for commands") == 1
    bench = Bench(gone, NOTHING).run()
    assert bench.poller.trouble == ""
    assert "the platform answers again" in caplog.text


def test_unknown_errors_are_not_swallowed() -> None:
    """What is no CloudError is a bug: it ends the thread, and the supervisor ends the process."""

    def broken() -> Pending:
        raise ZeroDivisionError

    bench = Bench()
    bench.poller._ask = broken
    with pytest.raises(ZeroDivisionError):
        bench.poller.run()


@pytest.mark.parametrize("how", ["stop", "retry"])
def test_a_pause_can_be_ended(how: str) -> None:
    """`stop` lets `run` return at once; `retry` asks again at once."""
    clock, answers = FakeClock(), deque([CloudRefusedKey("key")])
    asked = threading.Semaphore(0)

    def ask() -> Pending:
        asked.release()
        if answers:
            raise answers.popleft()
        raise CloudClosed("over")

    poller = Poller(
        ask=ask,
        device_uid="BAT-1",
        clock=clock,
        offer=lambda _: None,
        wake_sync=lambda: None,
        chance=lambda: 0.5,
    )
    thread = threading.Thread(target=poller.run)
    thread.start()
    assert asked.acquire(timeout=5)
    assert clock.await_waiting(1)
    getattr(poller, how)()
    thread.join(5)
    assert not thread.is_alive()
    assert asked.acquire(blocking=False) is (how == "retry")
