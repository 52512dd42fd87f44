"""The commands that run a log again: replay and play. See agent.cli."""

import argparse
from pathlib import Path

from agent.cli_parts import Commands, command

LANES = ("auto", "scalar", "columnar")  # see agent.replay_lane


def add_replay_commands(commands: "Commands[argparse.ArgumentParser]") -> None:
    """Add them."""
    _add_replay(commands)
    _add_play(commands)


def _add_replay(commands: "Commands[argparse.ArgumentParser]") -> None:
    text = "print what a recorded log says: status over time, alarms, how much the DBC explains"
    example = (
        "examples:\n"
        "  bms-agent replay candump.log --profile ess_bau\n"
        "  bms-agent replay candump.log --dbc my.dbc --profile my.toml --json\n"
        "  bms-agent replay candump.log --dbc my.dbc          coverage only: is it the right DBC?\n"
        "  bms-agent replay candump.log --profile ess_bau --sync URL --device UID --key-file FILE\n"
        "  bms-agent replay candump.log --profile ess_bau --write-expect expected.json\n"
        "  bms-agent replay candump.log --profile ess_bau --expect expected.json    as a test"
    )
    replay = command(commands, "replay", text, example)
    replay.add_argument(
        "log", type=Path, help="candump -l or -ta text, asc, blf, trc, csv; .gz too"
    )
    replay.add_argument("--profile", help="a profile's TOML file, or the name of a shipped battery")
    replay.add_argument("--dbc", type=Path, help="the DBC, if not the one that the profile names")
    replay.add_argument("--channel", help="only frames of this channel, such as can0")
    replay.add_argument("--json", action="store_true", help="one JSON document on stdout")
    pace = replay.add_mutually_exclusive_group()
    pace.add_argument("--as-fast", action="store_true", help="as fast as possible (default)")
    pace.add_argument("--log-clock", action="store_true", help="at the speed of the recording")
    replay.add_argument("--sync", metavar="URL", help="report to this platform on the way")
    replay.add_argument("--device", metavar="UID", help="device_uid for --sync")
    replay.add_argument("--key-file", type=Path, help="file with the device's API key for --sync")
    replay.add_argument("--sync-period-s", type=float, default=10.0, help="default 10, log time")
    lane_help = "columnar: many times faster, needs numpy; default: where it can"
    replay.add_argument("--lane", choices=LANES, default="auto", help=lane_help)
    expect_help = "run the whole agent on the log's clock; 1 if it does not do what FILE says"
    replay.add_argument("--expect", type=Path, metavar="FILE", help=expect_help)
    write_help = "the same, and write down what it does"
    replay.add_argument("--write-expect", type=Path, metavar="FILE", help=write_help)
    replay.set_defaults(module="agent.cmd_replay")


def _add_play(commands: "Commands[argparse.ArgumentParser]") -> None:
    text = "put a recorded log on a CAN bus, at its own pace"
    example = (
        "examples:\n"
        "  bms-agent play candump.log -i socketcan -c vcan0\n"
        "  bms-agent play candump.log vcan0=can0 vcan1=can1 -l i -s 2\n"
        "  bms-agent play candump.log -c vcan0 --profile ess_bau      without its control frames"
    )
    play = command(commands, "play", text, example)
    play.add_argument("log", type=Path, help="any log that replay reads")
    play.add_argument("assignment", nargs="*", metavar="WRITE=LOG", help="right behind the log")
    play.add_argument("-i", "--interface", default="socketcan", help="python-can interface")
    play.add_argument("-c", "--channel", help="where frames go that no WRITE=LOG names")
    play.add_argument("-b", "--bitrate", type=int, help="bit/s, where the interface sets it")
    play.add_argument("-o", "--option", action="append", default=[], metavar="NAME=VALUE")
    play.add_argument("--fd", action="store_true", help="open the bus for CAN FD")
    play.add_argument("-l", dest="loops", type=_loops, default=1, help="how often; i: for ever")
    play.add_argument("-t", dest="ignore_times", action="store_true", help="ignore the log's times")
    gap_text = "how late counts as late, default 1; with -t: so far apart"
    play.add_argument("-g", dest="gap_ms", type=_positive, metavar="MS", help=gap_text)
    play.add_argument("-s", dest="skip_s", type=_positive, metavar="S", help="skip longer gaps")
    play.add_argument("-n", dest="count", type=_count, metavar="N", help="end after N frames")
    play.add_argument("-x", dest="no_loopback", action="store_true", help="no local loopback")
    play.add_argument("-v", dest="verbose", action="store_true", help="print what is sent")
    play.add_argument("--profile", help="leave out the frames that command this battery")
    play.add_argument("--dbc", type=Path, help="the DBC, if not the one that the profile names")
    play.add_argument("--with-control", action="store_true", help="play them all the same")
    play.add_argument("--yes-this-bus", action="store_true", help="play on a real bus")
    play.set_defaults(module="agent.cmd_play")


def _loops(text: str) -> int | None:
    """Read how often a log is played; None: for ever."""
    return None if text == "i" else _count(text)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError("must be a whole number above 0")
    return int(text)


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError("must be a number above 0")
    return value
