"""Body of the command-poll thread of one device: asks the platform for commands, again and again.

It only asks and hands on; whether a command goes out is the executor's business.
"""

import logging
import threading
from collections.abc import Callable

from agent.clock import Clock
from agent.errors import CloudClosed, CloudError
from agent.executor import Offer
from agent.payload import Pending
from agent.retry import decide

REFUSED_WAIT_S = 60.0  # the platform refuses this device's polls for good; a person has to act

log = logging.getLogger(__name__)


class Poller:
    """Keeps one long poll open.

    Args:
        ask: one long poll; returns its answer or raises CloudError.
        device_uid: whose commands.
        clock: time.
        offer: takes each command; may be given the same one again and again.
        wake_sync: called when an operator wants a status now.
        chance: a random number in 0..1, for the back-off.

    Attributes:
        trouble: why the platform cannot be asked, "" while it can.
        beats: loop passes, for the watchdog.
    """

    def __init__(
        self,
        *,
        ask: Callable[[], Pending],
        device_uid: str,
        clock: Clock,
        offer: Callable[[Offer], None],
        wake_sync: Callable[[], None],
        chance: Callable[[], float],
    ) -> None:
        self._ask = ask
        self._uid = device_uid
        self._clock = clock
        self._offer = offer
        self._wake_sync = wake_sync
        self._chance = chance
        self._stopped = False
        self._wake = threading.Event()
        self._failures = 0
        self.trouble = ""
        self.beats = 0

    def run(self) -> None:
        """Poll until `stop`. To be the target of a thread."""
        while not self._stopped:
            self.beats += 1
            self._wake.clear()
            try:
                pending = self._ask()
            except CloudClosed:
                return
            except CloudError as error:
                self._clock.wait(self._wake, self._after(error))
                continue
            if self.trouble:
                log.info("device %s: the platform answers again", self._uid)
            self.trouble, self._failures = "", 0
            self._hand_on(pending)
            self._clock.wait(self._wake, pending.poll_after_s)

    def stop(self) -> None:
        """Let `run` return; a call that waits ends when the cloud is closed."""
        self._stopped = True
        self._wake.set()

    def retry(self) -> None:
        """End a pause now: what made the last call fail may be over."""
        self._wake.set()

    def _hand_on(self, pending: Pending) -> None:
        boot_id = self._clock.boot_id()
        for item in pending.commands:
            command = item.to_command(self._uid, pending.asked_at_s, boot_id)
            self._offer(Offer(command, item.cancel_requested))
        for refused in pending.refused:
            log.warning("device %s: command %r not taken: %s", self._uid, refused.id, refused.why)
        if pending.sync_requested:
            self._wake_sync()

    def _after(self, error: CloudError) -> float:
        """Return the pause after a failure [s]."""
        decision = decide(error, self._failures, self._chance())
        self._failures += 1
        if str(error) != self.trouble:
            log.warning("device %s: cannot ask for commands: %s", self._uid, error)
        self.trouble = str(error)
        return REFUSED_WAIT_S if decision.give_up else decision.wait_s
