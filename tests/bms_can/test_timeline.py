"""Status over a log: every change at the moment at which it is true, and none besides."""

import math
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bms_can.database import Database
from bms_can.frame import Frame
from bms_can.intake import Intake
from bms_can.profile import Profile
from bms_can.profile_load import load_profile
from bms_can.status import BmsStatus, derive_status
from bms_can.timeline import CHANNEL_SKEW_S, Change, Timeline, what_counts

DBC = """\
VERSION ""
BS_:
BU_: BMS
BO_ 256 State: 2 BMS
 SG_ contactor : 0|8@1+ (1,0) [0|3] "" BMS
 SG_ power : 8|8@1- (1,0) [-128|127] "A" BMS
BO_ 257 Alarms: 1 BMS
 SG_ hot : 0|1@1+ (1,0) [0|1] "" BMS
"""
TOML = """\
[profile]
name = "log"
dbc = "log.dbc"
read_only = "for tests"
{channel}
[freshness]
required = ["State"]
deadline_ms = {{ State = 500, Alarms = 1000 }}
[operating_status]
contactor = {{ combine = "series", signals = [
  {{ signal = "State.contactor", closed = [1], open = [0] }},
] }}
current = {{ signal = "State.power", positive = "charging", dead_band_a = 2, hold_s = 0.3 }}
[[alarms]]
signals = "Alarms.hot"
active = "nonzero"
level = 1
"""
START_S = 1_780_000_000.0
Loaded = tuple[Profile, Database]


def load(folder: Path, channel: str = "") -> Loaded:
    """Write and read the battery; `channel` is a line of [profile]."""
    (folder / "log.dbc").write_text(DBC, encoding="ascii")
    path = folder / "log.toml"
    path.write_text(TOML.format(channel=channel), encoding="ascii")
    return load_profile(path)


