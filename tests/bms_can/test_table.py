"""The table of newest samples, and watches that count only what is newer than a moment."""

import math
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bms_can.frame import Frame
from bms_can.signals import Heard, Sample, Signals
from bms_can.table import KEPT_FRAMES, MOST_PAGES, SignalTable, Watch

AFTER_S = 10.0
BOTH = frozenset({"A", "B"})


def frame(at_s: float, data: bytes = b"") -> Frame:
    """Build a frame of a moment."""
    return Frame(at_s, 0x100, extended=False, data=data)


def put(table: SignalTable, name: str, at_s: float, raw: int = 1) -> None:
    """Take one frame with one signal, "Message.signal"."""
    message = name.split(".", 1)[0]
    table.update(message, {name: Sample(raw, raw, at_s)}, frame(at_s))


def all_ones(signals: Signals, _at_s: float) -> bool:
    """Tell whether every known signal is 1."""
    return all(sample.raw == 1 for sample in signals.samples.values())


def watched(messages: frozenset[str] = BOTH) -> tuple[SignalTable, Watch]:
    """Return a table and a watch on it, for "all signals are 1" after AFTER_S."""
    table = SignalTable({"A": 1.0, "B": 1.0})
    return table, table.watch(messages, all_ones, AFTER_S)


def test_newest_samples_and_when_they_were_heard() -> None:
    """A frame replaces the samples it carries and leaves the others."""
    table = SignalTable({})
    put(table, "A.x", 1.0, 5)
    put(table, "A.y", 2.0, 6)
    put(table, "A.x", 3.0, 7)
    signals = table.snapshot()
    assert signals.samples == {"A.x": Sample(7, 7, 3.0), "A.y": Sample(6, 6, 2.0)}
    assert signals.heard == {"A": Heard(3.0, 1.0, 3)} == table.heard()


def test_a_snapshot_does_not_change() -> None:
    """What was handed out stays as it was."""
    table = SignalTable({})
    put(table, "A.x", 1.0, 5)
    before = table.snapshot()
    put(table, "A.x", 2.0, 6)
    assert before.samples["A.x"].raw == 5
    assert before.heard["A"].count == 1
    with pytest.raises(TypeError):
        before.samples["A.x"] = Sample(0, 0, 0.0)  # type: ignore[index]  # that is the test


@pytest.mark.parametrize(
    ("at_s", "steady"), [(1.5, True), (2.0, True), (math.nextafter(2.0, 3), False), (61.0, False)]
)
def test_a_gap_longer_than_the_deadline_ends_steadiness(at_s: float, *, steady: bool) -> None:
    """Up to the deadline a message is steady since its first frame; after it, since the last."""
    table = SignalTable({"A": 1.0})
    put(table, "A.x", 1.0)
    put(table, "A.x", at_s)
    assert table.heard()["A"].steady_since_s == (1.0 if steady else at_s)


def test_a_message_without_deadline_is_always_steady() -> None:
    """Nothing is known of its period, so no gap is too long."""
    table = SignalTable({})
    put(table, "A.x", 1.0)
    put(table, "A.x", 1e6)
    assert table.heard()["A"].steady_since_s == 1.0


@pytest.mark.parametrize(
    ("at_s", "counts"),
    [(0.0, False), (AFTER_S, False), (math.nextafter(AFTER_S, 11), True), (20.0, True)],
)
def test_only_frames_after_the_moment_count(at_s: float, *, counts: bool) -> None:
    """A frame of the moment itself may be older than what was sent then: it does not count."""
    table, watch = watched(frozenset({"A"}))
    put(table, "A.x", at_s)
    assert table.look(watch).streak == int(counts)


def test_what_was_heard_before_proves_nothing() -> None:
    """Right values from before the moment stand in the table and still do not count."""
    table = SignalTable({})
    for at_s in (1.0, 2.0, 3.0):
        put(table, "A.x", at_s)
        put(table, "B.x", at_s)
    watch = table.watch(BOTH, all_ones, AFTER_S)
    assert table.look(watch).streak == 0
    for at_s in (11.0, 12.0, 13.0):
        put(table, "A.x", at_s)
    assert table.look(watch).counts == {"A": 3}
    assert table.look(watch).streak == 0
    put(table, "B.x", 14.0)
    assert table.look(watch).streak == 1


