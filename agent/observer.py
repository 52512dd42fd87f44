"""Watches the status of one device: keeps each change for the platform, and says when there is one.

Belongs to the control thread of its device; `body` may be called from any thread.
"""

from collections.abc import Callable, Mapping
from datetime import datetime

from agent.clock import Clock
from agent.device import Device
from agent.errors import JournalFailed, OutboxFailed
from agent.outbox import Outbox
from agent.payload import sync_body
from bms_can.alarms import ActiveAlarm
from bms_can.status import BmsStatus, derive_status
from bms_can.telemetry import read_telemetry
from bms_can.timeline import what_counts

STATUS = "status"
RETRY_S = 1.0  # a change that could not be kept is tried again so often


class Observer:
    """The newest status of a device, and its changes.

    Args:
        device: the battery.
        outbox: keeps changes until the platform has them.
        clock: time.
        box: facts about the box for each report, such as the lock-out.
        on_change: called after each change, so that the platform hears of it at once.

    Attributes:
        status: the newest status, None before the first look.
        lost: changes that were over before they could be kept.
    """

    def __init__(
        self,
        device: Device,
        outbox: Outbox,
        clock: Clock,
        box: Callable[[], Mapping[str, object]],
        on_change: Callable[[], None],
    ) -> None:
        self._device = device
        self._outbox = outbox
        self._clock = clock
        self._box = box
        self._on_change = on_change
        self._since: Mapping[str, datetime] = {}
        self.status: BmsStatus | None = None
        self.lost = 0
        self._unkept = False
        self._try_s = 0.0

    def step(self) -> BmsStatus:
        """Derive the status now; keep and announce a change."""
        before, after = self.status, self._derive(self.status)
        self.status = after
        changed = before is None or _kept(before) != _kept(after)
        self._keep_if_due(after, changed=changed)
        if changed:
            self._on_change()
        return after

    def body(self) -> dict[str, object]:
        """Return a report of the present status for PUT /bms-control/sync.

        Raises:
            JournalFailed, OutboxFailed: no sequence number can be had.
        """
        sequence, box = self._outbox.next_sequence(), self._box()
        # The disk may have kept us waiting: only now what is said about the battery.
        now_s = self._clock.monotonic_s()
        signals = self._device.table.snapshot()
        return sync_body(
            self._derive(self.status),
            sequence,
            since=dict(self._since),
            telemetry=read_telemetry(signals, self._device.profile, now_s),
            box=box,
        )

    def _derive(self, before: BmsStatus | None) -> BmsStatus:
        return derive_status(
            self._device.intake.stated(),
            self._device.profile,
            self._clock.monotonic_s(),
            listening_since_s=self._device.listening_since_s,
            before=before,
        )

    def _keep_if_due(self, status: BmsStatus, *, changed: bool) -> None:
        """Keep a change now; after a failure the newest status, once in a while."""
        now_s = self._clock.monotonic_s()
        if changed and self._unkept:
            self.lost += 1
        elif changed:
            self._unkept, self._try_s = True, now_s
        if self._unkept and now_s >= self._try_s:
            self._unkept, self._try_s = not self._keep(status), now_s + RETRY_S

    def _keep(self, status: BmsStatus) -> bool:
        """Write a status to the outbox; a full disk costs the report, never the agent."""
        uid, wall = self._device.uid, self._clock.wall()
        bodies = {alarm.key: _alarm_body(alarm) for alarm in status.alarms}
        try:
            edges = self._outbox.alarm_edges(uid, bodies, wall, status.unknown_alarms)
            self._since = edges.since
            self._outbox.put(uid, STATUS, wall, _status_body(status))
        except (OutboxFailed, JournalFailed):
            return False
        return True


def _kept(status: BmsStatus) -> tuple[object, ...]:
    return *what_counts(status), status.unknown_alarms


def _alarm_body(alarm: ActiveAlarm) -> dict[str, object]:
    return {"level": alarm.level, "label_zh": alarm.label_zh, "label_en": alarm.label_en}


def _status_body(status: BmsStatus) -> dict[str, object]:
    return {
        "operating_status": None if status.operating is None else int(status.operating),
        "alarm_status": status.alarm_count,
        "disconnected": int(status.disconnected),
        "contactor": status.contactor.value,
        "why": status.why,
    }
