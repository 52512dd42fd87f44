"""Two steps to a close: what confirms, what disturbs, and what is on record."""

from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from ems.errors import ApiError, BadParameter, OnlyArmed
from ems.issue import Issue
from ems.schema import arms
from ems.security import Principal
from ems.services import Services, Settings
from tests.ems.helpers import OPERATOR, FakeClock, issue


@pytest.fixture(autouse=True)
def _two_step(platform: Services) -> None:
    platform.registry.set_two_step("A", on=True)


@pytest.fixture
def other(platform: Services) -> Principal:
    """Give a second operator."""
    who = platform.registry.identify(platform.registry.create_key("operator", "other", []).text)
    assert who is not None
    return who


def arm(platform: Services, asked: Issue) -> str:
    """Take the first step; return the arm's id."""
    with pytest.raises(OnlyArmed) as caught:
        platform.commands.issue(asked)
    assert (caught.value.status, caught.value.code) == (428, 428)
    data = caught.value.data
    assert isinstance(data, dict)
    assert (data["armed"], data["sent"]) == (True, False)
    return str(data["arm_id"])


def queued(platform: Services, device_uid: str = "A") -> int:
    """Count the commands of a device."""
    return platform.commands.page(device_uid, 0, 1)[0]


def ends(platform: Services) -> list[tuple[str | None, str | None]]:
    """Return how each arm ended, oldest first."""
    with platform.database.read() as connection:
        rows = connection.execute(select(arms).order_by(arms.c.number)).all()
    return [(row.end, row.end_detail) for row in rows]


def test_the_same_again_confirms(platform: Services, operator: Principal, clock: FakeClock) -> None:
    """First nothing is queued, then one command; its life begins with who armed it and when."""
    arm_id = arm(platform, issue(operator, 2, reason="r"))
    assert queued(platform) == 0
    clock.advance_s(9.999)
    command_id, new = platform.commands.issue(issue(operator, 2, reason="r"))
    assert (new, queued(platform)) == (True, 1)
    first, second = platform.commands.get(command_id, operator)["events"]
    assert (first["state"], first["origin"], first["received_at"]) == (
        "armed",
        "operator",
        "2027-01-15T08:00:00.000Z",
    )
    assert arm_id in first["detail"]
    assert (second["state"], second["received_at"]) == ("queued", "2027-01-15T08:00:09.999Z")
    assert ends(platform) == [("confirmed", "192.0.2.7")]
    arm(platform, issue(operator, 2, reason="r"))


def test_the_id_of_the_arm_confirms(platform: Services, operator: Principal) -> None:
    """A client that knows names the arm; once used it is gone."""
    arm_id = arm(platform, issue(operator, 2))
    platform.commands.issue(issue(operator, 2, arm_id=arm_id))
    with pytest.raises(BadParameter, match="arm_id") as caught:
        platform.commands.issue(issue(operator, 2, arm_id=arm_id))
    assert (caught.value.status, queued(platform)) == (409, 1)


def test_an_arm_ends_in_time(platform: Services, operator: Principal, clock: FakeClock) -> None:
    """At 10 s it is over: the same request arms anew, a named one is refused."""
    arm_id = arm(platform, issue(operator, 2))
    clock.advance_s(10)
    assert platform.arms.view("A") == {"two_step": True, "armed": None}
    with pytest.raises(BadParameter, match="nothing was sent"):
        platform.commands.issue(issue(operator, 2, arm_id=arm_id))
    assert arm(platform, issue(operator, 2)) != arm_id
    assert queued(platform) == 0
    assert ends(platform)[0][0] == "expired"


Disturb = Callable[[Services, Principal, Principal], object]


def _cancel_a_command(platform: Services, who: Principal, _other: Principal) -> None:
    with platform.database.read() as connection:
        command_id = connection.exec_driver_sql("SELECT id FROM commands").scalar_one()
    platform.commands.cancel(command_id, who)