def test_a_contradiction_starts_the_count_anew() -> None:
    """One frame that shows otherwise, of any watched message, and all counting begins again."""
    table, watch = watched()
    for at_s in (11.0, 12.0):
        put(table, "A.x", at_s)
        put(table, "B.x", at_s)
    assert table.look(watch).streak == 2
    put(table, "B.x", 13.0, 0)
    assert (table.look(watch).streak, list(table.look(watch).frames)) == (0, [])
    put(table, "A.x", 13.5)
    assert table.look(watch).streak == 0
    put(table, "B.x", 14.0)
    put(table, "A.x", 14.5)
    assert table.look(watch).streak == 1


def test_other_messages_do_not_count() -> None:
    """A message that proves nothing neither counts nor contradicts."""
    table, watch = watched(frozenset({"A"}))
    put(table, "A.x", 11.0)
    put(table, "C.x", 12.0, 0)
    assert table.look(watch).streak == 1


def test_a_page_without_the_signal_does_not_count() -> None:
    """A frame of another multiplexer page is newer, but what it is to prove is not."""
    table, watch = watched(frozenset({"A.x"}))
    put(table, "A.x", 5.0)
    for at_s in (11.0, 12.0, 13.0):
        put(table, "A.y", at_s)
    assert table.look(watch).streak == 0
    put(table, "A.x", 14.0)
    put(table, "A.y", 15.0)
    assert (table.look(watch).streak, len(table.look(watch).frames)) == (1, 1)


def test_two_pages_of_one_message_must_both_come() -> None:
    """Signals on two pages are proven only when both pages came."""
    table, watch = watched(frozenset({"A.x", "A.y"}))
    for at_s in (11.0, 12.0, 13.0):
        put(table, "A.x", at_s)
    assert table.look(watch).streak == 0
    put(table, "A.y", 14.0)
    assert table.look(watch).streak == 1


def test_no_messages_prove_nothing() -> None:
    """A watch on nothing never has a streak."""
    table, watch = watched(frozenset())
    put(table, "A.x", 11.0)
    assert table.look(watch).streak == 0


def test_the_frames_of_a_streak_are_kept() -> None:
    """The newest frames that proved it can be shown, a few at the most."""
    table, watch = watched(frozenset({"A"}))
    for i in range(KEPT_FRAMES + 3):
        put(table, "A.x", 11.0 + i)
    looked = table.look(watch)
    assert looked.streak == KEPT_FRAMES + 3
    assert [kept.at_s for kept in looked.frames] == [14.0 + i for i in range(KEPT_FRAMES)]


def test_a_look_is_a_copy() -> None:
    """What was looked at does not go on counting."""
    table, watch = watched(frozenset({"A"}))
    put(table, "A.x", 11.0)
    looked = table.look(watch)
    put(table, "A.x", 12.0)
    assert (looked.streak, len(looked.frames)) == (1, 1)


def test_an_ended_watch_counts_no_more() -> None:
    """Its numbers stay; others go on, and ending it twice does no harm."""
    table, watch = watched(frozenset({"A"}))
    other = table.watch(frozenset({"A"}), all_ones, AFTER_S)
    put(table, "A.x", 11.0)
    table.unwatch(watch)
    table.unwatch(watch)
    put(table, "A.x", 12.0)
    assert (table.look(watch).streak, table.look(other).streak) == (1, 2)


def test_the_condition_sees_the_frame_s_own_values_and_time() -> None:
    """The condition is judged with the new values in place, at the time of the frame."""
    table = SignalTable({})
    seen: list[tuple[float, float, float]] = []

    def look(signals: Signals, at_s: float) -> bool:
        seen.append((signals.samples["A.x"].raw, signals.heard["A"].at_s, at_s))
        return True

    table.watch(frozenset({"A"}), look, 0.0)
    put(table, "A.x", 11.0, 7)
    assert seen == [(7, 11.0, 11.0)]


EVENTS = st.tuples(
    st.sampled_from(["A.x", "A.y", "B.x", "C.x"]),
    st.sampled_from([9.0, AFTER_S, 11.0]) | st.floats(0, 20),
    st.booleans(),
)


