"""Does an identifier carry ISO-TP (ISO 15765-2), a message cut into several frames? Pure.

Such frames are questions and answers of a diagnostic tool. The DBC's signals lie in the message
that was put together again, not in a frame.
"""

from collections import Counter

import numpy as np
import numpy.typing as npt

FIRST, FLOW = 1, 3  # kinds; 0 is a single frame, 2 a consecutive one
LEAST_FRAMES, LEAST_BYTES = 6, 3
READ_BY_ID, READ_LOCAL = 0x62, 0x61  # positive answers


def carries_isotp(data: npt.NDArray[np.uint8]) -> bool:
    """Tell whether consecutive payloads of one identifier are ISO-TP with long messages.

    Every frame must be of one of the four kinds, and nearly every long message complete: as many
    consecutive frames as its length asks for, numbered 1, 2, ... In n random payloads the kinds
    alone have a chance of 4^-n.
    """
    if data.shape[1] < LEAST_BYTES:
        return False
    kinds = (data[:, 0] >> 4).tolist()
    if len(data) < LEAST_FRAMES or max(kinds) > FLOW or FIRST not in kinds:
        return False
    starts = [index for index, kind in enumerate(kinds) if kind == FIRST]
    whole = [_is_whole(data[index:]) for index in starts[:-1]]  # the last may be cut off
    last = _is_whole(data[starts[-1] :])
    return sum(whole) + last >= max(1.0, 0.9 * len(whole))


def messages_in(data: npt.NDArray[np.uint8]) -> list[str]:
    """Return the kinds of long messages: service, identifier and length, the most frequent first.

    A positive answer of UDS repeats what was asked for: 62 and two bytes (ISO 14229-1), 61 and one
    byte in the older KWP (ISO 14230-3).
    """
    first = data[data[:, 0] >> 4 == FIRST]
    kinds: Counter[str] = Counter()
    for row in first.tolist():
        length = (row[0] & 0xF) << 8 | row[1]
        asked = {READ_BY_ID: row[3:5], READ_LOCAL: row[3:4]}.get(row[2], [])
        name = " ".join([f"{row[2]:02X}", *([bytes(asked).hex().upper()] if asked else [])])
        kinds[f"{name} ({length} bytes)"] += 1
    return [name for name, _ in kinds.most_common()]


def _is_whole(data: npt.NDArray[np.uint8]) -> bool:
    """Tell whether the payloads begin with a long message, complete."""
    length = int(data[0, 0] & 0xF) << 8 | int(data[0, 1])
    first_holds, others_hold = data.shape[1] - 2, data.shape[1] - 1
    if length <= first_holds + 1:
        return False  # would have been a single frame
    count = -(-(length - first_holds) // others_hold)
    numbers = data[1 : count + 1, 0]
    wanted = 0x20 | np.arange(1, count + 1) % 16
    return len(numbers) == count and bool(np.all(numbers == wanted))
