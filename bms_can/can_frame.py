"""Struct can_frame and struct canfd_frame of linux/can.h: one message of a CAN socket. Pure."""

import struct
from typing import NamedTuple

from bms_can.frame import Frame

EXTENDED, REMOTE, ERROR = 0x80000000, 0x40000000, 0x20000000  # flags in the identifier word
SPECIAL = REMOTE | ERROR
ID_MASK, STANDARD_MASK = 0x1FFFFFFF, 0x7FF
CLASSICAL, FD = 16, 72  # sizes of struct can_frame and struct canfd_frame [byte]
CLASSICAL_DATA, FD_DATA = 8, 64
FD_FRAME = 0x04  # CANFD_FDF; CANFD_BRS, the switch of bit rate, is 0x01
LENGTH_AT, DATA_AT = 4, 8  # places of the length and of the first data byte in both


class Form(NamedTuple):
    """How a frame goes out: as CAN FD, and if so, with the faster bit rate for its data."""

    fd: bool = False
    switch: bool = False


PLAIN = Form()


def frame_bytes(frame: Frame, form: Form = PLAIN) -> bytes:
    """Return a frame as struct can_frame, or as struct canfd_frame if it is CAN FD."""
    word = frame.can_id | (EXTENDED if frame.extended else 0)
    fd = form.fd or len(frame.data) > CLASSICAL_DATA
    size, flags = (FD_DATA, FD_FRAME | form.switch) if fd else (CLASSICAL_DATA, 0)
    return struct.pack(f"=IBB2x{size}s", word, len(frame.data), flags, frame.data)
