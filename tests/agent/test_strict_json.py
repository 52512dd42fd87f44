"""JSON with one reading and one writing."""

import json
import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from agent.errors import CloudNonsense
from agent.strict_json import MAX_DEPTH, _depth, canonical, read_json, rounded

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)  # fmt: skip


@given(JSON)
def test_round_trip(value: object) -> None:
    """What is written is read back, and writing is the same every time."""
    assume(_depth(value) <= MAX_DEPTH)
    text = canonical(value)
    assert read_json(text.encode()) == value
    assert canonical(json.loads(text)) == text


@given(st.binary())
def test_any_bytes(data: bytes) -> None:
    """Rubbish is refused in one way only."""
    try:
        read_json(data)
    except CloudNonsense:
        return


@pytest.mark.parametrize(
    "text",
    [
        '{"a":1,"a":1}',
        '[{"a":1,"b":{"c":1,"c":2}}]',
        "NaN",
        "[-Infinity]",
        "1e999",
        "[1]x",
        "",
        "{",
        "9" * 5000,
        "[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1),
        "[" * 100_000,
        "\ufeff{}",
    ],
)
def test_refused(text: str) -> None:
    """What two readers could take differently is not taken."""
    with pytest.raises(CloudNonsense):
        read_json(text.encode())


def test_depth_limit_is_inclusive() -> None:
    """Eight levels are read."""
    assert read_json(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH)


def test_rounded() -> None:
    """Six decimals, no minus zero, unknown instead of NaN, at any depth."""
    value = {"a": [0.1 + 0.2, math.nan, math.inf, 3], "b": {"c": -1e-9, "d": "x", "e": None}}
    assert rounded(value) == {"a": [0.3, None, None, 3], "b": {"c": 0.0, "d": "x", "e": None}}
    assert math.copysign(1, rounded(-0.0)) == 1  # type: ignore[arg-type]
    assert rounded((1.0000004, True)) == [1.0, True]


def test_nothing_but_json_is_written() -> None:
    """NaN and foreign types cannot slip through."""
    for value in (math.nan, [math.inf]):
        with pytest.raises(ValueError, match="not JSON compliant"):
            canonical(value)
    with pytest.raises(TypeError):
        canonical({"raw": b"\x00"})