@given(
    st.lists(EVENTS, max_size=40),
    st.sets(st.sampled_from(["A", "B", "A.x", "A.y"]), min_size=1),
)
def test_a_streak_is_what_a_slow_count_finds(
    events: list[tuple[str, float, bool]], proofs: set[str]
) -> None:
    """Against a count by hand: newer frames since the last contradiction, least of all proofs."""
    table = SignalTable({})
    holds = [True]
    watch = table.watch(frozenset(proofs), lambda _signals, _at_s: holds[0], AFTER_S)
    counted: list[tuple[set[str], bool]] = []
    for name, at_s, good in events:
        holds[0] = good
        put(table, name, at_s)
        carried = {name, name.split(".", 1)[0]} & proofs
        if carried and at_s > AFTER_S:
            counted.append((carried, good))
    last_bad = max((i for i, (_, good) in enumerate(counted) if not good), default=-1)
    streak = [carried for carried, _ in counted[last_bad + 1 :]]
    looked = table.look(watch)
    assert looked.streak == min(sum(proof in each for each in streak) for proof in proofs)
    assert all(kept.at_s > AFTER_S for kept in looked.frames)
    assert len(looked.frames) == min(len(streak), KEPT_FRAMES)


def test_threads_see_whole_updates() -> None:
    """A reader never sees one signal of a frame without the other."""
    table = SignalTable({})
    torn: list[object] = []
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            samples = table.snapshot().samples
            if samples and samples["A.x"] != samples["A.y"]:
                torn.append(samples)

    thread = threading.Thread(target=read)
    thread.start()
    for i in range(2000):
        sample = Sample(i, i, float(i))
        table.update("A", {"A.x": sample, "A.y": sample}, frame(float(i)))
    stop.set()
    thread.join(5)
    assert torn == []


def page_of(value: Frame) -> dict[str, Sample]:
    """Decode a frame of this file: its first byte is the page, and all that it says."""
    number = value.data[0]
    sample = Sample(number, number, value.at_s)
    return {"Cells.page": sample, f"Cells.v{number}": sample}


def paged(at_s: float, number: int) -> Frame:
    """Return a frame of a page."""
    return frame(at_s)._replace(data=bytes([number]))


def test_of_pages_that_wait_the_newest_says_what_stands_on_several() -> None:
    """Page one, two, one: the selector is one, and each page's own value has its own time."""
    table = SignalTable({"Cells": 1.0}, page_of)
    for at_s, page in ((1.0, 1), (2.0, 2), (3.0, 1)):
        table.postpone("Cells", page, paged(at_s, page))
    samples = table.snapshot().samples
    assert samples["Cells.page"] == Sample(1, 1, 3.0)
    assert (samples["Cells.v1"].at_s, samples["Cells.v2"].at_s) == (3.0, 2.0)
    assert table.heard()["Cells"].count == 3


def test_pages_that_wait_do_not_fill_the_memory() -> None:
    """Where nobody looks they are taken once there are many; none is lost."""

    def decode(value: Frame) -> dict[str, Sample]:
        return {f"Cells.v{value.at_s:g}": Sample(0, 0, value.at_s)}

    table = SignalTable({"Cells": 1.0}, decode)
    for number in range(2 * MOST_PAGES + 5):
        table.postpone("Cells", number, frame(float(number)))
        assert len(table._late.get("Cells", {})) <= MOST_PAGES
    samples = table.snapshot().samples
    assert {sample.at_s for sample in samples.values()} == set(map(float, range(len(samples))))
    assert len(samples) == 2 * MOST_PAGES + 5


@pytest.mark.parametrize("order", ["wp", "pw", "wpw", "pwp", "ppw", "wwp"])
def test_decoded_frames_and_frames_that_wait(order: str) -> None:
    """One that was decoded at once comes after those that wait, and before those that follow."""
    table = SignalTable(
        {"Cells": 1.0}, lambda value: {"Cells.a": Sample(value.data[0], 1, value.at_s)}
    )
    for number, kind in enumerate(order):
        if kind == "w":
            samples = {"Cells.a": Sample(9, 9, float(number))}
            table.update("Cells", samples, frame(float(number)))
        else:
            table.postpone("Cells", 1, paged(float(number), 1))
    raw = 9 if order.endswith("w") else 1
    last_s = float(len(order) - 1)
    sample = table.snapshot().samples["Cells.a"]
    assert (sample.raw, sample.at_s) == (raw, last_s)
    assert table.snapshot().samples["Cells.a"] == sample
