"""What a simulated battery does wrong, on demand. Pure.

Each kind is one that batteries and their buses were seen to do; all can be combined.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from bms_can.errors import BadValue
from bms_can.profile import CommandCode

Patterns = frozenset[str]  # globs over message names


@dataclass(frozen=True, slots=True)
class Misbehaviour:
    """Everything that goes wrong at the same time; the default is a healthy battery.

    Attributes:
        ignore: commands that have no effect and get no answer.
        refuse_close: close is answered with a refusal.
        no_ack: commands are carried out without an answer.
        welded: the contactor stays closed, whatever opens it.
        precharge_fails: a close ends in a latched precharge fault.
        reverts_after_s: the contactor opens by itself so long after it closed [s].
        slow_s: closing and opening take so much longer [s].
        flap_s: the feedback of a closed contactor changes so often [s].
        silent: messages that are not sent; "*" silences the battery.
        frozen_counter: messages whose rolling counter stands still.
        wrong_checksum: messages with a checksum that does not fit.
    """

    ignore: frozenset[CommandCode] = frozenset()
    refuse_close: bool = False
    no_ack: bool = False
    welded: bool = False
    precharge_fails: bool = False
    reverts_after_s: float | None = None
    slow_s: float = 0.0
    flap_s: float | None = None
    silent: Patterns = frozenset()
    frozen_counter: Patterns = frozenset()
    wrong_checksum: Patterns = frozenset()


HEALTHY = Misbehaviour()


def hits(patterns: Patterns, message: str) -> bool:
    """Tell whether a message is among those that the globs name."""
    return any(fnmatchcase(message, pattern) for pattern in patterns)


Change = Callable[[Misbehaviour, str], Misbehaviour]


def _ignore(code: CommandCode) -> Change:
    return lambda found, _: replace(found, ignore=found.ignore | {code})


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise ValueError(text)
    return value


# Name for a command line -> what it changes. The text after "=" is seconds or a message glob.
NAMED: Mapping[str, Change] = {
    "ignore_close": _ignore(CommandCode.CLOSE_CONTACTOR),
    "ignore_open": _ignore(CommandCode.OPEN_CONTACTOR),
    "ignore_reset": _ignore(CommandCode.FAULT_RESET),
    "refuse_close": lambda found, _: replace(found, refuse_close=True),
    "no_ack": lambda found, _: replace(found, no_ack=True),
    "welded": lambda found, _: replace(found, welded=True),
    "precharge_fails": lambda found, _: replace(found, precharge_fails=True),
    "reverts": lambda found, text: replace(found, reverts_after_s=_seconds(text or "3")),
    "slow": lambda found, text: replace(found, slow_s=_seconds(text or "10")),
    "flapping": lambda found, text: replace(found, flap_s=_seconds(text or "0.5")),
    "silent": lambda found, text: replace(found, silent=found.silent | {text or "*"}),
    "frozen_counter": lambda found, text: replace(
        found, frozen_counter=found.frozen_counter | {text or "*"}
    ),
    "wrong_checksum": lambda found, text: replace(
        found, wrong_checksum=found.wrong_checksum | {text or "*"}
    ),
}


def misbehaviour(names: Iterable[str]) -> Misbehaviour:
    """Return what words such as "ignore_close", "reverts=5" or "silent=BAU_State" ask for.

    Raises:
        BadValue: a word is not in `NAMED`, or its seconds are not a positive number.
    """
    found = HEALTHY
    for word in names:
        name, _, text = word.partition("=")
        change = NAMED.get(name)
        if change is None:
            raise BadValue(f'no misbehaviour "{name}"; there are {", ".join(NAMED)}')
        try:
            found = change(found, text)
        except ValueError as error:
            raise BadValue(f'"{word}": needs a positive number of seconds') from error
    return found
