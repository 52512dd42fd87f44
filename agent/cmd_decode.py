"""bms-agent decode: the frames of a log as signals, one line a frame or a change."""

import sys
from argparse import Namespace
from collections import Counter

from bms_can.columnar.ahead import ahead_where_idle
from bms_can.columnar.changes import Changes
from bms_can.columnar.choose import chosen_signals
from bms_can.columnar.chunk import of_channel
from bms_can.columnar.decode import Decoder
from bms_can.columnar.lines import Lines
from bms_can.columnar.scan import scan
from bms_can.database import Database, load

EXIT_NOTHING = 1


def main(arguments: Namespace) -> int:
    """Print a log; 1 if it holds no frame that the DBC knows."""
    database = load(arguments.dbc)
    for warning in database.warnings:
        _say(f"{arguments.dbc}: {warning}")
    wanted = chosen_signals(database, arguments.message, arguments.signal)
    decoder = Decoder(database, wanted)
    lines = _lines(database, arguments)
    frames = decoded_frames = 0
    bad: Counter[str] = Counter()
    for whole in ahead_where_idle(scan(arguments.log)):
        bad.update(whole.bad_counts)
        chunk = of_channel(whole, arguments.channel)
        decoded = list(decoder.decode(chunk))
        frames += len(chunk)
        decoded_frames += sum(len(columns.rows) for columns in decoded)
        if shown := lines.of(chunk, decoded):
            sys.stdout.write("\n".join(shown) + "\n")
    sys.stdout.flush()
    for reason, count in sorted(bad.items()):
        _say(f"{arguments.log}: {count} lines without a data frame: {reason}")
    if decoded_frames < frames and not arguments.all:
        chosen = arguments.message or arguments.signal
        why = "not chosen or not decoded" if chosen else "not decoded"
        hint = "" if arguments.changes else " (--all)"
        _say(f"{arguments.log}: {frames - decoded_frames} of {frames} frames {why}{hint}")
    return 0 if decoded_frames else EXIT_NOTHING


def _lines(database: Database, arguments: Namespace) -> Lines | Changes:
    if arguments.changes:
        return Changes(database, as_json=arguments.json)
    return Lines(database, show_all=arguments.all, as_json=arguments.json)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201 - for a person, beside the output
