"""Reading TOML strictly, every mistake at once."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bms_can.errors import BadInput
from bms_can.toml_table import MAX_BYTES, Table, read_toml


def test_good_values_come_back_typed() -> None:
    """A right file gives its values and no mistake."""
    table = Table(
        {
            "name": "a",
            "count": 3,
            "ratio": 2,
            "on": True,
            "mode": "x",
            "list": ["p", "q"],
            "mixed": ["closed", 1, 2.5],
            "sub": {"key": "v"},
            "alarms": [{"level": 1}, {"level": 2}],
        }
    )
    assert table.text("name") == "a"
    assert table.integer("count", minimum=3, maximum=3) == 3
    ratio = table.number("ratio")
    assert (ratio, type(ratio)) == (2.0, float)
    assert table.boolean("on") is True
    assert table.one_of("mode", ("x", "y")) == "x"
    assert table.texts("list") == ("p", "q")
    assert table.scalars("mixed") == ("closed", 1, 2.5)
    assert table.table("sub").text("key") == "v"
    assert [alarm.integer("level") for alarm in table.tables("alarms")] == [1, 2]
    assert table.text("absent", None) is None
    assert table.finish() == ()


@pytest.mark.parametrize(
    ("read", "value", "mistake"),
    [
        ("text", 1, "k: must be a text, not an integer"),
        ("text", "", "k: must not be empty"),
        ("integer", True, "k: must be an integer, not true or false"),
        ("integer", 1.0, "k: must be an integer, not a number"),
        ("number", True, "k: must be a number, not true or false"),
        ("number", "1", "k: must be a number, not a text"),
        ("number", float("nan"), "k: must be a finite number"),
        ("number", float("inf"), "k: must be a finite number"),
        ("number", 10**400, "k: must be a finite number"),
        ("boolean", 1, "k: must be true or false, not an integer"),
        ("texts", "a", "k: must be a list, not a text"),
        ("texts", ["a", 1], "k[1]: must be a text, not an integer"),
        ("scalars", [float("nan")], "k[0]: must be a finite number"),
        ("scalars", [True], "k[0]: must be a text or a number, not true or false"),
        ("table", [], "k: must be a table, not a list"),
        ("tables", {}, "k: must be a list of tables, not a table"),
        ("tables", [{}, 1], "k[1]: must be a table, not an integer"),
    ],
)
def test_wrong_type_is_a_mistake(read: str, value: object, mistake: str) -> None:
    """A value of another type is named with its key, and never converted."""
    table = Table({"k": value})
    getattr(table, read)("k")
    assert table.finish() == (mistake,)


@pytest.mark.parametrize("read", ["text", "integer", "number", "boolean", "texts", "raw"])
def test_missing_key_is_a_mistake(read: str) -> None:
    """A required key that is not there is named."""
    table = Table({})
    getattr(table, read)("k")
    assert table.finish() == ("k: is missing",)


def test_missing_tables_may_be_required() -> None:
    """A table is optional unless the reader says otherwise."""
    table = Table({})
    table.table("a")
    table.tables("b")
    assert table.finish() == ()
    table.table("a", required=True)
    table.tables("b", required=True)
    assert table.finish() == ("a: is missing", "b: is missing")


def test_limits_are_inclusive() -> None:
    """The limits themselves are allowed, one beyond is not."""
    table = Table({"low": 0, "high": 11, "deep": -0.5})
    assert table.integer("low", minimum=1, maximum=10) == 1
    assert table.integer("high", minimum=1, maximum=10) == 10
    table.number("deep", minimum=0)
    assert table.finish() == (
        "low: must be at least 1, not 0",
        "high: must be at most 10, not 11",
        "deep: must be at least 0, not -0.5",
    )


def test_unknown_key_gets_a_suggestion() -> None:
    """A misspelt key is a mistake and the right spelling is offered, at any depth."""
    table = Table({"interlocks": {"steady_sec": 3}, "alarms": [{}, {"lvel": 1}]})
    table.table("interlocks").number("steady_s", 3.0)
    for alarm in table.tables("alarms"):
        alarm.integer("level", 1)
    assert table.finish() == (
        'interlocks.steady_sec: is not a known key; did you mean "steady_s"?',
        'alarms[1].lvel: is not a known key; did you mean "level"?',
    )


def test_free_and_declared_keys_are_not_unknown() -> None:
    """Keys of a free table, and keys declared as known, pass."""
    table = Table({"free": {"soc": "A.soc", "cells": {"signals": "B.*"}}, "later": 1})
    free = table.table("free")
    assert dict(free.items()) == {"soc": "A.soc", "cells": {"signals": "B.*"}}
    assert free.table("cells").text("signals") == "B.*"
    table.known("later")
    assert table.finish() == ()


def test_one_of_offers_the_nearest() -> None:
    """A word outside the options is a mistake that lists them."""
    table = Table({"combine": "serie"})
    table.one_of("combine", ("series", "parallel"))
    assert table.finish() == (
        'combine: must be one of "series", "parallel", not "serie"; did you mean "series"?',
    )


def test_own_mistakes_carry_the_full_key_once() -> None:
    """A reader's own finding is listed under the dotted key, and only once."""
    table = Table({"a": {"b": {}}})
    inner = table.table("a").table("b")
    for _ in range(2):
        inner.wrong("signal", "does not exist")
    inner.wrong("", "needs a signal")
    assert table.finish() == ("a.b.signal: does not exist", "a.b: needs a signal")


def test_contains() -> None:
    """`in` tells whether a key stands in the file."""
    assert "a" in Table({"a": 1})
    assert "b" not in Table({"a": 1})


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"a = 1\nb = = 2\n", "line 2, column 5"),
        (b"a = '\xff'\n", "is not UTF-8 (line 1)"),
        (b"#" * (MAX_BYTES + 1), "is larger than"),
        (b"a = " + b"[" * 5000, "is not TOML"),
        (b"a = 1\na = 2\n", "Cannot overwrite a value"),
    ],
)
def test_unreadable_content(tmp_path: Path, content: bytes, why: str) -> None:
    """What is no TOML is refused with the file and, where there is one, the place."""
    path = tmp_path / "x.toml"
    path.write_bytes(content)
    with pytest.raises(BadInput, match=r"x\.toml") as caught:
        read_toml(path)
    assert why in str(caught.value)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    """A path without a readable file is refused in words."""
    with pytest.raises(BadInput, match="cannot be read: No such file"):
        read_toml(tmp_path / "none.toml")
    with pytest.raises(BadInput, match="cannot be read: Is a directory"):
        read_toml(tmp_path)


def test_byte_order_mark_is_accepted(tmp_path: Path) -> None:
    """A file saved by Windows Notepad is read."""
    path = tmp_path / "x.toml"
    path.write_bytes("\ufeffname = '告警'\n".encode())
    assert read_toml(path).text("name") == "告警"


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
)


@given(VALUES)
def test_no_getter_raises(value: object) -> None:
    """Whatever stands in the file, a getter returns its type or records a mistake."""
    for read, wanted in {
        "text": str,
        "integer": int,
        "number": float,
        "boolean": bool,
        "texts": tuple,
        "scalars": tuple,
        "table": Table,
        "tables": list,
    }.items():
        table = Table({"k": value})
        assert isinstance(getattr(table, read)("k"), wanted)
