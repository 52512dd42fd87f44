"""The default battery's profile, mutated: refused in words, or still sound; never a crash."""

import copy
import itertools
import math
import shutil
import tomllib
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bms_can import database as database_module
from bms_can.database import Database
from bms_can.errors import BadInput, BadProfile
from bms_can.intake import Intake
from bms_can.profile import CommandCode, OperatingStatus, Profile
from bms_can.profile_load import load_profile
from bms_can.status import derive_status
from tests.bms_can.build import toml_text
from tests.bms_can.conftest import ESS_BAU
from tests.bms_can.tiny import GONE, Toml

RESET, CLOSE, OPENING = CommandCode


@pytest.mark.parametrize(
    ("entry", "digit"),
    [(entry, digit) for entry in range(3) for digit in range(len("1811F4E5#0100000000000"))],
)
def test_a_drift_between_encoder_and_guard_is_refused(
    tmp_path: Path, entry: int, digit: int
) -> None:
    """One other digit anywhere in the hand-written list, and the default battery does not load."""
    text = ESS_BAU.read_text(encoding="utf-8")
    data = tomllib.loads(text)
    frame = data["guard"][entry]["frame"]
    if frame[digit] == "#":
        return
    data["guard"][entry]["frame"] = (
        frame[:digit] + format(int(frame[digit], 16) ^ 1, "X") + frame[digit + 1 :]
    )
    shutil.copy(ESS_BAU.with_suffix(".dbc"), tmp_path)
    (tmp_path / "x.toml").write_text(toml_text(data), encoding="utf-8")
    with pytest.raises(BadProfile, match="guard: no entry allows"):
        load_profile(tmp_path / "x.toml")


def _places(value: object, path: tuple[object, ...] = ()) -> Iterator[tuple[object, ...]]:
    """Yield the path of every table, list and value inside."""
    inner = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for key, each in inner:
        yield (*path, key)
        yield from _places(each, (*path, key))


DEFAULT: Toml = tomllib.loads(ESS_BAU.read_text(encoding="utf-8"))
PLACES = list(_places(DEFAULT))
NAMES = st.sampled_from(
    ["BAU_State", "BAU_Electrical.total_current", "EMS_Control", "EMS_Control.counter", "BAU_*.*",
     "*", "[", "[!", "BAU_CellVoltages.page", "open", "close", "value", "counter", "checksum", ""]
)  # fmt: skip
# Lone surrogates cannot stand in a UTF-8 file.
TEXTS = NAMES | st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
SCALARS = (
    st.booleans()
    | st.integers()
    | st.sampled_from([0, 1, -1, 10**400, 2**63, 1e308, math.inf, -math.inf, math.nan, 5e-324])
    | st.floats()
    | TEXTS
    | st.just(date(2026, 1, 1))
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=4,
)


@pytest.fixture(scope="module")
def mutant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Toml], None]]:
    """Return what loads a mutated profile of the default battery; its DBC is read only once."""
    path = tmp_path_factory.mktemp("mutant") / "x.toml"
    shutil.copy(ESS_BAU.with_suffix(".dbc"), path.parent)
    real = database_module.load
    database = real(ESS_BAU.with_suffix(".dbc"))

    def load(wanted: str | Path) -> Database:
        return database if Path(wanted).name == "ess_bau.dbc" else real(wanted)

    def check(data: Toml) -> None:
        path.write_text(toml_text(data), encoding="utf-8")
        found = _loaded(path)
        if isinstance(found, Profile):
            _serves(found, database)
        else:
            assert found.mistakes

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bms_can.profile_load.load", load)
        yield check


def _loaded(path: Path) -> Profile | BadInput:
    """Return the profile, or how it was refused."""
    try:
        return load_profile(path)[0]
    except BadInput as error:
        return error


def _serves(profile: Profile, database: Database) -> None:
    """Check that what loaded can be used: no later surprise, and the guard fits the commands."""
    intake = Intake(profile, database)
    status = derive_status(intake.table.snapshot(), profile, 1e6)
    assert status.disconnected
    for plan in profile.commands.values():
        assert plan.frames
        for frame in plan.frames:
            fitting = [entry for entry in profile.guard if entry.matches(frame)]
            assert fitting
            assert plan.code is OPENING or not any(entry.when_latched for entry in fitting)
        if plan.code is CLOSE:
            assert OperatingStatus.POWERED_DOWN not in plan.confirmed.statuses
    assert all(0 < deadline_s <= 16 * 600 for deadline_s in profile.deadlines_s.values())


def _mutated(path: tuple[object, ...], value: object, name: str) -> Toml:
    """Return the default battery with one place replaced, dropped (GONE) or renamed."""
    data = copy.deepcopy(DEFAULT)
    place: object = data
    for key in path[:-1]:
        place = place[key]  # type: ignore[index]  # the path was taken from the same data
    if name and isinstance(place, dict):
        place[name] = place.pop(path[-1])
    elif value is GONE:
        del place[path[-1]]  # type: ignore[attr-defined]
    else:
        place[path[-1]] = value  # type: ignore[index]
    return data


@pytest.mark.parametrize("section", [key for key in DEFAULT if key != "simulator"])
def test_dropping_any_key_never_crashes(mutant: Callable[[Toml], None], section: str) -> None:
    """Each single key, table and list entry taken out: refused in words, or still sound."""
    for path in PLACES:
        if path[0] == section and "labels" not in path[:-1]:
            mutant(_mutated(path, GONE, ""))


@settings(max_examples=250, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.sampled_from(PLACES), VALUES, st.just("") | TEXTS)
def test_random_mutations_never_crash(
    mutant: Callable[[Toml], None], path: tuple[object, ...], value: object, name: str
) -> None:
    """Any value, or any other name, at any place: refused in words, or still sound."""
    mutant(_mutated(path, value, name))


def test_swapping_values_never_crashes(mutant: Callable[[Toml], None]) -> None:
    """Right values at wrong places are the likeliest mistake of a person."""
    sections = ("operating_status", "commands", "guard", "interlocks")
    leaves = [path for path in PLACES if path[0] in sections]
    for one, other in itertools.islice(itertools.combinations(leaves, 2), 0, None, 97):
        value: object = DEFAULT
        for key in other:
            value = value[key]  # type: ignore[index]
        mutant(_mutated(one, value, ""))
