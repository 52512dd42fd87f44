"""The frames of `make bench-live`: our battery among other nodes on one bus."""

from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import NamedTuple

import cantools

from bms_can.can_frame import frame_bytes
from bms_can.frame import Frame
from bms_can.profile import CommandCode
from bms_can.profile_load import load_profile
from bms_can.simulator import Simulator

PROFILE = Path(__file__).parents[1] / "dbc" / "ess_bau.toml"
BATCH = 20_000
SHARE = 0.41  # of the frames the profile uses so many; the DBC knows all of them
OTHERS = 12
BEGUN_S = 10.0  # the battery has closed its contactor long before


class Traffic(NamedTuple):
    """Frames to be sent, and the DBC that has all of their identifiers."""

    frames: Sequence[bytes]
    database: cantools.database.can.Database


def traffic(count: int = BATCH, *, working: bool = False) -> Traffic:
    """Return a bus on which a battery of ours and other nodes speak.

    Args:
        count: how many frames.
        working: the contactor is closed and the current is another one every 10 ms; else the
            battery rests, and only counters, checksums and pages change.
    """
    battery, random = Simulator(*load_profile(PROFILE), now_s=0.0), Random(1)  # noqa: S311 - a bench
    ours: list[bytes] = []
    at_s = 0.0
    if working:
        battery.pack.switch(CommandCode.CLOSE_CONTACTOR)
        battery.due_frames(at_s := BEGUN_S)
    while len(ours) < count:
        at_s += 0.01
        if working:
            battery.pack.request_current(random.uniform(20.0, 60.0))
        ours += [frame_bytes(frame) for frame in battery.due_frames(at_s)]
    text = PROFILE.with_suffix(".dbc").read_text(encoding="utf-8")
    text += "".join(_other_message(number) for number in range(OTHERS))
    database = cantools.database.can.Database(strict=False)
    database.add_dbc_string(text)
    found, source = [], iter(ours)
    for _ in range(count):
        other = Frame(
            0.0, 0x300 + random.randrange(OTHERS), extended=False, data=random.randbytes(8)
        )
        found.append(next(source) if random.random() < SHARE else frame_bytes(other))
    return Traffic(found, database)


def _other_message(number: int) -> str:
    """Return a message of another node: eight signals of a byte each."""
    signals = (f' SG_ s{i} : {8 * i}|8@1+ (0.5,-10) [0|0] "" Vector__XXX\n' for i in range(8))
    return f"\nBO_ {0x300 + number} Other_{number}: 8 Vector__XXX\n" + "".join(signals)
