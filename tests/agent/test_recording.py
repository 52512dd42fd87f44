"""What a recording holds, what it is called, and which one goes first."""

from collections.abc import Iterable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.frame_ring import FrameRing
from agent.recording import (
    ALARM,
    COMMAND,
    LONGEST,
    Cause,
    Kept,
    RecorderRules,
    Slice,
    alarm_edges,
    candump_text,
    doomed,
    file_name,
    joined,
    of_command,
    slice_for,
)
from bms_can.alarms import LOST, ActiveAlarm
from bms_can.candump import candump_frames
from bms_can.errors import BadLogLine
from bms_can.frame import Frame
from bms_can.status import BmsStatus, Contactor

RULES = RecorderRules(30.0, 20.0, 1_000_000)
EVER = Slice((), 0.0, 1e9)
OFFSET_S = 1_700_000_000.0


def packed(*frames: Frame) -> bytes:
    """Return frames as the ring keeps them."""
    ring = FrameRing(1e9)
    for frame in frames:
        ring.take(frame)
    return b"".join(ring.read(0).parts)


def status(*keys: str, unknown: tuple[str, ...] | None = ()) -> BmsStatus:
    """Return a status with these alarms on."""
    alarms = tuple(ActiveAlarm(key, 1, key, key, blocks_close=True) for key in keys)
    return BmsStatus(
        None, alarms, None, disconnected=False, contactor=Contactor.UNKNOWN, current_a=None,
        age_s=None, why="", unknown_alarms=unknown,
    )  # fmt: skip


SILENT = replace(status(unknown=None), alarms=(LOST,), disconnected=True)


def edges(*statuses: BmsStatus) -> list[tuple[str, ...]]:
    """Return the edges that each status brings, one after the other."""
    known: frozenset[str] = frozenset()
    found = []
    for each in statuses:
        known, changed = alarm_edges(known, each)
        found.append(changed)
    return found


def test_slice_of_one_event() -> None:
    """An event has its time before and after."""
    cause = Cause(100.0, COMMAND, "c1")
    assert slice_for(cause, RULES) == Slice((cause,), 70.0, 120.0)


@pytest.mark.parametrize("kind", [COMMAND, ALARM])
def test_an_event_inside_joins(kind: str) -> None:
    """An event up to the end of a command's recording prolongs it; commands are named."""
    first, later = Cause(100.0, COMMAND, "c1"), Cause(120.0, kind, "x")
    more = joined(slice_for(first, RULES), later, RULES)
    assert more is not None
    assert (more.since_s, more.until_s) == (70.0, 140.0)
    assert more.causes == ((first, later) if kind == COMMAND else (first,))


def test_an_earlier_event_does_not_shorten() -> None:
    """An event that is told late leaves the end where it was."""
    more = joined(slice_for(Cause(100.0, ALARM, "a"), RULES), Cause(95.0, ALARM, "b"), RULES)
    assert more is not None
    assert more.until_s == 120.0


def test_an_event_after_the_end_has_its_own() -> None:
    """What comes after the end of a recording begins another."""
    assert (
        joined(slice_for(Cause(100.0, ALARM, "a"), RULES), Cause(120.1, ALARM, "a"), RULES) is None
    )


def test_a_command_does_not_join_an_alarm() -> None:
    """A command has its own recording, so that it has its name and its whole time before."""
    assert (
        joined(slice_for(Cause(100.0, ALARM, "a"), RULES), Cause(101.0, COMMAND, "c"), RULES)
        is None
    )


def test_flapping_does_not_make_an_endless_recording() -> None:
    """An alarm that comes and goes for ever makes recordings of bounded length."""
    what: Slice | None = slice_for(Cause(100.0, ALARM, "a"), RULES)
    at_s = 100.0
    while what is not None:
        length_s, at_s = what.until_s - what.since_s, at_s + 1.0
        assert length_s <= LONGEST * 50.0
        what = joined(what, Cause(at_s, ALARM, "a"), RULES)
    assert at_s > 200


def test_alarms_that_come_and_go() -> None:
    """Each alarm that comes and each that goes is an edge; one that stays is none."""
    assert edges(status(), status("b", "a"), status("a", "b"), status("b"), status()) == [
        (),
        ("a", "b"),
        (),
        ("a",),
        ("b",),
    ]


def test_alarms_of_the_start() -> None:
    """What is on when the battery is first heard is an edge: nobody recorded it before."""
    assert edges(status(unknown=("a", "b")), status("a")) == [(), ("a",)]


def test_unknown_is_no_edge() -> None:
    """An alarm that cannot be judged for a while counts as it was."""
    dark = status(unknown=("a",))
    assert edges(status("a"), dark, status("a"), dark, status()) == [("a",), (), (), (), ("a",)]


def test_silence_is_one_edge() -> None:
    """Loss of the BMS is an edge and its return another; other alarms stay as they were."""
    lost = (LOST.key,)
    assert edges(status("a"), SILENT, SILENT, status("a"), status()) == [
        ("a",),
        lost,
        (),
        lost,
        ("a",),
    ]


