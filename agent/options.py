"""Words of the command line that name a bus."""

from argparse import Namespace
from collections.abc import Iterable

from bms_can.bus import BusSettings
from bms_can.errors import BadInput

NAMED = frozenset({"interface", "channel", "bitrate", "fd"})  # have an option of their own


def bus_settings(arguments: Namespace) -> BusSettings:
    """Return the bus that the options of `cli_bus.add_bus` name.

    Raises:
        BadInput: an option is malformed.
    """
    return BusSettings(
        arguments.interface,
        arguments.channel,
        arguments.bitrate,
        arguments.fd,
        bus_options(arguments.option),
    )


def bus_options(words: Iterable[str]) -> dict[str, object]:
    """Return NAME=VALUE words as arguments of python-can's bus; integers and booleans as such.

    Raises:
        BadInput: a word has no "=", or names what has an option of its own.
    """
    words = tuple(words)
    wrong = [f"{word}: must be NAME=VALUE" for word in words if "=" not in word]
    named = [word.split("=", 1)[0] for word in words]
    wrong += [f"{name}: has an option of its own" for name in named if name in NAMED]
    if wrong:
        raise BadInput("--option", wrong)
    pairs = (word.split("=", 1) for word in words)
    return {name: _value(text) for name, text in pairs}


def _value(text: str) -> object:
    if text in ("true", "false"):
        return text == "true"
    return int(text) if text.removeprefix("-").isdecimal() else text
