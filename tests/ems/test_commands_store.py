"""Commands: lives, hand-out, cancel, limits, restarts."""

import pytest

from ems.command_rules import MAX_UNFINISHED
from ems.command_views import pending_view
from ems.database import Database
from ems.errors import BadParameter, NoRecord
from ems.security import Principal
from ems.services import Services, Settings
from tests.ems.helpers import OPERATOR, FakeClock, issue, told


def lives(platform: Services, clock: FakeClock, device_uid: str = "A") -> list[int]:
    """Poll, and return what is left of each command [ms]."""
    rows = platform.commands.take(device_uid).rows
    return [pending_view(row, clock.monotonic_ms())["expires_in_ms"] for row in rows]


@pytest.mark.parametrize(
    ("command", "asked_ms", "life_ms"),
    [
        (1, None, 30_000),
        (2, None, 10_000),
        (3, None, 60_000),
        (2, 30_000, 30_000),
        (3, 600_000, 600_000),
        (2, 1, 1),
    ],
)
def test_lives(
    platform: Services,
    operator: Principal,
    clock: FakeClock,
    command: int,
    asked_ms: int | None,
    life_ms: int,
) -> None:
    """Each command has its own default; a shorter or longer life can be asked for."""
    platform.commands.issue(issue(operator, command, expires_in_ms=asked_ms))
    assert lives(platform, clock) == [life_ms]


@pytest.mark.parametrize(("command", "asked_ms"), [(2, 30_001), (3, 600_001), (1, 60_001)])
def test_a_life_above_the_cap_is_refused(
    platform: Services, operator: Principal, command: int, asked_ms: int
) -> None:
    """The cap is not applied silently: the caller is told, and nothing is queued."""
    with pytest.raises(BadParameter, match="expires_in_ms"):
        platform.commands.issue(issue(operator, command, expires_in_ms=asked_ms))
    assert platform.commands.page("A", 0, 9)[0] == 0


def test_the_life_is_counted_at_the_answer(
    platform: Services, operator: Principal, clock: FakeClock
) -> None:
    """A command that waited has less left, on the monotonic clock, whatever the wall clock does."""
    platform.commands.issue(issue(operator, 2))
    clock.advance_s(4)
    clock.wall += 10**9
    assert lives(platform, clock) == [6_000]


def test_a_command_is_new_once(platform: Services, operator: Principal) -> None:
    """The first poll gets it as new; later polls list it as in progress."""
    command_id, _ = platform.commands.issue(issue(operator, 2))
    first, second = platform.commands.take("A"), platform.commands.take("A")
    assert (first.is_new, second.is_new) == (True, False)
    assert [row["id"] for row in second.rows] == [command_id]
    assert platform.commands.take("B").rows == []


def test_in_progress_comes_first_then_oldest(platform: Services, operator: Principal) -> None:
    """What the device already has is listed before what is new."""
    first, _ = platform.commands.issue(issue(operator, 2))
    platform.commands.take("A")
    second, _ = platform.commands.issue(issue(operator, 3))
    third, _ = platform.commands.issue(issue(operator, 1))
    assert [row["id"] for row in platform.commands.take("A").rows] == [first, second, third]


def test_an_expired_command_is_never_handed_out(
    platform: Services, operator: Principal, clock: FakeClock
) -> None:
    """At its deadline a queued command is over, and says so."""
    command_id, _ = platform.commands.issue(issue(operator, 2))
    clock.advance_s(10)
    taken = platform.commands.take("A")
    assert (taken.is_new, taken.rows) == (False, [])
    found = platform.commands.get(command_id, operator)
    assert (found["state"], found["provisional"], found["finished"]) == ("expired", True, True)
    assert [event["state"] for event in found["events"]] == ["queued", "expired"]
    assert found["events"][-1]["origin"] == "platform"


