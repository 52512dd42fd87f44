"""Random bytes against the receive path: `python -m bench.fuzz_raw --messages 10000000 --seed S`.

Messages of any length go through a socket of this kernel, the batch reader and the driver: struct
can_frame with random flags and lengths, struct canfd_frame, and bytes that are neither. An error
that comes out ends it with a traceback. In every second round all messages are data frames, so that
they come as blocks. Exit code 1 if a message is neither a frame nor counted, if the driver took
values from a frame that is not its battery's, or if blocks and single frames lead to two results.
"""

import argparse
import random
import socket
import struct
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from bms_can.block import Block
from bms_can.can_frame import EXTENDED
from bms_can.intake import Intake
from bms_can.profile_load import load_profile
from bms_can.rawcan import FrameReader, Moment

PROFILE = Path(__file__).parents[1] / "dbc" / "ess_bau.toml"
AT_ONCE = 100


def tidy(chance: random.Random, ids: list[int]) -> bytes:
    """Return a classical data frame: often one of the battery's, as often of the right length."""
    strange = chance.random() < 0.3  # noqa: PLR2004 - a share
    word = chance.getrandbits(29) if strange else chance.choice(ids)
    length = 8 if chance.random() < 0.997 else chance.randrange(9)  # noqa: PLR2004 - a share
    return struct.pack("=IB3x8s", word | EXTENDED, length, chance.randbytes(8))


def wild(chance: random.Random, ids: list[int]) -> bytes:
    """Return a message: mostly a frame of the battery's identifiers with something wrong."""
    kind = chance.random()
    if kind < 0.1:  # noqa: PLR2004 - a share
        return chance.randbytes(chance.randrange(80))
    word = chance.choice(ids) | EXTENDED if kind < 0.7 else chance.getrandbits(32)  # noqa: PLR2004 - same
    if chance.random() < 0.1:  # noqa: PLR2004 - same
        word ^= 1 << chance.randrange(32)
    length = 8 if chance.random() < 0.8 else chance.randrange(256)  # noqa: PLR2004 - same
    size = 8 if chance.random() < 0.9 else 64  # noqa: PLR2004 - same
    return struct.pack("=IBBH", word, length, chance.randrange(256), 0) + chance.randbytes(size)


def fuzz(count: int, seed: int, *, fd_frames: bool) -> list[str]:
    """Send so many messages; return what went wrong."""
    chance = random.Random(seed)  # noqa: S311 - a test
    profile, database = load_profile(PROFILE)
    intake, ids = Intake(profile, database), [can_id for can_id, _ in database.by_id]
    single = Intake(profile, database)
    frames, blocks, others, wrong = 0, 0, Counter[str](), []
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as inbox,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as outbox,
    ):
        inbox.bind(("127.0.0.1", 0))
        inbox.setsockopt(socket.SOL_SOCKET, 35, 1)  # SO_TIMESTAMPNS
        inbox.setsockopt(socket.SOL_SOCKET, 40, 1)  # SO_RXQ_OVFL
        outbox.connect(inbox.getsockname())
        reader = FrameReader(inbox.fileno(), fd_frames=fd_frames, tells_own=False)
        empty_s = time.monotonic()
        for number in range(count // AT_ONCE):
            message = tidy if number % 2 else wild
            for _ in range(AT_ONCE):
                outbox.send(message(chance, ids))
            now_s = time.monotonic()
            moment = Moment(now_s, time.clock_gettime(time.CLOCK_REALTIME), empty_s)
            while (batch := reader.read(moment)) is not None:
                frames += len(batch.frames)
                others.update(batch.other)
                blocks += isinstance(batch.frames, Block)
                news = intake.take_many(batch.frames)
                if news is not single.take_each(batch.frames):
                    wrong.append(f"round {number}: news {news}")
                longest = max((len(frame.data) for frame in batch.frames), default=0)
                if longest > (64 if fd_frames else 8):
                    wrong.append(f"round {number}: {longest} bytes")
            empty_s = now_s
    if frames + others.total() != count // AT_ONCE * AT_ONCE:
        wrong.append(f"{frames} frames and {others.total()} others of {count}")
    strangers = intake.table.heard().keys() - database.messages.keys()
    wrong += [f"heard {name}" for name in strangers]
    wrong += [f"{name} differs" for name, one, other in both(intake, single) if one != other]
    print(f"  {frames} data frames, {blocks} blocks, others {dict(others)}")
    print(f"  decoded {intake.decoded}, refused {dict(intake.bad)}")
    return wrong


def both(one: Intake, other: Intake) -> Iterator[tuple[str, object, object]]:
    """Yield what two intakes made of the same frames."""
    for name in ("frames", "decoded", "bad", "unknown", "unknown_more"):
        yield name, getattr(one, name), getattr(other, name)
    yield "lost", one.integrity.lost_by_message, other.integrity.lost_by_message
    yield "heard", one.table.heard(), other.table.heard()
    yield "values", one.table.snapshot(), other.table.snapshot()


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=10_000_000)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    wrong = []
    for fd_frames in (False, True):
        began_s = time.perf_counter()
        print(f"socket for {'CAN FD' if fd_frames else 'classical CAN'}")
        wrong += fuzz(asked.messages // 2, asked.seed, fd_frames=fd_frames)
        print(f"  {asked.messages // 2} messages in {time.perf_counter() - began_s:.0f} s")
    print("\n".join(wrong[:10]))
    print(f"errors: 0, wrong: {len(wrong)}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
