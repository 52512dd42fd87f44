"""The commands that look at a bus, and at whether all is well. See agent.cli."""

import argparse
from pathlib import Path

from agent.cli_parts import Commands, command

PROFILE = "a profile's TOML file, or the name of a shipped battery"


def add_bus_commands(commands: "Commands[argparse.ArgumentParser]") -> None:
    """Add them."""
    _add_doctor(commands)


def add_bus(parser: argparse.ArgumentParser) -> None:
    """Add what names a bus, for options.bus_settings."""
    parser.add_argument("-i", "--interface", default="socketcan", help="python-can interface")
    parser.add_argument("-c", "--channel", help="python-can channel, such as can0")
    parser.add_argument("-b", "--bitrate", type=int, help="bit/s, where the interface sets it")
    parser.add_argument("--fd", action="store_true", help="CAN FD")
    parser.add_argument(
        "-o",
        "--option",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="another argument of python-can's bus, such as port=43200",
    )


def add_battery(parser: argparse.ArgumentParser) -> None:
    """Add what says what frames mean."""
    parser.add_argument("--profile", "--battery", help=PROFILE)
    parser.add_argument("--dbc", type=Path, help="a DBC; with --profile: in place of the one named")


def _add_doctor(commands: "Commands[argparse.ArgumentParser]") -> None:
    text = (
        "look at interface, bus, battery, platform, disk, clock, agent: what is wrong, what mends"
    )
    example = (
        "examples:\n"
        "  bms-agent doctor agent.toml\n"
        "  bms-agent doctor agent.toml --json --listen-s 10\n"
        "  bms-agent doctor -i socketcan -c can0 --profile ess_bau      before there is a file\n"
        "It listens and never sends. Exit code 1: something is to be mended"
    )
    doctor = command(commands, "doctor", text, example)
    doctor.add_argument("config", type=Path, nargs="?", help="configuration file of the agent")
    add_bus(doctor)
    add_battery(doctor)
    doctor.add_argument(
        "--listen-s", type=seconds, default=5.0, metavar="S", help="how long, default 5"
    )
    doctor.add_argument("--json", action="store_true", help="one JSON document on stdout")
    doctor.set_defaults(module="agent.cmd_doctor")


def seconds(text: str) -> float:
    """Read a time [s]."""
    value = float(text)
    if not 0 < value <= 86_400:  # noqa: PLR2004 - one day
        raise argparse.ArgumentTypeError(f"{text} is not in 0..86400")
    return value
