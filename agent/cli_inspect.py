"""The commands that help to understand a log and to write a profile. See agent.cli."""

import argparse
from pathlib import Path

from agent.cli_parts import Commands, command

LOG_HELP = "candump text, also .gz .xz .zst; slcan text, asc, blf, trc, csv"
PROFILE_HELP = "TOML file, or the name of a shipped battery"
DBC_HELP = "the DBC, if not the one that the profile names"


def add_inspect_commands(commands: "Commands[argparse.ArgumentParser]") -> None:
    """Add them."""
    _add_inspect(commands)
    _add_profile(commands)


def _add_inspect(commands: "Commands[argparse.ArgumentParser]") -> None:
    text = "say what a log shows about its DBC: coverage, periods, counters, checksums, ranges"
    example = (
        "examples:\n"
        "  bms-agent inspect candump.log --dbc my.dbc\n"
        "  bms-agent inspect candump.log --profile my.toml --html report.html\n"
        "  bms-agent inspect candump.log --dbc my.dbc --draft-profile my.toml\n"
        "  bms-agent inspect candump.log           without a DBC: what the bytes themselves say"
    )
    inspect = command(commands, "inspect", text, example)
    inspect.add_argument("log", type=Path, help=LOG_HELP)
    inspect.add_argument("--dbc", type=Path, help="DBC, KCD, SYM or ARXML file")
    inspect.add_argument("--profile", help=PROFILE_HELP)
    inspect.add_argument("--channel", help="only frames of this channel, such as can0")
    inspect.add_argument("--json", action="store_true", help="one JSON document on stdout")
    inspect.add_argument("--html", type=Path, metavar="FILE", help="write a report with plots")
    inspect.add_argument(
        "--draft-profile", type=Path, metavar="FILE", help="write a first profile, with reasons"
    )
    inspect.add_argument(
        "--lang", choices=("en", "zh"), default="en", help="of the text; of the report's first view"
    )
    inspect.set_defaults(module="agent.cmd_inspect")


def _add_profile(commands: "Commands[argparse.ArgumentParser]") -> None:
    text = "draft, check, show or test a profile: what the signals of a battery mean"
    example = (
        "examples:\n"
        "  bms-agent profile new --dbc my.dbc --log candump.log -o my.toml\n"
        "  bms-agent profile check my.toml\n"
        "  bms-agent profile show my.toml\n"
        "  bms-agent profile test my.toml --log candump.log --expect expected.json"
    )
    actions = command(commands, "profile", text, example).add_subparsers(
        dest="action", metavar="ACTION", required=True
    )
    _add_new(actions)
    text = "say every mistake of a profile at once, or what it will do"
    check = command(actions, "check", text, "")
    check.add_argument("file", help=PROFILE_HELP)
    check.add_argument("--dbc", type=Path, help=DBC_HELP)
    text = "list what will be reported, from which signal, with which deadline; alarms, commands"
    show = command(actions, "show", text, "")
    show.add_argument("file", help=PROFILE_HELP)
    show.add_argument("--dbc", type=Path, help=DBC_HELP)
    show.add_argument("--json", action="store_true", help="one JSON document on stdout")
    _add_test(actions)
    for each in (check, show):
        each.set_defaults(module="agent.cmd_profile")


def _add_new(actions: "Commands[argparse.ArgumentParser]") -> None:
    text = "write a first profile: guesses with their reasons, what is not sure commented out"
    new = command(actions, "new", text, "")
    new.add_argument("--dbc", type=Path, required=True, help="DBC, KCD, SYM or ARXML file")
    new.add_argument("--log", type=Path, help=LOG_HELP)
    new.add_argument("--channel", help="only frames of this channel of the log")
    new.add_argument("-o", "--output", type=Path, metavar="FILE", help="default: stdout")
    new.add_argument("--name", help="of the battery; default: the name of the DBC")
    new.add_argument(
        "--positive",
        choices=("charging", "discharging"),
        help="what a positive current means; without it, it is asked for, or stays open",
    )
    new.add_argument("--force", action="store_true", help="overwrite the file")
    new.set_defaults(module="agent.cmd_profile_new")


def _add_test(actions: "Commands[argparse.ArgumentParser]") -> None:
    text = "replay a log with a profile and compare the status with what is expected"
    example = "the format of the expectation: docs/profile.md\nexit 1: something differs"
    test = command(actions, "test", text, example)
    test.add_argument("file", help=PROFILE_HELP)
    test.add_argument("--dbc", type=Path, help=DBC_HELP)
    test.add_argument("--log", type=Path, required=True, help=LOG_HELP)
    test.add_argument("--channel", help="only frames of this channel of the log, such as can0")
    what = test.add_mutually_exclusive_group(required=True)
    what.add_argument("--expect", type=Path, metavar="FILE", help="expectation, JSON")
    what.add_argument(
        "--write-expect", type=Path, metavar="FILE", help="write what is now; a person checks it"
    )
    test.set_defaults(module="agent.cmd_profile_test", lane="auto", sync=None, log_clock=False)
