"""Decoded frames as lines for people and programs, in the order of the log.

A signal's text is made once for each raw value in a chunk, not once for each frame.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from bms_can.columnar.chunk import Chunk
from bms_can.columnar.decode import MessageColumns
from bms_can.columnar.export_rows import Array
from bms_can.database import Database
from bms_can.frame import frame_text

DIGITS = ".12g"  # of 0.1 * 3 too: what the file means, not what binary fractions make of it
Texts = Sequence[str | None]  # one for each frame; None: the signal is not on it
Format = Callable[[Sequence[Any], Sequence[Any], Sequence[bool]], list[str]]


class Vocabulary(NamedTuple):
    """What lines say of a signal, each by "Message.Signal".

    Attributes:
        choices: its named values, by raw value.
        units: its unit, "" if it has none.
        order: its place in the DBC.
    """

    choices: Mapping[str, Mapping[int, str]]
    units: Mapping[str, str]
    order: Mapping[str, int]


def vocabulary_of(database: Database) -> Vocabulary:
    """Return what a DBC gives to lines."""
    signals = {key: signal for key, (_, signal) in database.signals.items()}
    return Vocabulary(
        {
            key: {raw: str(name) for raw, name in (signal.choices or {}).items()}
            for key, signal in signals.items()
        },
        {key: signal.unit or "" for key, signal in signals.items()},
        {key: place for place, key in enumerate(signals)},
    )


class Lines:
    """Makes the lines of a log.

    Args:
        database: that decodes.
        show_all: also frames that are not decoded.
        as_json: one JSON object a line.
    """

    def __init__(self, database: Database, *, show_all: bool, as_json: bool) -> None:
        self._choices, self._units, self._order = vocabulary_of(database)
        self._show_all = show_all
        self._json = as_json

    def of(self, chunk: Chunk, decoded: Sequence[MessageColumns]) -> list[str]:
        """Return the lines of a chunk."""
        lines = np.full(len(chunk), None, object)
        for columns in decoded:
            lines[columns.rows] = self._decoded(chunk, columns)
            for reason, rows in columns.refused.items():
                for row in rows.tolist():
                    lines[row] = self._refused(chunk, row, columns.message, reason)
        if self._show_all:
            for row in np.flatnonzero(lines == None).tolist():  # noqa: E711 - for each element
                lines[row] = self._refused(chunk, row, "", "not in the DBC")
        return [line for line in lines.tolist() if line is not None]

    def _decoded(self, chunk: Chunk, columns: MessageColumns) -> list[str]:
        heads = self._heads(chunk, columns.rows, columns.message)
        if self._json:
            return self._objects(heads, columns)
        texts = [self._texts(columns, name, self._shown) for name in self._names(columns)]
        if not texts:
            return heads
        return [
            "  ".join([head, *filter(None, row)])
            for head, row in zip(heads, zip(*texts, strict=True), strict=True)
        ]

    def _heads(self, chunk: Chunk, rows: Array, message: str) -> list[str]:
        at_s = chunk.at_s[rows].tolist()
        channels = [chunk.channels[number] for number in chunk.channel[rows].tolist()]
        if not self._json:
            pairs = zip(at_s, channels, strict=True)
            return [f"({at:.6f}) {channel or '-'} {message}" for at, channel in pairs]
        named = {channel: _quoted(channel) for channel in set(channels)}
        name = _quoted(message)
        return [
            f'{{"time": {at!r}, "channel": {named[channel]}, "message": {name}'
            for at, channel in zip(at_s, channels, strict=True)
        ]

    def _names(self, columns: MessageColumns) -> list[str]:
        """Return the signals in the order of the DBC."""
        return sorted(columns.values, key=lambda name: self._order[f"{columns.message}.{name}"])

    def _objects(self, heads: list[str], columns: MessageColumns) -> list[str]:
        ordered = self._names(columns)
        values = [self._texts(columns, name, self._value) for name in ordered]
        names = [
            self._texts(columns, name, self._name)
            for name in ordered
            if self._choices[f"{columns.message}.{name}"]
        ]
        return [
            f'{head}, "signals": {{{", ".join(filter(None, row))}}},'
            f' "names": {{{", ".join(filter(None, named))}}}}}'
            for head, row, named in zip(
                heads, _rows(values, len(heads)), _rows(names, len(heads)), strict=True
            )
        ]

    def _texts(self, columns: MessageColumns, name: str, form: Callable[[str], Format]) -> Texts:
        """Return the text of a signal for each frame."""
        heard = columns.valid[name]
        texts = np.full(len(columns.rows), None, object)
        chosen = slice(None) if heard is None else heard
        raw, values = columns.raw(name)[chosen], columns.values[name][chosen]
        if len(raw):
            usable = columns.usable(name)[chosen]  # by range and sentinels: by the raw value alone
            _, first, which = np.unique(raw, return_index=True, return_inverse=True)
            make = form(f"{columns.message}.{name}")
            some = (each[first].tolist() for each in (raw, values, usable))
            texts[chosen] = np.array(make(*some), object)[which]
        found: list[str | None] = texts.tolist()
        return found

    def _shown(self, key: str) -> Format:
        name, unit, choices = key.rpartition(".")[2], self._units[key], self._choices[key]
        behind = f" {unit}" if unit else ""

        def texts(raws: Sequence[Any], values: Sequence[Any], usable: Sequence[bool]) -> list[str]:
            form = DIGITS if isinstance(values[0], float) else ""
            if not choices and all(usable):
                return [f"{name}={value:{form}}{behind}" for value in values]
            found = []
            for raw, value, believed in zip(raws, values, usable, strict=True):
                if raw in choices:
                    found.append(f"{name}={choices[raw]}")
                else:
                    shown = f"{value:{form}}{behind}" if believed else f"? (raw {raw})"
                    found.append(f"{name}={shown}")
            return found

        return texts

    def _value(self, key: str) -> Format:
        name = _quoted(key.rpartition(".")[2])

        def texts(_: Sequence[Any], values: Sequence[Any], usable: Sequence[bool]) -> list[str]:
            pairs = zip(values, usable, strict=True)
            return [f"{name}: {value if believed else 'null'}" for value, believed in pairs]

        return texts

    def _name(self, key: str) -> Format:
        name, choices = _quoted(key.rpartition(".")[2]), self._choices[key]

        def texts(raws: Sequence[Any], _: Sequence[Any], __: Sequence[bool]) -> list[str]:
            return [f"{name}: {_quoted(choices[raw])}" if raw in choices else "" for raw in raws]

        return texts

    def _refused(self, chunk: Chunk, row: int, message: str, reason: str) -> str:
        length = int(chunk.length[row])
        data = chunk.data[row, :length].tobytes()
        frame = frame_text(int(chunk.can_id[row]), bool(chunk.extended[row]), data)
        head = self._heads(chunk, np.array([row]), message or "-")[0]
        if not self._json:
            return f"{head}  {frame}  not decoded: {reason}"
        return f'{head}, "frame": {_quoted(frame)}, "not_decoded": {_quoted(reason)}}}'


def _rows(texts: Sequence[Texts], count: int) -> Sequence[tuple[str | None, ...]]:
    return list(zip(*texts, strict=True)) if texts else [()] * count


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
