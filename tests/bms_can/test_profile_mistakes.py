"""A wrong profile is refused with every mistake at once, each one line with file and key."""

from pathlib import Path

import pytest

from bms_can.errors import BadDatabase, BadInput, BadProfile
from bms_can.profile_load import load_profile
from tests.bms_can.tiny import DBC, GONE, PROFILE, STATE, changed, read, write

CLOSING = "commands.close_contactor"
OPENING = "commands.open_contactor"
FEEDBACK = "operating_status.contactor.signals[0]"
COMBINE = "operating_status.contactor.combine"
SENTINELS = "signals.State.current.sentinels"
NOT_CLOSE = "no entry allows 200#0100000000000057, which close_contactor would send"
NO_PERIOD = "the DBC gives no cycle time for it; give its deadline here"
BELONG = "checksum and algorithm belong together"
CRCS = (
    '"sum8", "sum8-inverted", "xor8", "sum8-id-len", '
    '"crc8", "crc8-sae-j1850", "crc8-autosar", "crc8-nissan"'
)
LATCHED = (
    '"close" has when_latched and allows 200#0100000000000057, which close_contactor would send'
)


def mistakes(folder: Path, *changes: tuple[str, object]) -> tuple[str, ...]:
    """Return what is wrong with the changed profile."""
    with pytest.raises(BadProfile) as caught:
        read(folder, *changes)
    assert caught.value.path == str(folder / "tiny.toml")
    for line in str(caught.value).splitlines():
        assert line.startswith(f"{folder / 'tiny.toml'}: ")
    return caught.value.mistakes


def no_signal(name: str, meant: str) -> str:
    """Return what is said of a misspelt signal."""
    return f'the DBC has no signal "{name}"; did you mean "{meant}"?'


def no_choice(name: str) -> str:
    """Return what is said of a choice that State.contactor does not have."""
    return f"no choice '{name}'; it has 'closed', 'open', 'partial'"


