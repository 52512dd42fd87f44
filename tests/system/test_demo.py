"""`bms-agent demo` as a person runs it: it proves each step, and admits when a proof is missing."""

from dataclasses import dataclass

import pytest

from tests.system.conftest import Started

LONGEST_S = 120.0


@dataclass(frozen=True)
class Ended:
    """A demonstration that is over."""

    code: int
    out: str
    err: str


@pytest.fixture(scope="module")
def demos(started_demos: Started) -> dict[str, Ended]:
    """Wait for the demonstrations that were started with the first test of this folder."""
    ended = {}
    for fault, process in started_demos.items():
        out, err = process.communicate(timeout=LONGEST_S)
        ended[fault] = Ended(process.returncode, out, err)
    return ended


@pytest.mark.slow
def test_the_story_is_proven(demos: dict[str, Ended]) -> None:
    """On a good battery every step is proven, exit 0, and nothing is said on stderr."""
    good = demos[""]
    assert (good.code, good.err) == (0, ""), good.out
    assert "ok every step was proven" in good.out
    assert "!!" not in good.out
    for operating in (1, 2, 3, 4):
        assert f"operating_status {operating}" in good.out
    assert "the command is rejected" in good.out, "a close with a latched fault"


@pytest.mark.slow
def test_each_step_comes_with_a_line_to_type(demos: dict[str, Ended]) -> None:
    """A person can do the same: the curl lines carry the three documented commands."""
    lines = [line for line in demos[""].out.splitlines() if " curl " in line]
    for command in (1, 2, 3):
        assert any(f'"command": {command}' in line for line in lines)


@pytest.mark.slow
def test_a_missing_proof_is_named(demos: dict[str, Ended]) -> None:
    """When the battery ignores the close the demonstration fails, and says what was not seen."""
    bad = demos["ignore_close"]
    assert (bad.code, bad.err) == (1, ""), bad.out
    assert "!! Close the contactor: no proof; the command is timed_out" in bad.out
    assert "the BMS did not acknowledge it" in bad.out
    assert "every step was proven" not in bad.out
