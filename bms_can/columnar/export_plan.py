"""What an export writes: its options, the fields of each table, names of files, row groups. Pure.

    DIR/message=BMS_Pack/date=2015-07-10/LOG.parquet          a table for each message and day
    DIR/wide=1s/channel=can0/date=2015-07-10/LOG.parquet      one table at a chosen period

Dates are those of the log's own times, UTC.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from hashlib import sha256
from typing import Any, NamedTuple
from urllib.parse import quote

import numpy as np
from cantools.database.can import Signal

from bms_can.database import Database

LAYOUT = 1  # of the folder; one of another number is not continued
FORMATS = ("parquet", "csv")
COMPRESSIONS = ("zstd", "snappy", "none")
KEYS = ("time", "channel", "message", "date", "wide")  # columns and folders that are no signals
NO_NAME = "__HIVE_DEFAULT_PARTITION__"  # what Hive calls the folder of an empty value
TEXT = "_text"
GATHERED_BYTES = 64 << 20  # of the frames that wait to be a row group, of all messages
GROUP_BYTES = 16 << 20  # of one group of plain values; short ones cost time and space
DICTIONARY_BITS = 12  # on the bus: 4096 values at most
GROUP_ROWS = (1024, 65_536)
US_PER_S = 1_000_000
US_PER_DAY = 86_400 * US_PER_S
_PERIODS = {"us": 1, "ms": 1000, "s": US_PER_S, "min": 60 * US_PER_S, "h": 3600 * US_PER_S}

DType = np.dtype[Any]
DTypes = Mapping[str, DType]  # by "Message.Signal"


class Kind(Enum):
    """What a field of a table holds."""

    TIME = "time"
    CHANNEL = "channel"
    VALUE = "value"
    TEXT = "text"


class Field(NamedTuple):
    """One field of a table.

    Attributes:
        name: in the file.
        kind: what it holds.
        key: "Message.Signal", "" for time and channel.
        signal: the signal's bare name.
        dtype: of a value.
        unit: as the DBC names it.
        choices: raw value -> name, of a text.
        bits: of the signal on the bus.
    """

    name: str
    kind: Kind
    key: str = ""
    signal: str = ""
    dtype: DType = np.dtype(np.float64)
    unit: str = ""
    choices: tuple[tuple[int, str], ...] = ()
    bits: int = 0


@dataclass(frozen=True, slots=True)
class Options:
    """What is to be exported, and how. Travels to other processes.

    Attributes:
        format: one of `FORMATS`.
        compression: one of `COMPRESSIONS`, of Parquet.
        signals: "Message.Signal" in the order of the DBC; None: all.
        channel: only frames of this channel; None: all.
        wide_us: period of a wide table [us]; None: a table for each message.
        max_age_s: in a wide table a value older than this is unknown [s]; None: by the DBC.
        all_values: numbers outside of the DBC's range are written too.
    """

    format: str = "parquet"
    signals: tuple[str, ...] | None = None
    channel: str | None = None
    wide_us: int | None = None
    max_age_s: float | None = None
    all_values: bool = False
    compression: str = "zstd"

    def values(self) -> dict[str, object]:
        """Return them as JSON holds them."""
        return {
            "format": self.format,
            "signals": None if self.signals is None else list(self.signals),
            "channel": self.channel,
            "wide_us": self.wide_us,
            "max_age_s": self.max_age_s,
            "all_values": self.all_values,
            "compression": self.compression,
        }


@dataclass(slots=True)
class _Names:
    """Gives each column a name of its own, in any case: most query engines fold it."""

    taken: set[str] = field(default_factory=lambda: set(KEYS))

    def free(self, name: str) -> str:
        while name.casefold() in self.taken:
            name += "_"
        self.taken.add(name.casefold())
        return name


def message_fields(database: Database, keys: Sequence[str], dtypes: DTypes) -> list[Field]:
    """Return the fields of one message's table; `keys` are its wanted "Message.Signal"."""
    bare = [database.signals[key][1].name for key in keys]
    return [
        Field("time", Kind.TIME),
        Field("channel", Kind.CHANNEL),
        *_value_fields(database, keys, bare, dtypes),
    ]


def wide_fields(database: Database, keys: Sequence[str], dtypes: DTypes) -> list[Field]:
    """Return the fields of the wide table: time, then every signal as "Message.Signal"."""
    return [Field("time", Kind.TIME), *_value_fields(database, keys, keys, dtypes)]