G = GONE
WRONG: list[tuple[list[tuple[str, object]], list[str]]] = [
    ([("profile", G)], ["profile: is missing", "profile.dbc: is missing"]),
    ([("profile.name", G)], ["profile.name: is missing"]),
    ([("profile.dbc", G)], ["profile.dbc: is missing"]),
    ([("profile.dbc", 5)], ["profile.dbc: must be a text, not an integer"]),
    ([("profile.dbc", "")], ["profile.dbc: must not be empty"]),
    ([("profile.dbc", "a\0.dbc")], ["profile.dbc: is no file name"]),
    ([("profile.nam", "x")], ['profile.nam: is not a known key; did you mean "name"?']),
    ([("profile.read_only", "x")], ["profile.read_only: is set although there are [commands]"]),
    ([("commands", G)], ["profile.read_only: say why there are no commands, or add [commands]"]),
    ([("commands.close", {})], ["commands.close: is not a known key"]),
    ([("frehsness", {})], ['frehsness: is not a known key; did you mean "freshness"?']),
    ([("simulator", 5)], ["simulator: must be a table, not an integer"]),
    (
        [("freshness.required", ["State", "Alarm"])],
        ['freshness.required: the DBC has no message "Alarm"; did you mean "Alarms"?'],
    ),
    (
        [("freshness.required", ["Alarms"])],
        ["freshness.required: lacks State: operating_status rests on it"],
    ),
    (
        [("freshness.required", ["State", "Quiet"])],
        [f"freshness.deadline_ms.Quiet: {NO_PERIOD}"],
    ),
    (
        [("telemetry.x", "Quiet.errors")],
        [f"freshness.deadline_ms.Quiet: {NO_PERIOD}"],
    ),
    (
        [("freshness.deadline_ms", {"Stat": 5})],
        ["freshness.deadline_ms.Stat: the DBC has no such message"],
    ),
    (
        [("freshness.deadline_ms", {"State": 0})],
        ["freshness.deadline_ms.State: must be at least 1, not 0"],
    ),
    (
        [("freshness.deadline_ms", {"State": 600_001})],
        ["freshness.deadline_ms.State: must be at most 600000, not 600001"],
    ),
    (
        [("operating_status.contactor.combine", "serie")],
        [f'{COMBINE}: must be one of "series", "parallel", not "serie"; did you mean "series"?'],
    ),
    (
        [("operating_status.contactor.signals", [])],
        ["operating_status.contactor.signals: needs at least one signal"],
    ),
    (
        [(f"{FEEDBACK}.signal", "State.contacor")],
        [f"{FEEDBACK}.signal: {no_signal('State.contacor', 'State.contactor')}"],
    ),
    ([(f"{FEEDBACK}.signal", "soc")], [f'{FEEDBACK}.signal: the DBC has no signal "soc"']),
    ([(f"{FEEDBACK}.signal", G)], [f"{FEEDBACK}.signal: is missing"]),
    ([(f"{FEEDBACK}.closed", [])], [f"{FEEDBACK}.closed: must not be empty"]),
    (
        [(f"{FEEDBACK}.closed", ["shut"])],
        [f"{FEEDBACK}.closed: State.contactor: {no_choice('shut')}"],
    ),
    ([(f"{FEEDBACK}.closed", [4])], [f"{FEEDBACK}.closed: State.contactor: raw 4 is not in 0..3"]),
    ([(f"{FEEDBACK}.open", ["closed"])], [f"{FEEDBACK}.open: has a value that also means closed"]),
    ([(f"{FEEDBACK}.open", G)], [f"{FEEDBACK}.open: is missing"]),
    (
        [("operating_status.current.positive", "in")],
        ['operating_status.current.positive: must be one of "charging", "discharging", not "in"'],
    ),
    (
        [("operating_status.current.dead_band_a", -0.1)],
        ["operating_status.current.dead_band_a: must be at least 0, not -0.1"],
    ),
    (
        [("operating_status.current.hold_s", 61)],
        ["operating_status.current.hold_s: must be at most 60, not 61.0"],
    ),
    (
        [("operating_status.state", STATE)],
        ["operating_status.contactor: give either state or contactor, not both"],
    ),
    (
        [("operating_status", {"state": {**STATE, "values": {"1": [0], "5": [3]}}})],
        ["operating_status.state.values.5: is not a known key"],
    ),
    (
        [("operating_status", {"state": {**STATE, "values": {"1": ["off"], "2": [0]}}})],
        ["operating_status.state.values.2: raw value 0 stands for two states"],
    ),
    (
        [("operating_status", {"state": {**STATE, "values": {}}})],
        ["operating_status.state.values: names no state: its keys are 1, 2, 3, 4"],
    ),
    (
        [("operating_status", {"state": {"signal": "State.mode"}})],
        ["operating_status.state.values: is missing"],
    ),
    ([("alarms[0].level", G)], ["alarms[0].level: is missing"]),
    ([("alarms[0].level", 4)], ["alarms[0].level: must be at most 3, not 4"]),
    ([("alarms[0].level", 0)], ["alarms[0].level: must be at least 1, not 0"]),
    ([("alarms[0].level", "vale")], ["alarms[0].level: must be an integer, not a text"]),
    ([("alarms[0].active", "on")], ['alarms[0].active: must be one of "nonzero", not "on"']),
    ([("alarms[0].active", [1])], ["alarms[0].active: must be a table, not a list"]),
    (
        [("alarms[0].active", {"mask": 1, "at_least": 2})],
        ['alarms[0].active: must be "nonzero" or have one of values, mask, at_least, at_most'],
    ),
    ([("alarms[0].active", {"mask": 0})], ["alarms[0].active.mask: must be at least 1, not 0"]),
    (
        [("alarms[0].active", {"mask": 0x10000})],
        ["alarms[0].active.mask: Alarms.errors has only 16 bits"],
    ),
    ([("alarms[0].active", {"values": []})], ["alarms[0].active.values: must not be empty"]),
    (
        [("alarms[0].labels", {"eror": ["a", "b"]})],
        ["alarms[0].labels.eror: is not a signal of this group"],
    ),
    ([("alarms[0].labels", {"errors": ["a"]})], ["alarms[0].labels.errors: must be [zh, en]"]),
    (
        [("alarms[1]", {"signals": "*.errors", "level": 1})],
        [
            "alarms[1].signals: Alarms.errors is already an alarm",
            f"freshness.deadline_ms.Quiet: {NO_PERIOD}",
        ],
    ),
    (
        [("alarms[1]", {"signals": "Alarms.dor", "level": 1})],
        ['alarms[1].signals: "Alarms.dor" matches no signal; did you mean "Alarms.door"?'],
    ),
    ([("alarms[1]", {"signals": [], "level": 1})], ["alarms[1].signals: must not be empty"]),
    ([("alarms[1]", {"signals": "", "level": 1})], ["alarms[1].signals: must not be empty"]),
    ([("alarms[1]", {"level": 1})], ["alarms[1].signals: is missing"]),
    (
        [("telemetry.soc", "State.sooc")],
        ['telemetry.soc: the DBC has no signal "State.sooc"; did you mean "State.soc"?'],
    ),
    (
        [("telemetry.x", {"signal": "State.soc", "signals": "State.*"})],
        ["telemetry.x.signal: give either signal or signals, not both"],
    ),
    (
        [("telemetry.total_voltage", "State.current")],
        ["telemetry.total_voltage: State.current is in A, the platform wants V; give a factor"],
    ),
    (
        [("telemetry.cell_voltage", {"signals": "Cells.cell_*"})],
        ["telemetry.cell_voltage: Cells.cell_2 is in mV, the platform wants V; give a factor"],
    ),
    (
        [("telemetry.soc", {"signal": "State.current", "unit": "A"})],
        ["telemetry.soc: State.current is in A, the platform wants %; give a factor"],
    ),
    (
        [("telemetry.cell_voltage", {"signals": "Cells.cell_*", "factor": 0.001, "unit": "mV"})],
        ["telemetry.cell_voltage.unit: the platform wants V"],
    ),
    (
        [("telemetry.soc", {"signal": "State.soc", "factor": 0})],
        ["telemetry.soc.factor: must not be 0"],
    ),
    ([("telemetry.x", {"signals": "No.*"})], ['telemetry.x.signals: "No.*" matches no signal']),
    ([("integrity[0].counter", "count")], ["integrity[0].counter: Control has no signal count"]),
    (
        [("integrity[0].checksum", "reset"), ("commands", G), ("profile.read_only", "x")],
        ["integrity[0]: Control.reset: a checksum must be one whole byte"],
    ),
    (
        [("integrity[1]", {"messages": ["State"]})],
        ["integrity[1]: needs counter or checksum"],
    ),
    (
        [("integrity[0].algorithm", G)],
        [f"integrity[0].algorithm: {BELONG}"],
    ),
    (
        [("integrity[0].checksum", G)],
        [f"integrity[0].algorithm: {BELONG}"],
    ),
    (
        [("integrity[0].algorithm", "crc9")],
        [f'integrity[0].algorithm: must be one of {CRCS}, not "crc9"; did you mean "crc8"?'],
    ),
    ([("integrity[0].modulo", 17)], ["integrity[0]: Control.counter: modulo 17, not in 2..16"]),
    ([("integrity[0].modulo", 1)], ["integrity[0].modulo: must be at least 2, not 1"]),
    (
        [("integrity[1]", PROFILE["integrity"][0])],
        ["integrity[1].messages: Control has two integrity rules"],
    ),
    (
        [
            ("integrity[1]", {"messages": ["Wide"], "counter": "counter"}),
            (f"{CLOSING}.message", "Wide"),
            (f"{CLOSING}.values", {"wish": 1}),
        ],
        [f"{CLOSING}.message: its counter has 4294967296 values; too many to build frames of"],
    ),
    (
        [("signals", {"State.curent": {"minimum": 1}})],
        [f"signals.State.curent: {no_signal('State.curent', 'State.current')}"],
    ),
    (
        [("signals", {"State.current": {"sentinels": ["n/a"]}})],
        [f"{SENTINELS}: State.current: no choice 'n/a'; it has none"],
    ),
    (
        [("signals", {"State.current": {"sentinels": [0xFFFF]}})],
        [f"{SENTINELS}: State.current: raw 65535 is not in -32768..32767"],
    ),
    (
        [("signals", {"State.current": {"minimum": 5, "maximum": 4.9}})],
        ["signals.State.current.maximum: must be at least the minimum, 5"],
    ),
    (
        [
            (f"{CLOSING}.acknowledged", {"signal": "Wide.wish", "values": [1]}),
            (f"{CLOSING}.message", "Wide"),
            (f"{CLOSING}.values", {"wish": 1, "counter": 0}),
            ("freshness.deadline_ms", {"Wide": 100}),
            ("guard[0].frame", "201#0100000000000000"),
        ],
        [f"{CLOSING}.message: Wide is read too: our own echo would prove it"],
    ),
    (
        [
            (f"{CLOSING}.message", "Wide"),
            (f"{CLOSING}.values", {"wish": 1, "counter": 0}),
            ("freshness.required", ["State", "Wide"]),
            ("freshness.deadline_ms", {"Wide": 100}),
            ("guard[0].frame", "201#0100000000000000"),
        ],
        [f"{CLOSING}.message: Wide is read too: our own echo would prove it"],
    ),
    ([(f"{CLOSING}.message", G)], [f"{CLOSING}.message: is missing"]),
    ([(f"{CLOSING}.message", "Contrl")], [f'{CLOSING}.message: the DBC has no message "Contrl"']),
    ([(f"{CLOSING}.values", G)], [f"{CLOSING}.values: is missing"]),
    ([(f"{CLOSING}.values", {})], [f"{CLOSING}.values: Control.wish: has no value"]),
    ([(f"{CLOSING}.values.reset", G)], [f"{CLOSING}.values: Control.reset: has no value"]),
    (
        [(f"{CLOSING}.values.wish", "shut")],
        [f"{CLOSING}.values: Control.wish: no choice 'shut'; it has none, close, open"],
    ),
    (
        [(f"{CLOSING}.values.wish", 1.6)],
        [f"{CLOSING}.values: Control.wish: 1.6 must be an integer"],
    ),
    (
        [(f"{CLOSING}.values.wish", 3)],
        [f"{CLOSING}.values: Control.wish: 3 is outside of its declared range 0..2"],
    ),
    (
        [(f"{CLOSING}.values.wish", True)],
        [f"{CLOSING}.values.wish: must be a number or a choice, not true or false"],
    ),
    (
        [(f"{CLOSING}.values.counter", 3)],
        [f"{CLOSING}.values.counter: is filled in by [[integrity]]"],
    ),
    (
        [(f"{CLOSING}.values.x", 3)],
        [f"{CLOSING}.values: Control.x: not a signal of the selected page"],
    ),
    ([(f"{CLOSING}.repeat", 0)], [f"{CLOSING}.repeat: must be at least 1, not 0"]),
    (
        [(f"{CLOSING}.repeat", 51), ("guard[0].per_minute", 100)],
        [f"{CLOSING}.repeat: must be at most 50, not 51"],
    ),
    ([(f"{CLOSING}.period_ms", 9)], [f"{CLOSING}.period_ms: must be at least 10, not 9"]),
    (
        [(f"{CLOSING}.refused", {"signal": "State.remote", "values": []})],
        [f"{CLOSING}.refused.values: must not be empty"],
    ),
    (
        [(f"{CLOSING}.confirmed.operating_status", [1, 2])],
        [f"{CLOSING}.confirmed.operating_status: [1, 2] does not prove close_contactor"],
    ),
    (
        [("commands.open_contactor.confirmed.operating_status", [1, 2])],
        [f"{OPENING}.confirmed.operating_status: [1, 2] does not prove open_contactor"],
    ),
    (
        [(f"{CLOSING}.confirmed.operating_status", [2, 5])],
        [f"{CLOSING}.confirmed.operating_status: must be a list of 1, 2, 3, 4"],
    ),
    (
        [(f"{CLOSING}.confirmed.operating_status", [])],
        [f"{CLOSING}.confirmed: nothing would prove this command"],
    ),
    (
        [
            (f"{CLOSING}.confirmed.operating_status", []),
            (f"{CLOSING}.confirmed.alarms_cleared", "*"),
        ],
        [f"{CLOSING}.confirmed: nothing would prove this command"],
    ),
    (
        [("commands.fault_reset.confirmed.alarms_cleared", [])],
        ["commands.fault_reset.confirmed: nothing would prove this command"],
    ),
    ([("alarms", G)], ["commands.fault_reset.confirmed: nothing would prove this command"]),
    (
        [(f"{CLOSING}.confirmed.alarms_cleared", "x*")],
        [f'{CLOSING}.confirmed.alarms_cleared: "x*" matches no alarm'],
    ),
    (
        [(f"{CLOSING}.confirmed.frames", 0)],
        [f"{CLOSING}.confirmed.frames: must be at least 1, not 0"],
    ),
    (
        [("interlocks.stedy_s", 1)],
        ['interlocks.stedy_s: is not a known key; did you mean "steady_s"?'],
    ),
    ([("interlocks.steady_s", -1)], ["interlocks.steady_s: must be at least 0, not -1.0"]),
    ([("interlocks.close_max", 0)], ["interlocks.close_max: must be at least 1, not 0"]),
    (
        [("interlocks.tolerated_alarms", ["eror"])],
        ['interlocks.tolerated_alarms: "eror" matches no alarm'],
    ),
    ([("guard[0].frame", "200#020000000000....")], [f"guard: {NOT_CLOSE}"]),
    ([("guard[0].frame", "00000200#0100000000000...")], [f"guard: {NOT_CLOSE}"]),
    ([("guard[0].frame", "200#01000000000.")], [f"guard: {NOT_CLOSE}"]),
    (
        [("guard[0].frame", "200#01000000000000..")],
        ["guard: no entry allows 200#010000000000014A, which close_contactor would send"],
    ),
    (
        [("guard[3]", {"name": "x", "frame": "200#1", "per_minute": 1})],
        ['guard[3].frame: must look like "1811F4E5#01000000000000.."'],
    ),
    (
        [("guard[3]", {"name": "x", "frame": "", "per_minute": 1})],
        ["guard[3].frame: must not be empty"],
    ),
    (
        [("guard[3]", {"name": "x", "frame": "800#", "per_minute": 1})],
        ["guard[3].frame: 800 is no identifier: the largest is 7FF or 1FFFFFFF"],
    ),
    (
        [("guard[3]", {"name": "x", "frame": "20000000#", "per_minute": 1})],
        ["guard[3].frame: 20000000 is no identifier: the largest is 7FF or 1FFFFFFF"],
    ),
    ([("guard[0].per_minute", 0)], ["guard[0].per_minute: must be at least 1, not 0"]),
    ([("guard[0].name", "open")], ["guard[1].name: is used twice"]),
    (
        [("guard[0].when_latched", True)],
        [f"guard: {LATCHED}"],
    ),
    (
        [(f"{CLOSING}.repeat", 31)],
        ['guard: "close" allows too few per minute: close_contactor sends 31 in a row'],
    ),
]


