"""The last gate: nothing that is not listed goes out, bit by bit."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from bms_can.errors import FrameRefused
from bms_can.frame import Frame
from bms_can.guard import ECHO_MEMORY, MINUTE_S, Guard, GuardEntry, Heard
from bms_can.profile import CommandCode, Profile
from tests.bms_can.build import guard_entry

LISTED = Frame(0.0, 0x200, extended=False, data=b"\x01\x00")
OTHER_LISTED = Frame(0.0, 0x200, extended=False, data=b"\x02\x00")
EXTENDED_ID = 0x1811F4E5


def guard(*entries: GuardEntry) -> Guard:
    """Build a guard; by default with one close and one open entry."""
    return Guard(
        entries or (guard_entry(per_minute=100), guard_entry("open", "0200", when_latched=True))
    )


def refused(gate: Guard, frame: Frame, now_s: float = 0.0, unsafe: str = "") -> str:
    """Return the rule that refuses a frame, "" if it passes."""
    try:
        gate.allow(frame, now_s, unsafe)
    except FrameRefused as error:
        return error.rule
    return ""


def bits(length: int) -> list[bytes]:
    """Return every payload of a length with exactly one bit set."""
    return [(1 << i).to_bytes(length, "little") for i in range(8 * length)]


def xor(one: bytes, other: bytes) -> bytes:
    """Return the bits in which two payloads differ."""
    return bytes(a ^ b for a, b in zip(one, other, strict=True))


def test_every_standard_identifier_and_length_is_refused_unless_listed() -> None:
    """Of all 2048 identifiers and 9 lengths, only the listed pair passes."""
    entry = guard_entry(data="0000", mask="0000", per_minute=10)
    gate = guard(entry)
    passed = [
        (can_id, size)
        for can_id in range(0x800)
        for size in range(9)
        if not refused(gate, Frame(0.0, can_id, extended=False, data=bytes(size)))
    ]
    assert passed == [(0x200, 2)]
    assert gate.refused == 0x800 * 9 - 1


@given(st.integers(0, 0x1FFFFFFF), st.binary(max_size=8))
def test_extended_identifiers_are_refused_unless_listed(can_id: int, data: bytes) -> None:
    """An extended frame passes only with the listed identifier, length and bits."""
    gate = guard(GuardEntry("close", EXTENDED_ID, True, bytes(2), bytes(2), 10))  # noqa: FBT003 - the entry's own order
    listed = can_id == EXTENDED_ID and len(data) == 2
    assert refused(gate, Frame(0.0, can_id, extended=True, data=data)) == (
        "" if listed else "unlisted"
    )


@pytest.mark.parametrize("extended", [True, False])
def test_standard_and_extended_identifiers_are_different(*, extended: bool) -> None:
    """0x200 listed as one kind does not let the other kind pass (trap 16)."""
    gate = guard(guard_entry(extended=extended))
    assert refused(gate, LISTED._replace(extended=extended)) == ""
    assert refused(gate, LISTED._replace(extended=not extended)) == "unlisted"


def test_every_bit_of_the_default_battery_s_frames(ess_bau: Profile) -> None:
    """A flipped bit is refused, except in the counter's nibble and the checksum byte."""
    free = bytes.fromhex("0000000000000FFF")
    for plan in ess_bau.commands.values():
        for frame in plan.frames:
            assert refused(Guard(ess_bau.guard), frame) == ""
            for bit in bits(8):
                other = frame._replace(data=xor(frame.data, bit))
                allowed = any(a & b for a, b in zip(bit, free, strict=True))
                assert refused(Guard(ess_bau.guard), other) == ("" if allowed else "unlisted")


@given(
    st.binary(min_size=2, max_size=2),
    st.binary(min_size=2, max_size=2),
    st.binary(min_size=2, max_size=2),
)
def test_a_mask_compares_exactly_its_bits(data: bytes, mask: bytes, sent: bytes) -> None:
    """A frame passes if and only if it equals the entry in every masked bit."""
    gate = guard(guard_entry(data=data.hex(), mask=mask.hex()))
    equal = all(not (a ^ b) & m for a, b, m in zip(data, sent, mask, strict=True))
    assert refused(gate, LISTED._replace(data=sent)) == ("" if equal else "unlisted")


def test_an_empty_list_lets_nothing_pass() -> None:
    """A battery without a list can be sent nothing."""
    assert refused(Guard(()), LISTED) == "unlisted"


def test_rate_at_the_limit() -> None:
    """The last frame of a minute passes, the next does not, and at sixty seconds it does."""
    assert MINUTE_S == 60.0
    gate = guard(guard_entry(per_minute=2))
    assert [refused(gate, LISTED, at_s) for at_s in (0.0, 1.0, 1.0)] == ["", "", "rate"]
    assert refused(gate, LISTED, MINUTE_S - 1e-9) == "rate"
    assert refused(gate, LISTED, MINUTE_S) == ""
    assert refused(gate, LISTED, MINUTE_S + 0.5) == "rate"
    assert refused(gate, LISTED, MINUTE_S + 1.0) == ""


