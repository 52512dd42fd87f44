"""Fields and cells as an Arrow schema and table. One of two modules that import pyarrow."""

import json
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from bms_can.columnar.export_plan import DType, Field, Kind
from bms_can.columnar.export_rows import Block, Cells

TIME = pa.timestamp("us", tz="UTC")
LOOKED_AT = 2048  # rows; enough to tell a measurement from noise
FEW = 2  # each number comes so often
NAMES = pa.dictionary(pa.int32(), pa.string())


def schema_of(fields: Sequence[Field], metadata: Mapping[str, str]) -> pa.Schema:
    """Return the schema: each field says its signal, unit and choices, the whole its origin."""
    return pa.schema([_field(each) for each in fields], metadata=dict(metadata))


def _field(field: Field) -> pa.Field:
    if field.kind is Kind.TIME:
        return pa.field(field.name, TIME, nullable=False)
    if field.kind is Kind.CHANNEL:
        return pa.field(field.name, NAMES, nullable=False)
    about = {"signal": field.key}
    if field.kind is Kind.TEXT:
        about["choices"] = json.dumps(dict(field.choices), ensure_ascii=False)
        return pa.field(field.name, NAMES, metadata=about)
    if field.unit:
        about["unit"] = field.unit
    return pa.field(field.name, arrow_type(field.dtype), metadata=about)


def arrow_type(dtype: DType) -> pa.DataType:
    """Return the Arrow type of a signal's values; integers beyond 64 bits become their digits."""
    return pa.string() if dtype.hasobject else pa.from_numpy_dtype(dtype)


def repetitive(table: pa.Table) -> list[str]:
    """Return the columns of real numbers whose first rows say few different ones."""
    first = table.slice(0, LOOKED_AT)
    return [
        name
        for name, column in zip(first.column_names, first.columns, strict=True)
        if pa.types.is_floating(column.type)
        and FEW * pc.count_distinct(column).as_py() <= len(column) - column.null_count
    ]


class TableMaker:
    """Makes the tables of one file.

    Args:
        fields: of the table.
        schema: that `schema_of` made of them.
    """

    def __init__(self, fields: Sequence[Field], schema: pa.Schema) -> None:
        self._fields = fields
        self._schema = schema
        self._names = {
            field.name: pa.array([name for _, name in field.choices], pa.string())
            for field in fields
            if field.kind is Kind.TEXT
        }

    def table(self, block: Block, channels: Sequence[str]) -> pa.Table:
        """Return the rows as a table; `channels` are the names by number."""
        arrays = [
            self._array(field, cells, channels)
            for field, cells in zip(self._fields, block, strict=True)
        ]
        return pa.Table.from_arrays(arrays, schema=self._schema)

    def _array(self, field: Field, cells: Cells, channels: Sequence[str]) -> pa.Array:
        if field.kind is Kind.CHANNEL:
            return _channel_array(cells, channels)
        if field.kind is Kind.TIME:
            return pa.array(cells.values, pa.int64()).view(TIME)
        if field.kind is Kind.TEXT:
            return pa.DictionaryArray.from_arrays(_numbers(cells), self._names[field.name])
        if cells.values.dtype.hasobject:
            nulls = None if cells.valid is None else ~cells.valid
            return pa.array([str(value) for value in cells.values], pa.string(), mask=nulls)
        return _numbers(cells)


def _numbers(cells: Cells) -> pa.Array:
    """Return an array over the very memory of the cells."""
    values, valid = cells
    if valid is None:
        return pa.array(values, from_pandas=False)
    bits = np.packbits(valid, bitorder="little")
    buffers = [pa.py_buffer(bits), pa.py_buffer(values)]
    nulls = len(valid) - int(np.count_nonzero(valid))
    return pa.Array.from_buffers(arrow_type(values.dtype), len(values), buffers, nulls)


def _channel_array(cells: Cells, channels: Sequence[str]) -> pa.Array:
    """Number only the channels that are there, by name: the same rows make the same bytes."""
    if len(channels) == 1:
        places = pa.array(np.zeros(len(cells.values), np.int32))
        return pa.DictionaryArray.from_arrays(places, pa.array(channels, pa.string()))
    used = sorted(np.flatnonzero(np.bincount(cells.values)).tolist(), key=lambda n: channels[n])
    renumbered = np.zeros(len(channels), np.int32)
    renumbered[used] = np.arange(len(used), dtype=np.int32)
    names = pa.array([channels[number] for number in used], pa.string())
    return pa.DictionaryArray.from_arrays(pa.array(renumbered[cells.values]), names)
