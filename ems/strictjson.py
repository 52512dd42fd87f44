"""Strict JSON: one reading only. Pure.

Refused: duplicate keys, NaN and Infinity (also 1e999), more than `MAX_DEPTH` levels, bytes that are
not UTF-8, a BOM, lone surrogates, NUL characters. What two parsers could read in two ways
must not reach a contactor.
"""

import json
import math
from typing import Any, NoReturn

from ems.errors import BodyError

#: Levels of nesting. Our deepest real body (an interlock in a command's evidence) has 8.
MAX_DEPTH = 16


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise BodyError(f"body: the key {twice[:64]!a} appears twice")
    return found


def _no_constant(name: str) -> NoReturn:
    raise BodyError(f"body: {name} is not JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise BodyError("body: a number is too large")
    return value


def _check(value: object) -> None:
    todo: list[tuple[object, int]] = [(value, 1)]
    while todo:
        item, depth = todo.pop()
        if isinstance(item, str):
            _check_text(item)
        elif isinstance(item, dict | list):
            if depth > MAX_DEPTH:
                raise BodyError(f"body: nested deeper than {MAX_DEPTH} levels")
            inner = [*item.keys(), *item.values()] if isinstance(item, dict) else item
            todo.extend((child, depth + 1) for child in inner)


def _check_text(text: str) -> None:
    if "\x00" in text:
        raise BodyError("body: a string holds a NUL character")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise BodyError("body: a string holds half of a surrogate pair") from error


def parse(raw: bytes) -> Any:  # noqa: ANN401  # JSON can be anything; the model decides
    """Read JSON that has one meaning only.

    Raises:
        BodyError: with a text that starts with ``body:`` and says what is wrong.
    """
    try:
        value = json.loads(
            raw.decode(),
            object_pairs_hook=_no_duplicates,
            parse_constant=_no_constant,
            parse_float=_finite,
        )
    except UnicodeDecodeError as error:
        raise BodyError("body: not UTF-8") from error
    except RecursionError as error:
        raise BodyError(f"body: nested deeper than {MAX_DEPTH} levels") from error
    except ValueError as error:  # JSONDecodeError, and an integer of more than 4300 digits
        raise BodyError("body: not JSON") from error
    _check(value)
    return value


def dump(value: object) -> str:
    """Write compact JSON, refusing NaN, as it is stored and sent."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