@given(st.lists(st.floats(0, 300), max_size=60), st.integers(1, 5))
def test_rate_in_any_minute(moments_s: list[float], most: int) -> None:
    """No sixty seconds anywhere hold more frames than the entry allows."""
    gate = guard(guard_entry(per_minute=most))
    passed = [at_s for at_s in sorted(moments_s) if not refused(gate, LISTED, at_s)]
    for start_s in passed:
        assert sum(start_s <= at_s < start_s + MINUTE_S for at_s in passed) <= most


def test_entries_of_one_name_keep_their_own_rate() -> None:
    """Two entries with the same name do not switch each other's limit off."""
    gate = guard(guard_entry("x", "0100", per_minute=3), guard_entry("x", "0200", per_minute=1))
    assert [refused(gate, LISTED) for _ in range(4)] == ["", "", "", "rate"]
    assert [refused(gate, OTHER_LISTED) for _ in range(2)] == ["", "rate"]


def test_another_master_latches() -> None:
    """Our identifier from elsewhere stops all but the entries for that case, until cleared."""
    gate = guard()
    assert gate.hear(LISTED) is Heard.FOREIGN
    assert gate.foreign == "200#0100"
    assert gate.hear(OTHER_LISTED) is Heard.FOREIGN
    assert gate.foreign == "200#0100"
    assert refused(gate, LISTED) == "foreign-master"
    assert refused(gate, OTHER_LISTED) == ""
    assert refused(gate, Frame(0.0, 0x201, extended=False, data=b"\x01\x00")) == "unlisted"
    gate.unlatch()
    assert refused(gate, LISTED) == ""


@pytest.mark.parametrize("data", [b"", b"\xff", b"\x01\x00\x00", b"\x03\x00", bytes(8)])
def test_any_bytes_on_our_identifier_are_foreign(data: bytes) -> None:
    """Another master need not send what we would send."""
    assert guard().hear(LISTED._replace(data=data)) is Heard.FOREIGN


@pytest.mark.parametrize(
    "frame", [LISTED._replace(can_id=0x201), LISTED._replace(extended=True)], ids=["id", "kind"]
)
def test_other_identifiers_are_no_concern(frame: Frame) -> None:
    """The same number as an extended identifier is another identifier."""
    gate = guard()
    assert gate.hear(frame) is Heard.OTHER
    assert gate.foreign == ""


def test_each_frame_has_one_echo() -> None:
    """A frame comes back once for each time it was sent; once more and it is foreign."""
    gate = guard()
    assert not gate.awaits(LISTED)
    gate.allow(LISTED, 0.0)
    gate.allow(LISTED, 0.1)
    assert gate.hear(LISTED) is Heard.ECHO
    assert gate.awaits(LISTED)
    assert gate.hear(LISTED) is Heard.ECHO
    assert not gate.awaits(LISTED)
    assert gate.hear(LISTED) is Heard.FOREIGN


@pytest.mark.parametrize("reason", ["unlisted", "rate", "foreign-master", "tx-unsafe"])
def test_a_refused_frame_has_no_echo(reason: str) -> None:
    """The bytes of a frame that was refused are foreign when they are heard."""
    gate = guard(guard_entry(per_minute=1))
    frame = LISTED if reason != "unlisted" else LISTED._replace(data=b"\x07\x00")
    if reason == "rate":
        gate.allow(frame, 0.0)
        assert gate.hear(frame) is Heard.ECHO
    if reason == "foreign-master":
        gate.hear(OTHER_LISTED)
    assert refused(gate, frame, 0.0, "lost" if reason == "tx-unsafe" else "") == reason
    assert not gate.awaits(frame)
    assert gate.hear(frame) is Heard.FOREIGN


def test_unsafe_transmission_lets_only_the_safe_side_pass() -> None:
    """While a frame of ours may wait in a queue, only entries for the latch pass."""
    gate = guard()
    assert refused(gate, LISTED, 0.0, "no echo") == "tx-unsafe"
    assert refused(gate, OTHER_LISTED, 0.0, "no echo") == ""


def test_refusals_by_the_latch_use_up_no_rate() -> None:
    """What was refused does not count as sent."""
    gate = guard(guard_entry(per_minute=1))
    for _ in range(3):
        assert refused(gate, LISTED, 0.0, "no echo") == "tx-unsafe"
    assert refused(gate, LISTED) == ""


def test_a_frame_that_was_not_taken_has_no_echo() -> None:
    """After a failed send the same bytes from the bus are another master's."""
    gate = guard()
    gate.allow(LISTED, 0.0)
    gate.withdraw(LISTED)
    gate.withdraw(LISTED)
    assert gate.hear(LISTED) is Heard.FOREIGN


def test_clearing_forgets_frames_that_never_came_back() -> None:
    """After a person looked, the next identical frame has its own echo again."""
    gate = guard()
    gate.allow(LISTED, 0.0)
    gate.unlatch()
    gate.allow(LISTED, 1.0)
    assert gate.hear(LISTED) is Heard.ECHO
    assert not gate.awaits(LISTED)