def _value_fields(
    database: Database, keys: Sequence[str], names: Sequence[str], dtypes: DTypes
) -> list[Field]:
    free = _Names().free
    own = [free(name) for name in names]
    found = []
    for key, name in zip(keys, own, strict=True):
        signal = database.signals[key][1]
        unit = signal.unit or ""
        value = Field(name, Kind.VALUE, key, signal.name, dtypes[key], unit, bits=signal.length)
        found.append(value)
        if choices := _choices(signal):
            found.append(Field(free(name + TEXT), Kind.TEXT, key, signal.name, choices=choices))
    return found


def _choices(signal: Signal) -> tuple[tuple[int, str], ...]:
    return tuple(sorted((raw, str(name)) for raw, name in (signal.choices or {}).items()))


def group_rows(fields: Sequence[Field], gathered_bytes: int = 0) -> int:
    """Return how many rows make a row group, which depends on the DBC but on no log.

    Args:
        fields: of the table.
        gathered_bytes: what a row takes in all the tables that fill up at once.
    """
    row_bytes = 16 + sum(1 + each.dtype.itemsize for each in fields)
    least, most = GROUP_ROWS
    room = min(GROUP_BYTES // row_bytes, GATHERED_BYTES // max(1, gathered_bytes))
    return max(least, min(most, room // least * least))


def dictionaries(fields: Sequence[Field]) -> tuple[str, ...]:
    """Return the names of the columns of few distinct values, which take less room by number."""
    return tuple(
        each.name
        for each in fields
        if each.kind in (Kind.CHANNEL, Kind.TEXT)
        or (each.dtype.kind == "f" and each.kind is Kind.VALUE and each.bits <= DICTIONARY_BITS)
    )


def message_folder(message: str, day: int) -> str:
    """Return the folder of a message's rows of one day [days since 1970]."""
    return f"message={_quoted(message)}/date={day_text(day)}"


def wide_folder(wide_us: int, channel: str, day: int) -> str:
    """Return the folder of the wide table of one channel and day [days since 1970]."""
    name = _quoted(channel) if channel else NO_NAME
    return f"wide={period_text(wide_us)}/channel={name}/date={day_text(day)}"


def day_text(day: int) -> str:
    """Return a day [since 1970] as `2015-07-10`."""
    return str(np.datetime64(day, "D"))


def _quoted(value: str) -> str:
    return quote(value, safe="")


def period_text(period_us: int) -> str:
    """Return a period [us] in the largest unit that says it with a whole number: `100ms`."""
    unit = next(unit for unit in reversed(_PERIODS) if period_us % _PERIODS[unit] == 0)
    return f"{period_us // _PERIODS[unit]}{unit}"


def parse_period_us(text: str) -> int:
    """Return the period [us] that `1s`, `100ms`, `0.5s`, `1min` or `2` (seconds) means.

    Raises:
        ValueError: it is none, or not a whole number of microseconds from 1 to a day.
    """
    number = text.rstrip("abcdefghijklmnopqrstuvwxyz")
    unit = text[len(number) :] or "s"
    if unit not in _PERIODS:
        raise ValueError(f"no unit {unit!r}, but one of {', '.join(_PERIODS)}")
    period_us = float(number) * _PERIODS[unit]
    if not (1 <= period_us <= US_PER_DAY and period_us == int(period_us)):
        raise ValueError("not a whole number of microseconds, up to a day")
    return int(period_us)


def log_names(paths: Sequence[str], taken: Mapping[str, str]) -> dict[str, str]:
    """Return what the files of each log are called: as the log, made unique where several share it.

    The order of the logs changes nothing.

    Args:
        paths: absolute.
        taken: names that stay, by path.
    """
    new = [path for path in paths if path not in taken]
    shared = Counter(_file_name(path) for path in new)
    used = set(taken.values())
    names = dict(taken)
    for path in new:
        name = _file_name(path)
        if shared[name] > 1 or name in used:
            name = f"{name}~{sha256(path.encode(errors='surrogateescape')).hexdigest()[:8]}"
        names[path] = name
    return names


def _file_name(path: str) -> str:
    """Return the last part of a path; `~` is ours, and readers pass over files with `.` or `_`."""
    name = path.rpartition("/")[2].replace("~", "%7E")
    return f"%{ord(name[0]):02X}{name[1:]}" if name[0] in "._" else name
