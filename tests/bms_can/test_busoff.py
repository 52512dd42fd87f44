"""Recovery from bus-off: purge, rest, restart, listen; the rest grows; what is refused is said."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bms_can.busoff import (
    CALM_S,
    FIRST_WAIT_S,
    LISTEN_S,
    LONGEST_WAIT_S,
    RETRY_S,
    Act,
    BusOff,
    OnlyLooks,
    Phase,
)


def went_through(found: BusOff, now_s: float) -> list[Act]:
    """Do all that is asked for now; return it."""
    acts: list[Act] = []
    up = True
    while (act := found.step(now_s, bus_off=True, up=up)) is not Act.NOTHING:
        up = act is Act.UP
        found.done(act, now_s)
        acts.append(act)
        if up:
            break
    return acts


def test_a_recovery_from_begin_to_end() -> None:
    """A rest of 1 s, then down and up at once, quiet for 3 s more, then all is as before."""
    found = BusOff()
    assert found.step(10.0, bus_off=False) is Act.NOTHING
    assert found.text(10.0) == ""
    assert found.step(11.0, bus_off=True) is Act.NOTHING
    assert found.text(11.0) == "bus-off: to be restarted in 1 s"
    assert found.step(11.9, bus_off=True) is Act.NOTHING
    assert went_through(found, 12.0) == [Act.DOWN, Act.UP]
    assert found.text(12.0) == "bus-off is over: listening for 3 s more before any send"
    assert found.step(14.9, bus_off=False) is Act.NOTHING
    assert found.phase is Phase.LISTENING
    found.step(15.0, bus_off=False)
    assert (found.phase, found.text(15.0), found.recoveries) == (Phase.FINE, "", 1)


def test_the_rest_doubles_up_to_a_minute() -> None:
    """1, 2, 4 ... 60, 60 s (rule 23); after a calm minute it is 1 s again."""
    found, now_s, rests = BusOff(), 0.0, []
    for _ in range(9):
        assert found.step(now_s, bus_off=True) is Act.NOTHING
        rests.append(found.until_s - now_s)
        now_s = found.until_s
        assert went_through(found, now_s) == [Act.DOWN, Act.UP]
    assert rests == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, LONGEST_WAIT_S]
    found.step(now_s + LISTEN_S, bus_off=False)
    found.step(now_s + LISTEN_S + CALM_S, bus_off=False)
    assert found.wait_s == FIRST_WAIT_S


def test_without_the_right_it_says_so_and_keeps_quiet() -> None:
    """It asks again every 5 s; when somebody else has restarted it, it listens first."""
    found = BusOff()
    assert found.step(0.0, bus_off=True) is Act.NOTHING
    assert found.step(1.0, bus_off=True) is Act.DOWN
    found.done(Act.DOWN, 1.0, "needs CAP_NET_ADMIN")
    assert found.text(1.0) == "bus-off; not restarted: needs CAP_NET_ADMIN"
    assert found.step(1.0 + RETRY_S - 0.1, bus_off=True) is Act.NOTHING
    assert found.step(1.0 + RETRY_S, bus_off=True) is Act.DOWN
    found.done(Act.DOWN, 1.0 + RETRY_S, "needs CAP_NET_ADMIN")
    assert found.step(20.0, bus_off=False) is Act.NOTHING
    assert found.phase is Phase.LISTENING
    found.step(20.0 + LISTEN_S, bus_off=False)
    assert found.text(24.0) == ""


def test_an_interface_that_does_not_come_up_is_tried_again() -> None:
    """Every 5 s, and the reason is told meanwhile: it was we who set it down."""
    found = BusOff()
    found.step(0.0, bus_off=True)
    assert found.step(1.0, bus_off=True) is Act.DOWN
    found.done(Act.DOWN, 1.0)
    assert found.step(1.0, bus_off=False, up=False) is Act.UP
    found.done(Act.UP, 1.0, "no such device")
    assert (
        found.text(1.0)
        == "bus-off: set down by us, to be set up in 5 s; not restarted: no such device"
    )
    assert found.step(5.9, bus_off=False, up=False) is Act.NOTHING
    assert found.step(6.0, bus_off=False, up=None) is Act.UP


def test_who_sets_it_up_before_us_is_followed_by_listening() -> None:
    """What we have set down and somebody else has set up needs no further act."""
    found = BusOff()
    found.step(0.0, bus_off=True)
    found.done(found.step(1.0, bus_off=True), 1.0)
    assert found.step(1.0, bus_off=False, up=True) is Act.NOTHING
    assert (found.phase, found.recoveries) == (Phase.LISTENING, 0)


@pytest.mark.parametrize("refused", ["", "needs CAP_NET_ADMIN"])
def test_what_a_person_has_set_down_stays_down(refused: str) -> None:
    """However long; when that person sets it up again it is listened to before any send."""
    found = BusOff()
    found.step(0.0, bus_off=True)
    if refused:
        found.done(found.step(1.0, bus_off=True), 1.0, refused)
    for at_s in (1.5, 2.0, 60.0, 3600.0):
        assert found.step(at_s, bus_off=False, up=False) is Act.NOTHING
        assert found.text(at_s) == (
            "the interface was set down after bus-off, not by us: it stays down"
        )
    assert (
        found.step(4000.0, bus_off=True, up=False) is Act.NOTHING
    )  # a driver that keeps saying so
    found.step(4001.0, bus_off=False, up=True)
    assert "listening for 3 s" in found.text(4001.0)


def test_an_interface_that_never_was_in_bus_off_is_nobodys_business_here() -> None:
    """Set down and up by a person, without bus-off: nothing is done and nothing said."""
    found = BusOff()
    for at_s, up in ((0.0, True), (1.0, False), (2.0, False), (3.0, True)):
        assert found.step(at_s, bus_off=False, up=up) is Act.NOTHING
        assert found.text(at_s) == ""


def test_a_bus_off_that_the_kernel_ended_during_the_rest() -> None:
    """`restart-ms` was faster: it is not restarted again, but listened to."""
    found = BusOff()
    found.step(0.0, bus_off=True)
    assert found.step(0.5, bus_off=False) is Act.NOTHING
    assert (found.phase, found.recoveries) == (Phase.LISTENING, 0)


STEP = st.tuples(
    st.floats(0.01, 20.0), st.booleans(), st.sampled_from((True, True, False, None)), st.booleans()
)


@given(st.lists(STEP, max_size=60))
def test_whatever_happens(steps: list[tuple[float, bool, bool | None, bool]]) -> None:
    """No "all is well" within 3 s after bus-off or a restart; up goes only what we set down."""
    found, now_s, last_s, ours = BusOff(), 0.0, -1e9, False
    for gap_s, bus_off, up, allowed in steps:
        now_s += gap_s
        act = found.step(now_s, bus_off=bus_off, up=up)
        if (bus_off and up is not False) or act is not Act.NOTHING:
            last_s = now_s
        assert act is not Act.UP or ours
        assert act is not Act.DOWN or up is not False
        if act is not Act.NOTHING:
            found.done(act, now_s, "" if allowed else "no right")
            ours = allowed if act is Act.DOWN else ours and not allowed
        elif up:
            ours = False
        if found.text(now_s) == "":
            assert now_s - last_s >= LISTEN_S - 1e-9


def test_nothing_done_changes_nothing() -> None:
    """To do nothing is noted as that."""
    found = BusOff()
    before = (found.phase, found.until_s, found.recoveries)
    found.done(Act.NOTHING, 5.0)
    assert (found.phase, found.until_s, found.recoveries) == before


def test_who_only_looks_does_nothing() -> None:
    """A tool that listens must not restart a controller, whatever it sees."""
    looks = OnlyLooks()
    for now_s in range(100):
        assert looks.step(float(now_s), bus_off=now_s > 1, up=now_s % 7 > 0) is Act.NOTHING
