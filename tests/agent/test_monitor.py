"""`bms-agent monitor`: values with their ages, on a screen of any size."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.cmd_monitor import Wish
from agent.monitor import NO_NAME, SORTS, MessageRow, Monitor, SignalRow
from agent.monitor_screen import (
    Line,
    Piece,
    Style,
    age_text,
    cut,
    fitted,
    rendered,
    table,
    width_of,
)
from bms_can.frame import Frame
from bms_can.profile_load import load_profile
from bms_can.simulator import Simulator

ROOT = Path(__file__).parents[2]
STATE, VOLTAGES = (0x1801E5F4, True), (0x180CE5F4, True)


@pytest.fixture(scope="module")
def seen() -> Monitor:
    """Give a monitor that has heard a battery for three seconds, and one unknown frame."""
    profile, database = load_profile(ROOT / "dbc" / "ess_bau.toml")
    simulator = Simulator(profile, database, now_s=0.0)
    monitor = Monitor(database, profile)
    for step in range(1, 31):
        for frame in simulator.due_frames(step / 10):
            monitor.take(frame)
    monitor.take(Frame(3.0, 0x7FF, extended=False, data=b"\x01\x02"))
    return monitor


def test_names_values_units_and_ages(seen: Monitor) -> None:
    """A choice by its name, a number with its unit, each with the age of its own frame."""
    rows = {row.name: row for row in seen.rows(3.05)}
    state = {each.name: each for each in rows["BAU_State"].signals}
    assert state["contactor_status"].text == "open"
    electrical = {each.name: each.text for each in rows["BAU_Electrical"].signals}
    assert electrical["total_voltage"].endswith(" V")
    assert rows["BAU_State"].period_s == pytest.approx(0.1)
    ages = {each.age_s for each in rows["BAU_CellVoltages"].signals}
    assert len(ages) > 5  # one page after the other: each value is as old as its page
    assert rows[NO_NAME].ident == "7FF"
    assert rows[NO_NAME].signals == ()


@pytest.mark.parametrize(
    ("query", "names", "signals"),
    [
        ("1801e5", {"BAU_State"}, None),
        ("bau_elec", {"BAU_Electrical"}, None),
        ("total_volt", {"BAU_Electrical", "BAU_Alarms"}, "total_voltage"),
        ("no such thing", set(), None),
    ],
)
def test_the_filter(seen: Monitor, query: str, names: set[str], signals: str | None) -> None:
    """By identifier or message: with all its signals; by signal: only those."""
    rows = seen.rows(3.05, query)
    if signals is None:
        assert {row.name for row in rows} == names
        assert all(row.signals for row in rows)
    else:
        assert [each.name for row in rows for each in row.signals] == [signals]


@pytest.mark.parametrize("sort", SORTS)
def test_every_order_shows_everything(seen: Monitor, sort: str) -> None:
    """An order changes the order, nothing else."""
    assert {row.ident for row in seen.rows(3.05, sort=sort)} == {
        row.ident for row in seen.rows(3.05)
    }


def test_changes_leave_out_counters_and_pages() -> None:
    """A value that changes is told once; counters, checksums, multiplexers are not."""
    profile, database = load_profile(ROOT / "dbc" / "ess_bau.toml")
    simulator = Simulator(profile, database, now_s=0.0)
    monitor = Monitor(database, profile)
    told: list[tuple[str, str, str]] = []
    simulator.pack.raise_alarm("cell_high_temp_alarm", 2)
    for step in range(1, 21):
        if step == 10:
            simulator.pack.clear_alarm("cell_high_temp_alarm")
            simulator.pack.raise_alarm("soc_low_alarm", 1)
        for frame in simulator.due_frames(step / 10):
            told += monitor.take(frame)
    names = {name for name, *_ in told}
    assert "BAU_Alarms.soc_low_alarm" in names
    assert not any(part in name for name in names for part in ("counter", "checksum", "page"))


def test_a_frame_of_the_wrong_length_is_marked(seen: Monitor) -> None:
    """The reason stands in its line; the old values stay, and age."""
    _, database = load_profile(ROOT / "dbc" / "ess_bau.toml")
    monitor = Monitor(database)
    monitor.take(Frame(1.0, *STATE, b"\x00" * 8))
    monitor.take(Frame(2.0, *STATE, b"\x00" * 3))
    (row,) = monitor.rows(2.5)
    assert row.bad.startswith("length")
    assert {each.age_s for each in row.signals} == {1.5}
    assert seen.traffic.frames > 100


def test_without_a_dbc_raw_frames_are_shown() -> None:
    """No names, no signals, and no failure."""
    monitor = Monitor(None)
    assert monitor.take(Frame(1.0, 0x100, extended=False, data=b"\x01")) == []
    assert monitor.rows(1.5)[0].name == ""


def test_old_messages_look_old(seen: Monitor) -> None:
    """A message that missed its periods is drawn in another colour than a fresh one."""
    fresh, old = (list(table(seen.rows(now_s, "BAU_State"), 120)) for now_s in (3.05, 9.0))
    assert Style.OLD not in {piece.style for line in fresh for piece in line}
    assert Style.OLD in {piece.style for line in old for piece in line}


@pytest.mark.parametrize("width", [40, 60, 80, 140])
def test_every_value_stands_in_full_beside_its_age(seen: Monitor, width: int) -> None:
    """A cut number is a wrong number, and a value without its age looks new."""
    lines = fitted(table(seen.rows(3.05), width), width, 1000)
    shown = "\n".join(rendered(line, colour=False) for line in lines)
    for row in seen.rows(3.05):
        for each in row.signals:
            value = rf"= {re.escape(each.text)} +{re.escape(age_text(each.age_s))}(\s|$)"
            assert re.search(value, shown, re.MULTILINE), (each, shown)


def test_a_long_name_is_cut_and_not_its_value() -> None:
    """And it says so."""
    signal = SignalRow("the_feedback_of_the_main_positive_contactor_of_rack_1", "12345.6 V", 0.5)
    row = MessageRow("123", "State", 0.5, 0.1, 9, b"\1", (0.5,), "", (signal,))
    text = rendered(list(table([row], 60))[2], colour=False)
    assert text.endswith("… = 12345.6 V  0.50s")
    assert signal.name in rendered(list(table([row], 120))[2], colour=False)


@pytest.mark.parametrize("name", ["", "BAU_CellVoltageExtremes_and_more"])
def test_eight_bytes_fit_a_usual_terminal(name: str) -> None:
    """With and without a DBC, 80 columns show the whole payload."""
    row = MessageRow("1801E5F4", name, 0.5, 0.1, 9, bytes(range(8)), (0.5,) * 8, "", ())
    lines = fitted(table([row], 80), 80, 5)
    assert "00 01 02 03 04 05 06 07" in rendered(lines[1], colour=False)


texts = st.text(max_size=30)
screens = st.lists(
    st.lists(st.builds(Piece, texts, st.sampled_from(Style)), max_size=4), min_size=1, max_size=30
)


@given(screens, st.integers(0, 60), st.integers(1, 20), st.integers(0, 40))
def test_nothing_is_drawn_beyond_the_screen(
    lines: list[Line], width: int, height: int, skip: int
) -> None:
    """Whatever names a DBC has, in whatever script: a line fits, and no control code gets out."""

    def given_lines() -> Iterator[Line]:
        yield from lines

    shown = fitted(given_lines(), width, height, skip)
    assert len(shown) <= height
    for line in shown:
        assert sum(width_of(piece.text) for piece in line) <= width
        assert rendered(line, colour=False).isprintable()


def test_wide_characters_take_two_columns() -> None:
    """告警 is four columns wide, and is not cut in half."""
    assert width_of("告警") == 4
    assert cut([Piece("告警")], 3) == [Piece("告")]


@pytest.mark.parametrize(
    ("age_s", "text"), [(-0.1, "0.00s"), (0.5, "0.50s"), (59.6, "60s"), (1e5, ">3h")]
)
def test_ages(age_s: float, text: str) -> None:
    """At most six characters."""
    assert age_text(age_s) == text


def test_keys_change_what_is_wanted() -> None:
    """Letters filter, erase and escape undo, Tab sorts, arrows scroll and never above the top."""
    wish = Wish("", "id")
    for key in ("v", "x", "erase", "o", "down", "down", "up", "page-down", "tab", "\x01"):
        wish.press(key, 10)
    assert (wish.query, wish.sort, wish.skip) == ("vo", "name", 11)
    wish.press("escape", 10)
    wish.press("up", 10)
    assert (wish.query, wish.skip) == ("", 0)