def test_text_of_candump() -> None:
    """The form is that of candump -l: standard, extended, FD, empty."""
    part = packed(
        Frame(1.0, 0x12, extended=False, data=b""),
        Frame(1.25, 0x18FF50E5, extended=True, data=b"\x01\xab"),
        Frame(2.0, 0x7FF, extended=False, data=bytes(range(12))),
    )
    assert candump_text(part, EVER, "can0", OFFSET_S).text == (
        "(1700000001.000000) can0 012#\n"
        "(1700000001.250000) can0 18FF50E5#01AB\n"
        "(1700000002.000000) can0 7FF##0000102030405060708090A0B\n"
    )


def test_text_with_a_clock_that_was_never_set() -> None:
    """A box that believes in 1970 still writes lines of the right form."""
    part = packed(Frame(5.5, 0x123, extended=False, data=b"\x01"))
    assert candump_text(part, EVER, "can0", 0.0).text == "(0000000005.500000) can0 123#01\n"


def test_only_the_wanted_frames() -> None:
    """Both ends are included; the first frame past the end ends it and stays for the next one."""
    frames = [Frame(float(i), i, extended=False, data=b"") for i in range(10)]
    part = packed(*frames)
    text, end = candump_text(part, Slice((), 3.0, 6.0), "can0", 0.0)
    assert [line.split()[2] for line in text.splitlines()] == ["003#", "004#", "005#", "006#"]
    assert candump_text(part[end:], EVER, "can0", 0.0).text.startswith("(0000000007.000000)")
    assert candump_text(part, EVER, "can0", 0.0).end == len(part)


@given(
    st.lists(
        st.tuples(
            st.floats(0, 1e8).map(lambda at_s: round(at_s, 6)),
            st.one_of(
                st.tuples(st.integers(0, 0x7FF), st.just(value=False)),
                st.tuples(st.integers(0, 0x1FFFFFFF), st.just(value=True)),
            ),
            st.one_of(st.binary(max_size=8), st.binary(min_size=64, max_size=64)),
        ),
        max_size=20,
    )
)
def test_our_own_reader_reads_it(given_frames: list[tuple[float, tuple[int, bool], bytes]]) -> None:
    """Every frame comes back from the text as it was on the bus, within a microsecond."""
    frames = [
        Frame(at_s, can_id, extended, data)
        for at_s, (can_id, extended), data in sorted(given_frames, key=lambda each: each[0])
    ]
    text = candump_text(packed(*frames), EVER, "can0", OFFSET_S).text
    read = list(candump_frames(text.splitlines()))
    assert len(read) == len(frames)
    for after, before in zip(read, frames, strict=True):
        assert not isinstance(after, BadLogLine)
        assert after[1:5] == (*before[1:4], "can0")
        assert after.at_s - OFFSET_S == pytest.approx(before.at_s, abs=2e-6)


def test_names() -> None:
    """A name tells when, whose, and what; it is a plain file name whatever the key."""
    assert file_name("BAT-1", Cause(0.0625, COMMAND, "3f2a:x"), OFFSET_S) == (
        "20231114T221320.062Z_BAT-1.command.3f2a:x.log"
    )
    name = file_name("B", Cause(0.0, ALARM, "../过压 a" + 200 * "x"), OFFSET_S)
    assert name == f"20231114T221320.000Z_B.alarm...----a{113 * 'x'}.log"
    assert Kept(name, 1).kind == ALARM


def kept(*names: str) -> list[Kept]:
    """Return recordings of 10 bytes each; the day stands for the age."""
    return [Kept(f"202301{name[1:]}T000000.000Z_B.{KIND[name[0]]}.x.log", 10) for name in names]


KIND = {"c": COMMAND, "a": ALARM}


def days(found: Iterable[Kept]) -> list[str]:
    """Return what `kept` was given."""
    return [each.kind[0] + each.name[6:8] for each in found]


@pytest.mark.parametrize(
    ("budget", "gone"),
    [
        (40, []),
        (39, ["a02"]),
        (30, ["a02"]),
        (29, ["a02", "a04"]),
        (10, ["a02", "a04", "c01"]),
        (0, ["a02", "a04", "c01", "c03"]),
    ],
)
def test_what_goes_first(budget: int, gone: list[str]) -> None:
    """Alarms go before commands, and the oldest first."""
    assert days(doomed(kept("c03", "a04", "c01", "a02"), budget)) == gone


def test_foreign_files_stay() -> None:
    """A file that a person put there is neither counted nor deleted."""
    strange = [Kept("notes.txt", 1000), Kept("20230101T000000.000Z_B.command.x.log.part", 1000)]
    assert doomed([*strange, *kept("a01")], 0) == kept("a01")


def test_recording_of_a_command() -> None:
    """A command's recording is found by its id, not by a part of it."""
    names = [
        "notes.txt",
        file_name("B", Cause(1.0, ALARM, "c1"), 0.0),
        file_name("B", Cause(2.0, COMMAND, "c11"), 0.0),
        file_name("B", Cause(3.0, COMMAND, "c1"), 0.0),
    ]
    assert of_command(names, "c1") == names[3]
    assert of_command(names, "c") is None
