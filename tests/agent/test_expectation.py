"""Expectations: written, read back, compared; a wrong file is refused with every mistake."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.expectation import differences, document, read_expectation, said_of, visible
from bms_can.database import Database
from bms_can.errors import BadInput
from bms_can.profile import Profile
from bms_can.profile_load import load_profile
from bms_can.timeline import Change, Timeline
from tests.bms_can.examine.logs import DBC, recorded

FRAMES = recorded()


@pytest.fixture(scope="module")
def changes() -> list[Change]:
    """What our recording says."""
    loaded: tuple[Profile, Database] = load_profile(DBC.with_suffix(".toml"))
    return list(Timeline(*loaded).run(FRAMES))


def compared(folder: Path, found: object, changes: list[Change]) -> list[str]:
    """Write a document, read it, compare."""
    path = folder / "expect.json"
    path.write_text(found if isinstance(found, str) else json.dumps(found), encoding="utf-8")
    return list(differences(read_expectation(path), changes))


def test_what_was_written_is_fulfilled(changes: list[Change], tmp_path: Path) -> None:
    """Write, read, compare: nothing differs; and each change is in it."""
    text = document("a.log", "ess_bau", changes)
    assert compared(tmp_path, text, changes) == []
    assert len(json.loads(text)["changes"]) == len(visible(changes))
    assert {row["operating_status"] for row in json.loads(text)["changes"]} == {None, 1, 2, 3, 4}


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_every_change_of_an_expectation_is_noticed(
    data: st.DataObject, changes: list[Change], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Another value, another time, a change too many or too few: it differs, and says where."""
    found = json.loads(document("a.log", "ess_bau", changes))
    rows = found["changes"]
    index = data.draw(st.integers(1, len(rows) - 1))
    kind = data.draw(st.sampled_from(["status", "time", "gone", "more", "alarm"]))
    if kind == "status":
        rows[index]["operating_status"] = 1 + (rows[index]["operating_status"] or 0) % 4
    elif kind == "alarm":
        rows[index]["alarms"] = [*rows[index]["alarms"], "made_up"]
    elif kind == "time":
        rows[index]["rel_s"] += 0.5
    elif kind == "gone":
        del rows[index]
    else:
        rows.insert(index, {"rel_s": rows[index]["rel_s"] - 0.01, "operating_status": 2})
    lines = compared(tmp_path_factory.mktemp("e"), found, changes)
    assert lines
    assert len(lines) <= 4  # one wrong line does not make all behind it wrong


def test_instants_name_only_what_matters(changes: list[Change], tmp_path: Path) -> None:
    """At 8 s it charges; who asks for no more is told no more."""
    good = {"format": "bms-agent-expect-1", "instants": [{"rel_s": 8, "operating_status": 3}]}
    assert compared(tmp_path, good, changes) == []
    wrong = {
        "format": "bms-agent-expect-1",
        "instants": [{"rel_s": 8, "operating_status": 4, "alarm_status": 1}],
    }
    assert compared(tmp_path, wrong, changes) == [
        "at 8.000000 s: operating_status is 3, expected 4",
        "at 8.000000 s: alarm_status is 0, expected 1",
    ]


def test_unknown_is_not_zero(changes: list[Change], tmp_path: Path) -> None:
    """Unknown is expected as null; 1 in its place differs."""
    start = said_of(changes[0].status)
    assert start["operating_status"] is None
    for value, lines in ((None, 0), (1, 1)):
        row = {"rel_s": 0.0, "operating_status": value}
        found = {"format": "bms-agent-expect-1", "instants": [row]}
        at_start = [changes[0]]
        assert len(compared(tmp_path, found, at_start)) == lines


def test_every_mistake_of_a_file_is_named(tmp_path: Path) -> None:
    """A misspelt expectation must not pass."""
    found = {
        "format": "x",
        "tolerance_s": -1,
        "typo": 1,
        "changes": [{"rel_s": "0", "operating_status": 5}, {"rel_s": 1}, 7],
        "instants": [{"rel_s": 2, "operatingstatus": 1, "alarms": [1], "disconnected": 2}],
    }
    with pytest.raises(BadInput) as caught:
        compared(tmp_path, found, [])
    text = str(caught.value)
    for part in (
        "format", "tolerance_s", "typo", "changes[0].rel_s", "changes[0].operating_status",
        "changes[1]: expects nothing", "changes[2].rel_s", "instants[0].operatingstatus",
        "instants[0].alarms", "instants[0].disconnected",
    ):  # fmt: skip
        assert part in text, part


@settings(max_examples=60, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=5),
        lambda s: (
            st.lists(s, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["changes", "instants", "rel_s", "format", "alarms", "disconnected"]
                ),
                s,
            )
        ),
        max_leaves=12,
    )
)
def test_no_document_breaks_the_reader(
    tmp_path_factory: pytest.TempPathFactory, found: object
) -> None:
    """Any JSON is read or refused."""
    path = tmp_path_factory.mktemp("f") / "x.json"
    path.write_text(json.dumps(found), encoding="utf-8")
    with pytest.raises(BadInput):
        read_expectation(path)


@pytest.mark.parametrize("text", ["", "{", "\udcff", "[" * 100_000])
def test_what_is_no_json_is_refused(tmp_path: Path, text: str) -> None:
    """Empty, cut off, no UTF-8, nested without end; and a file that is not there."""
    path = tmp_path / "x.json"
    path.write_text(text, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(BadInput):
        read_expectation(path)
    with pytest.raises(BadInput):
        read_expectation(tmp_path / "none.json")
