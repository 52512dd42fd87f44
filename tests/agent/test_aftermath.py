"""After the effect was seen: whether it lasts.

What a restart leaves open is in test_executor_restart.py.
"""

from pathlib import Path

import pytest

from bms_can.commands import CommandState, Reason
from tests.agent.rig import CLOSE, OPEN, RESET, Rig, quick_profile, quick_rig

S, R = CommandState, Reason
WHOLE_LIFE = [S.ACCEPTED, S.GATED, S.SENDING, S.SENT, S.ACKNOWLEDGED, S.SUCCEEDED, S.HELD]
SEEN_S, HOLD_S = 0.9, 2.0  # by then the effect of a close is seen; so long it is watched


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    """Return a bench whose close has just succeeded, and is watched for two seconds."""
    rig = quick_rig(tmp_path, quick_profile(hold_s=HOLD_S))
    rig.do(CLOSE, SEEN_S)
    assert rig.state("close-1") is S.SUCCEEDED
    return rig


def test_an_effect_that_lasts_is_held(rig: Rig) -> None:
    """After the hold time, with fresh frames that show it, the command is held."""
    seen_s = rig.event("close-1", S.SUCCEEDED).monotonic_s
    rig.run(4.0)
    held = rig.event("close-1", S.HELD)
    assert held.monotonic_s - seen_s == pytest.approx(HOLD_S, abs=0.15)
    assert held.detail.startswith("still so after 2.")


def test_an_effect_that_ends_is_reverted(rig: Rig) -> None:
    """Three frames that show the contrary end the command as reverted, with these frames."""
    rig.pack.press_emergency_stop()
    rig.run(1.0)
    assert rig.outcome("close-1") == (S.REVERTED, R.REVERTED)
    reverted = rig.event("close-1", S.REVERTED)
    assert "operating_status is 1, not 2 or 3 or 4" in reverted.detail
    contrary = reverted.evidence["contradicted_by"]
    assert isinstance(contrary, list)
    assert len(contrary) >= 3


def test_a_short_contradiction_is_not_enough(rig: Rig) -> None:
    """Two frames of another state are noise."""
    rig.misbehave("flapping=0.2")
    rig.run(1.0)
    assert rig.state("close-1") is S.SUCCEEDED
    rig.misbehave()
    rig.run(4.0)
    assert rig.state("close-1") is S.HELD


def test_silence_leaves_it_open(rig: Rig) -> None:
    """While nothing is heard, nobody knows whether it lasts: it stays succeeded."""
    rig.misbehave("silent")
    rig.run(60.0)
    assert rig.state("close-1") is S.SUCCEEDED
    rig.misbehave()
    rig.run(0.15)
    assert rig.state("close-1") is S.SUCCEEDED  # what was heard before the silence counts no more
    rig.run(1.0)
    assert rig.state("close-1") is S.HELD


def test_a_silence_that_hides_the_end(rig: Rig) -> None:
    """Opened while silent: when the battery is heard again, the command is reverted."""
    rig.misbehave("silent")
    rig.run(2.0)
    rig.pack.press_emergency_stop()
    rig.run(4.0)
    assert rig.state("close-1") is S.SUCCEEDED
    rig.misbehave()
    rig.run(1.0)
    assert rig.state("close-1") is S.REVERTED


@pytest.mark.parametrize("message", ["BAU_Alarms", "BAU_Faults", "BAU_Electrical", "BAU_State"])
def test_a_silent_part_contradicts_nothing(rig: Rig, message: str) -> None:
    """One message missing makes the battery disconnected, not the contactor open."""
    rig.misbehave(f"silent={message}")
    rig.run(10.0)
    assert rig.state("close-1") is S.SUCCEEDED
    rig.misbehave()
    rig.run(1.0)
    assert rig.state("close-1") is S.HELD


def test_the_next_command_ends_the_hold(rig: Rig) -> None:
    """When an open goes out, the close has lasted until then: held, superseded."""
    opening = rig.do(OPEN, 0.01)
    assert rig.outcome("close-1") == (S.HELD, R.SUPERSEDED)
    assert opening in rig.entry("close-1").detail
    rig.run(4.0)
    assert rig.life(opening) == WHOLE_LIFE


def test_a_command_that_sends_nothing_ends_no_hold(rig: Rig) -> None:
    """A refused or needless command leaves the watch alone."""
    rig.do(CLOSE, 0.1)
    rig.do(RESET, 0.1)
    rig.lock_out()
    rig.do(CLOSE, 0.1)
    rig.run(4.0)
    assert rig.life("close-1") == WHOLE_LIFE


def test_a_send_that_fails_ends_no_hold(rig: Rig) -> None:
    """An open that the bus did not take leaves the close's watch alone."""
    rig.port_is_open = False
    rig.do(OPEN, 0.1)
    rig.run(4.0)
    assert rig.life("close-1") == WHOLE_LIFE


def test_a_needless_command_is_watched_too(rig: Rig) -> None:
    """A no-op that does not last is reverted as well."""
    rig.run(4.0)
    again = rig.do(CLOSE, 1.0)
    assert rig.outcome(again) == (S.SUCCEEDED, R.NO_OP)
    rig.pack.press_emergency_stop()
    rig.run(1.0)
    assert rig.state(again) is S.REVERTED


def test_a_reset_whose_fault_comes_back(tmp_path: Path) -> None:
    """A fault that is back within the hold reverts the reset."""
    rig = quick_rig(tmp_path)
    rig.give_work(RESET)
    reset = rig.do(RESET, 1.0)
    assert rig.state(reset) is S.SUCCEEDED
    rig.pack.raise_alarm("machine_fault", 3, latched=True)
    rig.run(1.5)
    assert rig.outcome(reset) == (S.REVERTED, R.REVERTED)
    assert "machine_fault" in rig.entry(reset).detail


def test_no_watch_is_left_behind(rig: Rig) -> None:
    """However commands end, the table counts for nobody any more."""
    rig.run(4.0)
    rig.do(OPEN)
    rig.misbehave("refuse_close")
    rig.do(CLOSE, 5.0)
    assert rig.device.table._watches == []