def test_a_device_that_says_nothing_times_out(
    platform: Services, operator: Principal, clock: FakeClock
) -> None:
    """A handed-out command without a final word ends 60 s after its deadline, provisionally."""
    command_id, _ = platform.commands.issue(issue(operator, 2))
    platform.commands.take("A")
    clock.advance_s(69.9)
    assert platform.commands.get(command_id, operator)["state"] == "delivered"
    assert lives(platform, clock) == [0]
    clock.advance_s(0.1)
    found = platform.commands.get(command_id, operator)
    assert (found["state"], found["provisional"]) == ("timed_out", True)
    assert lives(platform, clock) == []


def test_who_asked_is_kept(platform: Services, operator: Principal) -> None:
    """Key name, key id, address, time and reason stay with the command."""
    command_id, _ = platform.commands.issue(issue(operator, 3, reason="fire drill"))
    found = platform.commands.get(command_id, operator)
    assert found["issued_by"] == OPERATOR
    assert found["issued_key"] == operator.key_id
    assert (found["issued_from"], found["reason"]) == ("192.0.2.7", "fire drill")
    assert found["issued_at"] == "2027-01-15T08:00:00.000Z"
    assert found["expires_at"] == "2027-01-15T08:01:00.000Z"


def test_a_repeat_with_the_same_key_is_the_same_command(
    platform: Services, operator: Principal
) -> None:
    """Same Idempotency-Key, same body: one command, one id, also after it has ended."""
    first = platform.commands.issue(issue(operator, 2, idempotency_key="k"))
    platform.commands.cancel(first[0], operator)
    again = platform.commands.issue(issue(operator, 2, idempotency_key="k"))
    assert (first[1], again) == (True, (first[0], False))
    with pytest.raises(BadParameter) as caught:
        platform.commands.issue(issue(operator, 3, idempotency_key="k"))
    assert caught.value.status == 422


def test_idempotency_keys_belong_to_their_caller(platform: Services, operator: Principal) -> None:
    """Two operators may use the same Idempotency-Key."""
    key = platform.registry.create_key("operator", "other", ["A"])
    other = platform.registry.identify(key.text)
    assert other is not None
    first = platform.commands.issue(issue(operator, 2, idempotency_key="k"))
    assert platform.commands.issue(issue(other, 3, idempotency_key="k"))[0] != first[0]


def test_a_device_has_at_most_100_unfinished(
    platform: Services, operator: Principal, clock: FakeClock
) -> None:
    """The 101st is refused for this device only, until something ends."""
    for _ in range(MAX_UNFINISHED):
        platform.commands.issue(issue(operator, 1))
    with pytest.raises(BadParameter) as caught:
        platform.commands.issue(issue(operator, 1))
    assert caught.value.status == 429
    platform.commands.issue(issue(operator, 1, device_uid="B"))
    clock.advance_s(30)
    platform.commands.issue(issue(operator, 1))


def test_a_queued_command_is_cancelled_at_once(platform: Services, operator: Principal) -> None:
    """What was never handed out simply ends; nothing can follow."""
    command_id, _ = platform.commands.issue(issue(operator, 2))
    assert platform.commands.cancel(command_id, operator)["state"] == "cancelled"
    assert platform.commands.take("A").rows == []
    with pytest.raises(BadParameter) as caught:
        platform.results.tell(told(command_id, "sent"))
    assert caught.value.status == 409
    with pytest.raises(BadParameter) as caught:
        platform.commands.cancel(command_id, operator)
    assert caught.value.status == 409


def test_cancelling_a_delivered_command_asks_the_device(
    platform: Services, operator: Principal
) -> None:
    """The request raises the version and is news for one poll; a repeat changes nothing."""
    command_id, _ = platform.commands.issue(issue(operator, 2))
    platform.commands.take("A")
    platform.results.tell(told(command_id, "gated"))
    asked = platform.commands.cancel(command_id, operator)
    assert (asked["state"], asked["version"], asked["cancel_requested"]) == ("gated", 2, True)
    assert platform.commands.cancel(command_id, operator)["version"] == 2
    taken = platform.commands.take("A")
    assert taken.is_new
    assert pending_view(taken.rows[0], 0)["cancel_requested"] is True
    assert not platform.commands.take("A").is_new


