"""The compiled inner loops, where there are any: kernel_text.c and kernel_fields.c through ctypes.

Built by hatch_build.py if a C compiler is at hand when the package is; without it, and with
BMS_COLUMNAR=numpy, numpy does the same more slowly.
"""

import ctypes
import os
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

LIBRARY = Path(__file__).with_name("libkernel.so")
SOURCES = tuple(
    Path(__file__).with_name(f"kernel_{part}") for part in ("digits.h", "text.c", "fields.c")
)
SWITCH = "BMS_COLUMNAR"
NAME_ROOM = 32  # bytes for a channel's length and name
MOST_CHANNELS = 256


def source_hash() -> str:
    """Return what names the sources' content; "" where they are not at hand."""
    if not all(source.is_file() for source in SOURCES):
        return ""
    return sha256(b"".join(source.read_bytes() for source in SOURCES)).hexdigest()[:16]


# Of the sources as they were when this module was read: a library that is compiled from newer ones
# while this process runs may lay out the structures below in another way.
SOURCE_HASH = source_hash()


class RowsStruct(ctypes.Structure):
    """`struct rows` of kernel_text.c."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("at_s", "channel", "can_id", "extended")),
        *((name, ctypes.c_void_p) for name in ("length", "line", "data")),
        *((name, ctypes.c_int64) for name in ("width", "capacity", "used", "lines")),
        *((name, ctypes.c_void_p) for name in ("odd_row", "odd_start", "odd_end")),
        ("odds", ctypes.c_int64),
        ("names", ctypes.c_void_p),
        *((name, ctypes.c_int64) for name in ("channels", "most_channels", "last", "too_narrow")),
    )


class IdsStruct(ctypes.Structure):
    """`struct ids` of kernel_fields.c."""

    _fields_ = (
        ("key", ctypes.c_void_p),
        ("number", ctypes.c_void_p),
        ("shift", ctypes.c_int64),
        ("mask", ctypes.c_int64),
        ("fits", ctypes.c_void_p),
        ("messages", ctypes.c_int64),
    )


FIELD = np.dtype(  # `struct field` of kernel_fields.c
    [
        ("mask", "u8"),
        ("sign", "u8"),
        ("whole_factor", "u8"),
        ("whole_offset", "u8"),
        ("factor", "f8"),
        ("offset", "f8"),
        ("byte", "i8"),
        ("shift", "i8"),
        ("little", "i8"),
        ("ninth", "i8"),
        ("how", "i8"),
        ("type", "i8"),
        ("place", "i8"),
    ]
)


def available() -> bool:
    """Return whether the compiled loops are used."""
    return why_not() == ""


def why_not() -> str:
    """Return why numpy does the work; "" where the kernel does."""
    if os.environ.get(SWITCH) == "numpy":
        return f"{SWITCH}=numpy"
    return _loaded()[1]


def library() -> ctypes.CDLL | None:
    """Return the compiled loops, or None where numpy is to do their work."""
    return None if os.environ.get(SWITCH) == "numpy" else _loaded()[0]


@cache
def _loaded() -> tuple[ctypes.CDLL | None, str]:
    if not LIBRARY.exists():
        return None, "not compiled when this was installed"
    try:
        found = ctypes.CDLL(str(LIBRARY))
    except OSError as error:
        return None, str(error)
    _declare(found)
    built_from = found.bms_source().decode()
    if built_from != SOURCE_HASH:
        return None, "compiled from other sources; `make kernel` compiles these"
    return found, ""


def _declare(found: ctypes.CDLL) -> None:
    pointer, number = ctypes.c_void_p, ctypes.c_int64
    found.bms_source.restype = ctypes.c_char_p
    found.bms_scan.argtypes = [pointer, number, number, number, ctypes.POINTER(RowsStruct)]
    found.bms_scan.restype = number
    ids = ctypes.POINTER(IdsStruct)
    found.bms_group.argtypes = [pointer, pointer, pointer, number, ids, pointer, pointer, pointer]
    found.bms_group.restype = number
    found.bms_decode.argtypes = [pointer, number, pointer, number, pointer, number, pointer]
    found.bms_decode.restype = None


def address(array: NDArray[Any]) -> int:
    """Return where an array's numbers begin."""
    return int(array.ctypes.data)
