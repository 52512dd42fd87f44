"""What a person reads about each interlock: the whole record, word by word."""

import pytest

from bms_can.interlocks import Check, Sent, judge, must_wait_for_current
from bms_can.profile import CommandCode
from tests.bms_can.build import CLOSED, NEITHER, NOW_S
from tests.bms_can.test_interlocks import CLOSE, RESET, World

SENT = (
    Sent(CLOSE, NOW_S - 4.0),
    Sent(CLOSE, NOW_S - 20),
    Sent(CLOSE, NOW_S - 599),
    Sent(RESET, NOW_S - 1),
    Sent(RESET, NOW_S - 2),
)


def good() -> World:
    """Everything is in order; the messages have different ages."""
    return World(ages_s={"State": 0.25, "Switch": 0.5, "Alarms": 0.125})


def bad() -> World:
    """Everything that can be wrong with the box is, and two messages were never heard."""
    world = World()
    world.drop("State")
    world.drop("Switch")
    world.situation = {
        "read_only": True,
        "lockout": "L (li, t)",
        "journal": "disk full",
        "tx_unsafe": "lost",
        "bus": "bus-off",
        "foreign": "200#01",
        "sent": SENT,
    }
    return world


def noisy() -> World:
    """Alarms are on, the feedback is neither open nor closed, the emergency stop is stale."""
    world = World(ages_s={"Estop": 2.0})
    spoilt = {"Alarms.a": 1, "Alarms.b": 1, "State.contactor_0": NEITHER, "Estop.pressed": 1}
    world.raws.update(spoilt)
    return world


def closed() -> World:
    """The contactor is closed and the alarms were never heard."""
    world = World()
    world.raws.update({"State.contactor_0": CLOSED})
    world.drop("Alarms")
    return world


def words(check: Check) -> str:
    """Return every field of a verdict."""
    return (
        f"{check.passed} | {check.rule} | {check.reason.value} | {check.subject}"
        f" | {check.value} | {check.age_s} | {check.wanted}"
    )


