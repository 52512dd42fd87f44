"""bms-agent: parses the command line and dispatches. What a command does is in its own module.

Heavy imports happen only in the command that needs them, so that --help is quick on a small box.
"""

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from agent.cli_bus import add_bus_commands
from agent.cli_inspect import add_inspect_commands
from agent.cli_logs import add_log_commands
from agent.cli_parts import Commands, formatter
from agent.cli_parts import command as _command
from agent.cli_replay import add_replay_commands
from agent.errors import BadConfig
from agent.extras import remedy
from bms_can.errors import BadInput

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_CONFIG = 78  # EX_CONFIG of sysexits.h
MOST_COMMANDS = 500  # in one list, see agent.local_handlers

BATTERY_HELP = "a profile's TOML file, or a name that `bms-agent batteries` lists"

EPILOG = """\
start here:
  bms-agent demo                         the whole thing on this machine, nothing to set up
  bms-agent batteries                    which batteries are known, and how well
  bms-agent replay LOG --dbc D --profile P    what a recorded log says about the battery
  bms-agent export LOG --dbc D -o DIR    a recorded log as Parquet or CSV
  bms-agent inspect LOG --dbc D          does this DBC fit this log? counters, periods, a draft
  bms-agent check agent.toml             is this configuration complete and coherent?
  bms-agent run agent.toml               the agent itself, as systemd starts it
  bms-agent why close_contactor agent.toml    would a close be allowed now, and which rule says so?

exit codes: 0 done, 1 not proven or failed, 2 wrong usage, 69 no agent answers,
  78 wrong configuration or input file
"""


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="bms-agent",
        description="Reads a battery's BMS on the CAN bus, reports to the EMS platform, and carries"
        " out its commands with proof of the effect.",
        epilog=EPILOG,
        formatter_class=formatter,
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    _add_run(commands)
    _add_check(commands)
    add_replay_commands(commands)
    _add_simulate(commands)
    _add_demo(commands)
    _add_batteries(commands)
    _add_local(commands)
    add_bus_commands(commands)
    add_log_commands(commands)
    add_inspect_commands(commands)
    return parser


def _add_run(commands: "Commands[argparse.ArgumentParser]") -> None:
    text = "run the agent until it is told to stop (SIGTERM)"
    run = _command(commands, "run", text, "example:\n  bms-agent run /etc/bms-agent/agent.toml")
    run.add_argument("config", type=Path, help="configuration file, see docs/configuration.md")
    run.set_defaults(module="agent.cmd_run")


def _add_check(commands: "Commands[argparse.ArgumentParser]") -> None:
    text = "check a configuration, or a profile and its DBC, and say every mistake at once"
    example = (
        "examples:\n  bms-agent check agent.toml\n  bms-agent check my_battery.toml"
        "\n  bms-agent check my_battery.toml --dbc other.dbc"
    )
    check = _command(commands, "check", text, example)
    check.add_argument("file", type=Path, help="agent.toml, or the TOML of a profile")
    check.add_argument("--dbc", type=Path, help="another DBC than the one the profile names")
    check.set_defaults(module="agent.cmd_check")


def _add_simulate(commands: "Commands[argparse.ArgumentParser]") -> None:
    text = "put a simulated battery on a CAN bus; it answers control frames"
    example = (
        "examples:\n"
        "  bms-agent simulate -i udp_multicast -c 239.74.163.2     processes on one machine\n"
        "  bms-agent simulate -i socketcan -c vcan0 --fault ignore_close"
    )
    simulate = _command(commands, "simulate", text, example)
    simulate.add_argument("-i", "--interface", default="udp_multicast", help="python-can interface")
    simulate.add_argument("-c", "--channel", default="239.74.163.2", help="python-can channel")
    simulate.add_argument("-b", "--bitrate", type=int, help="bit/s, where the interface sets it")
    simulate.add_argument(
        "-o",
        "--option",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="another argument of python-can's bus, such as port=43200",
    )
    simulate.add_argument("--profile", "--battery", default="ess_bau", help=BATTERY_HELP)
    simulate.add_argument("--fault", action="append", default=[], help="misbehaviour, see --list")
    simulate.add_argument("--current-a", type=float, default=0.0, help="> 0 charges, once closed")
    simulate.add_argument("--seconds", type=float, help="end after so long")
    simulate.add_argument("--list", action="store_true", help="list the faults and end")
    simulate.set_defaults(module="agent.cmd_simulate")