@pytest.mark.parametrize(("changes", "expected"), WRONG, ids=[each[1][-1][:60] for each in WRONG])
def test_a_mistake_is_one_line(
    tmp_path: Path, changes: list[tuple[str, object]], expected: list[str]
) -> None:
    """Each mistake is told once, with file and dotted key, and draws no false ones after it."""
    assert list(mistakes(tmp_path, *changes)) == expected


LIMITS = [
    (f"{CLOSING}.repeat", 1, 30),
    (f"{CLOSING}.period_ms", 10, 5000),
    (f"{CLOSING}.confirmed.frames", 1, 20),
    (f"{CLOSING}.confirmed.window_s", 0.1, 600),
    (f"{CLOSING}.confirmed.hold_s", 0, 600),
    ("interlocks.steady_s", 0, 600),
    ("interlocks.close_interval_s", 0, None),
    ("interlocks.close_max", 1, 100),
    ("interlocks.close_window_s", 1, None),
    ("interlocks.reset_max", 1, 100),
    ("interlocks.reset_window_s", 1, None),
    ("interlocks.open_max_current_a", 0, None),
    ("interlocks.open_wait_s", 0, 60),
    ("guard[0].per_minute", 1, 6000),
    ("operating_status.current.dead_band_a", 0, None),
    ("operating_status.current.hold_s", 0, 60),
    ("freshness.deadline_ms.State", 1, 600_000),
    ("integrity[0].modulo", 2, 16),
]


