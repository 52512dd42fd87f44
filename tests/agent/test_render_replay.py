"""Words and values of a replay: exact, and never a guess where something is unknown."""

from collections import Counter
from pathlib import Path

import pytest

from agent.render_replay import (
    SHOWN_DOUBTS,
    SHOWN_IDS,
    alarm_words,
    coverage_lines,
    coverage_values,
    status_words,
    timeline_line,
    timeline_values,
)
from bms_can.alarms import LOST, ActiveAlarm
from bms_can.coverage import Coverage, Doubt
from bms_can.database import Database
from bms_can.profile import OperatingStatus, Profile
from bms_can.profile_load import load_profile
from bms_can.status import BmsStatus, Contactor
from bms_can.timeline import Change

HOT = ActiveAlarm("hot", 2, "高温", "Hot", blocks_close=True)

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def loaded() -> tuple[Profile, Database]:
    """Give our default battery."""
    return load_profile(ROOT / "dbc" / "ess_bau.toml")


def status(
    operating: OperatingStatus | None,
    *alarms: ActiveAlarm,
    count: int | None = None,
    why: str = "",
    disconnected: bool = False,
) -> BmsStatus:
    """Build a status."""
    return BmsStatus(
        operating, alarms, count, disconnected, Contactor.UNKNOWN, None, None, why
    )  # fmt: skip


def coverage(loaded: tuple[Profile, Database]) -> Coverage:
    """Return a coverage of nothing, to be filled in by hand."""
    return Coverage(loaded[1])


def lines(found: Coverage, profile: Profile | None = None, *more: Change) -> dict[str, str]:
    """Return the summary by the first word of each line (the last line of each word)."""
    shown = coverage_lines(found, profile, [], more)
    return {line.split()[0]: line[12:] for line in shown if line}


def test_words_for_each_status() -> None:
    """1 to 4 with their meaning; unknown and disconnected with the reason, never a number."""
    words = {each: status_words(status(each)) for each in OperatingStatus}
    assert words == {
        OperatingStatus.POWERED_DOWN: "1 powered down (contactor open)",
        OperatingStatus.IDLE: "2 idle (contactor closed)",
        OperatingStatus.CHARGING: "3 charging",
        OperatingStatus.DISCHARGING: "4 discharging",
    }
    assert status_words(status(None, why="not heard yet: A")) == "unknown  not heard yet: A"
    silent = status(None, LOST, count=1, why="silent: A", disconnected=True)
    assert status_words(silent) == "DISCONNECTED  silent: A"


def test_words_for_alarms() -> None:
    """Unknown is not 0; known ones are named also when the number is not."""
    assert alarm_words(status(None)) == "alarms unknown"
    assert alarm_words(status(None, count=0)) == "alarms 0"
    assert alarm_words(status(None, HOT, count=1)) == "alarms 1: hot (level 2)"
    assert alarm_words(status(None, HOT)) == "alarms unknown: hot (level 2)"


def test_a_change_in_both_forms() -> None:
    """Text and JSON carry the same facts."""
    change = Change(1_780_000_012.3456789, 12.3456789, status(OperatingStatus.IDLE, HOT, count=1))
    assert timeline_line(change).split() == [
        "12.345679", "s", "2", "idle", "(contactor", "closed)", "alarms", "1:", "hot", "(level",
        "2)",
    ]  # fmt: skip
    assert timeline_values(change) == {
        "at_s": 1_780_000_012.345679,
        "rel_s": 12.345679,
        "operating_status": 2,
        "alarm_status": 1,
        "disconnected": 0,
        "alarms": [{"key": "hot", "level": 2}],
        "why": "",
    }
    unknown = timeline_values(Change(0.0, 0.0, status(None, why="who knows")))
    assert unknown["operating_status"] is None
    assert unknown["alarm_status"] is None


def test_the_summary_of_a_good_log(loaded: tuple[Profile, Database]) -> None:
    """Counts, and the status at the end."""
    found = coverage(loaded)
    found.frames, found.known, found.decoded = 200, 200, 200
    end = Change(9.0, 9.0, status(OperatingStatus.CHARGING, count=0))
    shown = lines(found, loaded[0], end, end)
    assert shown["frames"] == "200"
    assert shown["known"] == "200 (100.00 %) have an id of the DBC"
    assert shown["decoded"] == "200"
    assert shown["status"] == "2 changes; at the end: 3 charging"
    assert set(shown) == {"frames", "known", "decoded", "status"}
    assert lines(found, loaded[0])["status"] == "0 changes; at the end: never known"