def test_echoes_are_remembered_up_to_a_limit() -> None:
    """On a bus without echoes the memory does not grow."""
    gate = guard(guard_entry(data="0000", mask="0000", per_minute=200))
    for i in range(ECHO_MEMORY + 1):
        gate.allow(LISTED._replace(data=i.to_bytes(2, "big")), 0.0)
    assert not gate.awaits(LISTED._replace(data=b"\x00\x00"))
    assert gate.awaits(LISTED._replace(data=ECHO_MEMORY.to_bytes(2, "big")))


@pytest.mark.parametrize("code", CommandCode)
def test_the_default_battery_after_another_master(ess_bau: Profile, code: CommandCode) -> None:
    """With a foreign close on the bus the box still opens, and does nothing else."""
    gate = Guard(ess_bau.guard)
    foreign = ess_bau.commands[CommandCode.CLOSE_CONTACTOR].frames[3]
    assert gate.hear(foreign) is Heard.FOREIGN
    opening = code is CommandCode.OPEN_CONTACTOR
    for frame in ess_bau.commands[code].frames:
        assert refused(gate, frame) == ("" if opening else "foreign-master")


class GuardModel(RuleBasedStateMachine):
    """Compare the guard with a model that counts what is on its way."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = Guard(
            (
                guard_entry(per_minute=20),
                guard_entry("open", "0200", per_minute=20, when_latched=True),
            )
        )
        self.now_s = 0.0
        self.on_the_way: Counter[bytes] = Counter()
        self.latched = False
        self.sent_s: dict[bytes, list[float]] = {b"\x01\x00": [], b"\x02\x00": []}

    @rule(wait_s=st.floats(0, 30))
    def wait(self, wait_s: float) -> None:
        """Let time pass."""
        self.now_s += wait_s

    @rule(data=st.sampled_from([b"\x01\x00", b"\x02\x00", b"\x03\x00"]), unsafe=st.booleans())
    def send(self, data: bytes, unsafe: bool) -> None:  # noqa: FBT001 - drawn
        """Try to send."""
        frame = LISTED._replace(data=data)
        found = refused(self.gate, frame, self.now_s, "lost" if unsafe else "")
        stopped = data == b"\x01\x00" and (unsafe or self.latched)
        recent = [at_s for at_s in self.sent_s.get(data, []) if self.now_s - at_s < MINUTE_S]
        assert (found == "") == (data in self.sent_s and not stopped and len(recent) < 20)
        if not found:
            self.on_the_way[data] += 1
            self.sent_s[data].append(self.now_s)

    @rule(data=st.sampled_from([b"\x01\x00", b"\x02\x00", b"\x03\x00"]))
    def hear(self, data: bytes) -> None:
        """Hear our identifier on the bus."""
        expected = Heard.ECHO if self.on_the_way[data] else Heard.FOREIGN
        assert self.gate.hear(LISTED._replace(data=data)) is expected
        self.on_the_way[data] = max(0, self.on_the_way[data] - 1)
        self.latched = self.latched or expected is Heard.FOREIGN

    @rule()
    def clear(self) -> None:
        """A person clears the latch."""
        self.gate.unlatch()
        self.latched = False
        self.on_the_way.clear()

    @invariant()
    def latch_is_known(self) -> None:
        """The latch shows exactly while a foreign frame was heard."""
        assert bool(self.gate.foreign) == self.latched


GuardModel.TestCase.settings = settings(max_examples=50, stateful_step_count=40)
TestGuardModel = GuardModel.TestCase


@pytest.mark.parametrize(
    ("own", "heard"), [(None, Heard.ECHO), (True, Heard.ECHO), (False, Heard.FOREIGN)]
)
def test_the_same_bytes_from_somebody_else_are_no_echo(own: bool | None, heard: Heard) -> None:  # noqa: FBT001 - a case
    """Where the bus tells who sent a frame, only our own one proves that it went out."""
    gate = guard()
    gate.allow(LISTED, 0.0)
    assert gate.hear(LISTED._replace(own=own)) is heard
    assert gate.awaits(LISTED) is (heard is Heard.FOREIGN)
    assert bool(gate.foreign) is (heard is Heard.FOREIGN)


def test_a_frame_that_was_not_taken_does_not_count_for_the_rate() -> None:
    """An open that finds the bus closed a hundred times goes out when the bus is back."""
    gate = guard(guard_entry("open", "0200", per_minute=3, when_latched=True))
    for _ in range(100):
        gate.allow(OTHER_LISTED, 1.0)
        gate.withdraw(OTHER_LISTED)
    assert [refused(gate, OTHER_LISTED, 2.0) for _ in range(4)] == ["", "", "", "rate"]
    gate.withdraw(LISTED)  # was never let pass: nothing happens
    assert refused(gate, OTHER_LISTED, 2.0) == "rate"


def test_each_of_many_lost_frames_stays_awaited() -> None:
    """The memory is of different frames: a hundred equal ones take one place, and all count."""
    gate = guard()
    for number in range(100):
        assert gate.outstanding(LISTED) == number
        gate.allow(LISTED, float(number))
    heard = [gate.hear(LISTED) for _ in range(101)]
    assert heard == [Heard.ECHO] * 100 + [Heard.FOREIGN]
