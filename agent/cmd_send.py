"""bms-agent send: one frame by names and values. Without --yes it is only shown."""

import re
import sys
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from agent.battery_words import battery_of
from agent.buses import bus_of
from agent.clock import Clock, SystemClock
from agent.config import Config, load
from agent.lock import held
from agent.monitor import Monitor
from agent.options import bus_settings
from agent.send import Situation, is_virtual, missing, refusal
from bms_can.bus import BusSettings, open_port
from bms_can.database import Database, fd_forms
from bms_can.encoder import encode
from bms_can.errors import BadInput, BadValue, BusDown, SendFailed
from bms_can.frame import Frame, frame_text
from bms_can.guard import GuardEntry
from bms_can.integrity import Integrity
from bms_can.netlink import read_link
from bms_can.profile import Profile
from bms_can.profile_load import load_profile

INSTALLED = Path("/etc/bms-agent/agent.toml")
EXIT_REFUSED, EXIT_USAGE = 1, 2
ECHO_S = 0.5
SENT = "came back from the bus: it was sent"
QUEUED = "came back when it was queued: this adapter does not say whether it was sent"
_NUMBER = re.compile(r"-?\d+|-?0[xX][0-9a-fA-F]+")
_FLOAT = re.compile(r"-?\d+\.\d*(?:[eE][-+]?\d+)?|-?\d+[eE][-+]?\d+")


def main(arguments: Namespace) -> int:
    """Build the frame, show it, and send it once if all says that it may be."""
    profile, database = battery_of(arguments)
    if database is None:
        print("bms-agent send: give --dbc or --profile", file=sys.stderr)  # noqa: T201 - the command's output
        return EXIT_USAGE
    frame = _frame(arguments.message, _values(arguments.value), database, profile)
    settings = bus_settings(arguments)
    for line in _shown(frame, database, profile):
        print(line)  # noqa: T201 - the command's output
    situation = _situation(arguments, settings, frame, profile)
    if why := refusal(situation):
        print(f"bms-agent send: refused: {why}", file=sys.stderr)  # noqa: T201 - the command's output
        return EXIT_REFUSED
    if options := missing(situation):
        print(f"nothing was sent; to send it once: {' '.join(options)}")  # noqa: T201 - the command's output
        return 0 if "--yes" in options else EXIT_REFUSED
    return _send(replace(settings, forms=fd_forms(database)), frame, SystemClock())


def _values(words: Sequence[str]) -> dict[str, int | float | str]:
    """Read SIGNAL=VALUE words: an integer (0x too), a decimal number, or the name of a choice."""
    wrong = [f"{word}: must be SIGNAL=VALUE" for word in words if "=" not in word]
    pairs = [word.split("=", 1) for word in words if "=" in word]
    names = [name for name, _ in pairs]
    wrong += [f"{name}: stands twice" for name in {*names} if names.count(name) > 1]
    if wrong:
        raise BadInput("SIGNAL=VALUE", wrong)
    return {name: _value(text) for name, text in pairs}


def _value(text: str) -> int | float | str:
    if _NUMBER.fullmatch(text):
        return int(text, 0) if "x" in text.lower() else int(text)
    return float(text) if _FLOAT.fullmatch(text) else text


def _frame(
    name: str,
    values: Mapping[str, int | float | str],
    database: Database,
    profile: Profile | None,
) -> Frame:
    """Return the frame, with counter 0 and checksum where the profile knows how to make them.

    Raises:
        BadInput: there is no such message, or a value does not fit.
    """
    message = database.messages.get(name)
    if message is None:
        known = ", ".join(sorted(database.messages)[:20])
        raise BadInput(database.path, [f"has no message {name}; it has {known}"])
    rule = None if profile is None else profile.integrity.get(name)
    sealed = frozenset(
        each for each in ((rule.counter, rule.checksum) if rule else ()) if each is not None
    )
    limits = {} if profile is None else profile.limits
    try:
        payload = encode(message, values, limits, sealed)
    except BadValue as error:
        raise BadInput(database.path, [str(error)]) from error
    rules = {} if rule is None else {name: rule}
    data = Integrity(database, rules).counter_frames(name, payload)[0]
    return Frame(0.0, message.frame_id, message.is_extended_frame, data)


def _shown(frame: Frame, database: Database, profile: Profile | None) -> Iterator[str]:
    """Yield the frame as candump has it, and what a receiver will read from it."""
    yield frame_text(frame.can_id, frame.extended, frame.data)
    monitor = Monitor(database, profile)
    monitor.take(frame)
    for row in monitor.rows(0.0):
        yield from (f"  {row.name}.{each.name} = {each.text}" for each in row.signals)


def _situation(
    arguments: Namespace, settings: BusSettings, frame: Frame, profile: Profile | None
) -> Situation:
    link = read_link(settings.channel) if settings.interface == "socketcan" else None
    guards: list[tuple[str, Sequence[GuardEntry]]] = []
    if profile is not None:
        guards.append((profile.name, profile.guard))
    path = arguments.config or (INSTALLED if INSTALLED.exists() else None)
    commanding: list[str] = []
    if path is not None:
        config = load(path, {})
        guards += [(each.uid, load_profile(each.profile)[0].guard) for each in config.devices]
        commanding = _commanding(config, settings)
    return Situation(
        frame,
        is_virtual(settings.interface, None if link is None else link.kind),
        guards,
        commanding,
        arguments.yes,
        arguments.i_stand_at_the_battery,
        arguments.control,
    )


def _commanding(config: Config, settings: BusSettings) -> list[str]:
    """Return the devices on this bus that a running agent may command."""
    here = settings.interface, settings.channel, settings.options.get("port")
    uids = [each.uid for each in config.devices if bus_of(each.can) == here and not each.read_only]
    return [] if held(config.state_dir) is False else uids  # not to be told counts as running


def _send(settings: BusSettings, frame: Frame, clock: Clock) -> int:
    try:
        with closing(open_port(settings, clock.monotonic_s)) as port:
            port.send(frame)
            print("handed to the bus")  # noqa: T201 - the command's output
            end_s = clock.monotonic_s() + ECHO_S
            while (left_s := end_s - clock.monotonic_s()) > 0:
                heard = port.receive(left_s)
                if heard is not None and heard[1:4] == frame[1:4] and heard.own is not False:
                    print(SENT if port.true_echo else QUEUED)  # noqa: T201 - the command's output
                    return 0
    except (BusDown, SendFailed) as error:
        print(f"bms-agent send: {error}", file=sys.stderr)  # noqa: T201 - the command's output
        return EXIT_REFUSED
    print(f"it did not come back within {ECHO_S:g} s: it may go out later")  # noqa: T201 - the command's output
    return EXIT_REFUSED