def test_the_summary_of_a_bad_log(loaded: tuple[Profile, Database]) -> None:
    """Other channels, unusable frames, skipped lines with their first numbers."""
    found = coverage(loaded)
    found.frames, found.other_channel, found.known, found.decoded = 30, 10, 15, 12
    found.messages["BAU_State"] = Doubt(15, Counter({"length": 2, "counter": 1}))
    found.lines.update({"not a frame": 7, "remote frame": 1})
    found.line_numbers.update({"not a frame": [1, 2, 3, 4, 5], "remote frame": [9]})
    shown = list(coverage_lines(found, loaded[0], ["line 3: odd"], []))
    assert "frames      30, 10 of them on another channel" in shown
    assert "known       15 (75.00 %) have an id of the DBC" in shown
    assert "decoded     12, not usable: 2 x length, 1 x counter" in shown
    assert "skipped     7 x not a frame (line 1, 2, 3, 4, 5, ...)" in shown
    assert "skipped     1 x remote frame (line 9)" in shown
    assert "DBC         line 3: odd" in shown
    assert "doubtful    BAU_State: 15 frames, unusable: 2 x length, 1 x counter" in shown


def test_impossible_values_are_named(loaded: tuple[Profile, Database]) -> None:
    """The worst signal of a message stands for it."""
    found = coverage(loaded)
    found.messages["BAU_State"] = Doubt(
        10, Counter(), Counter({"BAU_State.a": 3, "BAU_State.b": 8})
    )
    shown = lines(found, loaded[0])
    assert shown["doubtful"] == "BAU_State: 10 frames, BAU_State.b is outside its range in 8"


def test_long_lists_are_cut_and_say_so(loaded: tuple[Profile, Database]) -> None:
    """Unknown identifiers, warnings and doubts: a few, and how many more."""
    found = coverage(loaded)
    found.unknown.update({(number, False): 1 for number in range(0x100, 0x100 + SHOWN_IDS + 3)})
    for number in range(SHOWN_DOUBTS + 2):
        found.messages[f"M{number}"] = Doubt(1, Counter({"length": 1}))
    warnings = [f"line {number}: odd" for number in range(SHOWN_DOUBTS + 4)]
    shown = list(coverage_lines(found, None, warnings, []))
    (unknown,) = [line for line in shown if line.startswith("unknown")]
    assert unknown.startswith(f"unknown     {SHOWN_IDS + 3} frames of {SHOWN_IDS + 3} ids: 100 x1")
    assert unknown.endswith("and 3 more")
    assert sum(line.startswith("DBC ") for line in shown) == SHOWN_DOUBTS + 1
    assert "DBC         and 4 more warnings" in shown
    assert sum(line.startswith("doubtful") for line in shown) == SHOWN_DOUBTS


def test_identifiers_are_written_as_candump_does(loaded: tuple[Profile, Database]) -> None:
    """Three digits for standard, eight for extended identifiers."""
    found = coverage(loaded)
    found.unknown.update({(0x1F, False): 2, (0x1F, True): 1})
    values = coverage_values(found, loaded[0])
    assert values["unknown_ids"] == {"01F": 2, "0000001F": 1}


def test_without_a_profile_the_reason_is_given(loaded: tuple[Profile, Database]) -> None:
    """And what speaks against the DBC, if something does."""
    found = coverage(loaded)
    plain = coverage_values(found, None)["operating_status_unknown_because"]
    assert plain == "no profile says which signals are the battery's state"
    assert coverage_values(found, loaded[0])["operating_status_unknown_because"] is None
    found.messages["BAU_State"] = Doubt(1, Counter({"length": 1}))
    doubtful = coverage_values(found, None)["operating_status_unknown_because"]
    assert str(doubtful).startswith(str(plain))
    assert "an identifier match is not a DBC match" in str(doubtful)
    assert lines(found)["status"] == f"unknown: {doubtful}"


def test_doubts_as_values(loaded: tuple[Profile, Database]) -> None:
    """JSON has the numbers of each doubtful message."""
    found = coverage(loaded)
    found.messages["BAU_State"] = Doubt(4, Counter({"length": 1}), Counter({"BAU_State.a": 2}))
    found.lines.update({"not a frame": 7})
    values = coverage_values(found, None)
    assert values["doubts"] == {
        "BAU_State": {"frames": 4, "bad": {"length": 1}, "impossible": {"BAU_State.a": 2}}
    }
    assert values["skipped_lines"] == {"not a frame": 7}
    assert values["bad_frames"] == {"length": 1}
