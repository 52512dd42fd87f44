"""Reports a replayed log to a platform, by the agent's own sync path on the log's clock."""

from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from agent.clock import FakeClock, SystemClock
from agent.cloud import Cloud
from agent.device import Device
from agent.jobs import SyncState, sync
from agent.keys import read_key_file
from agent.observer import Observer
from agent.outbox import Outbox
from bms_can.control import ControlPort
from bms_can.guard import Guard
from bms_can.profile import Profile
from bms_can.timeline import Timeline

EPOCH_IS_PLAUSIBLE_S = 1_000_000_000  # below this a log's time is relative, not an epoch


class ReplaySync:
    """PUTs a status at each change and once a period of log time."""

    def __init__(
        self, url: str, key_file: Path, device_uid: str, profile: Profile, period_s: float
    ) -> None:
        self._cloud = Cloud(url, read_key_file(key_file), SystemClock())
        self._uid = device_uid
        self._profile = profile
        self._period_s = period_s
        self._folder = TemporaryDirectory(prefix="bms-replay-")
        self._clock = FakeClock()
        self._observer: Observer | None = None
        self._outbox: Outbox | None = None
        self._changed = False
        self._next_s = 0.0
        self._state = SyncState()

    def look(self, timeline: Timeline) -> None:
        """Report if the newest frame changed the status, or the period is over."""
        if self._observer is None or self._outbox is None:
            self._observer = self._begin(timeline)
        self._clock.advance(timeline.now_s - self._clock.monotonic_s())
        self._observer.step()
        if self._changed or timeline.now_s >= self._next_s:
            self._put()
            self._changed = False
            self._next_s = timeline.now_s + self._period_s

    def close(self) -> None:
        """Close everything."""
        self._cloud.close()
        if self._outbox is not None:
            self._outbox.close()
        self._folder.cleanup()

    @property
    def failed(self) -> int:
        """Reports that the platform did not take."""
        return self._state.failed

    def values(self) -> dict[str, object]:
        """Return the outcome for JSON."""
        state = self._state
        return {"reported": state.done, "failed": state.failed, "trouble": state.trouble}

    def line(self) -> str:
        """Return the outcome for people."""
        failed = (
            f", {self._state.failed} failed: {self._state.trouble}" if self._state.failed else ""
        )
        return f"sync        {self._state.done} reports taken by the platform{failed}"

    def _begin(self, timeline: Timeline) -> Observer:
        first_s = timeline.first_s or 0.0
        system = SystemClock()
        epoch = first_s >= EPOCH_IS_PLAUSIBLE_S
        wall = datetime.fromtimestamp(first_s, UTC) if epoch else system.wall()
        self._clock = FakeClock(first_s, wall)
        sequence = iter(range(1, 2**62))
        self._outbox = Outbox(
            Path(self._folder.name) / "queue.db",
            lambda count, at_least: max(at_least, next(sequence) * count),
            system.wall(),
        )
        control = ControlPort(Guard(()), lambda: None, read_only=True)
        device = Device(self._uid, self._profile, timeline.intake, control, True, False, first_s)  # noqa: FBT003 - listens only, no echo
        return Observer(device, self._outbox, self._clock, dict, self._note_change)

    def _note_change(self) -> None:
        self._changed = True

    def _put(self) -> None:
        if self._observer is not None and self._outbox is not None:
            sync(self._uid, self._observer, self._cloud, self._outbox, self._clock, self._state)