@pytest.mark.parametrize(("key", "least", "most"), LIMITS, ids=[each[0] for each in LIMITS])
def test_limits_are_included(tmp_path: Path, key: str, least: float, most: float | None) -> None:
    """The least and the most allowed value load, the next one beyond either does not."""
    step = 1 if isinstance(least, int) else 0.01
    for good in (least, most):
        if good is not None:
            read(tmp_path, (key, good))
    for bad in (least - step, None if most is None else most + step):
        if bad is not None:
            assert mistakes(tmp_path, (key, bad))


@pytest.mark.parametrize("frame", ["7FF#", "1FFFFFFF#", "000#..", "00000000#" + "A." * 64])
def test_the_largest_frames_of_the_guard(tmp_path: Path, frame: str) -> None:
    """All identifiers that exist, and up to 64 bytes, can be listed."""
    entry = {"name": "x", "frame": frame, "per_minute": 1}
    profile, _ = read(tmp_path, ("guard[3]", entry))
    assert profile.guard[3].extended == (frame.index("#") == 8)


def test_the_wrong_dbc_is_refused_by_its_pin(tmp_path: Path) -> None:
    """A DBC that was changed after the profile was checked is another file."""
    (line,) = mistakes(tmp_path, ("profile.dbc_sha256", "0" * 64))
    assert line.startswith("profile.dbc_sha256: the DBC has ")
    assert line.endswith(": it is another file")