@pytest.fixture(scope="module")
def battery(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    """Give a battery without counters: its frames repeat byte by byte."""
    return load(tmp_path_factory.mktemp("log"))


def state(at_s: float, contactor: int = 1, current_a: int = 0, channel: str = "") -> Frame:
    """Return a frame with contactor and current, so long after the start of the log."""
    data = bytes([contactor, current_a & 0xFF])
    return Frame(START_S + at_s, 256, extended=False, data=data, channel=channel)


def alarms(at_s: float, hot: int = 0, channel: str = "") -> Frame:
    """Return a frame with the alarm."""
    return Frame(START_S + at_s, 257, extended=False, data=bytes([hot]), channel=channel)


def changes(loaded: Loaded, frames: Iterable[Frame]) -> list[Change]:
    """Run a log."""
    return list(Timeline(*loaded).run(frames))


def brief(found: Iterable[Change]) -> list[tuple[float, int | None, int | None, bool]]:
    """Return time since the start, operating status, alarms and disconnected."""
    return [
        (
            round(each.rel_s, 4),
            None if each.status.operating is None else int(each.status.operating),
            each.status.alarm_count,
            each.status.disconnected,
        )
        for each in found
    ]


def test_nothing_is_known_before_the_first_frame(battery: Loaded) -> None:
    """A timeline without a frame has no status and no change."""
    timeline = Timeline(*battery)
    assert list(timeline.run([])) == []
    assert timeline.status is None
    assert timeline.first_s is None


def test_a_change_has_the_time_of_its_frame(battery: Loaded) -> None:
    """Contactor and alarm: each change stands at its frame, equal frames bring none."""
    log = [
        state(0.0, 0), alarms(0.01), state(0.1, 0), state(0.2, 1), alarms(0.25, 1), state(0.3, 1),
    ]  # fmt: skip
    assert brief(changes(battery, log)) == [
        (0.0, None, None, False),
        (0.0, 1, None, False),
        (0.01, 1, 0, False),
        (0.2, 2, 0, False),
        (0.25, 2, 1, False),
    ]


def test_both_clocks_of_a_change(battery: Loaded) -> None:
    """`at_s` is the log's own time, `rel_s` counts from its first frame."""
    last = changes(battery, [state(2.0, 0), state(2.25, 1)])[-1]
    assert last.at_s == START_S + 2.25
    assert last.rel_s == pytest.approx(0.25)


def test_silence_shows_when_the_deadline_passes(battery: Loaded) -> None:
    """Disconnected stands at the deadline, not at the next frame; the return at the frame."""
    log = [state(0.0), alarms(0.0), alarms(0.9), state(0.95)]
    assert brief(changes(battery, log))[-2:] == [(0.5, None, 1, True), (0.95, 2, 0, False)]


def test_a_return_with_the_same_bytes_is_seen(battery: Loaded) -> None:
    """After silence the very same frame ends it: nothing new but its coming."""
    log = [state(0.0), alarms(0.0), state(3.0)]
    found = brief(changes(battery, log))
    assert found[-2:] == [(0.5, None, 1, True), (3.0, 2, None, False)]
    assert brief(changes(battery, [*log, alarms(3.1)]))[-1] == (3.1, 2, 0, False)


def test_a_deadline_met_exactly_is_not_forgotten(battery: Loaded) -> None:
    """A frame of something else just at the deadline: late right after it, not never."""
    log = [state(0.0), alarms(0.0), alarms(0.5), alarms(2.0)]
    assert (0.5, None, 1, True) in brief(changes(battery, log))


def test_silence_from_the_start(battery: Loaded) -> None:
    """A required message that never comes is late one deadline after the log's first frame."""
    log = [alarms(0.0), alarms(0.9)]
    assert brief(changes(battery, log))[-1] == (0.5, None, 1, True)


def test_an_alarm_message_may_fall_silent_alone(battery: Loaded) -> None:
    """Its alarms are unknown from its deadline on; the operating status goes on."""
    log = [alarms(0.0), *(state(each / 10) for each in range(20))]
    assert brief(changes(battery, log))[-1] == (1.0, 2, None, False)


def test_the_hold_ends_between_frames(battery: Loaded) -> None:
    """A current that lasts is reported when its hold is over, also if its frames never differ."""
    log = [state(0.0), alarms(0.0), *(state(0.1 + each / 10, 1, 50) for each in range(6))]
    assert brief(changes(battery, log))[-1] == (0.4, 3, 0, False)
    short = [state(0.0), alarms(0.0), state(0.1, 1, 50), state(0.3, 1, 0), state(0.6, 1, 0)]
    assert brief(changes(battery, short))[-1] == (0.0, 2, 0, False)


@pytest.mark.parametrize("ends_s", [0.1, 1.0, 4.1, 33.3])
def test_a_hold_ends_at_its_moment(battery: Loaded, ends_s: float) -> None:
    """Not a microsecond later, as a deadline that is met exactly needs it."""
    idle = [state(each / 4) for each in range(int(4 * ends_s) + 1)]
    log = [*idle, state(ends_s, 1, 50), state(ends_s + 0.4, 1, 50)]
    (found,) = [
        each for each in changes(battery, [alarms(0.0), *log]) if each.status.operating == 3
    ]
    assert abs(found.at_s - (START_S + ends_s + 0.3)) < 0.4e-6


def test_a_bad_frame_changes_nothing(battery: Loaded) -> None:
    """A frame of the wrong length neither changes the status nor ends a silence."""
    short = Frame(START_S + 1.0, 256, extended=False, data=b"\x01")
    found = changes(battery, [state(0.0), alarms(0.0), short, alarms(1.1)])
    assert brief(found)[-1] == (0.5, None, 1, True)


def test_time_that_goes_back_is_not_followed(battery: Loaded) -> None:
    """A frame stamped before the last one counts now: changes never go back in time."""
    found = changes(battery, [state(0.0), alarms(0.3), state(0.2, 0), state(0.4, 0)])
    stamps = [each.at_s for each in found]
    assert stamps == sorted(stamps)
    assert brief(found)[-1][:2] == (0.3, 1)


def test_another_channel_moves_time_but_not_values(tmp_path: Path) -> None:
    """Its frames are not ours, yet they show how long ours has been silent."""
    loaded = load(tmp_path, 'channel = "can0"')
    ours = [state(0.0, 0, channel="can0"), alarms(0.0, channel="can0")]
    log = [*ours, *(state(each / 10, 1, channel="can1") for each in range(1, 10))]
    assert brief(changes(loaded, log))[-2:] == [(0.0, 1, 0, False), (0.5, None, 1, True)]


def test_channels_merged_out_of_order(tmp_path: Path) -> None:
    """A frame of another channel that stands before an older one of ours does not date it."""
    loaded = load(tmp_path, 'channel = "can0"')
    log = [
        state(0.0, 0, channel="can0"),
        state(0.1 + CHANNEL_SKEW_S / 2, 0, channel="can1"),
        state(0.1, 1, channel="can0"),
    ]
    assert brief(changes(loaded, log))[-1][:2] == (0.1, 2)


def test_time_passes_without_frames(battery: Loaded) -> None:
    """`pass_time` brings what silence brings, once."""
    timeline = Timeline(*battery)
    list(timeline.run([state(0.0), alarms(0.0)]))
    assert brief(timeline.pass_time(START_S + 5.0)) == [(0.5, None, 1, True)]
    assert list(timeline.pass_time(START_S + 60.0)) == []
    assert timeline.now_s == START_S + 60.0


def test_stamps_too_large_for_a_microsecond(battery: Loaded) -> None:
    """Where floating point cannot tell deadline and deadline + 1 us apart, time still goes on."""
    huge_s = 1e15
    frames = [state(0.0)._replace(at_s=huge_s), alarms(0.0)._replace(at_s=huge_s + 4)]
    assert changes(battery, frames)[-1].status.disconnected


class Stepped:
    """The same derivation without any cleverness: at every moment that it is asked for."""

    def __init__(self, loaded: Loaded, start_s: float) -> None:
        self.intake = Intake(*loaded)
        self._profile = loaded[0]
        self._start_s = start_s
        self.status: BmsStatus | None = None

    def look(self, now_s: float) -> None:
        """Derive the status now."""
        self.status = derive_status(
            self.intake.table.snapshot(),
            self._profile,
            now_s,
            listening_since_s=self._start_s,
            before=self.status,
        )


STEP_S = 0.05
one_frame = st.tuples(
    st.integers(0, 14),  # steps since the last frame
    st.one_of(
        st.tuples(st.just("state"), st.integers(0, 2), st.sampled_from([0, 50, -50])),
        st.tuples(st.just("alarms"), st.integers(0, 1), st.just(0)),
    ),
)


@settings(max_examples=60, deadline=None)
@given(steps=st.lists(one_frame, min_size=1, max_size=25))
def test_at_any_moment_it_says_what_a_look_then_would_say(
    battery: Loaded, steps: list[tuple[int, tuple[str, int, int]]]
) -> None:
    """Between and at all frames the timeline equals a status derived at that very moment."""
    timeline, now = Timeline(*battery), 0
    first, stepped = True, Stepped(battery, START_S)
    for gap, (kind, value, current_a) in steps:
        for _ in range(0 if first else gap):
            middle_s = START_S + now * STEP_S + STEP_S / 2
            stepped.look(middle_s)
            list(timeline.pass_time(middle_s))
            assert timeline.status is not None
            assert stepped.status is not None
            assert what_counts(timeline.status) == what_counts(stepped.status)
            now += 1
        first, at_s = False, now * STEP_S
        frame = state(at_s, value, current_a) if kind == "state" else alarms(at_s, value)
        list(timeline.take(frame))
        stepped.intake.take(frame)
        stepped.look(frame.at_s)
        assert timeline.status is not None
        assert stepped.status is not None
        assert what_counts(timeline.status) == what_counts(stepped.status)
    assert math.isfinite(timeline.now_s)
