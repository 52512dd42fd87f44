"""Words of the command line that name a bus."""

from argparse import Namespace
from collections.abc import Iterable

from bms_can.bus import BusSettings
from bms_can.errors import BadInput


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
        BadInput: a word has no "=".
    """
    wrong = [f"{word}: must be NAME=VALUE" for word in words if "=" not in word]
    if wrong:
        raise BadInput("--option", wrong)
    pairs = (word.split("=", 1) for word in words)
    return {name: _value(text) for name, text in pairs}


def _value(text: str) -> object:
    if text in ("true", "false"):
        return text == "true"
    return int(text) if text.removeprefix("-").isdecimal() else text
