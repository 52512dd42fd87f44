"""What `bms-agent monitor` knows: each message, its signals, and how old every value is. Pure.

A value is never shown without its age: an old one looks just like a new one.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from bms_can.codec import Codec
from bms_can.database import Database, natural_order
from bms_can.errors import BadFrame
from bms_can.frame import Frame, frame_text
from bms_can.profile import Profile
from bms_can.signals import Sample
from bms_can.traffic import Key, Seen, Traffic

NO_NAME = "(not in the DBC)"


class SignalRow(NamedTuple):
    """One signal: its bare name, its value as text with its unit, and its age [s]."""

    name: str
    text: str
    age_s: float


@dataclass(frozen=True, slots=True)
class MessageRow:
    """One identifier.

    Attributes:
        ident: as candump writes it; name: of the message.
        age_s: of the newest frame; period_s: smoothed time between two frames, None before two.
        ages_s: since when each byte is what it is [s].
        bad: why the newest frame could not be decoded, "" if it could.
    """

    ident: str
    name: str
    age_s: float
    period_s: float | None
    count: int
    data: bytes
    ages_s: tuple[float, ...]
    bad: str
    signals: tuple[SignalRow, ...]


SORTS: Mapping[str, Callable[[MessageRow], tuple[object, ...]]] = {
    "id": lambda row: (len(row.ident), row.ident),
    "name": lambda row: (natural_order(row.name), row.ident),
    "age": lambda row: (-row.age_s, row.ident),
    "period": lambda row: (row.period_s or 0.0, row.ident),
    "count": lambda row: (-row.count, row.ident),
}


def _technical(profile: Profile) -> frozenset[str]:
    """Return the counters and checksums: they change in every frame and mean nothing."""
    return frozenset(
        f"{rule.message}.{name}"
        for rule in profile.integrity.values()
        for name in (rule.counter, rule.checksum)
        if name is not None
    )


class Monitor:
    """All that was seen on a bus, with the values of a DBC where there is one.

    Args:
        database: what names and decodes, None: raw frames only.
        profile: its sentinels and ranges count, in place of the DBC's; its counters, checksums and
            multiplexers are no changes worth a line.
    """

    def __init__(self, database: Database | None, profile: Profile | None = None) -> None:
        self.traffic = Traffic()
        self._database = database
        limits = {} if profile is None else profile.limits
        self._codec = None if database is None else Codec(database, None, limits)
        self._quiet = frozenset() if profile is None else _technical(profile)
        self._samples: dict[str, dict[str, Sample]] = {}
        self._bad: dict[Key, str] = {}

    def take(self, frame: Frame) -> list[tuple[str, str, str]]:
        """Take a frame; return the signals whose value it changed: name, before, after."""
        self.traffic.take(frame)
        if self._codec is None:
            return []
        key = frame.can_id, frame.extended
        try:
            decoded = self._codec.decode(frame)
        except BadFrame as bad:
            self._bad[key] = str(bad)
            return []
        self._bad.pop(key, None)
        if decoded is None:
            return []
        name, samples = decoded
        before = self._samples.setdefault(name, {})
        changed = [
            (signal, self._text(signal, before[signal]), self._text(signal, sample))
            for signal, sample in samples.items()
            if signal in before
            and before[signal].raw != sample.raw
            and signal not in self._quiet
            and not self._is_multiplexer(signal)
        ]
        before.update(samples)
        return changed

    def rows(self, now_s: float, query: str = "", sort: str = "id") -> list[MessageRow]:
        """Return what to show.

        Args:
            now_s: the moment that ages count to [s].
            query: only messages whose identifier, name or signals contain this; of a message that
                fits by its signals alone only these.
            sort: a key of `SORTS`.
        """
        rows = (self._row(key, seen, now_s, query.lower()) for key, seen in self._seen())
        return sorted((row for row in rows if row is not None), key=SORTS[sort])

    def _seen(self) -> list[tuple[Key, Seen]]:
        return list(self.traffic.seen.items())

    def _row(self, key: Key, seen: Seen, now_s: float, query: str) -> MessageRow | None:
        ident, name = frame_text(*key, b"").removesuffix("#"), self._name(key)
        signals = self._signals(name, now_s)
        if query and query not in ident.lower() and query not in name.lower():
            signals = [each for each in signals if query in each.name.lower()]
            if not signals:
                return None
        ages_s = tuple(now_s - at_s for at_s in seen.moved_at_s[: len(seen.data)])
        return MessageRow(
            ident,
            name,
            now_s - seen.last_s,
            seen.gap_s,
            seen.count,
            seen.data,
            ages_s,
            self._bad.get(key, ""),
            tuple(signals),
        )

    def _name(self, key: Key) -> str:
        if self._database is None:
            return ""
        message = self._database.by_id.get(key)
        return NO_NAME if message is None else message.name

    def _signals(self, message: str, now_s: float) -> list[SignalRow]:
        return [
            SignalRow(key.partition(".")[2], self._text(key, sample), now_s - sample.at_s)
            for key, sample in self._samples.get(message, {}).items()
        ]

    def _is_multiplexer(self, key: str) -> bool:
        assert self._database is not None  # noqa: S101 - there are samples only with one
        return bool(self._database.signals[key][1].is_multiplexer)

    def _text(self, key: str, sample: Sample) -> str:
        """Return a value for people: the choice's name, the number with its unit, or "invalid"."""
        assert self._database is not None  # noqa: S101 - there are samples only with one
        signal = self._database.signals[key][1]
        if signal.choices is not None and sample.raw in signal.choices:
            return str(signal.choices[int(sample.raw)])
        if sample.value is None:
            return f"invalid ({sample.raw:g})"
        return f"{round(sample.value, 6):.10g} {signal.unit or ''}".rstrip()
