"""Recovery from bus-off: purge, rest, restart, listen; the rest grows; what is refused is said."""

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
    Phase,
)


def test_a_recovery_from_begin_to_end() -> None:
    """Down at once, up after 1 s, quiet for 3 s more, then all is as before."""
    found = BusOff()
    assert found.step(10.0, bus_off=False) is Act.NOTHING
    assert found.text(10.0) == ""
    assert found.step(11.0, bus_off=True) is Act.DOWN
    found.done(Act.DOWN, 11.0)
    assert found.text(11.0) == "bus-off: the interface is down for 1 s more"
    assert found.step(11.9, bus_off=False) is Act.NOTHING
    assert found.step(12.0, bus_off=False) is Act.UP
    found.done(Act.UP, 12.0)
    assert found.text(12.0) == "bus-off is over: listening for 3 s more before any send"
    assert found.step(14.9, bus_off=False) is Act.NOTHING
    assert found.phase is Phase.LISTENING
    found.step(15.0, bus_off=False)
    assert (found.phase, found.text(15.0), found.recoveries) == (Phase.FINE, "", 1)


def test_the_rest_doubles_up_to_a_minute() -> None:
    """1, 2, 4 ... 60, 60 s (rule 23); after a calm minute it is 1 s again."""
    found, now_s, rests = BusOff(), 0.0, []
    for _ in range(9):
        assert found.step(now_s, bus_off=True) is Act.DOWN
        found.done(Act.DOWN, now_s)
        rests.append(found.until_s - now_s)
        now_s = found.until_s
        assert found.step(now_s, bus_off=False) is Act.UP
        found.done(Act.UP, now_s)
    assert rests == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, LONGEST_WAIT_S]
    found.step(now_s + LISTEN_S, bus_off=False)
    found.step(now_s + LISTEN_S + CALM_S, bus_off=False)
    assert found.wait_s == FIRST_WAIT_S


def test_without_the_right_it_says_so_and_keeps_quiet() -> None:
    """It asks again every 5 s; when somebody else has restarted it, it listens first."""
    found = BusOff()
    found.done(found.step(0.0, bus_off=True), 0.0, "needs CAP_NET_ADMIN")
    assert found.text(1.0) == "bus-off; not restarted: needs CAP_NET_ADMIN"
    assert found.step(RETRY_S - 0.1, bus_off=True) is Act.NOTHING
    assert found.step(RETRY_S, bus_off=True) is Act.DOWN
    found.done(Act.DOWN, RETRY_S, "needs CAP_NET_ADMIN")
    assert found.step(20.0, bus_off=False) is Act.NOTHING
    assert found.phase is Phase.LISTENING
    found.step(20.0 + LISTEN_S, bus_off=False)
    assert found.text(24.0) == ""


def test_an_interface_that_does_not_come_up_is_tried_again() -> None:
    """Every 5 s, and the reason is told meanwhile."""
    found = BusOff()
    found.done(found.step(0.0, bus_off=True), 0.0)
    assert found.step(1.0, bus_off=False) is Act.UP
    found.done(Act.UP, 1.0, "no such device")
    assert (
        found.text(1.0)
        == "bus-off: the interface is down for 5 s more; not restarted: no such device"
    )
    assert found.step(5.9, bus_off=False) is Act.NOTHING
    assert found.step(6.0, bus_off=False) is Act.UP


@given(st.lists(st.tuples(st.floats(0.01, 20.0), st.booleans(), st.booleans()), max_size=60))
def test_nothing_is_sent_within_three_seconds_after_bus_off(
    steps: list[tuple[float, bool, bool]],
) -> None:
    """Whatever happens: no "all is well" less than 3 s after the last bus-off or restart."""
    found, now_s, last_s = BusOff(), 0.0, -1e9
    for gap_s, bus_off, allowed in steps:
        now_s += gap_s
        act = found.step(now_s, bus_off=bus_off)
        if bus_off or act is not Act.NOTHING:
            last_s = now_s
        if act is not Act.NOTHING:
            found.done(act, now_s, "" if allowed else "no right")
        if found.text(now_s) == "":
            assert now_s - last_s >= LISTEN_S - 1e-9


def test_nothing_done_changes_nothing() -> None:
    """To do nothing is noted as that."""
    found = BusOff()
    before = (found.phase, found.until_s, found.recoveries)
    found.done(Act.NOTHING, 5.0)
    assert (found.phase, found.until_s, found.recoveries) == before
