"""Body of the delivery thread: results of commands first, then kept changes. Nothing is lost.

A result is taken off the list only when the platform has it, or has said that it never will take
it; then it stays in the journal, and the refusal is logged.
"""

import logging
import threading
from collections.abc import Callable, Sequence

from agent.clock import Clock
from agent.cloud import Cloud
from agent.errors import CloudClosed, CloudError, CloudRefused, JournalFailed, OutboxFailed
from agent.journal import Journal
from agent.journal_rows import Event
from agent.outbox import Outbox
from agent.payload import reports_body, result_body
from agent.retry import decide

LOOK_S = 5.0  # also without a call, in case one was missed

log = logging.getLogger(__name__)


class Deliverer:
    """Brings results and reports of all devices to the platform, in order.

    Attributes:
        trouble: why nothing can be delivered now, "" while it can.
        refused: results and reports that the platform will never take.
        beats: loop passes, for the watchdog.
    """

    def __init__(
        self,
        *,
        cloud: Cloud,
        journal: Journal,
        outbox: Outbox,
        device_uids: Sequence[str],
        clock: Clock,
        chance: Callable[[], float],
    ) -> None:
        self._cloud = cloud
        self._journal = journal
        self._outbox = outbox
        self._uids = tuple(device_uids)
        self._clock = clock
        self._chance = chance
        self._wake = threading.Event()
        self._stopped = False
        self._again = False
        self._failures = 0
        self.trouble = ""
        self.refused = 0
        self.beats = 0

    def wake(self) -> None:
        """There is news; may be called from any thread."""
        self._wake.set()

    def retry(self) -> None:
        """End a pause now: what made the last try fail may be over."""
        self._again = True
        self._wake.set()

    def stop(self) -> None:
        """Let `run` return."""
        self._stopped = True
        self._wake.set()

    def run(self) -> None:
        """Deliver until `stop`. To be the target of a thread."""
        while not self._stopped:
            self.beats += 1
            pause_s = self.drain()
            if pause_s is None:
                return
            if pause_s > 0:  # the platform is away: news does not shorten the back-off
                self._pause(pause_s)
                continue
            self._clock.wait(self._wake, LOOK_S)
            self._wake.clear()

    def drain(self) -> float | None:
        """Deliver all that waits.

        Returns:
            0 when nothing waits any more; the pause before the next try [s] after a failure; None
            when the cloud was closed.
        """
        try:
            for uid in self._uids:
                self._results(uid)
                self._reports(uid)
        except CloudClosed:
            return None
        except (CloudError, JournalFailed, OutboxFailed) as error:
            return self._after(error)
        self.trouble, self._failures = "", 0
        return 0.0

    def _pause(self, pause_s: float) -> None:
        end_s = self._clock.monotonic_s() + pause_s
        self._again = False
        while (
            not (self._stopped or self._again) and (left_s := end_s - self._clock.monotonic_s()) > 0
        ):
            self._wake.clear()
            self._clock.wait(self._wake, left_s)

    def _results(self, uid: str) -> None:
        while events := self._journal.unreported(uid):
            for event in events:
                try:
                    self._cloud.post_result(self._result(event))
                except CloudRefused as error:
                    self.refused += 1
                    log.warning("result %s of %s: %s", event.state, event.command_id, error)
                self._journal.reported(event.seq)

    def _result(self, event: Event) -> dict[str, object]:
        entry = self._journal.entry(event.command_id or "")
        assert event.state is not None  # noqa: S101 - only steps of commands are unreported
        return result_body(
            device_uid=event.device_uid,
            command_id=event.command_id or "",
            version=0 if entry is None else entry.command.version,
            state=event.state,
            reason=event.reason,
            detail=event.detail,
            evidence=event.evidence,
            at=event.wall,
        )

    def _reports(self, uid: str) -> None:
        while batch := self._outbox.batch(uid):
            try:
                through = self._cloud.post_reports(reports_body(uid, batch))
                if through is not None:
                    self._outbox.raise_above(through)
            except CloudRefused as error:
                self.refused += len(batch)
                log.warning("%d reports of %s: %s", len(batch), uid, error)
            self._outbox.done(uid, batch[-1].sequence)

    def _after(self, error: CloudError | JournalFailed | OutboxFailed) -> float:
        if str(error) != self.trouble:
            log.warning("cannot deliver: %s", error)
        self.trouble = str(error)
        if not isinstance(error, CloudError):
            return LOOK_S
        decision = decide(error, self._failures, self._chance())
        self._failures += 1
        return max(decision.wait_s, 1.0)
