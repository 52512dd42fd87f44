"""Status: unknown is null, older never replaces newer, silence ages."""

from ems.database import Database
from ems.services import Services, Settings
from tests.ems.helpers import FakeClock, report


def test_a_device_that_never_reported_is_unknown(platform: Services) -> None:
    """Nothing is invented: nulls, and disconnected."""
    assert platform.statuses.get("A").data() == {
        "device_uid": "A",
        "alarm_status": None,
        "operating_status": None,
        "disconnected": 1,
        "observed_at": None,
    }


def test_the_time_of_observation_is_receipt_minus_age(platform: Services) -> None:
    """The device's age is taken off the platform's clock; its own wall clock plays no part."""
    stored = platform.statuses.put("A", report(1, age_ms=1500))
    assert stored.accepted
    assert stored.view.observed_at == "2027-01-15T07:59:58.500Z"
    assert stored.view.operating_status == 2


def test_older_and_equal_sequences_change_nothing(platform: Services) -> None:
    """Whatever order reports arrive in, the newest stays."""
    platform.statuses.put("A", report(7, operating_status=3))
    for sequence in (7, 6, 0):
        stored = platform.statuses.put("A", report(sequence, operating_status=1))
        assert not stored.accepted
        assert stored.view.operating_status == 3
    assert platform.statuses.put("A", report(8, operating_status=4)).view.operating_status == 4


def test_an_old_report_does_not_keep_a_status_fresh(platform: Services, clock: FakeClock) -> None:
    """Repeats of an old sequence do not stop the status from ageing."""
    platform.statuses.put("A", report(7))
    clock.advance_s(29)
    platform.statuses.put("A", report(7))
    clock.advance_s(2)
    assert platform.statuses.get("A").operating_status is None


def test_silence_becomes_unknown_never_powered_down(platform: Services, clock: FakeClock) -> None:
    """After 30 s without a report all is null, disconnected is 1, the last observation stays."""
    platform.statuses.put("A", report(1, operating_status=1))
    clock.advance_s(30)
    assert platform.statuses.get("A").operating_status == 1
    clock.advance_s(0.001)
    data = platform.statuses.get("A").data()
    assert data["operating_status"] is None
    assert data["alarm_status"] is None
    assert data["disconnected"] == 1
    assert data["observed_at"] == "2027-01-15T08:00:00.000Z"


def test_age_at_receipt_counts(platform: Services, clock: FakeClock) -> None:
    """A report that was old when it came grows stale earlier."""
    platform.statuses.put("A", report(1, age_ms=20_000))
    clock.advance_s(10)
    assert platform.statuses.get("A").operating_status == 2
    clock.advance_s(1)
    assert platform.statuses.get("A").operating_status is None


def test_a_step_of_the_wall_clock_does_not_age(platform: Services, clock: FakeClock) -> None:
    """Freshness counts on the monotonic clock."""
    platform.statuses.put("A", report(1))
    clock.wall += 10**9
    assert platform.statuses.get("A").operating_status == 2


def test_a_device_without_its_bms_says_so(platform: Services, clock: FakeClock) -> None:
    """Disconnected: no operating status, but the count of alarms, while the box itself reports."""
    silent = report(1, operating_status=None, disconnected=1, alarm_status=1, age_ms=3_600_000)
    data = platform.statuses.put("A", silent).view.data()
    assert (data["operating_status"], data["alarm_status"], data["disconnected"]) == (None, 1, 1)
    assert data["observed_at"] == "2027-01-15T07:00:00.000Z"
    clock.advance_s(31)
    assert platform.statuses.get("A").alarm_status is None


def test_a_restart_keeps_a_fresh_status_fresh_and_ages_it(
    database: Database, platform: Services, clock: FakeClock
) -> None:
    """The time of the outage counts; after a new boot only the wall clock can tell it."""
    platform.statuses.put("A", report(1))
    clock.wall += 20_000
    clock.mono, clock.boot = 5, "boot-2"
    again = Services(database, clock, Settings())
    again.statuses.adopt()
    assert again.statuses.get("A").operating_status == 2
    clock.advance_s(11)
    assert again.statuses.get("A").operating_status is None


def test_a_wall_clock_gone_back_over_a_restart_makes_all_unknown(
    platform: Services, clock: FakeClock
) -> None:
    """When nobody can tell the age, the status is unknown."""
    platform.statuses.put("A", report(1))
    clock.wall -= 1
    platform.statuses.adopt()
    assert platform.statuses.get("A").operating_status is None


def test_only_a_newer_observation_answers_a_request(platform: Services, clock: FakeClock) -> None:
    """A report about the time before the request is no answer; a broken link to the BMS is one."""
    asked_ms = clock.monotonic_ms()
    assert platform.statuses.answers("A", asked_ms) is None
    clock.advance_s(1)
    platform.statuses.put("A", report(1, age_ms=1001))
    assert platform.statuses.answers("A", asked_ms) is None
    platform.statuses.put("A", report(2, age_ms=None))
    assert platform.statuses.answers("A", asked_ms) is None
    platform.statuses.put("A", report(3, age_ms=1000))
    assert platform.statuses.answers("A", asked_ms) is not None
    clock.advance_s(1)
    asked_ms = clock.monotonic_ms()
    assert platform.statuses.answers("A", asked_ms) is None
    platform.statuses.put("A", report(4, operating_status=None, disconnected=1, age_ms=90_000))
    view = platform.statuses.answers("A", asked_ms)
    assert view is not None
    assert view.disconnected == 1


def test_details_hold_the_whole_report(platform: Services, clock: FakeClock) -> None:
    """Alarms, telemetry and box come back as told, and `stale` says whether they still count."""
    alarm = {"key": "k", "level": 2, "label_zh": "压差大", "label_en": "difference", "since": None}
    full = report(
        9, alarms=[alarm], telemetry={"soc": 51.5, "cell_voltage": [3.3, None]}, box={"v": 1}
    )
    platform.statuses.put("A", full)
    found = platform.statuses.details("A")
    assert found["alarms"] == [alarm]
    assert found["telemetry"] == {"soc": 51.5, "cell_voltage": [3.3, None]}
    assert (found["box"], found["sequence"], found["stale"]) == ({"v": 1}, 9, False)
    clock.advance_s(31)
    assert platform.statuses.details("A")["stale"] is True
    assert platform.statuses.details("B")["telemetry"] is None


def test_all_lists_every_device_in_scope(platform: Services) -> None:
    """Devices that never reported are there too."""
    platform.statuses.put("B", report(1))
    assert [view.stale for view in platform.statuses.all(None)] == [True, False]
    assert [view.device_uid for view in platform.statuses.all(frozenset({"B"}))] == ["B"]
