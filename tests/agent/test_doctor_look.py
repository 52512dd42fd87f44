"""What `bms-agent doctor` makes of a platform's answers: a bad moment is no bad key."""

from pathlib import Path

import pytest

from agent.clock import SystemClock
from agent.config import PlatformConfig
from agent.doctor_look import look_at_platform
from agent.keys import Secret
from tests.agent.scripted_server import Script, ScriptedServer, answer, resets, says

KEY_TAKEN = says(answer(b'{"message":"ok"}'))
TAKEN = says(answer(b'{"code":0,"message":"","data":{"accepted_through":null}}'))
BUSY = says(answer(b"", "503 Service Unavailable"))
SLOWER = says(answer(b"", "429 Too Many Requests"))
NO_DEVICE = says(answer(b'{"code":140008,"message":"no"}', "400 Bad Request"))


@pytest.mark.parametrize(
    ("scripts", "refused"),
    [
        ((TAKEN, TAKEN), 0),
        ((TAKEN, NO_DEVICE), 1),
        ((BUSY, NO_DEVICE), 1),
        ((BUSY, TAKEN), None),
        ((TAKEN, SLOWER), None),
        ((TAKEN, resets), None),
    ],
)
def test_only_a_refusal_speaks_against_the_key(
    scripts: tuple[Script, ...], refused: int | None
) -> None:
    """A platform that is busy or gone says nothing about the key: that is unknown, not a fault."""
    with ScriptedServer(KEY_TAKEN, *scripts) as server:
        key_file = Path("box.key")
        platform = PlatformConfig(server.url, None, 10.0, 2.0, 0, key_file, Secret("emsk_test_1"))
        facts = look_at_platform(platform, SystemClock(), ("A", "B"))
    assert facts.trouble == ""
    assert (None if facts.refused is None else len(facts.refused)) == refused
