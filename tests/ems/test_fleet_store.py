"""One line for each device: honest about what is unknown."""

from ems.security import Principal
from ems.services import Services
from tests.ems.helpers import FakeClock, issue, report


def test_a_line_shows_what_is_known(
    platform: Services, operator: Principal, clock: FakeClock
) -> None:
    """Status, age, highest alarm, box facts and commands in progress stand together."""
    alarm = {"key": "k", "level": 1, "label_zh": "a", "label_en": "a"}
    box = {"lockout": "repair (Li)", "tx_unsafe": "no echo", "secret": 1}
    alarms = [alarm, alarm | {"level": 3}]
    platform.statuses.put("A", report(1, alarm_status=2, alarms=alarms, box=box, age_ms=40))
    platform.commands.issue(issue(operator, 3))
    clock.advance_s(2)
    total, (line, silent) = platform.fleet.page(None, 0, 9)
    assert (total, line["device_uid"], line["name"]) == (2, "A", "Battery A")
    assert (line["operating_status"], line["age_ms"], line["alarm_level"]) == (2, 2_040, 3)
    assert (line["unfinished"], line["two_step"], line["journal_contradictions"]) == (1, False, 0)
    assert (line["box"]["lockout"], line["box"]["tx_unsafe"]) == ("repair (Li)", "no echo")
    assert "secret" not in line["box"]
    assert (silent["operating_status"], silent["disconnected"], silent["stale"]) == (None, 1, True)
    assert (silent["age_ms"], silent["alarm_level"]) == (None, None)


def test_a_stale_line_claims_nothing(platform: Services, clock: FakeClock) -> None:
    """An old status keeps its age only."""
    platform.statuses.put("A", report(1, alarm_status=0))
    clock.advance_s(31)
    line = platform.fleet.page(frozenset({"A"}), 0, 9)[1][0]
    assert (line["operating_status"], line["alarm_status"], line["stale"]) == (None, None, True)
    assert line["age_ms"] == 31_000


def test_lines_are_paged_in_scope(platform: Services) -> None:
    """Only the devices of the caller, by uid."""
    assert platform.fleet.page(frozenset({"B"}), 0, 9)[1][0]["device_uid"] == "B"
    total, lines = platform.fleet.page(None, 1, 1)
    assert (total, [line["device_uid"] for line in lines]) == (2, ["B"])
