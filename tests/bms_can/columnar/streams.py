"""Random frame streams against batteries of every kind: the case material of the columnar timeline.

A case is a seed: it chooses a battery, frames with deadlines met to the tick, silences, disorder,
other channels, short frames, broken counters and checksums, values out of range, and the chunks.
"""

import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import NamedTuple

import numpy as np

from bms_can.columnar.chunk import CLASSICAL_WIDTH, FD_WIDTH, Chunk
from bms_can.database import Database
from bms_can.frame import Frame
from bms_can.integrity import Integrity
from bms_can.profile import Profile
from bms_can.profile_load import load_profile
from bms_can.shipped import profile_path

DBC = """\
VERSION ""
BS_:
BU_: BMS
BO_ 256 State: 4 BMS
 SG_ plus : 0|2@1+ (1,0) [0|2] "" BMS
 SG_ minus : 2|2@1+ (1,0) [0|3] "" BMS
 SG_ mode : 8|8@1+ (1,0) [0|9] "" BMS
 SG_ power : 23|16@0- (0.1,0) [-3000|3000] "A" BMS
BO_ 257 Alarms: 3 BMS
 SG_ hot : 0|1@1+ (1,0) [0|1] "" BMS
 SG_ level : 1|2@1+ (1,0) [0|3] "" BMS
 SG_ word : 8|8@1+ (1,0) [0|255] "" BMS
 SG_ degc : 16|8@1+ (1,-40) [-40|100] "degC" BMS
BO_ 2147484673 Sealed: 8 BMS
 SG_ fault : 0|2@1+ (1,0) [0|2] "" BMS
 SG_ noise : 8|16@1+ (1,0) [0|65535] "" BMS
 SG_ counter : 48|4@1+ (1,0) [0|15] "" BMS
 SG_ checksum : 56|8@1+ (1,0) [0|255] "" BMS
BO_ 259 Pages: 3 BMS
 SG_ page M : 0|8@1+ (1,0) [0|2] "" BMS
 SG_ weak m0 : 8|8@1+ (1,0) [0|255] "" BMS
 SG_ worn m1 : 8|8@1+ (1,0) [0|255] "" BMS
BO_ 260 Wide: 12 BMS
 SG_ amps : 32|32@1- (1,0) [-1000|1000] "A" BMS
 SG_ strange : 72|8@1+ (1,0) [0|9] "" BMS
SIG_VALTYPE_ 260 amps : 1;
"""
HEAD = """\
[profile]
name = "stream"
dbc = "stream.dbc"
read_only = "for tests"
{channel}
[freshness]
required = [{required}]
deadline_ms = {{ State = 500, Alarms = 1000, Sealed = 600, Pages = 300, Wide = 400 }}
[operating_status]
{status}
"""
CONTACTORS = """contactor = {{ combine = "{combine}", signals = [
  {{ signal = "State.plus", closed = [1], open = [0] }},
  {{ signal = "{other}", closed = [1], open = [0] }},
] }}
current = {{ signal = "{current}", positive = "{positive}", dead_band_a = 2, hold_s = {hold_s} }}
"""
STATE = """state = { signal = "State.mode", values = { 1 = [0], 2 = [1], 3 = [2, 4], 4 = [3] } }
"""
ALONE = """at_rest = "idle"
current = { signal = "State.power", positive = "charging", dead_band_a = 1.5 }
"""
ALARMS = {
    "Alarms": """
[[alarms]]
signals = "Alarms.hot"
active = "nonzero"
level = 1
[[alarms]]
signals = "Alarms.level"
active = "nonzero"
level = "value"
[[alarms]]
signals = "Alarms.word"
active = { mask = 0x14 }
level = 3
[[alarms]]
signals = "Alarms.degc"
active = { at_least = 60 }
level = 2
""",
    "Sealed": """
[[alarms]]
signals = "Sealed.fault"
active = { values = [1] }
level = 2
[[integrity]]
messages = ["Sealed"]
counter = "counter"
checksum = "checksum"
algorithm = "crc8-sae-j1850"
""",
    "Pages": """
[[alarms]]
signals = ["Pages.weak", "Pages.worn"]
active = { at_most = 20 }
level = 1
""",
    "Wide": """
[[alarms]]
signals = "Wide.strange"
active = { values = [3, 4] }
level = 2
""",
}
STEPS_S = (0.0, 0.0, 0.001, 0.05, 0.1, 0.1, 0.1, 0.2, 0.25, 0.3)
RARE_STEPS_S = (0.3, 0.4, 0.5, 0.6, 1.0, 3.0, -0.02, -0.3, -2.0)
Loaded = tuple[Profile, Database]


class Case(NamedTuple):
    """One random stream."""

    loaded: Loaded
    frames: list[Frame]
    sizes: list[int]


