"""How much a box writes to its SD card in a day of operation. `python -m bench.disk_wear`.

Each thing that makes a box write, in simulated time on a disk that counts (tests/disk.py).
Counted are the 4 KiB blocks that are dirty at each sync: a card cannot write less. Not counted:
what the file system writes about its files, and logs. Goal: below 50 MB a day (reliability rule
52).
"""

from collections.abc import Callable
from typing import NamedTuple

from agent.clock import FakeClock
from bench.table import Row, show
from bms_can.frame import frame_text
from bms_can.profile import CommandCode
from tests.box import STEP_S, UID, Box, Tape, box
from tests.disk import Disk, Op
from tests.scratch import scratch

SYNC_S = 10
BLOCK = 4096
KB, MB = 1e3, 1e6
GOAL_MB = 50
RECORDING_S = 60  # around each command and alarm edge
TIMES = 2  # each is measured so often; more closes than that are not let through

Happening = Callable[[Box], object]


class Kind(NamedTuple):
    """Something that makes a box write.

    Attributes:
        name: what happens.
        steps: what is done, 30 s apart.
        recordings: how many the flight recorder makes of it.
        a_day: how often in a day of normal operation.
    """

    name: str
    steps: tuple[Happening, ...]
    recordings: int
    a_day: int


def _close(made: Box) -> None:
    made.offer(CommandCode.CLOSE_CONTACTOR)


def _open(made: Box) -> None:
    made.offer(CommandCode.OPEN_CONTACTOR)


def _charge(made: Box) -> None:
    made.pack.request_current(40)


def _rest(made: Box) -> None:
    made.pack.request_current(0)


def _raise(made: Box) -> None:
    made.pack.raise_alarm("soc_low_alarm", 1)


def _clear(made: Box) -> None:
    made.pack.clear_alarm("soc_low_alarm")


def _nothing(_made: Box) -> None:
    pass


# The contactor is closed in the morning and opened at night; current starts and stops 48 times.
KINDS = (
    Kind("30 s in which nothing happens", (_nothing,), 0, 2880),
    Kind("current starts and stops", (_charge, _rest), 0, 48),
    Kind("an alarm comes and goes", (_raise, _clear), 2, 10),
    Kind("a close and an open", (_open, _close), 2, 1),
)


def _deliver(made: Box) -> None:
    """Do what the deliverer does while the platform answers."""
    for event in made.journal.unreported(UID):
        made.journal.reported(event.seq)
    while batch := made.outbox.batch(UID):
        made.outbox.done(UID, batch[-1].sequence)


def work(kind: Kind, made: Box, disk: Disk) -> list[Op]:
    """Let something happen a few times; return what was written."""
    disk.log.clear()
    rows = made.journal.head().seq
    for step in kind.steps * TIMES:
        step(made)
        for _ in range(3):
            made.run(SYNC_S)
            made.outbox.next_sequence()
            _deliver(made)
    head_blocks = made.journal.head().seq - rows
    return [*disk.log, *(Op("write", "journal.db.head") for _ in range(head_blocks))]


def blocks(ops: list[Op]) -> int:
    """Return how many blocks go to the card."""
    dirty: dict[str, set[int]] = {}
    written = 0
    for op in ops:
        if op.file.endswith(".head"):
            written += 1  # never synced; at the worst each goes out alone
        elif op.kind == "write":
            last = (op.at + len(op.data) - 1) // BLOCK
            dirty.setdefault(op.file, set()).update(range(op.at // BLOCK, last + 1))
        elif op.kind == "sync":
            written += len(dirty.pop(op.file, ()))
    return written + sum(map(len, dirty.values()))


def recording_bytes() -> int:
    """Return the size of one recording of the demo battery."""
    tape = Tape()
    steps = round(RECORDING_S / STEP_S)
    frames = [frame for step in range(steps) for frame in tape.due_frames(step * STEP_S)]
    texts = (frame_text(frame.can_id, frame.extended, frame.data) for frame in frames)
    return sum(len(f"(1700000000.000000) can0 {text}\n") for text in texts)


def wear() -> None:
    """Print the table."""
    rows: list[Row] = []
    size, day_mb = recording_bytes(), 0.0
    disk = Disk()
    with scratch() as folder, box(folder, FakeClock(), disk.storage) as made:
        made.run(5)
        _close(made)
        made.run(60)
        _deliver(made)
        for kind in KINDS:
            ops = work(kind, made, disk)
            syncs = sum(op.kind == "sync" for op in ops) / TIMES
            databases = BLOCK * blocks(ops) / TIMES
            recorded = kind.recordings * size
            share_mb = kind.a_day * (databases + recorded) / MB
            day_mb += share_mb
            figures = (f"{syncs:.1f}", f"{databases / KB:.0f}", f"{recorded / KB:.0f}")
            rows.append((kind.name, *figures, kind.a_day, f"{share_mb:.1f}"))
    head = ("each", "syncs", "databases kB", "recordings kB", "times a day", "MB a day")
    rows.append(("a day", "", "", "", "", f"{day_mb:.1f}"))
    show(f"written to the card, goal below {GOAL_MB} MB a day", head, rows)


if __name__ == "__main__":
    wear()
