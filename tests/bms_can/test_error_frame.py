"""Error frames: classes, details, state and counters. The first six were made by Linux 6.1."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bms_can.error_frame import ACTIVE, BUS_OFF, PASSIVE, WARNING, BusError, read_error


@pytest.mark.parametrize(
    ("can_id", "data", "expected"),
    [
        (0xA8, "0000001900000000", BusError(("protocol", "no-ack", "bus-error"), None, None, None)),
        (0x88, "0000040000000000", BusError(("protocol/stuff", "bus-error"), None, None, None)),
        (0x204, "0008000000006000", BusError(("controller/warning",), WARNING, 96, 0)),
        (0x204, "0020000000008000", BusError(("controller/passive",), PASSIVE, 128, 0)),
        (0x204, "0040000000000000", BusError(("controller/active",), ACTIVE, 0, 0)),
        (0x40, "0000000000000000", BusError(("bus-off",), BUS_OFF, None, None)),
        (0x04, "0001000000000000", BusError(("controller/rx-overflow",), None, None, None)),
        (0x02, "0500000000000000", BusError(("lost-arbitration",), None, None, None)),
        (0x100, "0000000000000000", BusError(("restarted",), ACTIVE, None, None)),
        (0x140, "", BusError(("bus-off", "restarted"), BUS_OFF, None, None)),
        (
            0x204,
            "003C000000008081",
            BusError(("controller/warning", "controller/passive"), PASSIVE, 128, 129),
        ),
        (0x04, "0000000000000000", BusError(("controller",), None, None, None)),
        (0, "", BusError((), None, None, None)),
    ],
)
def test_what_it_says(can_id: int, data: str, expected: BusError) -> None:
    """Each class by name; the worst state wins; counters only where the frame has them."""
    assert read_error(can_id, bytes.fromhex(data)) == expected


@given(st.integers(0, 0x1FFFFFFF), st.binary(max_size=64))
def test_any_frame_is_read(can_id: int, data: bytes) -> None:
    """No identifier and no payload raises; counters are there exactly if their bit is."""
    found = read_error(can_id, data)
    assert (found.tx_errors is not None) == bool(can_id & 0x200)
    assert len(set(found.kinds)) == len(found.kinds)
