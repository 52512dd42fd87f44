"""States of a command, and when its life is over."""

import pytest

from bms_can.commands import (
    FINAL,
    LIFE_CAP_S,
    LONGEST_LIFE_S,
    MAY_HAVE_SENT,
    NEXT,
    Command,
    CommandState,
    Reason,
    deadline_s,
    may_follow,
)
from bms_can.profile import CommandCode

S = CommandState


def reachable(start: CommandState) -> set[CommandState]:
    """Return every state that can come after `start`."""
    found: set[CommandState] = set()
    todo = [start]
    while todo:
        for following in NEXT[todo.pop()] - found:
            found.add(following)
            todo.append(following)
    return found


def test_the_table_is_complete() -> None:
    """Every state is in the table and can be reached; no way leads in a circle."""
    assert set(NEXT) == set(S)
    assert reachable(S.ACCEPTED) | {S.ACCEPTED} == set(S)
    for state in S:
        assert state not in reachable(state)


def test_final_states() -> None:
    """These are immutable, and every life can end in one."""
    assert {
        S.HELD,
        S.REVERTED,
        S.REJECTED,
        S.EXPIRED,
        S.FAILED,
        S.TIMED_OUT,
        S.CANCELLED,
    } == FINAL
    for state in S:
        assert state in FINAL or reachable(state) & FINAL


def test_nothing_is_taken_back_after_a_frame() -> None:
    """What may have reached the bus can no longer be rejected, expired or cancelled."""
    for state in (S.SENT, S.ACKNOWLEDGED, S.UNKNOWN, S.SUCCEEDED):
        assert not NEXT[state] & {S.REJECTED, S.EXPIRED, S.CANCELLED}
    assert {S.SENDING, S.SENT, S.ACKNOWLEDGED, S.UNKNOWN} == MAY_HAVE_SENT


def test_success_only_after_it_was_seen() -> None:
    """Held and reverted follow success only; unknown is settled by the bus alone."""
    before = {state for state in S if NEXT[state] & {S.HELD, S.REVERTED}}
    assert before == {S.SUCCEEDED}
    assert NEXT[S.UNKNOWN] == {S.SUCCEEDED, S.FAILED}
    assert may_follow(S.SENT, S.UNKNOWN)
    assert not may_follow(S.UNKNOWN, S.SENDING)


def command(code: CommandCode = CommandCode.CLOSE_CONTACTOR) -> Command:
    """Return a command that lives until 110."""
    return Command("c", code, "BAT", "op", 1, deadline_s(code, 10.0, 100.0), "boot-1")


@pytest.mark.parametrize(
    ("now_s", "boot_id", "expired"),
    [
        (100.0, "boot-1", False),
        (109.999, "boot-1", False),
        (110.0, "boot-1", True),
        (1e9, "boot-1", True),
        (0.0, "boot-2", True),
    ],
)
def test_expiry(now_s: float, boot_id: str, *, expired: bool) -> None:
    """A life ends at its deadline, and with the boot it was counted under."""
    assert command().expired(now_s, boot_id) is expired


@pytest.mark.parametrize("code", list(CommandCode))
def test_life_is_capped(code: CommandCode) -> None:
    """Whatever the platform says, no command lives longer than its cap."""
    assert deadline_s(code, 1e9, 100.0) == 100.0 + LIFE_CAP_S[code]
    assert deadline_s(code, 1.0, 100.0) == 101.0
    assert deadline_s(code, 0.0, 100.0) == 100.0
    assert LIFE_CAP_S[code] <= LONGEST_LIFE_S
    assert LIFE_CAP_S[CommandCode.CLOSE_CONTACTOR] == 30.0


def test_words_on_the_wire() -> None:
    """States and reasons go out as these words; changing one breaks the platform's history."""
    assert all(state.value.replace("_", "").isalpha() for state in S)
    assert all(reason.value.replace("-", "").isalpha() for reason in Reason)
    assert Reason.BLOCKED_BY_INTERLOCKING.value == "blocked-by-interlocking"
    assert len({*Reason}) == len(Reason.__members__)
