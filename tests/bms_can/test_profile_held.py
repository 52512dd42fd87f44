"""Section [held_request]: read, and refused where it would mean something else than it says."""

import shutil
from pathlib import Path

import pytest

from bms_can.errors import BadProfile
from bms_can.profile import CommandCode, Profile
from bms_can.profile_load import load_profile

ROOT = Path(__file__).parents[2]
SHIPPED = (ROOT / "dbc" / "foxbms2.toml").read_text(encoding="utf-8")
STANDBY = 'values = { mode = "standby", reset_flags = 0'
NORMAL = 'values = { mode = "normal", reset_flags = 0'
RESET = 'values = { mode = "standby", reset_flags = 1'
COUNTER = '[[integrity]]\nmessages = ["EMS_Request"]\ncounter = "balancing_threshold"\n\n'


def read(folder: Path, *changes: tuple[str, str, int]) -> Profile:
    """Read the shipped profile with texts replaced: old, new, which of them (-1: all)."""
    text = SHIPPED
    for old, new, which in changes:
        assert old in text, old
        parts = text.split(old)
        if which < 0:
            text = new.join(parts)
        else:
            text = old.join(parts[: which + 1]) + new + old.join(parts[which + 1 :])
    shutil.copy(ROOT / "dbc" / "foxbms2.dbc", folder)
    (folder / "foxbms2.toml").write_text(text, encoding="utf-8")
    return load_profile(folder / "foxbms2.toml")[0]


def test_the_shipped_one(tmp_path: Path) -> None:
    """Rest, period, commands in one message, and a guard that lists exactly their frames."""
    profile = read(tmp_path)
    held = profile.held
    assert held is not None
    assert (held.message, held.period_s, held.only_at_start) == (
        "EMS_Request",
        0.1,
        frozenset({"standby"}),
    )
    assert held.rest.data == bytes(8)
    frames = {code: plan.frames[0].data.hex() for code, plan in profile.commands.items()}
    assert frames == {  # from the maker's DBC, by another encoder
        CommandCode.OPEN_CONTACTOR: "0000000000000000",
        CommandCode.CLOSE_CONTACTOR: "0100000000000000",
        CommandCode.FAULT_RESET: "0400000000000000",
    }
    assert [(entry.data, set(entry.mask)) for entry in profile.guard] == [
        (bytes.fromhex(frames[code]), {0xFF})
        for code in (
            CommandCode.OPEN_CONTACTOR,
            CommandCode.CLOSE_CONTACTOR,
            CommandCode.FAULT_RESET,
        )
    ]


REFUSED = {
    "close is at rest": ((NORMAL, STANDBY, 0), "at rest is the same as close_contactor"),
    "open is not at rest": ((STANDBY, NORMAL, 1), "at rest must be the same as open_contactor"),
    "rest is closed": ((STANDBY, NORMAL, 0), "at rest"),
    "reset closes": (
        (RESET, 'values = { mode = "normal", reset_flags = 1', 0),
        "mode must be as at rest: a close changes it",
    ),
    "reset charges": (
        (RESET, 'values = { mode = "charge", reset_flags = 1', 0),
        "mode must be as at rest: a close changes it",
    ),
    "reset is close": ((RESET, NORMAL, 0), "two commands have the same frame"),
    "no close": (("[commands.close_contactor]", "[simulator.unused]", 0), "needs commands.close"),
    "own period": (
        ("repeat = 3", "repeat = 3\nperiod_ms = 50", 0),
        "period_ms: is that of [held_request]",
    ),
    "close repeated": ((NORMAL, "repeat = 3\n" + NORMAL, 0), "repeat: a held close lasts"),
    "condition unknown": (
        ('only_at_start = ["standby"]', 'only_at_start = ["ready"]', 0),
        'no condition of [interlocks] has the name "ready"',
    ),
    "counter": (("[interlocks]", COUNTER + "[interlocks]", 0), "counters are not supported here"),
    "free bits": (
        ('frame = "210#0100000000000000"', 'frame = "210#01000000000000.."', 0),
        '"normal" allows more than the frames of a held request',
    ),
    "more frames": (
        ('frame = "210#0400000000000000"', 'frame = "210#0200000000000000"', 0),
        "allows more than the frames of a held request",
    ),
    "rest latched": (("when_latched = true\n", "", 0), '"standby" lacks when_latched'),
    "too few": (("per_minute = 700", "per_minute = 600", 0), "allows too few per minute"),
    "too few closed": (("per_minute = 700", "per_minute = 600", 1), "allows too few per minute"),
    "no rest": (
        ('name = "standby"\nframe = "210#0000000000000000"', 'name = "x"\nframe = "211#00"', 0),
        "no entry allows 210#0000000000000000",
    ),
    "no message": (('message = "EMS_Request"', 'message = "Nothing"', 0), 'no message "Nothing"'),
    "other message": (
        ('message = "EMS_Request"\n' + STANDBY, 'message = "BMS_Charge"\n' + STANDBY, 1),
        "must be EMS_Request, that of [held_request]",
    ),
    "too slow": (("period_ms = 100", "period_ms = 2000", 0), "period_ms"),
    "a value is missing": ((STANDBY, 'values = { mode = "standby"', 0), "has no value"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_each_mistake(tmp_path: Path, name: str) -> None:
    """Refused at load, with the reason."""
    change, why = REFUSED[name]
    with pytest.raises(BadProfile) as caught:
        read(tmp_path, change)
    assert why in str(caught.value)


def test_a_profile_without_one(tmp_path: Path) -> None:
    """Without the section its commands are sent once, and nothing else."""
    text = (
        SHIPPED.split("[held_request]")[0] + "[commands.close" + SHIPPED.split("[commands.close")[1]
    )
    shutil.copy(ROOT / "dbc" / "foxbms2.dbc", tmp_path)
    (tmp_path / "foxbms2.toml").write_text(text, encoding="utf-8")
    assert load_profile(tmp_path / "foxbms2.toml")[0].held is None
