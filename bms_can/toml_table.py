"""Strict reading of TOML: typed getters that collect mistakes, so that a person mends all at once.

A getter never raises for what stands in the file. It records the mistake under the full dotted key
(`alarms[2].level`, counted from 0) and returns a stand-in of the right type. The reader calls
`finish()` last and must not use the values when it returns mistakes. A key that nobody asked for
is a mistake too.
"""

import math
import tomllib
from collections.abc import Collection, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Final, TypeVar, overload

from bms_can.errors import BadInput

T = TypeVar("T")
Scalar = str | int | float

MAX_BYTES = 1024 * 1024  # far above any real file; a wrong path must not fill a small box


class _Required:
    """Type of REQUIRED."""


REQUIRED: Final = _Required()
_ABSENT: Final = _Required()

_KINDS: Mapping[type, str] = {
    str: "a text",
    bool: "true or false",
    int: "an integer",
    float: "a number",
    list: "a list",
    dict: "a table",
}


def kind_of(value: object) -> str:
    """Return what a TOML value is, in words for a person."""
    return _KINDS.get(type(value), "a date or time")


class Table:
    """One table of a TOML file.

    Args:
        data: the parsed table.
        path: its dotted key, empty for the file itself.
        mistakes: the list shared by all tables of a file; a new one if None.

    Attributes:
        path: as above.
        mistakes: everything found wrong so far, one line each: "key: why".
    """

    def __init__(
        self, data: Mapping[str, object], path: str = "", mistakes: list[str] | None = None
    ) -> None:
        self.path = path
        self.mistakes: list[str] = [] if mistakes is None else mistakes
        self._data = data
        self._asked: dict[str, None] = {}
        self._free = False
        self._children: dict[str, Table] = {}

    def __contains__(self, key: object) -> bool:
        return key in self._data

    def wrong(self, key: str, why: str) -> None:
        """Record a mistake at `key` of this table, once; an empty key means the table itself."""
        line = f"{self._where(key)}: {why}" if key or self.path else why
        if line not in self.mistakes:
            self.mistakes.append(line)

    def raw(self, key: str, default: object = REQUIRED) -> object:
        """Return the value as parsed. Missing: `default`, or a mistake and None."""
        value = self._look(key)
        if value is _ABSENT and default is REQUIRED:
            self.wrong(key, "is missing")
            return None
        return default if value is _ABSENT else value

    def items(self) -> Iterator[tuple[str, object]]:
        """Yield every key and value of a table whose keys are free; none of them is unknown."""
        self._free = True
        yield from self._data.items()

    @overload
    def text(self, key: str) -> str: ...
    @overload
    def text(self, key: str, default: T) -> str | T: ...
    def text(self, key: str, default: object = REQUIRED) -> object:
        """Return a text that is not empty."""
        value = self._typed(key, default, str, stand_in="")
        if self._data.get(key) == "" and default != "":
            self.wrong(key, "must not be empty")
        return value

    @overload
    def boolean(self, key: str) -> bool: ...
    @overload
    def boolean(self, key: str, default: T) -> bool | T: ...
    def boolean(self, key: str, default: object = REQUIRED) -> object:
        """Return true or false; 0 and 1 are not taken for them."""
        return self._typed(key, default, bool, stand_in=False)

    @overload
    def integer(
        self, key: str, *, minimum: int | None = None, maximum: int | None = None
    ) -> int: ...
    @overload
    def integer(
        self, key: str, default: T, *, minimum: int | None = None, maximum: int | None = None
    ) -> int | T: ...
    def integer(
        self,
        key: str,
        default: object = REQUIRED,
        *,
        minimum: int | None = None,
        maximum: int | None = None,
    ) -> object:
        """Return an integer within the limits, both included. A float is not one, nor is a bool."""
        value = self._typed(key, default, int, stand_in=minimum or 0)
        return self._within(key, value, minimum, maximum)

    @overload
    def number(
        self, key: str, *, minimum: float | None = None, maximum: float | None = None
    ) -> float: ...
    @overload
    def number(
        self, key: str, default: T, *, minimum: float | None = None, maximum: float | None = None
    ) -> float | T: ...
    def number(
        self,
        key: str,
        default: object = REQUIRED,
        *,
        minimum: float | None = None,
        maximum: float | None = None,
    ) -> object:
        """Return a finite number as float, within the limits, both included."""
        value = self._look(key)
        if type(value) is int:  # not a bool
            try:
                value = float(value)
            except OverflowError:
                value = math.inf
        if isinstance(value, float):
            if math.isfinite(value):
                return self._within(key, value, minimum, maximum)
            self.wrong(key, "must be a finite number")
            return minimum or 0.0
        return self._typed(key, default, float, stand_in=minimum or 0.0)

    @overload
    def one_of(self, key: str, options: Collection[str]) -> str: ...
    @overload
    def one_of(self, key: str, options: Collection[str], default: T) -> str | T: ...
    def one_of(self, key: str, options: Collection[str], default: object = REQUIRED) -> object:
        """Return one of the texts in `options`."""
        value = self._typed(key, default, str, stand_in="")
        if type(self._data.get(key)) is str and value not in options:
            listed = ", ".join(f'"{option}"' for option in options)
            self.wrong(key, f'must be one of {listed}, not "{value}"{_hint(str(value), options)}')
        return value

    @overload
    def texts(self, key: str) -> tuple[str, ...]: ...
    @overload
    def texts(self, key: str, default: T) -> tuple[str, ...] | T: ...
    def texts(self, key: str, default: object = REQUIRED) -> object:
        """Return a list of texts."""
        return self._list(key, default, (str,), "a text")

    @overload
    def scalars(self, key: str) -> tuple[Scalar, ...]: ...
    @overload
    def scalars(self, key: str, default: T) -> tuple[Scalar, ...] | T: ...
    def scalars(self, key: str, default: object = REQUIRED) -> object:
        """Return a list of texts and finite numbers, mixed."""
        return self._list(key, default, (str, int, float), "a text or a number")

    def table(self, key: str, *, required: bool = False) -> "Table":
        """Return the table at `key`; an empty one if it is missing. The same object every time."""
        value = self._look(key)
        if value is _ABSENT and required:
            self.wrong(key, "is missing")
        elif value is not _ABSENT and not isinstance(value, dict):
            self.wrong(key, f"must be a table, not {kind_of(value)}")
        return self._child(key, value)

    def tables(self, key: str, *, required: bool = False) -> list["Table"]:
        """Return the tables of an array of tables; empty if it is missing."""
        value = self._look(key)
        if value is _ABSENT:
            if required:
                self.wrong(key, "is missing")
            return []
        if not isinstance(value, list):
            self.wrong(key, f"must be a list of tables, not {kind_of(value)}")
            return []
        for index, item in enumerate(value):
            if not isinstance(item, dict):
                self.wrong(f"{key}[{index}]", f"must be a table, not {kind_of(item)}")
        return [self._child(f"{key}[{index}]", item) for index, item in enumerate(value)]

    def known(self, *keys: str) -> None:
        """Declare keys that are legal here but not read this time."""
        self._asked.update(dict.fromkeys(keys))

    def finish(self) -> tuple[str, ...]:
        """Add a mistake for each key that nobody asked for, here and below; return all mistakes."""
        if not self._free:
            for key in self._data:
                if key not in self._asked:
                    self.wrong(key, f"is not a known key{_hint(key, self._asked)}")
        for child in self._children.values():
            child.finish()
        return tuple(self.mistakes)

    def _where(self, key: str) -> str:
        return f"{self.path}.{key}" if self.path and key else self.path or key

    def _look(self, key: str) -> object:
        self._asked[key] = None
        return self._data.get(key, _ABSENT)

    def _child(self, key: str, value: object) -> "Table":
        if key not in self._children:
            data = value if isinstance(value, dict) else {}
            self._children[key] = Table(data, self._where(key), self.mistakes)
        return self._children[key]

    def _typed(self, key: str, default: object, wanted: type, *, stand_in: object) -> object:
        value = self._look(key)
        if type(value) is wanted:
            return value
        if value is not _ABSENT:
            self.wrong(key, f"must be {_KINDS[wanted]}, not {kind_of(value)}")
        elif default is REQUIRED:
            self.wrong(key, "is missing")
        return stand_in if default is REQUIRED else default

    def _within(
        self, key: str, value: object, minimum: float | None, maximum: float | None
    ) -> object:
        if key in self._data and isinstance(value, int | float):
            if minimum is not None and value < minimum:
                self.wrong(key, f"must be at least {minimum}, not {value}")
                return minimum
            if maximum is not None and value > maximum:
                self.wrong(key, f"must be at most {maximum}, not {value}")
                return maximum
        return value

    def _list(self, key: str, default: object, wanted: tuple[type, ...], word: str) -> object:
        value = self._typed(key, default, list, stand_in=[])
        if value is default or not isinstance(value, list):
            return value
        good = []
        for index, item in enumerate(value):
            if type(item) not in wanted:
                self.wrong(f"{key}[{index}]", f"must be {word}, not {kind_of(item)}")
            elif isinstance(item, float) and not math.isfinite(item):
                self.wrong(f"{key}[{index}]", "must be a finite number")
            else:
                good.append(item)
        return tuple(good)


def _hint(word: str, options: Collection[str]) -> str:
    close = get_close_matches(word, options, n=1)
    return f'; did you mean "{close[0]}"?' if close else ""


def read_toml(path: str | Path) -> Table:
    """Read a TOML file.

    Raises:
        BadInput: there is no such file, it cannot be read, or it is not TOML in UTF-8.
    """
    try:
        with Path(path).open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise BadInput(str(path), [f"cannot be read: {error.strerror or error}"]) from error
    if len(data) > MAX_BYTES:
        raise BadInput(str(path), [f"is larger than {MAX_BYTES} bytes"])
    try:
        return Table(tomllib.loads(data.decode("utf-8-sig")))
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise BadInput(str(path), [f"is not UTF-8 (line {line})"]) from error
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise BadInput(str(path), [f"is not TOML: {error}"]) from error
