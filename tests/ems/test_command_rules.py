"""What may follow what, over all pairs; and lives over a restart."""

from typing import get_args

from hypothesis import given
from hypothesis import strategies as st

from ems.command_rules import FINISHED, Persisted, may_follow, remaining_ms
from ems.payloads import DeviceState

STATES = get_args(DeviceState)
LADDER = ("accepted", "gated", "sending", "sent", "acknowledged")


def test_the_ladder_goes_up_only() -> None:
    """Rungs may be skipped, never taken back or repeated as something new."""
    for low, current in enumerate(LADDER):
        for high, new in enumerate(LADDER):
            assert may_follow(current, provisional=False, new=new) is (high > low)


def test_any_end_may_follow_any_rung() -> None:
    """A device may end a command at any point."""
    for current in ("queued", "delivered", *LADDER):
        for new in FINISHED:
            assert may_follow(current, provisional=False, new=new)


def test_ends_are_immutable_but_for_two() -> None:
    """Only succeeded and unknown can still turn into something."""
    allowed = {
        (current, new)
        for current in FINISHED
        for new in STATES
        if may_follow(current, provisional=False, new=new)
    }
    assert allowed == {
        ("succeeded", "held"),
        ("succeeded", "reverted"),
        ("unknown", "succeeded"),
        ("unknown", "failed"),
    }


def test_the_device_replaces_what_the_platform_made_up() -> None:
    """A provisional end yields to any word of the device."""
    for current in ("expired", "timed_out"):
        for new in STATES:
            assert may_follow(current, provisional=True, new=new)


_MS = st.integers(min_value=0, max_value=10**13)


@given(_MS, _MS, _MS, _MS, st.booleans())
def test_a_restart_never_lengthens_a_life(
    wall_ms: int,
    mono_ms: int,
    issued_ms: int,
    seen_ms: int,
    same_boot: bool,  # noqa: FBT001  # drawn
) -> None:
    """Whatever the clocks did, what is left is between 0 and the whole life."""
    life_ms = 10_000
    before = Persisted(life_ms, issued_ms + life_ms, 5_000 + life_ms, "b", max(seen_ms, issued_ms))
    left_ms = remaining_ms(before, wall_ms, mono_ms, "b" if same_boot else "c")
    assert 0 <= left_ms <= life_ms
    if wall_ms < before.seen_ms or wall_ms >= issued_ms + life_ms:
        assert left_ms == 0
    if same_boot:
        assert left_ms <= max(0, 5_000 + life_ms - mono_ms)
