"""JSON with one reading and one writing only. Pure."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from agent.errors import CloudNonsense

MAX_DEPTH = 8
DECIMALS = 6


def canonical(value: object) -> str:
    """Return the one JSON text of a value: sorted keys, no spaces, no NaN."""
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


def read_json(body: bytes) -> object:
    """Parse JSON strictly.

    Raises:
        CloudNonsense: no JSON in UTF-8, a key twice, NaN or infinity, deeper than `MAX_DEPTH`.
    """
    try:
        value = json.loads(
            body.decode("utf-8"),
            object_pairs_hook=_unique,
            parse_constant=_refuse_constant,
            parse_float=_finite,
        )
    except (ValueError, RecursionError) as error:
        raise CloudNonsense(f"answer is not strict JSON: {str(error)[:80]}") from error
    if _depth(value) > MAX_DEPTH:
        raise CloudNonsense(f"answer is nested deeper than {MAX_DEPTH}")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice")
    return found


def _refuse_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is not JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("a number is too large")
    return value


def _depth(value: object) -> int:
    """Return the nesting of lists and objects; iterative, bounded by the parser's own recursion."""
    deepest, level = 0, [value]
    while level := [item for item in level if isinstance(item, dict | list)]:
        deepest += 1
        level = [
            inner for item in level for inner in (item.values() if isinstance(item, dict) else item)
        ]
    return deepest


def rounded(value: object) -> object:
    """Return a JSON value with floats rounded to 6 decimals; NaN and infinity become null."""
    if isinstance(value, float):
        return (round(value, DECIMALS) + 0.0) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): rounded(inner) for key, inner in value.items()}
    if isinstance(value, str | bytes) or not isinstance(value, Sequence):
        return value
    return [rounded(inner) for inner in value]