def _add_demo(commands: "Commands[argparse.ArgumentParser]") -> None:
    text = "simulated battery, agent and platform on this machine, walking through a story"
    example = (
        "examples:\n  bms-agent demo\n  bms-agent demo --once"
        "\n  bms-agent demo --battery pylontech --once"
        "\n  bms-agent demo --once --fault ignore_close      must fail, and say what is missing"
    )
    demo = _command(commands, "demo", text, example)
    demo.add_argument("--once", action="store_true", help="end after the story; 0 only if proven")
    demo.add_argument("--battery", default="ess_bau", metavar="NAME", help=BATTERY_HELP)
    demo.add_argument("--plain", action="store_true", help="plain lines instead of a live view")
    demo.add_argument("--fault", action="append", default=[], help="misbehaviour of the battery")
    demo.add_argument(
        "--keep", type=Path, metavar="DIR", help="keep journal and platform files here"
    )
    demo.set_defaults(module="agent.cmd_demo")


def _add_batteries(commands: "Commands[argparse.ArgumentParser]") -> None:
    text = "list the batteries that come with the project: commands, source, what was verified"
    listed = _command(commands, "batteries", text, "example:\n  bms-agent batteries")
    listed.add_argument("--json", action="store_true", help="one JSON document on stdout")
    listed.set_defaults(module="agent.cmd_batteries")


def _add_local(commands: "Commands[argparse.ArgumentParser]") -> None:
    status = _command(commands, "status", "what the running agent sees now", "")
    listed = _command(commands, "commands", "list the commands that this box received", "")
    listed.add_argument("--limit", type=_limit, default=20, help="newest first, default 20")
    text = "explain a command: each step with its evidence; or: would it be allowed now?"
    example = (
        "examples:\n  bms-agent why 3f2a agent.toml\n  bms-agent why close_contactor agent.toml"
    )
    why = _command(commands, "why", text, example)
    why.add_argument(
        "what", help="start of a command's id, or close_contactor, open_contactor, ..."
    )
    text = "keep remote closes and resets off while somebody works on the battery"
    example = (
        'examples:\n  bms-agent lockout set --reason "cell change, Li" agent.toml'
        "\n  bms-agent lockout clear agent.toml"
    )
    actions = _command(commands, "lockout", text, example).add_subparsers(
        dest="action", metavar="ACTION", required=True
    )
    locked = _command(actions, "set", "set the local lock-out; it survives restarts", "")
    locked.add_argument("--reason", type=_words, required=True, help="who works on what")
    freed = _command(actions, "clear", "end the local lock-out", "")
    shown = _command(actions, "show", "show the local lock-out", "")
    text = "forget a lost frame or a foreign master, after a person has checked the bus"
    unlatch = _command(commands, "unlatch", text, "")
    for each in (status, listed, why, locked, freed, shown, unlatch):
        each.add_argument("config", type=Path, help="configuration file of the agent")
        each.add_argument("--json", action="store_true", help="the answer as JSON")
        each.set_defaults(module="agent.cmd_local")


def _words(text: str) -> str:
    """Read a text that says something."""
    if not text.strip():
        raise argparse.ArgumentTypeError("must say something")
    return text


def _limit(text: str) -> int:
    """Read how many commands to list."""
    if not text.isdecimal() or not 1 <= int(text) <= MOST_COMMANDS:
        raise argparse.ArgumentTypeError(f"must be 1 to {MOST_COMMANDS}")
    return int(text)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code."""
    arguments = build_parser().parse_args(argv)
    try:
        code: int = import_module(arguments.module).main(arguments)
        sys.stdout.flush()  # here, where a closed pipe is still caught
    except (BadInput, BadConfig) as error:
        print(error, file=sys.stderr)
        return EXIT_CONFIG
    except ModuleNotFoundError as error:
        if (told := remedy(error)) is None:
            raise
        print(told, file=sys.stderr)
        return EXIT_USAGE
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return EXIT_FAILED
    return code
