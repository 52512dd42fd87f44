"""docs/profile.md is complete: it names every key of the reader and every word of the simulator."""

import re
import tomllib
from dataclasses import fields
from pathlib import Path

import pytest

from bms_can.integrity import ALGORITHMS
from bms_can.pack import Pack
from bms_can.pack_cells import PackSettings
from bms_can.pack_view import view

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "profile.md").read_text(encoding="utf-8")
READERS = sorted((ROOT / "bms_can").glob("profile_*.py"))
# A key as the readers ask for it: table.text("key", ...), names.signal(table, "key", ...).
ASKED = re.compile(
    r"\.(?:text|texts|number|integer|boolean|one_of|scalars|raw|table|tables)\(\s*\"(\w+)\""
    r"|(?:names|_optional)\S*\(\s*\w+, \"(\w+)\""
    r"|_alarm_keys\(\s*\w+, \"(\w+)\""
)


def asked() -> list[str]:
    """Return every key that the readers ask for."""
    found = set()
    for path in READERS:
        for groups in ASKED.findall(path.read_text(encoding="utf-8")):
            found |= {group for group in groups if group}
    return sorted(found)


@pytest.mark.parametrize("key", asked())
def test_every_key_is_explained(key: str) -> None:
    """A key that the reader knows stands in the page as code."""
    assert re.search(rf"[`\[.\" ]{key}\b", PAGE), key


def test_the_search_finds_keys_of_every_kind() -> None:
    """The list of keys above is not empty by mistake."""
    assert {"dbc", "hold_s", "blocks_close", "acknowledged", "per_minute", "sentinels"} <= set(
        asked()
    )


@pytest.mark.parametrize("word", [*ALGORITHMS, *(each.name for each in fields(PackSettings))])
def test_every_choice_is_named(word: str) -> None:
    """Algorithms and sizes of the simulated battery."""
    assert f"`{word}`" in PAGE


def test_every_subject_of_the_simulator_is_named() -> None:
    """What `from` may name."""
    assert [word for word in view(Pack()).words if f"`{word}`" not in PAGE] == []


def test_examples_are_toml() -> None:
    """Each example on the page can be read, and each stands in the real profile's sections."""
    examples = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    shipped = tomllib.loads((ROOT / "dbc" / "ess_bau.toml").read_text(encoding="utf-8"))
    known = shipped.keys() | {"confirmed", "heartbeat", "held_request", "frames", "family"}
    assert len(examples) > 10
    for example in examples:
        assert tomllib.loads(example).keys() <= known
