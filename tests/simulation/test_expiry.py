"""No control frame after the end of its command's life (rows T06 to T09). All: `make expiry`."""

from pathlib import Path

import pytest

from tests.simulation.expiry import Case, Chamber, prove
from tests.simulation.plants import Plant, never_expires, skips_the_second_look


@pytest.mark.slow
@pytest.mark.parametrize("cases", [500, pytest.param(10_000, marks=pytest.mark.proof)])
def test_no_frame_after_expiry(cases: int) -> None:
    """Whatever delays, steps of the wall clock, sleeps and reboots come: none is late."""
    outcome = prove(cases, seed=1)
    assert outcome.late == []
    assert outcome.cases == cases
    assert outcome.in_time == outcome.frames > cases
    assert outcome.ends["expired"] > cases / 10
    assert outcome.closest_s < 0.01


@pytest.mark.parametrize("plant", [never_expires, skips_the_second_look])
def test_the_proof_can_fail(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    """A box that does not look at the life of a command, or not again, is found out."""
    plant(monkeypatch)
    assert prove(200, seed=1).late


QUICK = Case(
    code=2,
    life_ms=10_000,
    held_s=0.0,
    answer_s=0.0,
    transit_s=0.0,
    second=0.0,
    offer_s=0.0,
    stalls_s=(0.0,) * 8,
    pauses_s=(0.05,) * 8,
    reboot_at=-1,
    walls_s=(),
)


@pytest.mark.parametrize(
    ("case", "frames", "end"),
    [
        (QUICK, 3, "timed_out"),
        (QUICK._replace(offer_s=9.9), 1, "timed_out"),  # the repetitions come too late
        (QUICK._replace(offer_s=10.0), 0, "expired"),
        (QUICK._replace(transit_s=9.9, offer_s=0.2), 0, "expired"),
        (QUICK._replace(transit_s=7 * 86_400.0), 0, "expired"),
        (QUICK._replace(stalls_s=(0.0, 0.0, 10.0)), 0, "expired"),  # while `sending` is written
        (QUICK._replace(held_s=20.0), 3, "timed_out"),  # asked for again: nothing is lost
        (QUICK._replace(held_s=20.0, second=9.9), 1, "timed_out"),
        (QUICK._replace(held_s=20.0, second=None), 0, "expired"),  # only the old answer: too old
        (QUICK._replace(reboot_at=1), 0, "expired"),
        (QUICK._replace(reboot_at=2), 0, "expired"),  # `sending` is just not written
        (QUICK._replace(reboot_at=3), 1, "unknown"),  # nor is `sent`, and the frame is out
    ],
)
def test_what_each_delay_costs(folder: Path, case: Case, frames: int, end: str) -> None:
    """A command's life runs from the question on, through answer, disk and waiting."""
    chamber = Chamber(folder)
    chamber.run(case)
    chamber.close()
    assert (chamber.outcome.frames, *chamber.outcome.ends) == (frames, end)
    assert chamber.outcome.late == []
