"""A box that was killed at work: its files, and what must hold for a box that starts on them.

Whatever became of the files: the agent starts within 5 s, nothing that it knew goes out again, and
no number comes twice.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from agent.clock import FakeClock
from agent.journal_rows import Stamp
from bms_can.commands import LONGEST_LIFE_S, Command, Reason
from bms_can.profile import CommandCode
from tests.box import Box, Tape, box
from tests.power_cuts import NO_RTC
from tests.scratch import scratch

CLOSE, OPEN, RESET = (
    CommandCode.CLOSE_CONTACTOR,
    CommandCode.OPEN_CONTACTOR,
    CommandCode.FAULT_RESET,
)
START_S = 5.0
LONG_AFTER_S = 5000.0  # no rate limit of before stands in the way


@dataclass(frozen=True, slots=True)
class Killed:
    """The files of a box that was killed at work.

    Attributes:
        files: name -> content.
        commands: what it knew.
        number: the largest number handed out.
    """

    files: dict[str, bytes]
    commands: tuple[Command, ...]
    number: int

    def lay(self, folder: Path) -> None:
        """Lay the files into a folder."""
        for name, data in self.files.items():
            (folder / name).write_bytes(data)


@cache
def kill_at_work(*, lockout: bool = False, closed: bool = False) -> Killed:
    """Let a box work and take its files while it does, or after its end."""
    with scratch() as folder:
        clock, known = FakeClock(), []
        with box(folder, clock) as made:
            for code in (CLOSE, OPEN, CLOSE, RESET, OPEN, CLOSE):
                clock.advance(400)
                made.run(0.5)
                known.append(made.offer(code))
                made.pack.raise_alarm("soc_low_alarm", len(known) % 3 + 1)
                made.run(4 if len(known) < 6 else 0.2)  # the last one is on its way
            assert made.sent
            if lockout:
                made.journal.set_lockout("work on the rack", "zhang", Stamp.of(clock))
            number = made.outbox.next_sequence()
            files = {} if closed else _content(folder)
        return Killed(files or _content(folder), tuple(known), number)


def _content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix != ".db-shm"}


@contextmanager
def started(folder: Path, *, rebooted: bool = True) -> Iterator[Box]:
    """Start a box on the files of a folder, within the time; its wall clock says 1970."""
    clock = FakeClock(monotonic_s=LONG_AFTER_S, wall=NO_RTC)
    if rebooted:
        clock.reboot("boot-2", LONG_AFTER_S)
    start_s = time.monotonic()
    with box(folder, clock, simulator=Tape()) as made:
        assert time.monotonic() - start_s < START_S
        made.run(0.5)
        yield made


def offer_again(made: Box, before: Killed) -> None:
    """Offer a box all that it once knew."""
    for command in before.commands:
        made.offer(command.code, command.id)
        made.run(0.1)


def sends_close(made: Box) -> bool:
    """Tell whether a close that was never seen goes out now."""
    sent = len(made.sent)
    made.offer(CLOSE)
    made.run(0.2)
    return len(made.sent) > sent


def check_box(made: Box, before: Killed) -> None:
    """Check what holds for every box that started, whatever became of its files."""
    lost = made.journal.journal_lost
    assert made.journal.verify() == []
    assert made.outbox.next_sequence() > before.number
    known = [each for each in before.commands if made.journal.entry(each.id) is not None]
    assert lost or len(known) == len(before.commands)
    if lost:  # an open may go out again: opening is safe, and the platform asked for it
        before = Killed({}, tuple(each for each in before.commands if each.code is not OPEN), 0)
        assert made.journal.forgetful(made.clock.monotonic_s(), made.clock.boot_id())
    offer_again(made, before)
    assert made.sent == []


def check_recovery(made: Box) -> None:
    """Check that closes are refused for the longest life of a command, and no longer."""
    assert not sends_close(made)
    entry = made.journal.recent(1)[0]
    assert entry.reason is Reason.JOURNAL_FAILED
    made.clock.advance(LONGEST_LIFE_S)
    made.run(0.5)
    assert sends_close(made)
