"""T36: the power goes at any point of a box's work; what was acknowledged is there afterwards.

The experiment is tests/power_cuts.py. It is worth something only if it finds what is wrong: with
less safety than the product's it must find losses. 10,000 images: make power-cut N=10000.
"""

from collections import Counter
from random import Random

import pytest

from agent.clock import FakeClock
from bms_can.profile import CommandCode
from tests.box import Tape, box
from tests.power_cuts import (
    NORMAL,
    OFF,
    Judge,
    Recording,
    images,
    judge,
    judge_acknowledged,
    record,
)
from tests.scratch import scratch


def count_wrong(recording: Recording, number: int, judged_by: Judge = judge) -> Counter[str]:
    """Return what is wrong with so many images of a recording, by kind."""
    random, wrong = Random(7), Counter[str]()  # noqa: S311 - no secret
    for image in images(recording, recording.cuts(number, random), random):
        with scratch() as folder:
            wrong += judged_by(recording, image, folder)
    return wrong


@pytest.fixture(scope="module")
def recording() -> Recording:
    """Return a box at work with the product's own safety."""
    with scratch() as folder:
        return record(folder)


@pytest.mark.parametrize("cuts", [100, pytest.param(500, marks=pytest.mark.proof)])
def test_nothing_acknowledged_is_lost(recording: Recording, cuts: int) -> None:
    """No image lacks an acknowledged row, is corrupt, or makes a box send anything again."""
    assert count_wrong(recording, cuts) == Counter()


def test_the_work_is_worth_cutting(recording: Recording) -> None:
    """The work has frames, checkpoints, restarts and hundreds of commits to be cut in two."""
    kinds = Counter(op.kind for op in recording.log)
    assert len(recording.frames) > 20
    assert min(len(states) for states in recording.states.values()) > 100
    assert kinds["sync"] > 300
    assert kinds["delete"] >= 6  # of a WAL at each end, so there were checkpoints


def test_a_new_command_does_go_out(recording: Recording) -> None:
    """On an image only the memory of the journal keeps a command back: a new one is sent."""
    [image] = images(recording, [len(recording.log)], Random(1))  # noqa: S311 - no secret
    with scratch() as folder:
        for name, data in image.files.items():
            (folder / name).write_bytes(data)
        clock = FakeClock()
        clock.reboot("boot-new", 5000.0)  # long after the last close: no rate limit
        with box(folder, clock, simulator=Tape()) as made:
            made.run(0.5)
            made.offer(CommandCode.CLOSE_CONTACTOR)
            made.run(0.2)
            assert made.sent


@pytest.mark.proof
@pytest.mark.parametrize(("instead", "kinds"), [(NORMAL, {"lost"}), (OFF, {"lost", "corrupt"})])
def test_less_safety_is_found_out(instead: dict[str, str], kinds: set[str]) -> None:
    """With synchronous=NORMAL rows are lost, with OFF files are corrupt: the experiment sees it."""
    with scratch() as folder:
        weak = record(folder, instead=instead)
    wrong = count_wrong(weak, 40)
    assert kinds <= wrong.keys()


@pytest.mark.proof
@pytest.mark.parametrize("rewriting", [True, False])
def test_power_goes_after_a_failed_sync(*, rewriting: bool) -> None:
    """A sync that failed costs its own commit at most; without the rewriting, later ones too."""
    wrong: Counter[str] = Counter()
    for seed in range(2):
        with scratch() as folder:
            faulty = record(folder, seed, works=30, failing=0.5, rewriting=rewriting)
        wrong += count_wrong(faulty, 50, judge_acknowledged)
    assert bool(wrong["lost"]) is not rewriting
    assert not (rewriting and wrong)
