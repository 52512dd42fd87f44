"""The commands that work on recorded logs. See agent.cli."""

import argparse
from pathlib import Path

from agent.cli_parts import Commands, command


def add_log_commands(commands: "Commands[argparse.ArgumentParser]") -> None:
    """Add them."""
    _add_decode(commands)
    _add_export(commands)


def _add_decode(commands: "Commands[argparse.ArgumentParser]") -> None:
    text = "print the frames of a log as signals, one line a frame"
    example = (
        "examples:\n"
        "  bms-agent decode candump.log --dbc my.dbc\n"
        "  bms-agent decode candump.log.gz --dbc my.dbc --message BMS_Pack --json\n"
        "  bms-agent decode candump.log --dbc my.dbc --signal 'BMS_CellMux.*'\n"
        "  bms-agent decode candump.log --dbc my.dbc --signal '*elay*' --changes"
    )
    decode = command(commands, "decode", text, example)
    decode.add_argument(
        "log", type=Path, help="candump text, also .gz .xz .zst; asc, blf, trc, csv"
    )
    _add_choice(decode)
    which = decode.add_mutually_exclusive_group()
    which.add_argument("--all", action="store_true", help="show frames that the DBC has not, too")
    which.add_argument(
        "--changes", action="store_true", help="a line for each change of a signal: old -> new"
    )
    decode.add_argument("--json", action="store_true", help="one JSON object a line")
    decode.set_defaults(module="agent.cmd_decode")


def _add_export(commands: "Commands[argparse.ArgumentParser]") -> None:
    text = "write logs as Parquet or CSV: a table for each message and day, or one wide table"
    example = (
        "examples:\n"
        "  bms-agent export candump.log --dbc my.dbc -o out\n"
        "  bms-agent export logs/a.log logs/b.log.gz --dbc my.dbc -o out --jobs 2\n"
        "  bms-agent export candump.log --dbc my.dbc -o wide --wide 1s --max-age 5\n"
        "  bms-agent export candump.log --dbc my.dbc -o out --engine dask --scheduler HOST:8786\n"
        "A second run does only what is new or has changed. Layout and schema: docs/logs.md"
    )
    export = command(commands, "export", text, example)
    export.add_argument("log", type=Path, nargs="+", help="as of decode")
    _add_choice(export)
    export.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="folder")
    export.add_argument("--format", choices=("parquet", "csv"), default="parquet")
    export.add_argument(
        "--compression", choices=("zstd", "snappy", "none"), default="zstd", help="of Parquet"
    )
    export.add_argument(
        "--wide", metavar="PERIOD", help="one table, a row each 1s, 100ms, ...: the last values"
    )
    export.add_argument(
        "--max-age", type=float, metavar="S", help="in a wide table an older value is unknown"
    )
    export.add_argument(
        "--all-values", action="store_true", help="also numbers outside of the DBC's range"
    )
    export.add_argument("--jobs", type=int, default=1, metavar="N", help="processes, default 1")
    export.add_argument("--engine", choices=("local", "dask"), default="local")
    export.add_argument("--scheduler", metavar="ADDRESS", help="of the Dask cluster")
    export.set_defaults(module="agent.cmd_export")


def _add_choice(parser: argparse.ArgumentParser) -> None:
    """Add what says which signals."""
    parser.add_argument("--dbc", type=Path, required=True, help="DBC, KCD, SYM or ARXML file")
    parser.add_argument(
        "--message", action="append", default=[], metavar="NAME", help="only this one; repeatable"
    )
    parser.add_argument(
        "--signal", action="append", default=[], metavar="GLOB", help="only these, Message.Signal"
    )
    parser.add_argument("--channel", help="only frames of this channel, such as can0")
