"""Random frames against the driver: 10^6 in the suite, more by `python -m bench.fuzz_frames`."""

from dataclasses import dataclass, field
from random import Random

from bms_can.frame import Frame
from bms_can.intake import Intake
from bms_can.shipped import profile_path
from bms_can.status import derive_status
from tests.hostile import data_message
from tests.simulation.box import loaded
from tests.simulation.witness import LIMIT_S, Witness

PERIOD_S = 5e-5  # 20,000 frames a second
LOOK_EVERY = 500
KNOWN_SHARE, FULL_SHARE = 0.7, 0.9


@dataclass(slots=True)
class Fuzzed:
    """What came of it.

    Attributes:
        frames: how many were fed, and how many the driver decoded: a random checksum fits at times.
        looks: how often the status was looked at, and how often it was known.
        claims: statements about the battery that no valid frame made.
    """

    frames: int = 0
    decoded: int = 0
    looks: int = 0
    known: int = 0
    claims: list[str] = field(default_factory=list)


def random_frame(random: Random, ids: list[int], at_s: float) -> Frame:
    """Return a frame with one of the battery's identifiers, or any; of its length, or any."""
    chance = random.random
    if chance() < KNOWN_SHARE:
        can_id, extended = random.choice(ids), chance() < KNOWN_SHARE
    else:
        extended = chance() < KNOWN_SHARE
        can_id = random.getrandbits(29 if extended else 11)
    size = 8 if chance() < FULL_SHARE else random.randrange(65)
    return Frame(at_s, can_id, extended, random.randbytes(size))


def fuzz(count: int, seed: int) -> Fuzzed:
    """Feed random frames to the driver and look what it says."""
    random = Random(seed)  # noqa: S311 - a test, no secret
    profile, database = loaded(profile_path("ess_bau"))
    intake, witness, found = Intake(profile, database), Witness(), Fuzzed()
    ids = [database.messages[name].frame_id for name in profile.wanted]
    for number in range(count):
        now_s = number * PERIOD_S
        frame = random_frame(random, ids, now_s)
        intake.take(frame)
        if frame.extended and frame.can_id in LIMIT_S and len(frame.data) == 8:
            witness.hear(data_message(frame.can_id, frame.data, extended=True), now_s)
        if number % LOOK_EVERY == 0:
            found.looks += 1
            status = derive_status(intake.table.snapshot(), profile, now_s)
            found.known += status.operating is not None
            if status.operating is not None and not witness.connected(now_s):
                found.claims.append(f"frame {number}: {status}")
    found.frames, found.decoded = intake.frames, intake.decoded
    return found
