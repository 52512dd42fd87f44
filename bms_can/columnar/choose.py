"""Which signals a person means by names and patterns. Pure."""

import difflib
from collections.abc import Sequence

from bms_can.database import Database, match
from bms_can.errors import BadInput


def chosen_signals(
    database: Database, messages: Sequence[str], globs: Sequence[str]
) -> tuple[str, ...] | None:
    """Return "Message.Signal" of all that is named, in the order of the DBC; None: no choice made.

    Args:
        database: that decodes.
        messages: names; all signals of each.
        globs: "Message.Signal" with * and ?; without a dot, a signal of any message.

    Raises:
        BadInput: something named is not in the DBC.
    """
    if not messages and not globs:
        return None
    mistakes = []
    found: set[str] = set()
    for name in messages:
        own = {key for key, (message, _) in database.signals.items() if message.name == name}
        found |= own
        if not own:
            mistakes.append(f"--message {name}: {_unknown(name, list(database.messages))}")
    for glob in globs:
        keys = match(database, glob if "." in glob else f"*.{glob}")
        found.update(keys)
        if not keys:
            mistakes.append(f"--signal {glob}: {_unknown(glob, _names(database, glob))}")
    if mistakes:
        raise BadInput(database.path, mistakes)
    return tuple(key for key in database.signals if key in found)


def _names(database: Database, glob: str) -> list[str]:
    keys = list(database.signals)
    return keys if "." in glob else [key.partition(".")[2] for key in keys]


def _unknown(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=3)
    return "not in the DBC" + (f"; near: {', '.join(dict.fromkeys(near))}" if near else "")
