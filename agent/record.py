"""Writes the steps of commands to the journal and tells the world that there is news."""

from collections.abc import Callable, Mapping
from typing import Protocol

from agent.clock import Clock
from agent.journal import Journal
from agent.journal_rows import Stamp
from bms_can.commands import Command, CommandState, Reason


class Stateful(Protocol):
    """Something that carries a command and its journalled state."""

    @property
    def command(self) -> Command:
        """The command."""

    state: CommandState


class Recorder:
    """The executor's way to the journal."""

    def __init__(self, journal: Journal, clock: Clock, on_event: Callable[[], None]) -> None:
        self.journal = journal
        self._clock = clock
        self._on_event = on_event

    def accept(self, command: Command) -> bool:
        """Write a command down; tell whether it is new. A known one never goes out again.

        Raises:
            JournalFailed: it is not written, and must not be carried out.
        """
        entry = self.journal.accept(command, Stamp.of(self._clock))
        if entry.new:
            self._on_event()
        return entry.new

    def note_fault(self, device_uid: str, fault: str) -> None:
        """Write down that the journal failed, which shows that it works again.

        Raises:
            JournalFailed: it does not yet.
        """
        self.journal.note("journal-failed", Stamp.of(self._clock), {"error": fault}, device_uid)

    def advance(
        self,
        subject: Stateful,
        state: CommandState,
        reason: Reason | None = None,
        detail: str = "",
        evidence: Mapping[str, object] | None = None,
    ) -> None:
        """Write the next state durably, then remember it.

        Raises:
            JournalFailed: nothing was written; the state is as before.
        """
        self.journal.advance(
            subject.command.id,
            state,
            Stamp.of(self._clock),
            reason=reason,
            detail=detail,
            evidence=evidence,
        )
        subject.state = state
        self._on_event()
