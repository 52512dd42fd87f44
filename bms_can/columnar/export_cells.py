"""Decoded columns as cells of a table: which numbers count, and which names go with them."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from cantools.database.can import Message, Signal

from bms_can.columnar.decode import Decoder, MessageColumns
from bms_can.columnar.export_plan import DTypes, Field, Kind
from bms_can.columnar.export_rows import Cells, ChoiceIndex, Mask
from bms_can.columnar.export_tally import Tally
from bms_can.database import Database
from bms_can.layout import field_of
from bms_can.profile import SignalLimits
from bms_can.scaling import raw_range

NO_LIMITS = SignalLimits()


class Decoding(NamedTuple):
    """What turns the frames of one log into cells: who decodes, what counts, who keeps count."""

    decoder: Decoder
    cells: "SignalCells"
    tally: Tally


class SignalCells:
    """Turns the columns of a message into cells: a number that cannot be believed is unknown.

    Args:
        database: that decodes.
        all_values: numbers outside of the DBC's range count too.

    Attributes:
        impossible: by "Message.Signal", how many numbers were outside of the range.
    """

    def __init__(self, database: Database, *, all_values: bool) -> None:
        self._doubtful = frozenset() if all_values else doubtful(database)
        self._choices: dict[str, ChoiceIndex] = {}
        self.impossible: Counter[str] = Counter()

    def cells(self, columns: MessageColumns, fields: Sequence[Field]) -> list[Cells]:
        """Return the cells of the value and text fields, which are all of this message."""
        return [self._of(columns, field) for field in fields]

    def _of(self, columns: MessageColumns, field: Field) -> Cells:
        name = field.signal
        heard = columns.valid[name]
        if field.kind is Kind.TEXT:
            index = self._choices.get(field.key)
            if index is None:
                index = self._choices[field.key] = ChoiceIndex(field)
            return index(columns.raw(name), heard)
        values = columns.values[name]
        if field.key not in self._doubtful:
            return Cells(values, heard)
        return Cells(values, self._believed(columns, field, heard))

    def _believed(self, columns: MessageColumns, field: Field, heard: Mask | None) -> Mask | None:
        usable = columns.usable(field.signal)
        good = int(np.count_nonzero(usable))
        there = len(usable) if heard is None else int(np.count_nonzero(heard))
        if good < there:
            self.impossible[field.key] += there - good
        return None if good == len(usable) else usable


def doubtful(database: Database) -> frozenset[str]:
    """Return the signals whose bits can hold what the DBC says cannot be."""
    return frozenset(
        key for key, (message, signal) in database.signals.items() if _is_doubtful(message, signal)
    )


def _is_doubtful(message: Message, signal: Signal) -> bool:
    place = field_of(message, signal)
    if place is None or place.is_float:
        return True
    return raw_range(place, signal, NO_LIMITS) != (place.lowest, place.highest)


def dtypes_of(decoder: Decoder) -> DTypes:
    """Return the type of each signal's values, by "Message.Signal" in the order of the DBC."""
    return {
        f"{plan.name}.{name}": signal.type
        for plan in decoder.plans
        for name, signal in plan.signals.items()
    }
