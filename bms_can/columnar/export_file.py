"""One file of an export, Parquet or CSV: written once, hashed on the way, synced before it counts.

Encodings were measured: names and numbers of few bits as dictionaries, times as deltas, all other
numbers plain. No threads: one core is one core, and the bytes are always the same.
"""

import hashlib
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

LEVELS = {"zstd": 1, "snappy": None, "none": None}  # of each compression, for Parquet
BUFFER_BYTES = 1 << 16  # of each open file; a long DBC has hundreds open


class Written(NamedTuple):
    """A finished file."""

    bytes: int
    sha256: str


class TableFile(Protocol):
    """A file that takes tables of one schema."""

    def write(self, table: pa.Table) -> None:
        """Append the rows, in Parquet as one row group."""

    def close(self) -> Written:
        """Finish the file and make it durable."""


class _Hashed(io.RawIOBase):
    """A new file that knows the SHA-256 of its bytes."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("xb", buffering=0)
        self._digest = hashlib.sha256()
        self._at = 0

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]  # Arrow hands over bytes only
        self._digest.update(data)
        self._at += len(data)
        rest = memoryview(data)
        while rest:
            rest = rest[self._file.write(rest) :]
        return len(data)

    def tell(self) -> int:
        return self._at

    def finish(self) -> Written:
        """Make it durable."""
        os.fsync(self._file.fileno())
        self._file.close()
        return Written(self._at, self._digest.hexdigest())


class _Parquet:
    def __init__(
        self, path: Path, schema: pa.Schema, compression: str, dictionaries: Sequence[str]
    ) -> None:
        self._file = _Hashed(path)
        self._stream = pa.BufferedOutputStream(pa.PythonFile(self._file, "w"), BUFFER_BYTES)
        self._writer = pa.parquet.ParquetWriter(
            self._stream,
            schema,
            compression=compression,
            compression_level=LEVELS[compression],
            use_dictionary=list(dictionaries),
            column_encoding={
                each.name: "DELTA_BINARY_PACKED" for each in schema if _is_whole(each.type)
            },
        )

    def write(self, table: pa.Table) -> None:
        self._writer.write_table(table, row_group_size=len(table))

    def close(self) -> Written:
        self._writer.close()
        self._stream.flush()
        return self._file.finish()


def _is_whole(kind: pa.DataType) -> bool:
    return bool(pa.types.is_timestamp(kind) or pa.types.is_integer(kind))


class _Csv:
    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._file = _Hashed(path)
        self._stream = pa.BufferedOutputStream(pa.PythonFile(self._file, "w"), BUFFER_BYTES)
        self._writer = pa.csv.CSVWriter(self._stream, schema)

    def write(self, table: pa.Table) -> None:
        self._writer.write_table(table)

    def close(self) -> Written:
        self._writer.close()
        self._stream.flush()
        return self._file.finish()


def open_table(
    path: Path, schema: pa.Schema, kind: str, compression: str, dictionaries: Sequence[str]
) -> TableFile:
    """Begin a file that is not there yet.

    Args:
        path: of the file.
        schema: of its tables.
        kind: one of export_plan.FORMATS.
        compression: one of export_plan.COMPRESSIONS.
        dictionaries: columns of few distinct values.
    """
    if kind == "csv":
        return _Csv(path, schema)
    return _Parquet(path, schema, compression, dictionaries)
