"""What the scheduler runs. A job is a function; it does not know that it is scheduled."""

import logging
from dataclasses import dataclass
from datetime import timedelta

from agent.clock import Clock
from agent.cloud import Cloud
from agent.errors import CloudClosed, CloudError, JournalFailed, OutboxFailed
from agent.journal import Journal
from agent.observer import Observer
from agent.outbox import Outbox

AUDIT_KEPT = timedelta(days=400)  # reliability rule 20: at least a year

log = logging.getLogger(__name__)


@dataclass(slots=True)
class SyncState:
    """How the reports of one device go. `last_s`: monotonic time of the last success [s]."""

    done: int = 0
    failed: int = 0
    last_s: float | None = None
    trouble: str = ""


def sync(
    device_uid: str,
    observer: Observer,
    cloud: Cloud,
    outbox: Outbox,
    clock: Clock,
    state: SyncState,
) -> None:
    """PUT the present status. A failed report is not repeated: the next one says more."""
    try:
        ack = cloud.put_sync(device_uid, observer.body())
        if ack.sequence is not None:
            outbox.raise_above(ack.sequence)
    except CloudClosed:
        return
    except (CloudError, JournalFailed, OutboxFailed) as error:
        if str(error) != state.trouble:
            log.warning("device %s: cannot report: %s", device_uid, error)
        state.failed += 1
        state.trouble = str(error)
        return
    if state.trouble:
        log.info("device %s: reports arrive again", device_uid)
    state.done += 1
    state.trouble = ""
    state.last_s = clock.monotonic_s()


def housekeeping(journal: Journal, clock: Clock) -> None:
    """Drop audit rows that are old enough."""
    try:
        journal.prune(clock.wall() - AUDIT_KEPT)
    except JournalFailed as error:
        log.warning("journal: cannot prune: %s", error)