CASES = [
    pytest.param(
        good(),
        CommandCode.FAULT_RESET,
        [
            "True | read-only | read-only | read-only | may send | None | may send",
            "True | command | inconsistent-parameters | fault_reset | in the profile | None | in the profile",
            "True | local lock-out | local-lockout | local lock-out | not set | None | not set",
            "True | journal | journal-failed | journal | in order | None | in order",
            "True | transmit path | blocked-by-health | transmit path | safe | None | safe",
            "True | bus | blocked-by-health | bus | error-active | None | error-active",
            "True | only master | locked-by-other-client | only master | none heard | None | none heard",
            "True | BMS heard | blocked-by-health | required | connected | 0.25 | connected",
            "True | remote mode | blocked-by-mode | Switch.remote | 1 | 0.5 | 1",
            "True | rate | rate-limited | fault_reset | 0 | None | fewer than 2 in 3600 s",
        ],
        id="good-fault_reset",
    ),
    pytest.param(
        good(),
        CommandCode.CLOSE_CONTACTOR,
        [
            "True | read-only | read-only | read-only | may send | None | may send",
            "True | command | inconsistent-parameters | close_contactor | in the profile | None | in the profile",
            "True | local lock-out | local-lockout | local lock-out | not set | None | not set",
            "True | journal | journal-failed | journal | in order | None | in order",
            "True | transmit path | blocked-by-health | transmit path | safe | None | safe",
            "True | bus | blocked-by-health | bus | error-active | None | error-active",
            "True | only master | locked-by-other-client | only master | none heard | None | none heard",
            "True | fresh | blocked-by-health | State | steady for 60.000 s | 0.25 | younger than 1 s, without a gap for 3 s",
            "True | fresh | blocked-by-health | Power | steady for 60.000 s | 0.0 | younger than 1 s, without a gap for 3 s",
            "True | BMS heard | blocked-by-health | required | connected | 0.25 | connected",
            "True | remote mode | blocked-by-mode | Switch.remote | 1 | 0.5 | 1",
            "True | contactor open | blocked-by-process | operating_status | 1 | 0.25 | 1",
            "True | emergency stop released | blocked-by-interlocking | Estop.pressed | 0 | 0.0 | 0",
            "True | no alarm | blocked-by-interlocking | alarms | none | 0.25 | none",
            "True | rate | rate-limited | close_contactor | 0 | None | fewer than 3 in 600 s",
        ],
        id="good-close_contactor",
    ),
    pytest.param(
        good(),
        CommandCode.OPEN_CONTACTOR,
        [
            "True | read-only | read-only | read-only | may send | None | may send",
            "True | command | inconsistent-parameters | open_contactor | in the profile | None | in the profile",
        ],
        id="good-open_contactor",
    ),
    pytest.param(
        bad(),
        CommandCode.FAULT_RESET,
        [
            "False | read-only | read-only | read-only | listen only | None | may send",
            "True | command | inconsistent-parameters | fault_reset | in the profile | None | in the profile",
            "False | local lock-out | local-lockout | local lock-out | L (li, t) | None | not set",
            "False | journal | journal-failed | journal | disk full | None | in order",
            "False | transmit path | blocked-by-health | transmit path | lost | None | safe",
            "False | bus | blocked-by-health | bus | bus-off | None | error-active",
            "False | only master | locked-by-other-client | only master | 200#01 | None | none heard",
            "False | BMS heard | blocked-by-health | required | silent: State never heard | None | connected",
            "False | remote mode | blocked-by-mode | Switch.remote | unknown | None | 1",
            "False | rate | rate-limited | fault_reset | 2 | None | fewer than 2 in 3600 s",
        ],
        id="bad-fault_reset",
    ),
    pytest.param(
        bad(),
        CommandCode.CLOSE_CONTACTOR,
        [
            "False | read-only | read-only | read-only | listen only | None | may send",
            "True | command | inconsistent-parameters | close_contactor | in the profile | None | in the profile",
            "False | local lock-out | local-lockout | local lock-out | L (li, t) | None | not set",
            "False | journal | journal-failed | journal | disk full | None | in order",
            "False | transmit path | blocked-by-health | transmit path | lost | None | safe",
            "False | bus | blocked-by-health | bus | bus-off | None | error-active",
            "False | only master | locked-by-other-client | only master | 200#01 | None | none heard",
            "False | fresh | blocked-by-health | State | unknown | None | younger than 1 s, without a gap for 3 s",
            "True | fresh | blocked-by-health | Power | steady for 60.000 s | 0.0 | younger than 1 s, without a gap for 3 s",
            "False | BMS heard | blocked-by-health | required | silent: State never heard | None | connected",
            "False | remote mode | blocked-by-mode | Switch.remote | unknown | None | 1",
            "False | contactor open | blocked-by-process | operating_status | unknown (silent: State never heard) | None | 1",
            "True | emergency stop released | blocked-by-interlocking | Estop.pressed | 0 | 0.0 | 0",
            "False | no alarm | blocked-by-interlocking | alarms | bms_communication_lost | None | none",
            "False | rate | rate-limited | close_contactor | 3 | None | fewer than 3 in 600 s",
            "False | interval | rate-limited | close_contactor | 4.0 s ago | 4.0 | at least 10 s apart",
        ],
        id="bad-close_contactor",
    ),
    pytest.param(
        bad(),
        CommandCode.OPEN_CONTACTOR,
        [
            "False | read-only | read-only | read-only | listen only | None | may send",
            "True | command | inconsistent-parameters | open_contactor | in the profile | None | in the profile",
        ],
        id="bad-open_contactor",
    ),
    pytest.param(
        noisy(),
        CommandCode.CLOSE_CONTACTOR,
        [
            "True | read-only | read-only | read-only | may send | None | may send",
            "True | command | inconsistent-parameters | close_contactor | in the profile | None | in the profile",
            "True | local lock-out | local-lockout | local lock-out | not set | None | not set",
            "True | journal | journal-failed | journal | in order | None | in order",
            "True | transmit path | blocked-by-health | transmit path | safe | None | safe",
            "True | bus | blocked-by-health | bus | error-active | None | error-active",
            "True | only master | locked-by-other-client | only master | none heard | None | none heard",
            "True | fresh | blocked-by-health | State | steady for 60.000 s | 0.0 | younger than 1 s, without a gap for 3 s",
            "True | fresh | blocked-by-health | Power | steady for 60.000 s | 0.0 | younger than 1 s, without a gap for 3 s",
            "True | BMS heard | blocked-by-health | required | connected | 0.0 | connected",
            "True | remote mode | blocked-by-mode | Switch.remote | 1 | 0.0 | 1",
            "False | contactor open | blocked-by-process | operating_status | unknown (contactor feedback is neither open nor closed) | 0.0 | 1",
            "False | emergency stop released | blocked-by-interlocking | Estop.pressed | unknown (last 1) | 2.0 | 0",
            "False | no alarm | blocked-by-interlocking | alarms | a | 0.0 | none",
            "True | rate | rate-limited | close_contactor | 0 | None | fewer than 3 in 600 s",
        ],
        id="noisy-close_contactor",
    ),
    pytest.param(
        closed(),
        CommandCode.CLOSE_CONTACTOR,
        [
            "True | read-only | read-only | read-only | may send | None | may send",
            "True | command | inconsistent-parameters | close_contactor | in the profile | None | in the profile",
            "True | local lock-out | local-lockout | local lock-out | not set | None | not set",
            "True | journal | journal-failed | journal | in order | None | in order",
            "True | transmit path | blocked-by-health | transmit path | safe | None | safe",
            "True | bus | blocked-by-health | bus | error-active | None | error-active",
            "True | only master | locked-by-other-client | only master | none heard | None | none heard",
            "True | fresh | blocked-by-health | State | steady for 60.000 s | 0.0 | younger than 1 s, without a gap for 3 s",
            "True | fresh | blocked-by-health | Power | steady for 60.000 s | 0.0 | younger than 1 s, without a gap for 3 s",
            "True | BMS heard | blocked-by-health | required | connected | 0.0 | connected",
            "True | remote mode | blocked-by-mode | Switch.remote | 1 | 0.0 | 1",
            "False | contactor open | blocked-by-process | operating_status | 2 | 0.0 | 1",
            "True | emergency stop released | blocked-by-interlocking | Estop.pressed | 0 | 0.0 | 0",
            "False | no alarm | blocked-by-interlocking | alarms | unknown | 0.0 | none",
            "True | rate | rate-limited | close_contactor | 0 | None | fewer than 3 in 600 s",
        ],
        id="closed-close_contactor",
    ),
]


@pytest.mark.parametrize(("world", "code", "record"), CASES)
def test_record(world: World, code: CommandCode, record: list[str]) -> None:
    """Each verdict names the rule, what it saw, how old that is, and what it wanted."""
    assert [words(check) for check in judge(code, world.build(), world.profile)] == record


def test_record_of_an_open_under_load() -> None:
    """An open that waits says at which current, and what the limit is."""
    world = closed()
    world.raws.update({"Power.current": 50})
    check = must_wait_for_current(world.build(), world.profile)
    assert check is not None
    assert words(check) == (
        "False | open under load | blocked-by-process | Power.current | 50 A | 0.0 | at most 20 A"
    )
