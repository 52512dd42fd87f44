"""A log on which two buses carry what is read: refused at the first frame, on every lane."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bms_can.columnar.one_channel import one_channel
from bms_can.columnar.scan import scan
from bms_can.errors import BadLogLine, TwoBuses
from bms_can.frame import Frame
from bms_can.one_channel import OneChannel, watched
from bms_can.profile_load import load_profile
from bms_can.shipped import profile_path

MESSAGES = {(0x100, False): "State", (0x1812F4E5, True): "Limits"}


def frame(can_id: int, channel: str) -> Frame:
    """Build a frame."""
    return Frame(1.0, can_id, extended=can_id > 0x7FF, data=b"\0", channel=channel)


def refusal(*frames: Frame) -> str:
    """Return what is said of a log, "" if it is taken."""
    watch = OneChannel("a.log", MESSAGES)
    try:
        assert list(watch.entries(frames)) == list(frames)
    except TwoBuses as refused:
        return str(refused)
    return ""


def test_the_sentence_names_the_channels_and_the_option() -> None:
    """What comes where, why that matters, what to type, and what helps to choose."""
    assert refusal(frame(0x100, "can1"), frame(0x100, "can0")) == (
        "a.log: 0x100 (State) comes on can0 and on can1: no channel is named, and on two buses one"
        " identifier can mean two things; say --channel can0 or --channel can1;"
        " bms-agent inspect shows which of them fits"
    )


@pytest.mark.parametrize(
    ("frames", "taken"),
    [
        pytest.param([(0x100, "can0"), (0x100, "can0"), (0x101, "can1")], True, id="one"),
        pytest.param([(0x101, "can0"), (0x101, "can1")], True, id="not-ours"),
        pytest.param([(0x100, "can0"), (0x1812F4E5, "can1")], True, id="spread-not-shared"),
        pytest.param([(0x100, "can0"), (0x100, "")], True, id="a-frame-without-channel"),
        pytest.param([(0x1812F4E5, "can0"), (0x1812F4E5, "can1")], False, id="29-bit"),
    ],
)
def test_what_mixes_two_buses(frames: list[tuple[int, str]], taken: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """Only an identifier that is read, on two named channels."""
    assert (refusal(*(frame(*each) for each in frames)) == "") is taken


def test_lines_without_a_frame_pass() -> None:
    """They are counted elsewhere."""
    bad = BadLogLine(3, "format", "x")
    assert list(OneChannel("a.log", MESSAGES).entries([bad])) == [bad]


def test_a_named_channel_watches_nothing() -> None:
    """Named in the profile or on the command line: nothing is refused."""
    profile, database = load_profile(profile_path("kona_ev"))
    keys = {(0x595, False), (0x5A3, False), (0x594, False)}
    assert set(watched(database, profile.wanted, None)) == keys
    assert watched(database, profile.wanted, "can0") == {}


@given(
    rows=st.lists(
        st.tuples(
            st.sampled_from([0x100, 0x101, 0x1812F4E5]), st.sampled_from(["can0", "can1", "-"])
        ),
        max_size=12,
    )
)
def test_columns_say_the_same(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[int, str]]
) -> None:
    """The same logs are refused frame by frame and on columns."""
    log = tmp_path_factory.getbasetemp() / "rows.log"
    lines = [f"(1.{n:06}) {channel} {can_id:03X}#00" for n, (can_id, channel) in enumerate(rows)]
    log.write_text("\n".join([*lines, "(2.000000) can0 7FF#00", ""]), encoding="ascii")
    one_by_one = refusal(*(frame(*each) for each in rows))
    try:
        list(one_channel(scan(log), OneChannel("a.log", MESSAGES)))
    except TwoBuses:
        assert one_by_one
    else:
        assert not one_by_one
