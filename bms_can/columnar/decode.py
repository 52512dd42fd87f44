"""Chunks to the signals of a database, message by message.

Which frames: those that the live codec accepts, because one rule must hold for a bus and its log.
A frame of another length than the one that the database declares, or with a multiplexer value that
has no page, is refused as a whole and listed in `refused`. With `exact=False` longer frames are
taken too, cut to what is declared: then the frames and the values are those of
`cantools.decode(..., decode_choices=False)`, which also refuses short ones and unknown pages.
Where cantools misplaces signals (overlaps) or decodes nothing of a message (a signal lies outside
of it), each signal is read where the file says, as by the live codec.

Which numbers: `values` are those of cantools bit for bit, whatever their size, as an export wants
them. Whether a value may be believed is another question: `usable` answers it with the range and
the sentinels, exactly where the live codec's sample has a value and not None. `valid` only says
whether the signal is on the frame at all.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from bms_can.columnar import kernel
from bms_can.columnar.belief import Beliefs
from bms_can.columnar.chunk import Chunk
from bms_can.columnar.extract import Array, Payloads
from bms_can.columnar.fields import fields_of
from bms_can.columnar.groups import Group, groups_of
from bms_can.columnar.pages import on_page
from bms_can.columnar.plan import Arithmetic, MessagePlan, plans_of
from bms_can.database import Database
from bms_can.profile import SignalLimits

Rows = NDArray[np.int64]
Mask = NDArray[np.bool_]

NONE_STATED = MappingProxyType[str, SignalLimits]({})


@dataclass(frozen=True, slots=True, eq=False)
class MessageColumns:
    """The frames of one message in a chunk.

    Attributes:
        message: its name.
        rows: their rows in the chunk, ascending; entry i of every array here is frame `rows[i]`.
        refused: rows of the frames that were not decoded, by reason ("length", "mux").
        values: physical values by bare signal name. Integers where factor and offset are, in the
            narrowest type (Python's, as objects, beyond 64 bits), float64 otherwise. Where `valid`
            is False the number means nothing.
        valid: whether the signal is on the frame's multiplexer page; None: it always is. Signals
            of a page share one array.
    """

    message: str
    rows: Rows
    refused: Mapping[str, Rows]
    values: Mapping[str, Array]
    valid: Mapping[str, Mask | None]
    _plan: MessagePlan
    _payloads: Payloads
    _beliefs: Beliefs

    def raw(self, signal: str) -> Array:
        """Return the raw values: unscaled integers, or the numbers of an IEEE 754 signal."""
        plan = self._plan.signals[signal]
        same = plan.how is Arithmetic.SAME
        return self.values[signal] if same else self._payloads.raw(plan)

    def usable(self, signal: str) -> Mask:
        """Return where the live codec would give a value: on the page, in range, no sentinel."""
        belief = self._beliefs.of(self.message, self._plan.signals[signal])
        valid = self.valid[signal]
        if belief.always:
            return np.ones(len(self.rows), np.bool_) if valid is None else valid
        usable = belief.holds(self.raw(signal), self.values[signal])
        return usable if valid is None else usable & valid


class Decoder:
    """Decodes the messages of one database.

    Args:
        database: as loaded; its ambiguous ids are not decoded.
        wanted: "Message" or "Message.Signal"; None: everything.
        exact: refuse frames longer than declared, as on a live bus.
        limits: sentinels and ranges by "Message.Signal", in place of those of the database.

    Raises:
        BadDatabase: something wanted does not exist.
    """

    def __init__(
        self,
        database: Database,
        wanted: Collection[str] | None = None,
        *,
        exact: bool = True,
        limits: Mapping[str, SignalLimits] = NONE_STATED,
    ) -> None:
        self.database = database
        self.plans = plans_of(database, wanted)
        self._beliefs = Beliefs(limits)
        self._groups = groups_of(self.plans, exact=exact)
        self._fields = [fields_of(plan) for plan in self.plans]

    def decode(self, chunk: Chunk) -> Iterator[MessageColumns]:
        """Yield the columns of each message that has frames in the chunk, in the DBC's order."""
        address = kernel.address(chunk.data)
        for number, rows, misfits in self._groups(chunk):
            refused = {"length": misfits} if len(misfits) else {}
            yield self._columns(number, Payloads(chunk.data, rows, address), refused)

    def groups(self, chunk: Chunk) -> Iterator[Group]:
        """Yield each message that has frames in the chunk: number in `plans`, rows, misfits.

        The misfits are the rows of another length, which are not decoded.
        """
        return self._groups(chunk)

    def payloads(self, number: int, data: NDArray[np.uint8]) -> MessageColumns:
        """Return the columns of payloads of one message, all of a length that fits.

        Args:
            number: of the message in `plans`.
            data: as in a chunk: one a row, 8 or 64 bytes wide, contiguous.
        """
        rows = np.arange(len(data))
        return self._columns(number, Payloads(data, rows, kernel.address(data)), {})

    def _columns(self, number: int, payloads: Payloads, refused: dict[str, Rows]) -> MessageColumns:
        plan, rows = self.plans[number], payloads.rows
        valid, known = on_page(plan, payloads)
        if known is not None:
            refused["mux"] = rows[~known]
            rows = rows[known]
            payloads = Payloads(payloads.data, rows, payloads.address)
        values = self._fields[number](payloads)
        return MessageColumns(
            plan.name, rows, refused, values, valid, plan, payloads, self._beliefs
        )
