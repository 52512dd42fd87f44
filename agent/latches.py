"""Keeps over a restart what stops remote closes until a person has looked (reliability rule 21e).

A frame that never came back may still wait in an adapter's queue, and another master does not go
away because this process does.
"""

import json

from agent.clock import Clock
from agent.device import Device
from agent.errors import JournalFailed
from agent.journal import Journal
from agent.journal_rows import Stamp

NOTE = "latches"


class Latches:
    """The latches of one device, as the journal knows them. Belongs to the control thread."""

    def __init__(self, device: Device, journal: Journal, clock: Clock) -> None:
        self._device = device
        self._journal = journal
        self._clock = clock
        self._key = f"latches:{device.uid}"
        kept = journal.meta(self._key)
        self._kept: tuple[str, str] = ("", "") if kept is None else tuple(json.loads(kept))
        device.control.restore(*self._kept)

    def step(self) -> None:
        """Write down what was latched or cleared since the last look; try again if that fails."""
        now = (self._device.control.unsafe, self._device.control.foreign)
        if now == self._kept:
            return
        facts = {"tx_unsafe": now[0], "foreign_master": now[1]}
        try:
            self._journal.set_meta(self._key, json.dumps(now))
            self._journal.note(NOTE, Stamp.of(self._clock), facts, self._device.uid)
        except JournalFailed:
            return  # still latched in memory, and without a journal no close goes out anyway
        self._kept = now
