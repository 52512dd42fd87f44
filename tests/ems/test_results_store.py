"""Results: idempotent, forward only, every word kept. Reports: exactly once."""

import itertools
from typing import get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ems.command_rules import FINISHED
from ems.errors import BadParameter, NoRecord
from ems.payloads import DeviceState, ReportsBody
from ems.security import Principal
from ems.services import Services
from tests.ems.helpers import FakeClock, issue, told


@pytest.fixture
def command_id(platform: Services, operator: Principal) -> str:
    """Give a close command that the device has."""
    made, _ = platform.commands.issue(issue(operator, 2))
    platform.commands.take("A")
    return made


def test_every_word_is_kept_with_its_evidence(
    platform: Services, operator: Principal, command_id: str
) -> None:
    """The life shows each step in order, with reason, detail, evidence and both times."""
    evidence = {"interlocks": [{"signal": "s", "value": 1, "age_ms": 20, "ok": True}]}
    platform.results.tell(told(command_id, "gated", evidence=evidence, at="2026-01-01T00:00:00Z"))
    platform.results.tell(told(command_id, "rejected", reason="blocked-by-health", detail="x"))
    events = platform.commands.get(command_id, operator)["events"]
    assert [event["state"] for event in events] == ["queued", "delivered", "gated", "rejected"]
    assert events[2]["evidence"] == evidence
    assert events[2]["at"] == "2026-01-01T00:00:00Z"
    assert (events[3]["reason"], events[3]["detail"]) == ("blocked-by-health", "x")
    assert events[3]["received_at"] == "2027-01-15T08:00:00.000Z"


def test_a_repeat_changes_nothing(platform: Services, operator: Principal, command_id: str) -> None:
    """The same (id, state) again is fine, even with other evidence and after the end."""
    platform.results.tell(told(command_id, "accepted", evidence={"a": 1}))
    platform.results.tell(told(command_id, "failed"))
    before = platform.commands.get(command_id, operator)
    for state in ("failed", "accepted"):
        again = platform.results.tell(told(command_id, state, evidence={"a": 2}))
        assert again.repeat
        assert again.command["state"] == "failed"
    assert platform.commands.get(command_id, operator) == before


def test_a_contradiction_is_refused_and_kept(
    platform: Services, operator: Principal, command_id: str
) -> None:
    """After a final word another one is refused with 409; what was said stays as evidence, once."""
    platform.results.tell(told(command_id, "cancelled"))
    for _ in range(2):
        with pytest.raises(BadParameter, match="succeeded cannot follow cancelled") as caught:
            platform.results.tell(told(command_id, "succeeded", evidence={"frame": "00"}))
        assert caught.value.status == 409
    found = platform.commands.get(command_id, operator)
    assert found["state"] == "cancelled"
    assert [event["refused"] for event in found["events"]] == [False, False, False, True]
    assert found["events"][-1]["evidence"] == {"frame": "00"}


def test_unknown_can_be_settled(platform: Services, command_id: str) -> None:
    """After a restart of the box the bus may show the effect later."""
    platform.results.tell(told(command_id, "unknown"))
    platform.results.tell(told(command_id, "succeeded"))
    assert platform.results.tell(told(command_id, "held")).command["state"] == "held"


def test_the_device_corrects_a_provisional_end(
    platform: Services, operator: Principal, clock: FakeClock, command_id: str
) -> None:
    """News after an outage replaces the platform's guess, and the guess stays in the life."""
    clock.advance_s(3600)
    assert platform.commands.get(command_id, operator)["state"] == "timed_out"
    platform.results.tell(told(command_id, "sent"))
    found = platform.commands.get(command_id, operator)
    assert (found["state"], found["provisional"], found["finished"]) == ("sent", False, False)
    clock.advance_s(60)
    assert platform.commands.get(command_id, operator)["state"] == "timed_out"
    platform.results.tell(told(command_id, "succeeded"))
    found = platform.commands.get(command_id, operator)
    assert (found["state"], found["provisional"]) == ("succeeded", False)
    states = [event["state"] for event in found["events"]]
    assert states == ["queued", "delivered", "timed_out", "sent", "timed_out", "succeeded"]


def test_a_command_of_another_device_does_not_exist(platform: Services, command_id: str) -> None:
    """One device cannot speak about another's command, nor learn that it exists."""
    for wrong in (told(command_id, "failed", "B"), told("nonsense", "failed")):
        with pytest.raises(NoRecord):
            platform.results.tell(wrong)


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(words=st.lists(st.sampled_from(get_args(DeviceState)), max_size=8))
def test_any_order_of_words_keeps_the_rules(
    platform: Services, operator: Principal, words: list[str]
) -> None:
    """Whatever a device says, ends stay (but for the two), and each word is kept exactly once."""
    command_id, _ = platform.commands.issue(issue(operator, 2))
    platform.commands.take("A")
    path = ["delivered"]
    for word in words:
        try:
            state = platform.results.tell(told(command_id, word)).command["state"]
        except BadParameter:
            state = path[-1]
        if state != path[-1]:
            path.append(state)
    for before, after in itertools.pairwise(path):
        assert before not in FINISHED or (before, after) in {
            ("succeeded", "held"),
            ("succeeded", "reverted"),
            ("unknown", "succeeded"),
            ("unknown", "failed"),
        }
    events = platform.commands.get(command_id, operator)["events"]
    said = [event["state"] for event in events if event["origin"] == "device"]
    assert set(said) == set(words)
    assert len({(e["state"], e["refused"]) for e in events}) == len(events)


def batch(*sequences: int, **more: object) -> ReportsBody:
    """Build a batch of reports."""
    items: list[dict[str, object]] = [
        {"sequence": s, "kind": "alarm", "at": None, "body": {"n": s}} | more for s in sequences
    ]
    return ReportsBody.model_validate({"device_uid": "A", "reports": items})


def test_reports_are_kept_exactly_once(platform: Services) -> None:
    """A repeated sequence counts as a duplicate, also inside one batch; the first one stays."""
    results = platform.results
    assert results.add_reports(batch(1, 2, 2)) == {
        "stored": 2,
        "duplicates": 1,
        "accepted_through": 2,
    }
    again = results.add_reports(batch(2, 5, kind="other"))
    assert again == {"stored": 1, "duplicates": 1, "accepted_through": 5}
    total, found = results.page("A", 0, 10)
    assert (total, [item["sequence"] for item in found]) == (3, [5, 2, 1])
    assert found[1]["kind"] == "alarm"
    assert results.page("B", 0, 10) == (0, [])


def test_an_empty_batch_tells_what_is_held(platform: Services) -> None:
    """A device that forgot may ask with an empty batch."""
    assert platform.results.add_reports(batch())["accepted_through"] is None
    platform.results.add_reports(batch(9))
    assert platform.results.add_reports(batch())["accepted_through"] == 9
