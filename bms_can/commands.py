"""A command, its states and the reasons for them. Pure.

Everything about which state may follow which is in `NEXT`. Terminal states are immutable.

    accepted -> gated -> sending -> sent -> [acknowledged] -> succeeded -> held | reverted

"sent" says that frames went out, nothing more. "succeeded" says that the battery's own newer frames
showed the effect. "unknown" is a state of its own: an interrupted command may have reached the bus.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from bms_can.profile import CommandCode


class CommandState(StrEnum):
    """Where a command is in its life."""

    ACCEPTED = "accepted"  # durably written, not judged yet
    GATED = "gated"  # interlocks passed
    SENDING = "sending"  # durably written before the first frame
    SENT = "sent"  # frames handed to the bus
    ACKNOWLEDGED = "acknowledged"  # the BMS answered; no effect yet
    SUCCEEDED = "succeeded"  # effect seen in newer frames of the BMS
    HELD = "held"  # and it lasted
    REVERTED = "reverted"  # it did not last
    REJECTED = "rejected"  # refused before any frame
    EXPIRED = "expired"  # its life was over before any frame
    FAILED = "failed"  # no effect, and a cause is known
    TIMED_OUT = "timed_out"  # no effect inside the window
    CANCELLED = "cancelled"  # withdrawn before any frame
    UNKNOWN = "unknown"  # interrupted: may or may not have reached the bus


_S = CommandState
_ENDS_BEFORE_A_FRAME = frozenset({_S.REJECTED, _S.EXPIRED, _S.CANCELLED, _S.FAILED})
_ENDS_AFTER_A_FRAME = frozenset({_S.SUCCEEDED, _S.FAILED, _S.TIMED_OUT})

NEXT: Mapping[CommandState, frozenset[CommandState]] = {
    # Straight to succeeded: the battery was in the wanted state already (no-op), no frame.
    _S.ACCEPTED: _ENDS_BEFORE_A_FRAME | {_S.GATED, _S.SUCCEEDED},
    _S.GATED: _ENDS_BEFORE_A_FRAME | {_S.SENDING, _S.SUCCEEDED},
    # `sending` is judged once more before the first frame, so all early ends are open to it.
    _S.SENDING: _ENDS_BEFORE_A_FRAME | {_S.SENT, _S.UNKNOWN},
    _S.SENT: _ENDS_AFTER_A_FRAME | {_S.ACKNOWLEDGED, _S.UNKNOWN},
    _S.ACKNOWLEDGED: _ENDS_AFTER_A_FRAME | {_S.UNKNOWN},
    _S.UNKNOWN: frozenset({_S.SUCCEEDED, _S.FAILED}),  # settled by the bus, never by a timer
    _S.SUCCEEDED: frozenset({_S.HELD, _S.REVERTED}),
    _S.HELD: frozenset(),
    _S.REVERTED: frozenset(),
    _S.REJECTED: frozenset(),
    _S.EXPIRED: frozenset(),
    _S.FAILED: frozenset(),
    _S.TIMED_OUT: frozenset(),
    _S.CANCELLED: frozenset(),
}

FINAL = frozenset(state for state, following in NEXT.items() if not following)

# States in which a frame may have left the box.
MAY_HAVE_SENT = frozenset({_S.SENDING, _S.SENT, _S.ACKNOWLEDGED, _S.UNKNOWN})


class Reason(StrEnum):
    """Why a command is in its state. The first group are IEC 61850 AddCause terms."""

    BLOCKED_BY_INTERLOCKING = "blocked-by-interlocking"
    BLOCKED_BY_MODE = "blocked-by-mode"
    BLOCKED_BY_HEALTH = "blocked-by-health"
    BLOCKED_BY_PROCESS = "blocked-by-process"
    POSITION_REACHED = "position-reached"
    COMMAND_ALREADY_IN_EXECUTION = "command-already-in-execution"
    TIME_LIMIT_OVER = "time-limit-over"
    NO_ACCESS_AUTHORITY = "no-access-authority"
    ABORTION_BY_COMMUNICATION_LOSS = "abortion-by-communication-loss"
    INCONSISTENT_PARAMETERS = "inconsistent-parameters"
    LOCKED_BY_OTHER_CLIENT = "locked-by-other-client"

    LOCAL_LOCKOUT = "local-lockout"
    READ_ONLY = "read-only"
    SUPERSEDED = "superseded"
    NO_OP = "no-op"
    RATE_LIMITED = "rate-limited"
    INTERRUPTED = "interrupted"
    GUARD_REFUSED = "guard-refused"
    SEND_FAILED = "send-failed"
    NO_EFFECT = "no-effect"
    REVERTED = "reverted"
    JOURNAL_FAILED = "journal-failed"
    CLOCK_UNSURE = "clock-unsure"
    CANCELLED_BY_PLATFORM = "cancelled-by-platform"


# Longest life from receipt [s], whatever the platform says: a late close is a danger, a late open
# is not. The close cap is reliability practice for a two-step select; see docs/adr.
LIFE_CAP_S: Mapping[CommandCode, float] = {
    CommandCode.FAULT_RESET: 60.0,
    CommandCode.CLOSE_CONTACTOR: 30.0,
    CommandCode.OPEN_CONTACTOR: 120.0,
}
LONGEST_LIFE_S = max(LIFE_CAP_S.values())


@dataclass(frozen=True, slots=True)
class Command:
    """One intent of the platform.

    Attributes:
        id: made by the issuer; the same id never goes out twice.
        issued_by: who gave it, for the record.
        version: the platform's version of it, sent back with each result.
        deadline_s: end of its life, monotonic [s] under `boot_id`.
    """

    id: str
    code: CommandCode
    device_uid: str
    issued_by: str
    version: int
    deadline_s: float
    boot_id: str

    def expired(self, now_s: float, boot_id: str) -> bool:
        """Tell whether its life is over. Another boot id voids the deadline: it is over."""
        return boot_id != self.boot_id or now_s >= self.deadline_s


def deadline_s(code: CommandCode, expires_in_s: float, asked_at_s: float) -> float:
    """Return the end of a command's life, monotonic [s].

    Args:
        code: decides the cap.
        expires_in_s: what the platform leaves it [s].
        asked_at_s: when the request that brought it was *started* [s], so that the time on the
            network shortens the life and never extends it.
    """
    return asked_at_s + min(expires_in_s, LIFE_CAP_S[code])


def may_follow(before: CommandState, after: CommandState) -> bool:
    """Tell whether `after` is a legal next state."""
    return after in NEXT[before]
