"""What may follow what in the life of a command, as the platform knows it. Pure.

Rules:
- A device may skip rungs, but rungs only go up: accepted, gated, sending, sent, acknowledged.
- A final word of the device is immutable. Two words are not quite final: `succeeded` may turn out
  held or reverted, `unknown` may be settled as succeeded or failed once the bus shows it.
- What the platform says for want of news (expired, timed_out) is provisional: the device's truth
  replaces it.
- `cancelled` by the platform means that the command was never handed out: nothing can follow.
"""

from typing import NamedTuple

FAULT_RESET, CLOSE, OPEN = 1, 2, 3


class Life(NamedTuple):
    """How long a command may wait [ms]: by default, and at most."""

    default_ms: int
    cap_ms: int


LIVES: dict[int, Life] = {
    FAULT_RESET: Life(default_ms=30_000, cap_ms=60_000),
    CLOSE: Life(default_ms=10_000, cap_ms=30_000),
    OPEN: Life(default_ms=60_000, cap_ms=600_000),
}
#: Unfinished commands a device may have.
MAX_UNFINISHED = 100
#: Silence after the deadline (or after the device's last word) that makes a command timed_out [ms].
SETTLE_MS = 60_000

QUEUED, DELIVERED = "queued", "delivered"
#: An event, not a state: the first of two steps, before the command existed.
ARMED = "armed"

_RUNGS = (QUEUED, DELIVERED, "accepted", "gated", "sending", "sent", "acknowledged")
_RANK = {state: rank for rank, state in enumerate(_RUNGS)}
#: States after which the command is no longer in progress.
FINISHED = frozenset(
    {
        "succeeded",
        "held",
        "reverted",
        "rejected",
        "expired",
        "failed",
        "timed_out",
        "cancelled",
        "unknown",
    }
)
_MAY_FOLLOW = {
    "succeeded": frozenset({"held", "reverted"}),
    "unknown": frozenset({"succeeded", "failed"}),
}
#: Handed out, and as far as we know no frame is on its way.
CANCELLABLE = frozenset({DELIVERED, "accepted", "gated"})


def may_follow(current: str, *, provisional: bool, new: str) -> bool:
    """Say whether the device's word `new` may follow `current`.

    Args:
        current: the state the platform holds.
        provisional: the platform itself made it up for want of news.
        new: what the device says.
    """
    if provisional:
        return True
    if current in FINISHED:
        return new in _MAY_FOLLOW.get(current, frozenset())
    return new in FINISHED or _RANK[new] > _RANK[current]


def remaining_ms(row: "Persisted", wall_ms: int, mono_ms: int, boot_id: str) -> int:
    """Return what is left of a command's life after a restart: never more than before.

    A wall clock that went backwards says nothing about the time that passed: the life is over.
    """
    if wall_ms < row.seen_ms:
        return 0
    left_ms = min(row.deadline_ms - wall_ms, row.life_ms)
    if boot_id == row.boot_id:
        left_ms = min(left_ms, row.deadline_mono_ms - mono_ms)
    return max(0, left_ms)


class Persisted(NamedTuple):
    """What a restart knows about a command's life."""

    life_ms: int
    deadline_ms: int
    deadline_mono_ms: int
    boot_id: str
    seen_ms: int  # latest wall time the platform had written down
