"""How the running agent does, for metrics and doctor: counts and troubles of all its parts."""

import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from agent.clock import Clock
from agent.errors import JournalFailed, OutboxFailed
from agent.journal import Journal
from agent.local import Answer
from agent.local_handlers import device_answer
from agent.outbox import Outbox
from agent.wiring_device import Link
from bms_can.netlink import may_set

STATM = Path("/proc/self/statm")
PAGE_BYTES = 4096

Tally = Callable[[], Mapping[str, object]]


class Vitals:
    """Looks at the parts when asked.

    Args:
        links: the devices.
        journal, outbox, recorder: of the box; `recorder` returns its counts.
        clock: time.
    """

    def __init__(
        self,
        links: Sequence[Link],
        journal: Journal,
        outbox: Outbox,
        recorder: Tally,
        clock: Clock,
    ) -> None:
        self._links = tuple(links)
        self._journal = journal
        self._outbox = outbox
        self._recorder = recorder
        self._clock = clock
        self._started_s = clock.monotonic_s()

    def answer(self, _request: Mapping[str, object]) -> Answer:
        """Return everything, as JSON."""
        return {
            "devices": {link.device.uid: self._device(link) for link in self._links},
            "box": self._box(),
        }

    def _device(self, link: Link) -> Answer:
        sync, now_s, heartbeat = link.sync, self._clock.monotonic_s(), link.heartbeat
        seen = dict(device_answer(link.device, link.gate, self._clock))
        del seen["telemetry"]
        return {
            **seen,
            "decoded": link.device.intake.decoded,
            "unknown_ids": len(link.device.intake.unknown),
            "changes_lost": link.observer.lost,
            "foreign_frames": link.loop.foreign,
            "bus": link.receiver.facts(),
            "sync": {
                "done": sync.done,
                "failed": sync.failed,
                "age_s": None if sync.last_s is None else round(now_s - sync.last_s, 3),
            },
            "sync_trouble": sync.trouble,
            "poll_trouble": link.poller.trouble,
            "deliver_trouble": link.deliverer.trouble,
            "refused_by_platform": link.deliverer.refused,
            "heartbeat": None if heartbeat is None else heartbeat.facts(),
        }

    def _box(self) -> Answer:
        return {
            "uptime_s": round(self._clock.monotonic_s() - self._started_s, 1),
            "threads": threading.active_count(),
            "rss_bytes": _rss_bytes(),
            "net_admin": may_set(),
            "outbox": self._backlog(),
            "commands": self._commands(),
            "recorder": self._recorder(),
        }

    def _backlog(self) -> Mapping[str, int] | None:
        """Return what waits for the platform; None: the disk does not say."""
        try:
            return self._outbox.backlog()._asdict()
        except OutboxFailed:
            return None

    def _commands(self) -> list[tuple[str, str, str, int]] | None:
        """Return how many commands stand where; None: the disk does not say."""
        try:
            return self._journal.tally()
        except JournalFailed:
            return None


def _rss_bytes() -> int | None:
    """Return the memory of this process; None where the system does not say."""
    try:
        return int(STATM.read_text(encoding="ascii").split()[1]) * PAGE_BYTES
    except (OSError, ValueError, IndexError):
        return None
