"""Strict JSON: what has one meaning is read, everything else is refused with a reason."""

import json

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ems.errors import BodyError
from ems.strictjson import MAX_DEPTH, dump, parse

_TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=20)
_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | _TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXT, inner, max_size=4),
    max_leaves=20,
)


@given(_JSON)
def test_what_is_written_is_read(value: object) -> None:
    """A value that is not too deep comes back as it was."""
    text = dump(value)
    assume(text.count("[") + text.count("{") <= MAX_DEPTH)
    assert parse(text.encode()) == value


@given(
    st.binary(max_size=60) | st.text(max_size=60).map(lambda text: text.encode("utf-8", "replace"))
)
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    """No input raises anything but our own error."""
    said = "body:"
    try:
        parse(raw)
    except BodyError as error:
        said = str(error)
    assert said.startswith("body:")


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        pytest.param(b"", "not JSON", id="empty"),
        pytest.param(b'{"a":1,"a":1}', "'a' appears twice", id="duplicate"),
        pytest.param(b'{"x":{"a":1,"a":2}}', "appears twice", id="duplicate-inside"),
        pytest.param(b'{"a":NaN}', "NaN", id="nan"),
        pytest.param(b'{"a":-Infinity}', "Infinity", id="infinity"),
        pytest.param(b'{"a":1e999}', "too large", id="float-overflow"),
        pytest.param(b"[" * 100_000, "deeper", id="never-closed"),
        pytest.param(b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1), "deeper", id="one-too-deep"),
        pytest.param(b"9" * 5000, "not JSON", id="huge-integer"),
        pytest.param(b'"\\ud800"', "surrogate", id="surrogate"),
        pytest.param(b'{"\\udfff":1}', "surrogate", id="surrogate-in-key"),
        pytest.param(b'"\\u0000"', "NUL", id="nul"),
        pytest.param(b'"\xff"', "UTF-8", id="latin-1"),
        pytest.param(b"\xef\xbb\xbf{}", "not JSON", id="bom"),
        pytest.param("{}".encode("utf-16"), "UTF-8", id="utf-16"),
        pytest.param(b"{} {}", "not JSON", id="two-values"),
    ],
)
def test_doubtful_json_is_refused(raw: bytes, why: str) -> None:
    """What two parsers could read differently is refused, and the text says why."""
    with pytest.raises(BodyError, match=why):
        parse(raw)


def test_deepest_allowed_nesting() -> None:
    """The limit itself is allowed."""
    text = "[" * MAX_DEPTH + "]" * MAX_DEPTH
    assert parse(text.encode()) == json.loads(text)