def test_all_mistakes_come_at_once(tmp_path: Path) -> None:
    """A person mends them in one go: mistakes of every section in one answer."""
    wrong = [
        ("profile.nam", "x"),
        ("freshness.required", ["State", "Alarm"]),
        (f"{FEEDBACK}.closed", ["shut"]),
        ("alarms[0].level", 7),
        ("telemetry.total_voltage", "State.current"),
        ("integrity[0].counter", "count"),
        ("signals", {"State.curent": {}}),
        (f"{CLOSING}.period_ms", 1),
        ("interlocks.remote.signal", "State.remot"),
        ("guard[0].frame", "x"),
        ("simulater", {}),
    ]
    found = mistakes(tmp_path, *wrong)
    for section in ("profile.nam", "freshness", FEEDBACK, "alarms[0].level", "telemetry.total_vol",
                    "integrity[0]", "signals", CLOSING, "interlocks.remote", "guard[0].frame",
                    "simulater"):  # fmt: skip
        assert sum(line.startswith(section) for line in found) == 1, section
    assert len(found) == len(wrong)


@pytest.mark.parametrize("section", ["operating_status", "freshness"])
def test_a_missing_section_lists_what_it_needs(tmp_path: Path, section: str) -> None:
    """Without a required section its required keys are named."""
    found = mistakes(tmp_path, (section, GONE))
    assert all(line.startswith(section) for line in found)


