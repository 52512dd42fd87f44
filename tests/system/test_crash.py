"""Kill -9 at random moments: nothing twice, nothing without a row, nothing lost (rows T01, T55).

A hundred and fifty in `make test`, a thousand in `make proofs`, ten thousand by
`make crash N=10000`.
"""

from pathlib import Path

import pytest

from bench.crash import Total, run
from bms_can.profile import CommandCode
from tests.agent.rig import CLOSE, Rig
from tests.system.crash import LIFE_SPAN_S, crash_profile
from tests.system.crash_look import Life, Remains, Sent

SEED = 20260


@pytest.fixture(scope="module", params=[150, pytest.param(1000, marks=pytest.mark.proof)])
def total(request: pytest.FixtureRequest) -> Total:
    """Kill so often, print, and return what was found."""
    found = run(request.param, SEED)
    assert found.counts["kills"] == request.param
    print(found.text())  # noqa: T201 - the figures are the result
    return found


@pytest.mark.slow
def test_whatever_is_killed_when(total: Total) -> None:
    """Nothing goes out twice, without a row, or after a restart; no result is lost."""
    assert total.violations == []


@pytest.mark.slow
def test_the_kills_hit_what_they_should(total: Total) -> None:
    """The experiment is worth something: kills hit every step, also between row and frame."""
    assert total.counts["kills"] >= 100
    assert total.counts["sessions"] >= total.counts["kills"] // 10
    assert total.counts["unknown_on_wire"] > 0
    assert {"accepted", "gated", "sending", "sent"} <= set(total.last_row)


# --- the look finds what is wrong


@pytest.fixture
def box(tmp_path: Path) -> tuple[Rig, Life]:
    """Return a box with one close that was carried out in one life, and what was on its wire."""
    rig = Rig(tmp_path, crash_profile())
    life = Life("boot-1", rig.clock.monotonic_s(), LIFE_SPAN_S)
    rig.run(0.5)
    rig.do(CLOSE, 6.0)
    life.frames = [Sent("close-1", frame.at_s, frame.data) for frame in rig.frames()]
    rig.stop()
    return rig, life


def mistakes(rig: Rig, *lives: Life) -> list[str]:
    """Return what the look finds."""
    return list(Remains(rig.folder / "journal.db", lives).mistakes(3, ["close-1"]))


def test_a_good_box_has_no_mistakes(box: tuple[Rig, Life]) -> None:
    """What is as it must be is not complained of."""
    assert mistakes(*box) == []


def test_every_kind_of_mistake_is_found(box: tuple[Rig, Life]) -> None:
    """Each thing that must not be is seen when it is."""
    rig, life = box
    first, *_ = life.frames
    later = Life("boot-1", life.start_s + LIFE_SPAN_S, LIFE_SPAN_S, failure="KeyError")
    later.frames = [first._replace(at_s=later.start_s + 1.0)]
    assert mistakes(rig, life, later) == [
        "a life failed: KeyError",
        "close-1: a frame without a durable row before it",
        "close-1: a frame after a restart",
        "close-1: sessions in 2 lives",
    ]
    life.frames = [first._replace(at_s=first.at_s - 1.0)]
    assert mistakes(rig, life) == ["close-1: a frame without a durable row before it"]
    life.frames = [first, first]
    assert mistakes(rig, life) == ["close-1: 2 frames in one session"]
    life.frames = []
    assert mistakes(rig, life) == ["close-1: a row `sent` without a frame"]


def test_a_lost_end_is_found(tmp_path: Path) -> None:
    """A command that nobody finished, and one that nobody remembers."""
    rig = Rig(tmp_path, crash_profile())
    life = Life("boot-1", rig.clock.monotonic_s(), LIFE_SPAN_S)
    rig.run(0.5)
    rig.do(CommandCode.CLOSE_CONTACTOR, 0.05)
    rig.journal.reported(1)
    rig.stop()
    life.frames = [Sent("close-1", frame.at_s, frame.data) for frame in rig.frames()]
    remains = Remains(rig.folder / "journal.db", [life])
    assert list(remains.mistakes(3, ["close-1", "gone"])) == [
        "5 rows, but 4 wait for the platform",
        "close-1: ended in acknowledged",
        "gone: was offered to the end, and is not there",
    ]
