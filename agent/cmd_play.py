"""bms-agent play: put a recorded log on a CAN bus, as canplayer does, guarding real buses."""

import re
import signal
import sys
import threading
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from agent.clock import SystemClock
from agent.options import bus_options
from agent.play import CONTROL, TICK_S, Choice, Entry, PaceRules, Player, Send, Tally
from bms_can.bus import BusSettings, open_port
from bms_can.errors import BadInput, BusDown, SendFailed, TwoBuses
from bms_can.frame import Frame, frame_text
from bms_can.logfile import open_log
from bms_can.one_channel import OneChannel
from bms_can.profile import Profile
from bms_can.profile_load import load_profile
from bms_can.shipped import profile_path

COMMAND = "bms-agent play"
NETWORK = Path("/sys/class/net")
IN_THIS_MACHINE = frozenset({"virtual", "udp_multicast"})
VIRTUAL_NAMES = ("vcan", "vxcan")
SOCKETCAN = "socketcan"
WHY_NOT = (
    "is not known to be virtual: what hangs on it would take the recorded frames for a live battery"
    " or a live master, commands included. Disconnect the battery, or use a vcan interface;"
    " --yes-this-bus plays there all the same"
)


def main(arguments: Namespace) -> int:
    """Play one log; 1 if nothing was sent, or a bus did not take the frames.

    Raises:
        TwoBuses: two channels of the log would become one bus; nothing of the second was sent.
    """
    targets = _targets(arguments)
    watch = OneChannel(str(arguments.log), None, f"{arguments.channel}={{channel}}")
    control = _control_ids(arguments)
    stop, clock = threading.Event(), SystemClock()
    error: BusDown | SendFailed | TwoBuses | None = None
    player = None
    with ExitStack() as stack, _until_told(stop):
        try:
            ways = {
                name: _verbose(arguments, _open(arguments, target, clock.monotonic_s, stack))
                for name, target in targets.items()
            }
            flexible = arguments.fd or arguments.interface in IN_THIS_MACHINE
            choice = Choice(ways, control, flexible, arguments.count)
            player = Player(clock, choice, _rules(arguments), stop)
            for entries in _passes(arguments):
                player.play(_unmixed(entries, targets, watch))
                if player.done or not player.tally.sent:
                    break
        except (BusDown, SendFailed, TwoBuses) as failed:
            error = failed
    if player is not None:
        for line in tally_lines(player.tally, arguments.profile):
            print(line)  # noqa: T201 - the command's output
    if isinstance(error, TwoBuses):
        raise error
    if error is not None:
        print(f"{COMMAND}: {error}", file=sys.stderr)  # noqa: T201 - the command's output
    return 0 if error is None and player is not None and player.tally.sent else 1


def tally_lines(tally: Tally, profile: str | None) -> Iterator[str]:
    """Yield what was done, for people."""
    yield f"played      {tally.sent} frames"
    if tally.late:
        yield f"late        {tally.late} frames, at worst {tally.worst_s * 1000:.1f} ms"
    if tally.full:
        yield f"waited      {tally.full} times for a full queue"
    for reason, count in tally.left_out.most_common():
        yield f"left out    {count} x {reason}"
    if tally.left_out[CONTROL]:
        yield f"            control frames of {profile}; --with-control plays them too"


def harmless(interface: str, channel: str, network: Path = NETWORK) -> bool:
    """Tell whether an interface is surely no wire: by its kind, its name, and what Linux says."""
    if interface != SOCKETCAN:
        return interface in IN_THIS_MACHINE
    device = network / channel
    named = channel.startswith(VIRTUAL_NAMES)
    return named and (not device.exists() or "virtual" in device.resolve().parts)


def _targets(arguments: Namespace) -> dict[str, str]:
    """Return the channel to write on for each channel of the log; "" for all others."""
    wrong = [
        f"{word}: must be WRITE=LOG, such as vcan0=can0"
        for word in arguments.assignment
        if not re.fullmatch("[^=]+=[^=]+", word)
    ]
    if wrong:
        raise BadInput(COMMAND, wrong)
    pairs = (word.split("=") for word in arguments.assignment)
    targets = {log: write for write, log in pairs}
    if arguments.channel is not None:
        targets[""] = arguments.channel
    if not targets:
        raise BadInput(COMMAND, ["say where to: -c CHANNEL, or WRITE=LOG for each channel"])
    if arguments.no_loopback and arguments.interface != SOCKETCAN:
        raise BadInput(COMMAND, [f"-x: {arguments.interface} has no local loopback to switch off"])
    real = sorted({each for each in targets.values() if not harmless(arguments.interface, each)})
    if real and not arguments.yes_this_bus:
        raise BadInput(COMMAND, [f"{arguments.interface} {each} {WHY_NOT}" for each in real])
    return targets


def _control_ids(arguments: Namespace) -> frozenset[tuple[int, bool]]:
    """Return the identifiers that a profile says steer its battery, unless they are wanted."""
    if arguments.profile is None or arguments.with_control:
        return frozenset()
    return control_ids(load_profile(profile_path(arguments.profile), arguments.dbc)[0])


def control_ids(profile: Profile) -> frozenset[tuple[int, bool]]:
    """Return the identifiers of a profile's guard and commands."""
    frames = [frame for plan in profile.commands.values() for frame in plan.frames]
    listed = {(entry.can_id, entry.extended) for entry in profile.guard}
    return frozenset(listed | {(frame.can_id, frame.extended) for frame in frames})


def _rules(arguments: Namespace) -> PaceRules:
    gap_s = None if arguments.gap_ms is None else arguments.gap_ms / 1000
    if arguments.ignore_times:
        return PaceRules(apart_s=gap_s or 0.0)
    return PaceRules(TICK_S if gap_s is None else gap_s, arguments.skip_s)


def _passes(arguments: Namespace) -> Iterator[Iterator[Entry]]:
    """Yield the log's entries as often as it is to be played."""
    left = arguments.loops
    while left is None or left > 0:
        yield open_log(arguments.log)
        left = None if left is None else left - 1


def _unmixed(
    entries: Iterator[Entry], targets: Mapping[str, str], watch: OneChannel
) -> Iterator[Entry]:
    """Hand entries through; those of channels that nobody named must not make one bus of two."""
    for entry in entries:
        if isinstance(entry, Frame) and entry.channel not in targets:
            watch.look((entry.can_id, entry.extended), entry.channel if "" in targets else "")
        yield entry


def _open(
    arguments: Namespace, channel: str, clock_s: Callable[[], float], stack: ExitStack
) -> Send:
    options = bus_options(arguments.option)
    if arguments.no_loopback:
        options["local_loopback"] = False
    settings = BusSettings(
        arguments.interface, channel, arguments.bitrate, arguments.fd, options=options
    )
    return stack.enter_context(closing(open_port(settings, clock_s, own_frames=False))).send


def _verbose(arguments: Namespace, send: Send) -> Send:
    """Return a sender that also prints, if that is wanted."""
    if not arguments.verbose:
        return send

    def tell(frame: Frame) -> None:
        send(frame)
        text = frame_text(frame.can_id, frame.extended, frame.data)
        print(f"({frame.at_s:.6f}) {frame.channel or '-'} {text}")  # noqa: T201 - the command's output

    return tell


@contextmanager
def _until_told(stop: threading.Event) -> Iterator[None]:
    """Let Ctrl-C and SIGTERM end the play, not the program; nothing stays behind."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        signal.signal(number, lambda *_: stop.set())
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
