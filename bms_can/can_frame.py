"""Struct can_frame and struct canfd_frame of linux/can.h: one message of a CAN socket. Pure."""

import struct

from bms_can.frame import Frame

EXTENDED, REMOTE, ERROR = 0x80000000, 0x40000000, 0x20000000  # flags in the identifier word
SPECIAL = REMOTE | ERROR
ID_MASK, STANDARD_MASK = 0x1FFFFFFF, 0x7FF
CLASSICAL, FD = 16, 72  # sizes of struct can_frame and struct canfd_frame [byte]
CLASSICAL_DATA, FD_DATA = 8, 64
LENGTH_AT, DATA_AT = 4, 8  # places of the length and of the first data byte in both


def frame_bytes(frame: Frame) -> bytes:
    """Return a frame as struct can_frame, or as struct canfd_frame if it is too long for that."""
    word = frame.can_id | (EXTENDED if frame.extended else 0)
    size = CLASSICAL_DATA if len(frame.data) <= CLASSICAL_DATA else FD_DATA
    return struct.pack(f"=IB3x{size}s", word, len(frame.data), frame.data)
