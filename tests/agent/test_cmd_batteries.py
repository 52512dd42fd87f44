"""`bms-agent batteries`: what is known of each shipped battery."""

import json

import pytest

from agent.cli import main
from bms_can.shipped import shipped_names


def test_each_is_listed_with_what_was_verified(capsys: pytest.CaptureFixture[str]) -> None:
    """Name, commands or why there are none, source, and on which frames it was checked."""
    assert main(["batteries"]) == 0
    shown = capsys.readouterr().out
    for name in shipped_names():
        assert f"\n{name} " in f"\n{shown}"
    assert "    commands   fault_reset, close_contactor, open_contactor" in shown
    assert shown.count("    verified ") == len(shipped_names()) - 1, "ours needs none"


def test_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    """The same for programs; unknown is null."""
    assert main(["batteries", "--json"]) == 0
    found = {each["name"]: each for each in json.loads(capsys.readouterr().out)}
    assert set(found) == set(shipped_names())
    assert found["pylontech"]["commands"] == []
    assert "no contactor command" in found["pylontech"]["read_only"]
    assert found["ess_bau"]["read_only"] is None
