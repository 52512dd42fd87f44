"""T37: a thousand random damages to the files of a box that was killed, or that ended by itself."""

from collections import Counter
from collections.abc import Callable
from random import Random

import pytest

from agent.errors import JournalFailed, OutboxFailed
from tests.killed import check_box, kill_at_work, started
from tests.scratch import scratch

FILES = ("journal.db", "journal.db-wal", "journal.db.head", "queue.db", "queue.db-wal")

Mutation = Callable[[bytes, Random], bytes]


def _flip(data: bytes, random: Random) -> bytes:
    at, bit = random.randrange(len(data)), random.randrange(8)
    return data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :]


def _byte(data: bytes, random: Random) -> bytes:
    at = random.randrange(len(data))
    return data[:at] + random.randbytes(1) + data[at + 1 :]


def _sector(data: bytes, random: Random) -> bytes:
    at = random.randrange(len(data)) // 512 * 512
    filling = random.choice((bytes(512), b"\xff" * 512, random.randbytes(512)))
    return data[:at] + filling[: len(data) - at] + data[at + 512 :]


def _cut_off(data: bytes, random: Random) -> bytes:
    return data[: random.randrange(len(data))]


def _lengthen(data: bytes, random: Random) -> bytes:
    return data + random.randbytes(random.randrange(1, 9000))


def _gap(data: bytes, random: Random) -> bytes:
    at = random.randrange(len(data))
    return data[:at] + data[at + random.randrange(1, 5000) :]


MUTATIONS: tuple[Mutation, ...] = (_flip, _flip, _byte, _byte, _sector, _cut_off, _lengthen, _gap)


@pytest.mark.parametrize(
    "number",
    [0, 1, *(pytest.param(number, marks=pytest.mark.proof) for number in range(2, 10))],
)
def test_random_damage(number: int) -> None:
    """A hundred random damages each: no traceback, no late start, nothing sent again."""
    random, seen = Random(number), Counter[str]()  # noqa: S311 - no secret
    for _ in range(100):
        before = kill_at_work(closed=random.random() < 0.5)
        name = random.choice([each for each in FILES if each in before.files])
        mutation = random.choice(MUTATIONS)
        with scratch() as folder:
            before.lay(folder)
            (folder / name).write_bytes(mutation(before.files[name], random))
            try:
                with started(folder, rebooted=random.random() < 0.5) as made:
                    check_box(made, before)
                    seen["lost" if made.journal.journal_lost else "whole"] += 1
            except (JournalFailed, OutboxFailed) as error:
                seen["another version" if "another version" in str(error) else "other"] += 1
    assert seen["whole"] > 3  # both happen; how often is up to the moment of the kill
    assert seen["lost"] > 3
    assert seen["another version"] <= 2  # the damage hit that number, and nothing else
    assert seen["other"] == 0
