"""The commands that look at a bus, and at whether all is well. See agent.cli."""

import argparse
from pathlib import Path

from agent.cli_parts import Commands, command

PROFILE = "a profile's TOML file, or the name of a shipped battery"


def add_bus_commands(commands: "Commands[argparse.ArgumentParser]") -> None:
    """Add them."""
    _add_doctor(commands)
    _add_monitor(commands)
    _add_sniff(commands)
    _add_send(commands)
    _add_metrics(commands)
    _add_verify(commands)


def add_bus(parser: argparse.ArgumentParser, *, required: bool = False) -> None:
    """Add what names a bus, for options.bus_settings."""
    parser.add_argument("-i", "--interface", default="socketcan", help="python-can interface")
    parser.add_argument(
        "-c", "--channel", required=required, help="python-can channel, such as can0"
    )
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


def _add_monitor(commands: "Commands[argparse.ArgumentParser]") -> None:
    text = "show a bus live: each message with its period, each value with its age"
    example = (
        "examples:\n"
        "  bms-agent monitor -c can0 --profile ess_bau\n"
        "  bms-agent monitor -c can0 --dbc my.dbc --filter voltage\n"
        "  bms-agent monitor -c can0 --dbc my.dbc --changes   a line a changed value\n"
        "  bms-agent monitor -c can0 --profile ess_bau --seconds 3 --plain\n"
        "Keys: type to filter, Tab sorts, arrows scroll, Esc clears. It listens and never sends"
    )
    monitor = command(commands, "monitor", text, example)
    add_bus(monitor, required=True)
    add_battery(monitor)
    monitor.add_argument("--filter", default="", metavar="TEXT", help="part of an id or a name")
    sorts = ("id", "name", "age", "period", "count")
    monitor.add_argument("--sort", choices=sorts, default="id", help="default id")
    monitor.add_argument("--seconds", type=seconds, metavar="S", help="end after so long")
    monitor.add_argument("--plain", action="store_true", help="the table once, at the end")
    monitor.add_argument("--changes", action="store_true", help="a line for each changed value")
    monitor.set_defaults(module="agent.cmd_monitor")


def _add_sniff(commands: "Commands[argparse.ArgumentParser]") -> None:
    text = "watch the identifiers that no DBC explains: pace, moving bits, counters, checksums"
    example = (
        "examples:\n"
        "  bms-agent sniff -c can0 --dbc my.dbc\n"
        "  bms-agent sniff -c can0 --seconds 30 --plain      all identifiers, without a DBC\n"
        "It listens and never sends"
    )
    sniff = command(commands, "sniff", text, example)
    add_bus(sniff, required=True)
    add_battery(sniff)
    sniff.add_argument("--all", action="store_true", help="those that the DBC has, too")
    sniff.add_argument("--seconds", type=seconds, metavar="S", help="end after so long")
    sniff.add_argument("--plain", action="store_true", help="the findings once, at the end")
    sniff.set_defaults(module="agent.cmd_sniff")


def _add_send(commands: "Commands[argparse.ArgumentParser]") -> None:
    text = "build one frame by names and values, show it, and with --yes send it once"
    example = (
        "examples:\n"
        "  bms-agent send EMS_Limits power=50 mode=grid --dbc my.dbc -c vcan0\n"
        "  bms-agent send EMS_Limits power=50 mode=grid --dbc my.dbc -c vcan0 --yes\n"
        "Every signal of the message must be named. Frames that command a battery go out on virtual"
        "\nbuses only; on a real bus a command comes from the platform"
    )
    send = command(commands, "send", text, example)
    send.add_argument("message", help="its name in the DBC")
    send.add_argument("value", nargs="*", metavar="SIGNAL=VALUE", help="number or choice")
    add_bus(send, required=True)
    add_battery(send)
    send.add_argument(
        "--config", type=Path, help="agent.toml of this box, default /etc/bms-agent/agent.toml"
    )
    send.add_argument("--yes", action="store_true", help="send it, once")
    send.add_argument("--control", action="store_true", help="although it commands a battery")
    send.add_argument(
        "--i-stand-at-the-battery", action="store_true", help="needed on a bus that is not virtual"
    )
    send.set_defaults(module="agent.cmd_send")


def _add_metrics(commands: "Commands[argparse.ArgumentParser]") -> None:
    text = "print the running agent's numbers for Prometheus"
    example = (
        "examples:\n"
        "  bms-agent metrics agent.toml\n"
        "  bms-agent metrics agent.toml --output /var/lib/node_exporter/bms_agent.prom"
    )
    metrics = command(commands, "metrics", text, example)
    metrics.add_argument("config", type=Path, help="configuration file of the agent")
    metrics.add_argument(
        "--output", type=Path, metavar="FILE", help="for node_exporter's textfile collector"
    )
    metrics.set_defaults(module="agent.cmd_metrics")


def _add_verify(commands: "Commands[argparse.ArgumentParser]") -> None:
    text = "check that the journal is as it was written: hash chain and states"
    verify = command(commands, "verify", text, "example:\n  bms-agent verify agent.toml")
    verify.add_argument("config", type=Path, help="configuration file of the agent")
    verify.add_argument("--json", action="store_true", help="the answer as JSON")
    verify.set_defaults(module="agent.cmd_verify")


def seconds(text: str) -> float:
    """Read a time [s]."""
    value = float(text)
    if not 0 < value <= 86_400:  # noqa: PLR2004 - one day
        raise argparse.ArgumentTypeError(f"{text} is not in 0..86400")
    return value
