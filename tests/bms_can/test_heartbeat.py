"""The heartbeat as a lease: it ends by itself, and never comes in a burst."""

from hypothesis import given
from hypothesis import strategies as st

from bms_can.frame import Frame
from bms_can.heartbeat import GRID, LATE, LEASE_S, NEVER, Heartbeat, HeartbeatPlan

FRAMES = tuple(Frame(0.0, 0x305, extended=False, data=bytes([number])) for number in range(4))


def plan(period_s: float = 0.1) -> HeartbeatPlan:
    """Return a plan with a counter of four values."""
    return HeartbeatPlan("Alive", FRAMES, period_s)


def test_nothing_before_the_first_renewal() -> None:
    """A program that starts sends nothing by itself."""
    beat = Heartbeat(plan())
    assert beat.due(0.0) is None
    assert beat.why_not(0.0) == NEVER


def test_in_time_with_its_counter() -> None:
    """One frame each period, each with the next counter value and its own time."""
    beat = Heartbeat(plan(0.125))
    sent = []
    for step in range(80):
        beat.renew(step / 64)
        sent += [frame for frame in [beat.due(step / 64)] if frame is not None]
    assert [frame.at_s for frame in sent] == [number / 8 for number in range(10)]
    assert [frame.data[0] for frame in sent[:5]] == [0, 1, 2, 3, 0]


def test_it_ends_without_renewal() -> None:
    """The loop that renews hangs: no frame later than the lease, and none until it moves again."""
    beat = Heartbeat(plan())
    beat.renew(10.0)
    times = [step * 0.01 for step in range(1000, 1400)]
    assert max(at_s for at_s in times if beat.due(at_s)) < 10.0 + LEASE_S
    assert beat.why_not(13.9) == LATE
    beat.renew(14.0)
    assert beat.due(14.0) is not None
    assert beat.due(14.001) is None


def test_a_renewal_can_forbid() -> None:
    """A lock-out or a latch ends it at once, with its reason."""
    beat = Heartbeat(plan())
    beat.renew(0.0)
    assert beat.due(0.0) is not None
    beat.renew(0.1, "local lock-out")
    assert beat.due(0.1) is None
    assert beat.why_not(0.1) == "local lock-out"


def test_a_clock_that_goes_back_sends_nothing() -> None:
    """A renewal from the future is none."""
    beat = Heartbeat(plan())
    beat.renew(100.0)
    assert beat.due(99.0) is None


def test_missed_periods_are_not_made_good() -> None:
    """After a pause of the sender there is one frame, and a whole period until the next."""
    beat = Heartbeat(plan())
    beat.renew(0.0)
    assert beat.due(0.0) is not None
    beat.renew(0.75)
    assert beat.due(0.75) is not None
    assert beat.skipped == 6
    assert beat.due(0.84) is None
    assert beat.due(0.85) is not None


steps = st.lists(
    st.tuples(
        st.floats(0.0, 0.7), st.sampled_from(["renew", "forbid", "due", "due", "due", "wait"])
    ),
    max_size=80,
)


@given(steps, st.sampled_from([0.02, 0.1, 1.0, 10.0]))
def test_whatever_the_threads_do(actions: list[tuple[float, str]], period_s: float) -> None:
    """A frame goes out only under a lease that was renewed, allowed, within a second; no burst."""
    beat, now_s = Heartbeat(plan(period_s)), 100.0
    renewed_s: float | None = None
    allowed, last_s = False, float("-inf")
    for pause_s, action in actions:
        now_s += pause_s
        if action in {"renew", "forbid"}:
            renewed_s, allowed = now_s, action == "renew"
            beat.renew(now_s, "" if allowed else "no")
        if action != "due":
            continue
        frame = beat.due(now_s)
        may = allowed and renewed_s is not None and now_s - renewed_s < LEASE_S
        if not may:
            assert frame is None
            last_s = float("-inf")
        if frame is not None:
            assert now_s - last_s >= (1 - GRID) * period_s - 1e-9
            last_s = now_s
        assert 0 <= beat.wait_s(now_s) <= period_s
