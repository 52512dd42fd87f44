"""Names of columns, files and periods of an export."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bms_can.columnar.choose import chosen_signals
from bms_can.columnar.export_plan import (
    Field,
    Kind,
    group_rows,
    log_names,
    message_fields,
    message_folder,
    parse_period_us,
    period_text,
    wide_folder,
)
from bms_can.database import Database, load
from bms_can.errors import BadInput
from tests.bms_can.columnar.battery import write_dbc


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Database:
    """Give the battery's database."""
    return load(write_dbc(tmp_path_factory.mktemp("dbc")))


def test_columns_have_names_of_their_own_in_any_case(database: Database) -> None:
    """Query engines fold case: a signal `time` or `Time` must not hide the time."""
    keys = [key for key in database.signals if key.startswith("Pack.")]
    fields = message_fields(database, keys, dict.fromkeys(keys, np.dtype("u1")))
    names = [field.name for field in fields]
    assert names[:2] == ["time", "channel"]
    assert {"time_", "Time__", "state_text"} < set(names)
    assert len({name.casefold() for name in names}) == len(names)
    assert {field.key for field in fields if field.name in ("time_", "Time__")} == {
        "Pack.time",
        "Pack.Time",
    }


def test_a_row_group_depends_on_the_columns_alone() -> None:
    """Many columns make short groups, so that memory does not depend on the DBC; none is tiny."""
    few = [Field(f"s{number}", Kind.VALUE) for number in range(8)]
    assert group_rows(few) == 65_536
    assert group_rows(few, 20 * 20) == 65_536
    assert group_rows(few * 10, 20 * 20) == 22_528
    assert group_rows(few, 1000 * 20) == 3072
    assert group_rows(few * 1000) == 1024


def test_folders_say_message_and_day() -> None:
    """What a path cannot hold is written as Hive writes it."""
    assert message_folder("BMS_Pack", 16_626) == "message=BMS_Pack/date=2015-07-10"
    assert message_folder("a/b c=d", 0) == "message=a%2Fb%20c%3Dd/date=1970-01-01"
    assert wide_folder(100_000, "can0", 0) == "wide=100ms/channel=can0/date=1970-01-01"
    assert "channel=__HIVE_DEFAULT_PARTITION__/" in wide_folder(1_000_000, "", 0)


@given(st.integers(min_value=1, max_value=86_400_000_000))
def test_a_period_survives_its_text(period_us: int) -> None:
    """The folder's name says the period exactly."""
    assert parse_period_us(period_text(period_us)) == period_us


@pytest.mark.parametrize(
    "text", ["", "0", "-1s", "1 day", "1.0000001s", "s", "nan", "inf", "1e99s"]
)
def test_a_period_that_is_none_is_refused(text: str) -> None:
    """Nothing is rounded to something that was not meant."""
    with pytest.raises(ValueError, match=r"unit|whole|could not"):
        parse_period_us(text)


def test_logs_of_one_name_get_different_files_in_any_order() -> None:
    """Two boxes call their logs alike: neither overwrites the other's."""
    paths = ["/a/can.log", "/b/can.log", "/b/x.log"]
    names = log_names(paths, {})
    assert names == log_names(paths[::-1], {})
    assert names["/b/x.log"] == "x.log"
    assert len(set(names.values())) == 3
    assert all(name.startswith("can.log~") for name in list(names.values())[:2])


def test_a_log_keeps_the_name_that_it_has() -> None:
    """A later log of the same name gets another one."""
    names = log_names(["/a/can.log", "/b/can.log"], {"/a/can.log": "can.log"})
    assert names["/a/can.log"] == "can.log"
    assert names["/b/can.log"] != "can.log"


def test_no_file_has_a_name_that_readers_pass_over() -> None:
    """Readers of data sets ignore names that begin with a dot or an underscore."""
    assert set(log_names(["/.hidden", "/_x", "/a~2"], {}).values()) == {
        "%2Ehidden",
        "%5Fx",
        "a%7E2",
    }


def test_signals_are_chosen_by_message_and_pattern(database: Database) -> None:
    """A pattern without a dot means the signal of any message."""
    assert chosen_signals(database, [], []) is None
    assert chosen_signals(database, ["Energy"], ["so?", "Cells.cell_*"]) == (
        "Pack.soc",
        "Cells.cell_1",
        "Cells.cell_2",
        "Energy.total",
    )


def test_what_is_not_in_the_dbc_is_said_with_what_is_near(database: Database) -> None:
    """Every mistake at once."""
    with pytest.raises(BadInput) as caught:
        chosen_signals(database, ["Pak"], ["currant", "Pack.volts*"])
    first, second, third = caught.value.mistakes
    assert "near: Pack" in first
    assert "near: current" in second
    assert third.startswith("--signal Pack.volts*: not in the DBC")
    assert Path(caught.value.path).name == "battery.dbc"
