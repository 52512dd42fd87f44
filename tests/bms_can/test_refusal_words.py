"""What a person reads when the guard or an interlock refuses, word by word."""

from dataclasses import replace

import pytest

from bms_can.errors import FrameRefused
from bms_can.frame import Frame
from bms_can.guard import Guard, GuardEntry
from bms_can.interlocks import judge
from bms_can.profile import CommandCode, Condition
from tests.bms_can.test_interlock_record import words
from tests.bms_can.test_interlocks import CLOSE, World

LISTED = Frame(0.0, 0x1811F4E5, extended=True, data=b"\x01")
ENTRY = GuardEntry("close", 0x1811F4E5, extended=True, data=b"\x01", mask=b"\xff", per_minute=1)


def refused(guard: Guard, frame: Frame, unsafe: str = "") -> str:
    """Return the words of a refusal."""
    with pytest.raises(FrameRefused) as caught:
        guard.allow(frame, 0.0, unsafe)
    return str(caught.value)


def test_words_of_an_unlisted_frame() -> None:
    """The frame is named in candump's form, with an identifier as wide as it is."""
    standard = Frame(0.0, 0x12, extended=False, data=b"\xab")
    why = "no entry of the guard allows it"
    assert refused(Guard([ENTRY]), standard) == f"unlisted: 012#AB: {why}"
    other = LISTED._replace(data=b"\x02")
    assert refused(Guard([ENTRY]), other) == f"unlisted: 1811F4E5#02: {why}"


def test_words_after_a_foreign_frame() -> None:
    """The foreign frame is named; clearing leaves no trace."""
    guard = Guard([ENTRY])
    guard.hear(LISTED._replace(data=b"\x09"))
    said = refused(guard, LISTED)
    assert said == "foreign-master: 1811F4E5#01: 1811F4E5#09 came from another sender"
    guard.unlatch()
    assert guard.foreign == ""


def test_words_of_an_unsafe_path_and_of_the_rate() -> None:
    """Both say what stands against the frame."""
    guard = Guard([ENTRY])
    assert refused(guard, LISTED, "lost") == "tx-unsafe: 1811F4E5#01: lost"
    guard.allow(LISTED, 0.0)
    assert refused(guard, LISTED) == "rate: 1811F4E5#01: 1 in a minute are the most"


def test_words_of_a_missing_command() -> None:
    """A command that the profile lacks is named as that."""
    world = World()
    world.profile = replace(world.profile, commands={})
    record = [words(check) for check in judge(CLOSE, world.build(), world.profile)]
    name = CommandCode.CLOSE_CONTACTOR.name.lower()
    wanted = "not in the profile | None | in the profile"
    assert record[1] == f"False | command | inconsistent-parameters | {name} | {wanted}"


def test_words_of_several_alarms_and_values() -> None:
    """All blocking alarms are named, and all values that a condition would take."""
    world = World()
    rules = replace(
        world.profile.interlocks,
        tolerated_alarms=frozenset(),
        conditions=(Condition("Estop.pressed", frozenset({0, 3}), "released"),),
    )
    world.profile = replace(world.profile, interlocks=rules)
    world.raws.update({"Alarms.a": 1, "Alarms.b": 1})
    record = [words(check) for check in judge(CLOSE, world.build(), world.profile)]
    assert "False | no alarm | blocked-by-interlocking | alarms | a, b | 0.0 | none" in record
    assert "True | released | blocked-by-interlocking | Estop.pressed | 0 | 0.0 | 0 or 3" in record
