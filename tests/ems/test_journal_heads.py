"""Journal heads: what was told once cannot be told otherwise without being seen."""

import itertools

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ems.errors import BadParameter
from ems.payloads import SyncBody, read_model
from ems.services import Services
from ems.strictjson import dump
from tests.ems.helpers import report

_numbers = itertools.count(1)


def tell(platform: Services, seq: int, digest: str, device_uid: str = "A") -> None:
    """Report a status that brings a head."""
    head = {"seq": seq, "hash": digest}
    platform.statuses.put(device_uid, report(next(_numbers), box={"journal_head": head}))


def verdicts(platform: Services, device_uid: str = "A") -> list[str]:
    """Return the verdicts, oldest first."""
    found = platform.heads.page(device_uid, 0, 200)["list"]
    return [item["verdict"] for item in reversed(found)]


def test_a_journal_that_grows(platform: Services) -> None:
    """Each new head is kept once, in order, with the report that brought it."""
    for seq, digest in ((0, ""), (1, "aa"), (1, "aa"), (9, "bb")):
        tell(platform, seq, digest)
    assert verdicts(platform) == ["first", "grown", "grown"]
    page = platform.heads.page("A", 0, 1)
    assert (page["total"], page["contradictions"]) == (3, 0)
    (newest,) = page["list"]
    assert (newest["seq"], newest["hash"]) == (9, "bb")
    assert newest["received_at"] == "2027-01-15T08:00:00.000Z"
    assert verdicts(platform, "B") == []


@pytest.mark.parametrize(
    ("heads", "last"),
    [
        pytest.param([(5, "aa"), (5, "bb")], "rewritten", id="same-row-other-hash"),
        pytest.param([(5, "aa"), (9, "cc"), (5, "bb")], "rewritten", id="old-row-other-hash"),
        pytest.param([(5, "aa"), (9, "cc"), (5, "aa")], "shrunk", id="rows-removed"),
        pytest.param([(5, "aa"), (1, "dd")], "shrunk", id="new-journal"),
        pytest.param([(5, "aa"), (1, "dd"), (5, "ee")], "rewritten", id="new-journal-caught-up"),
    ],
)
def test_a_journal_that_changes_its_past(
    platform: Services, heads: list[tuple[int, str]], last: str
) -> None:
    """A known row with another hash, or fewer rows, is a contradiction that stays on record."""
    for seq, digest in heads:
        tell(platform, seq, digest)
    assert verdicts(platform)[-1] == last
    tell(platform, 100, "ff")
    against = platform.heads.page("A", 0, 1)["contradictions"]
    assert against >= 1
    (line,) = (item for item in platform.fleet.page(None, 0, 9)[1] if item["device_uid"] == "A")
    assert line["journal_contradictions"] == against


def test_an_older_report_brings_no_head(platform: Services) -> None:
    """A late report is no news, so its head accuses nobody."""
    tell(platform, 5, "aa")
    old = report(0, box={"journal_head": {"seq": 1, "hash": "bb"}})
    platform.statuses.put("A", old)
    assert verdicts(platform) == ["first"]


@pytest.mark.parametrize(
    "head", [5, "x", {}, {"seq": 1}, {"seq": -1, "hash": "aa"}, {"seq": 1, "hash": "AA"}, []]
)
def test_a_malformed_head_is_refused(head: object) -> None:
    """What cannot be compared later is refused now, by name."""
    body = report(1).model_dump() | {"box": {"journal_head": head}}
    with pytest.raises(BadParameter, match=r"box\.journal_head"):
        read_model(SyncBody, dump(body).encode())


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(before=st.integers(1, 6), cut=st.integers(0, 5), after=st.integers(1, 6))
def test_any_rewriting_below_a_known_head_shows(
    platform: Services, before: int, cut: int, after: int
) -> None:
    """Cut a journal anywhere and write it anew: the next head at or below a known row tells."""
    with platform.database.write() as connection:
        connection.exec_driver_sql("DELETE FROM journal_heads")
    for seq in range(1, before + 1):
        tell(platform, seq, f"{seq:02x}")
    cut = min(cut, before - 1)
    for seq in range(cut + 1, cut + after + 1):
        tell(platform, seq, f"ff{seq:02x}")
    assert platform.heads.page("A", 0, 1)["contradictions"] == min(before, cut + after) - cut