@pytest.mark.parametrize("state", ["sending", "sent", "succeeded", "failed"])
def test_it_is_too_late_to_cancel_once_sending(
    platform: Services, operator: Principal, state: str
) -> None:
    """A command that may be on the wire, or has ended, cannot be cancelled."""
    command_id, _ = platform.commands.issue(issue(operator, 2))
    platform.commands.take("A")
    platform.results.tell(told(command_id, state))
    with pytest.raises(BadParameter, match=state) as caught:
        platform.commands.cancel(command_id, operator)
    assert caught.value.status == 409


def test_commands_outside_the_scope_do_not_exist(platform: Services, operator: Principal) -> None:
    """Another operator's device hides its commands."""
    key = platform.registry.create_key("operator", "b-only", ["B"])
    other = platform.registry.identify(key.text)
    assert other is not None
    command_id, _ = platform.commands.issue(issue(operator, 2))
    for call in (platform.commands.get, platform.commands.cancel):
        with pytest.raises(NoRecord):
            call(command_id, other)
        with pytest.raises(NoRecord):
            call("no-such-id", operator)


def test_pages_are_newest_first(platform: Services, operator: Principal) -> None:
    """A page counts all and shows its part."""
    ids = [platform.commands.issue(issue(operator, 1))[0] for _ in range(5)]
    total, found = platform.commands.page("A", 1, 2)
    assert (total, [item["id"] for item in found]) == (5, [ids[3], ids[2]])


@pytest.mark.parametrize(
    ("clocks", "left_ms"),
    [
        pytest.param((4, 4, "boot-1"), 6_000, id="process-restart"),
        pytest.param((4, -40, "boot-2"), 6_000, id="new-boot"),
        pytest.param((1, 4, "boot-1"), 6_000, id="wall-lost-time"),
        pytest.param((-1, 4, "boot-1"), None, id="wall-went-back"),
        pytest.param((-1, -40, "boot-2"), None, id="wall-went-back-over-a-boot"),
        pytest.param((10, -40, "boot-2"), None, id="too-long"),
    ],
)
def test_a_restart_only_shortens_lives(
    platform: Services,
    operator: Principal,
    clock: FakeClock,
    clocks: tuple[int, int, str],
    left_ms: int | None,
) -> None:
    """Over a restart the shorter of both clocks counts; a wall clock gone back ends the life."""
    command_id, _ = platform.commands.issue(issue(operator, 2))
    clock.wall += clocks[0] * 1000
    clock.mono += clocks[1] * 1000
    clock.boot = clocks[2]
    again = Services(platform.database, clock, Settings())
    again.commands.adopt()
    clock.wall += 10**8
    assert lives(again, clock) == ([] if left_ms is None else [left_ms])
    state = again.commands.get(command_id, operator)["state"]
    assert state == ("expired" if left_ms is None else "delivered")


def test_the_latest_wall_time_is_remembered_while_commands_live(
    database: Database, platform: Services, operator: Principal, clock: FakeClock
) -> None:
    """A wall clock that ran on and then went back, but not behind the issue, is noticed too."""
    platform.commands.issue(issue(operator, 3))
    clock.advance_s(20)
    platform.commands.tick_wall()
    clock.wall -= 5_000
    clock.boot = "boot-2"
    again = Services(database, clock, Settings())
    again.commands.adopt()
    assert lives(again, clock) == []


def test_nothing_is_written_down_while_idle(platform: Services) -> None:
    """Without unfinished commands the housekeeping does not write."""
    platform.commands.tick_wall()
    platform.commands.settle()
    with platform.database.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM meta").scalar() == 1
