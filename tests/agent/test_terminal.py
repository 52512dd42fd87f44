"""What a terminal sends, as keys."""

import pytest

from agent.terminal import keys_in


@pytest.mark.parametrize(
    ("sent", "keys"),
    [
        pytest.param("\x1b[B", ["down"], id="one arrow"),
        pytest.param("\x1b[B\x1b[B\x1b[A", ["down", "down", "up"], id="an arrow held down"),
        pytest.param("\x1bOA", ["up"], id="the other mode of cursor keys"),
        pytest.param("soc\t", ["s", "o", "c", "tab"], id="typed at once"),
        pytest.param("a\x1b[6~\x7f", ["a", "page-down", "erase"], id="mixed"),
        pytest.param("\x1b", ["escape"], id="escape"),
        pytest.param("\x1b[1;5C\x1b[3~x", ["x"], id="keys that mean nothing here"),
        pytest.param("电", ["电"], id="not ASCII"),
    ],
)
def test_keys(sent: str, keys: list[str]) -> None:
    """Each key that was pressed between two looks counts."""
    assert list(keys_in(sent)) == keys