@pytest.mark.parametrize(
    "disturb",
    [
        pytest.param(lambda p, me, _: p.commands.issue(issue(me, 3)), id="open"),
        pytest.param(lambda p, me, _: p.commands.issue(issue(me, 1)), id="reset"),
        pytest.param(lambda p, _, other: p.commands.issue(issue(other, 3)), id="others-open"),
        pytest.param(lambda p, _, other: p.commands.issue(issue(other, 2)), id="others-close"),
        pytest.param(
            lambda p, me, _: p.commands.issue(issue(me, 2, reason="x")), id="other-reason"
        ),
        pytest.param(
            lambda p, me, _: p.commands.issue(issue(me, 2, expires_in_ms=5)), id="other-life"
        ),
        pytest.param(
            lambda p, me, _: p.commands.issue(issue(me, 2, expires_in_ms=40_000)), id="refused"
        ),
        pytest.param(
            lambda p, me, _: p.commands.issue(issue(me, 2, arm_id="other")), id="other-arm"
        ),
        pytest.param(
            lambda p, me, _: p.commands.issue(issue(me, 1, idempotency_key="k")), id="repeat"
        ),
        pytest.param(_cancel_a_command, id="cancel"),
        pytest.param(lambda p, _me, _: p.arms.adopt(), id="restart"),
    ],
)
def test_any_other_request_disarms(
    platform: Services, operator: Principal, other: Principal, disturb: Disturb
) -> None:
    """After another control request, accepted or refused, the named arm confirms nothing."""
    platform.commands.issue(issue(operator, 1, idempotency_key="k"))
    arm_id = arm(platform, issue(operator, 2))
    with suppress(ApiError):
        disturb(platform, operator, other)
    assert ends(platform)[0][0] == "cancelled"
    before = queued(platform)
    with pytest.raises(BadParameter, match="arm_id"):
        platform.commands.issue(issue(operator, 2, arm_id=arm_id))
    assert queued(platform) == before


def test_what_does_not_disarm(platform: Services, operator: Principal) -> None:
    """Reading, and commands to another device, leave the arm alone."""
    arm(platform, issue(operator, 2))
    platform.commands.page("A", 0, 5)
    platform.commands.issue(issue(operator, 3, device_uid="B"))
    platform.commands.take("A")
    armed = platform.arms.view("A")["armed"]
    assert (armed["by"], armed["confirm_within_ms"]) == (OPERATOR, 10_000)
    platform.commands.issue(issue(operator, 2))
    assert queued(platform) == 1


def test_a_retry_of_the_first_step_confirms_nothing(
    platform: Services, operator: Principal, clock: FakeClock
) -> None:
    """Under its own Idempotency-Key the arming request can be repeated without effect."""
    first = arm(platform, issue(operator, 2, idempotency_key="a"))
    clock.advance_s(4)
    assert arm(platform, issue(operator, 2, idempotency_key="a")) == first
    assert platform.arms.view("A")["armed"]["confirm_within_ms"] == 6_000
    with pytest.raises(BadParameter) as caught:
        platform.commands.issue(issue(operator, 2, reason="b", idempotency_key="a"))
    assert caught.value.status == 422
    first = arm(platform, issue(operator, 2, idempotency_key="a"))
    confirm = issue(operator, 2, arm_id=first, idempotency_key="b")
    made = platform.commands.issue(confirm)
    assert platform.commands.issue(confirm) == (made[0], False)
    assert queued(platform) == 1


def test_without_the_option_nothing_changes(platform: Services, operator: Principal) -> None:
    """One request is enough, for open and reset everywhere, for close where it is not asked for."""
    for command in (1, 3):
        platform.commands.issue(issue(operator, command))
    platform.commands.issue(issue(operator, 2, device_uid="B"))
    with pytest.raises(BadParameter, match="arm_id"):
        platform.commands.issue(issue(operator, 2, device_uid="B", arm_id="x"))
    platform.registry.set_two_step("A", on=False)
    platform.commands.issue(issue(operator, 2))
    assert (queued(platform), queued(platform, "B")) == (3, 1)


def test_an_arm_ends_with_the_platform(
    platform: Services, operator: Principal, clock: FakeClock
) -> None:
    """A restart ends all arms, whatever the clocks did."""
    arm(platform, issue(operator, 2))
    clock.mono -= 40_000
    again = Services(platform.database, clock, Settings())
    again.arms.adopt()
    arm(again, issue(operator, 2))
    assert queued(again) == 0


_STEPS = st.tuples(
    st.sampled_from(["me", "other"]), st.sampled_from([1, 2, 3]), st.sampled_from(["r", "s"])
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(steps=st.lists(st.tuples(_STEPS, st.sampled_from([0.0, 6.0])), max_size=8))
def test_no_close_without_two_equal_steps_in_a_row(
    platform: Services,
    operator: Principal,
    other: Principal,
    clock: FakeClock,
    steps: list[tuple[tuple[str, int, str], float]],
) -> None:
    """Whatever is asked by whom and when: a close is queued only right after its own arming."""
    platform.arms.drop("A", "a new example")
    with platform.database.write() as connection:
        connection.exec_driver_sql("UPDATE commands SET finished = 1")
    armed: tuple[tuple[str, int, str], float] | None = None
    passed_s = 0.0
    for step, pause_s in steps:
        who, command, reason = step
        clock.advance_s(pause_s)
        passed_s += pause_s
        may = command != 2 or (armed is not None and armed[0] == step and passed_s < armed[1])
        try:
            platform.commands.issue(
                issue(operator if who == "me" else other, command, reason=reason)
            )
            assert may
            armed = None
        except OnlyArmed:
            assert not may
            armed = (step, passed_s + 10)
