"""Values from the schemas of the interface document, valid or spoiled; and a check against them.

Only what our document uses is understood; anything else is an error of the test, not skipped.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from hypothesis import strategies as st

Schema = Mapping[str, Any]

_ABOUT = {"title", "description", "default"}
_TYPES: dict[str, tuple[type, ...]] = {
    "null": (type(None),),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
    "string": (str,),
    "array": (list,),
    "object": (dict,),
}
_WORDS = {
    "type",
    "const",
    "enum",
    "anyOf",
    "$ref",
    "pattern",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "minLength",
    "maxLength",
    "items",
    "maxItems",
    "properties",
    "required",
    "additionalProperties",
    "propertyNames",
    "maxProperties",
}
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=12)
#: What no schema here asks for, or not in most places.
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT | st.sampled_from(["", "\x00", "2026-01-01T00:00:00Z", "x" * 5000, 2**63, -1, 1e308]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXT, inner, max_size=2),
    max_leaves=4,
)  # fmt: skip


class Shapes:
    """The schemas of one document."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._all = document["components"]["schemas"]
        self._built: dict[tuple[str, int], st.SearchStrategy[Any]] = {}

    def resolve(self, schema: Schema) -> Schema:
        """Follow a reference."""
        unknown = set(schema) - _WORDS - _ABOUT
        assert not unknown, f"the document uses {unknown}: teach this file"
        if "$ref" in schema:
            return self.resolve(self._all[str(schema["$ref"]).rpartition("/")[2]])
        return schema

    def values(self, schema: Schema, depth: int = 0) -> st.SearchStrategy[Any]:
        """Return a strategy of valid values; built once, as building costs more than drawing."""
        key = (json.dumps(schema, sort_keys=True), depth)
        if key not in self._built:
            self._built[key] = self._build(self.resolve(schema), depth)
        return self._built[key]

    def _build(self, schema: Schema, depth: int) -> st.SearchStrategy[Any]:
        if "const" in schema:
            return st.just(schema["const"])
        if "enum" in schema:
            return st.sampled_from(list(schema["enum"]))
        if "anyOf" in schema:
            return st.one_of([self.values(option, depth) for option in schema["anyOf"]])
        if "type" not in schema:
            return JUNK
        return getattr(self, f"_{schema['type']}")(schema, depth)  # type: ignore[no-any-return]  # ours

    def _null(self, _schema: Schema, _depth: int) -> st.SearchStrategy[Any]:
        return st.none()

    def _boolean(self, _schema: Schema, _depth: int) -> st.SearchStrategy[Any]:
        return st.booleans()

    def _integer(self, schema: Schema, _depth: int) -> st.SearchStrategy[Any]:
        least = schema.get("minimum", schema.get("exclusiveMinimum", -(2**53)))
        first = least + 1 if "exclusiveMinimum" in schema else least
        most = schema.get("maximum", 2**53)
        return st.integers(first, most) | st.integers(first, min(most, first + 9))

    def _number(self, _schema: Schema, _depth: int) -> st.SearchStrategy[Any]:
        return st.floats(allow_nan=False, allow_infinity=False)

    def _string(self, schema: Schema, _depth: int) -> st.SearchStrategy[Any]:
        if "pattern" in schema:
            return st.from_regex(re.compile(schema["pattern"], re.ASCII), fullmatch=True)
        least, most = schema.get("minLength", 0), schema.get("maxLength", 12)
        time = st.sampled_from(["2026-01-01T00:00:00.5Z", "2026-01-01T00:00:00+08:00"])
        text = st.text("aZ9_ -é电", min_size=least, max_size=min(most, 12))
        return text | time if most == 40 else text  # our times have this length

    def _array(self, schema: Schema, depth: int) -> st.SearchStrategy[Any]:
        return st.lists(self.values(schema["items"], depth + 1), max_size=3)

    def _object(self, schema: Schema, depth: int) -> st.SearchStrategy[Any]:
        fields = schema.get("properties", {})
        if not fields:
            return st.dictionaries(TEXT.filter(bool), self._rest(schema, depth), max_size=3)
        needed = set(schema.get("required", []))
        parts = {name: self.values(part, depth + 1) for name, part in fields.items()}
        optional = {name: part for name, part in parts.items() if name not in needed}
        return st.fixed_dictionaries(
            {name: parts[name] for name in parts if name in needed}, optional=optional
        )

    def _rest(self, schema: Schema, depth: int) -> st.SearchStrategy[Any]:
        rest = schema.get("additionalProperties", True)
        return JUNK if rest is True or depth > 2 else self.values(rest, depth + 1)  # deep enough

    def mistakes(self, value: object, schema: Schema, where: str = "") -> list[str]:
        """Return where a value does not fit its schema."""
        schema = self.resolve(schema)
        if "anyOf" in schema:
            tried = [self.mistakes(value, option, where) for option in schema["anyOf"]]
            return [] if any(not found for found in tried) else [f"{where}: fits no option"]
        if "const" in schema or "enum" in schema:
            allowed = schema.get("enum", [schema.get("const")])
            same = any(value == item and type(value) is type(item) for item in allowed)
            return [] if same else [f"{where}: {value!r} is not one of {allowed}"]
        kind = schema.get("type")
        if kind is None:
            return []
        if not isinstance(value, _TYPES[kind]) or (isinstance(value, bool) and kind != "boolean"):
            return [f"{where}: {value!r} is no {kind}"]
        return self._inside(value, schema, where)

    def _inside(self, value: object, schema: Schema, where: str) -> list[str]:
        if isinstance(value, list):
            return [
                mistake
                for number, item in enumerate(value)
                for mistake in self.mistakes(item, schema.get("items", {}), f"{where}[{number}]")
            ]
        if not isinstance(value, dict):
            low = isinstance(value, int | float) and value < schema.get("minimum", value)
            return [f"{where}: {value!r} is too small"] if low else []
        fields = schema.get("properties", {})
        found = [
            f"{where}.{name}: missing" for name in schema.get("required", []) if name not in value
        ]
        rest = schema.get("additionalProperties", not fields)
        for name, item in value.items():
            part = fields.get(name, rest)
            if part is False:
                found.append(f"{where}.{name}: not in the document")
            elif part is not True:
                found += self.mistakes(item, part, f"{where}.{name}")
        return found


@st.composite
def spoiled(draw: st.DrawFn, value: Any) -> Any:  # noqa: ANN401  # JSON
    """Change one place of a JSON value: another value, a missing or an additional field."""
    if isinstance(value, dict) and value and draw(st.integers(0, 4)):
        name = draw(st.sampled_from(sorted(value)))
        how = draw(st.sampled_from(["inside", "drop", "add"]))
        if how == "drop":
            return {key: item for key, item in value.items() if key != name}
        if how == "add":
            return {**value, draw(TEXT): draw(JUNK)}
        return {**value, name: draw(spoiled(value[name]))}
    if isinstance(value, list) and value and draw(st.booleans()):
        return [*value[:-1], draw(spoiled(value[-1]))]
    return draw(JUNK)
