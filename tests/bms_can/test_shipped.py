"""Batteries that come with the project are found by name, from any folder."""

from pathlib import Path

import pytest

from bms_can.errors import BadInput
from bms_can.profile_load import load_profile
from bms_can.shipped import profile_path, shipped_names


def test_every_shipped_profile_loads() -> None:
    """Each has its DBC beside it, and both are good."""
    assert "ess_bau" in shipped_names()
    for name in shipped_names():
        profile, database = load_profile(profile_path(name))
        assert profile.name == name
        assert database.messages


def test_a_name_works_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The name does not depend on the working directory."""
    monkeypatch.chdir(tmp_path)
    assert profile_path("ess_bau").is_file()


def test_a_path_stays_a_path(tmp_path: Path) -> None:
    """What ends in .toml, or exists, is taken as a file; loading says whether it is good."""
    assert profile_path("ess_bau.toml") == Path("ess_bau.toml")
    (tmp_path / "mine").touch()
    assert profile_path(str(tmp_path / "mine")) == tmp_path / "mine"


@pytest.mark.parametrize("name", ["nope", "", "../dbc/nope", "/nope"])
def test_an_unknown_name_is_refused_with_those_there_are(name: str) -> None:
    """The refusal lists the names that would work."""
    with pytest.raises(BadInput, match="ess_bau") as refused:
        profile_path(name)
    assert "neither a TOML file nor a shipped profile" in str(refused.value)