def batteries(folder: Path, shipped: Sequence[str] = ("ess_bau", "pylontech")) -> list[Loaded]:
    """Return batteries that between them use every kind of rule, and shipped ones by name."""
    (folder / "stream.dbc").write_text(DBC, encoding="ascii")
    series = CONTACTORS.format(
        combine="series", other="State.minus", current="State.power", positive="charging",
        hold_s=0.3,
    )  # fmt: skip
    parallel = CONTACTORS.format(
        combine="parallel", other="Sealed.fault", current="Wide.amps", positive="discharging",
        hold_s=0.0,
    )  # fmt: skip
    texts = [
        HEAD.format(channel="", required='"State"', status=series) + ALARMS["Alarms"],
        HEAD.format(channel='channel = "can0"', required='"State", "Alarms"', status=STATE)
        + "".join(ALARMS.values()),
        HEAD.format(channel="", required='"State", "Sealed", "Wide"', status=parallel)
        + ALARMS["Sealed"] + ALARMS["Wide"],
        HEAD.format(channel='channel = "can1"', required='"State", "Pages"', status=ALONE)
        + ALARMS["Pages"],
        HEAD.format(channel="", required='"State"', status=STATE),
    ]  # fmt: skip
    found = []
    for number, text in enumerate(texts):
        path = folder / f"stream{number}.toml"
        path.write_text(text, encoding="ascii")
        found.append(load_profile(path))
    more = [load_profile(profile_path(name)) for name in shipped]
    return [*found, *(each for each in more if not each[0].family)]


class _Sender:
    """Sends random frames of a battery: mostly what it sent before, sealed as its rules say."""

    def __init__(self, loaded: Loaded, random: Random) -> None:
        self._profile, self._database = loaded
        self._random = random
        self._integrity = Integrity(self._database, self._profile.integrity)
        self._counters: dict[str, int] = {}
        self._bodies: dict[str, bytes] = {}
        names = list(dict.fromkeys((*self._profile.required, *self._profile.wanted)))
        self.names = names[:12]

    def frame(self, at_s: float, channel: str) -> Frame:
        """Return the next frame."""
        chance = self._random.random
        if chance() < 0.08:
            data = self._random.randbytes(self._random.randrange(9))
            return Frame(
                at_s, self._random.choice((1, 256, 257, 0x7FF)), chance() < 0.3, data, channel
            )
        name = self._random.choice(self.names)
        message = self._database.messages[name]
        if name not in self._bodies or chance() < 0.25:
            self._bodies[name] = self._body(message.length)
        count = self._counters.get(name, 0) + (chance() > 0.03) + (chance() < 0.03)
        self._counters[name] = count
        data = self._integrity.sealed(name, self._bodies[name], count)
        more = self._database.more_lengths.get(name, ())
        if more and chance() < 0.3:
            data = data.ljust(self._random.choice(more), b"\0")
        if chance() < 0.03:
            data = data[:-1] if chance() < 0.5 else data[:-1] + self._random.randbytes(1)
        return Frame(at_s, message.frame_id, message.is_extended_frame, data, channel)

    def _body(self, size: int) -> bytes:
        kind = self._random.randrange(4)
        if size == 12 and kind < 3:
            number = self._random.choice((0.0, 5.0, -5.0, 2000.0, float("nan"), 1.0))
            strange = self._random.choice((0, 3, 4, 9, 200))
            return bytes(4) + struct.pack("<f", number) + bytes((0, strange, 0, 0))
        if kind == 0:
            return self._random.randbytes(size)
        few = (0, 0, 0, 1, 1, 2, 3, 5, 16, 30, 110)
        return bytes(self._random.choice(few) for _ in range(size))


def case(number: int, loaded: Sequence[Loaded]) -> Case:
    """Return the random stream of a number."""
    random = Random(number)  # noqa: S311 - test data
    battery = loaded[number % len(loaded)]
    sender = _Sender(battery, random)
    at_s = random.choice((0.0, 1_780_000_000.0, 1e15))
    channels = random.choice((("",), ("can0",), ("can0", "can0", "can1"), ("can1",)))
    silent: dict[str, int] = {}
    frames = []
    calm = random.random()
    for _ in range(random.randrange(5, 160)):
        at_s += random.choice(RARE_STEPS_S if random.random() > 0.8 + 0.2 * calm else STEPS_S)
        at_s = max(at_s, 0.0)
        frames.append(sender.frame(at_s, random.choice(channels)))
        if random.random() < 0.02 and len(sender.names) > 1:  # a message falls silent for a while
            silent[sender.names.pop(random.randrange(len(sender.names)))] = random.randrange(40)
        for name in [name for name, left in silent.items() if left == 0]:
            sender.names.append(name)
            del silent[name]
        silent = {name: left - 1 for name, left in silent.items()}
    sizes = [random.choice((1, 2, 7, 30, 1000)) for _ in range(len(frames))]
    return Case(battery, frames, sizes)


def chunks(frames: Sequence[Frame], sizes: Sequence[int]) -> Iterator[Chunk]:
    """Cut frames into chunks of these sizes."""
    done = 0
    for size in sizes:
        part = frames[done : done + size]
        if part:
            yield chunk_of(part)
        done += size


def chunk_of(frames: Sequence[Frame]) -> Chunk:
    """Return frames as columns."""
    width = FD_WIDTH if any(len(each.data) > 8 for each in frames) else CLASSICAL_WIDTH
    channels = tuple(dict.fromkeys(each.channel for each in frames))
    return Chunk(
        at_s=np.array([each.at_s for each in frames], np.float64),
        channel=np.array([channels.index(each.channel) for each in frames], np.uint16),
        can_id=np.array([each.can_id for each in frames], np.uint32),
        extended=np.array([each.extended for each in frames], np.bool_),
        length=np.array([len(each.data) for each in frames], np.uint8),
        data=np.frombuffer(
            b"".join(each.data.ljust(width, b"\0") for each in frames), np.uint8
        ).reshape(len(frames), width),
        line=np.arange(1, len(frames) + 1),
        channels=channels,
        bad=(),
        bad_counts={},
    )