def test_too_many_signals_for_the_platform(tmp_path: Path) -> None:
    """An array longer than the platform takes is refused at load."""
    signals = "".join(
        f' SG_ v_{i} : {i % 64}|1@1+ (1,0) [0|1] "" EMS\n' for i in range(701)
    )  # 701 signals of one bit; overlapping ones load with a warning
    dbc = DBC.replace("BO_ 259 Quiet: 8 BMS\n", f"BO_ 259 Quiet: 8 BMS\n{signals}")
    data = changed(
        ("telemetry.bits", {"signals": "Quiet.v_*"}), ("freshness.deadline_ms", {"Quiet": 100})
    )
    with pytest.raises(BadProfile) as caught:
        load_profile(write(tmp_path, data, dbc))
    assert caught.value.mistakes == ("telemetry.bits.signals: 701 signals; the platform takes 700",)


@pytest.mark.parametrize("name", ["none.dbc", ".", "tiny.toml", "../../nowhere/x.dbc"])
def test_a_dbc_that_cannot_be_read(tmp_path: Path, name: str) -> None:
    """A wrong DBC path is a mistake of the input, never a crash."""
    with pytest.raises(BadDatabase):
        read(tmp_path, ("profile.dbc", name))


def test_files_that_are_no_profile(tmp_path: Path) -> None:
    """A missing file and broken TOML are told as such."""
    with pytest.raises(BadInput, match="cannot be read"):
        load_profile(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("[profile\n")
    with pytest.raises(BadInput, match="is not TOML"):
        load_profile(tmp_path / "bad.toml")
