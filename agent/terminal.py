"""A terminal that shows a full screen and gives keys, and is left as it was found."""

import os
import re
import select
import shutil
import sys
import termios
import tty
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

ENTER = "\x1b[?1049h\x1b[?25l"  # alternate screen, no cursor
LEAVE = "\x1b[?25h\x1b[?1049l"
HOME, ERASE_LINE, ERASE_BELOW = "\x1b[H", "\x1b[K", "\x1b[J"
ARROWS = {"\x1b[A": "up", "\x1b[B": "down", "\x1b[5~": "page-up", "\x1b[6~": "page-down"}
WORDS = {"\x1b": "escape", "\t": "tab", "\x7f": "erase", "\b": "erase"}
_KEY = re.compile(r"\x1b\[[0-9;]*[A-Za-z~]|\x1bO[A-Za-z]|.", re.DOTALL)


def keys_in(text: str) -> Iterator[str]:
    """Yield the keys of what a terminal sent: words for special ones, else the character.

    A key that is held down comes several times in one look.
    """
    for key in _KEY.findall(text):
        if len(key) == 1:
            yield WORDS.get(key, key)
        elif (cursor := key.replace("\x1bO", "\x1b[")) in ARROWS:  # the other mode of cursor keys
            yield ARROWS[cursor]


class Terminal:
    """The terminal of this process."""

    @property
    def size(self) -> tuple[int, int]:
        """Columns and lines, as they are now."""
        found = shutil.get_terminal_size()
        return found.columns, found.lines

    def show(self, lines: Sequence[str]) -> None:
        """Draw lines from the top; what was below them goes."""
        text = HOME + "\r\n".join(line + ERASE_LINE for line in lines) + ERASE_BELOW
        sys.stdout.write(text)
        sys.stdout.flush()

    def pressed(self) -> Iterator[str]:
        """Yield the keys that were pressed: words for special ones, else the character."""
        handle, found = sys.stdin.fileno(), b""
        while select.select([handle], [], [], 0)[0]:
            data = os.read(handle, 1024)
            if not data:
                break
            found += data
        yield from keys_in(found.decode("utf-8", "ignore"))


@contextmanager
def full_screen() -> Iterator[Terminal]:
    """Give the screen; put back what was there, whatever happens."""
    handle = sys.stdin.fileno()
    before = termios.tcgetattr(handle)
    tty.setcbreak(handle)
    sys.stdout.write(ENTER)
    try:
        yield Terminal()
    finally:
        sys.stdout.write(LEAVE)
        sys.stdout.flush()
        termios.tcsetattr(handle, termios.TCSADRAIN, before)
