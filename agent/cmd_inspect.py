"""bms-agent inspect: what a log shows about its DBC, its battery and itself."""

import json
from argparse import Namespace
from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path

from agent.cmd_profile_new import draft_text
from agent.render_inspect import Report, report_lines, report_values
from agent.safe_write import write_text
from bms_can.columnar.ahead import ahead_where_idle
from bms_can.columnar.chunk import Chunk, frames
from bms_can.columnar.scan import scan
from bms_can.columnar.timeline import ColumnTimeline
from bms_can.database import Database, load
from bms_can.errors import BadInput
from bms_can.examine.examination import examine
from bms_can.profile import Profile
from bms_can.profile_load import load_profile
from bms_can.shipped import profile_path
from bms_can.timeline import Change, Timeline

EXIT_NOTHING = 1
MOST_CHANGES = 2000  # kept for the report; a log that flaps must not fill the memory


def main(arguments: Namespace) -> int:
    """Inspect one log; 1 if it holds no frame at all."""
    profile, database = _profile(arguments)
    if arguments.draft_profile is not None and database is None:
        raise BadInput("--draft-profile", ["needs --dbc"])
    if arguments.draft_profile is not None and arguments.draft_profile.exists():
        raise BadInput(str(arguments.draft_profile), ["exists already; it is not overwritten"])
    if arguments.html is not None:
        import_module("agent.render_html")  # what is missing is said before the work, not after
    watch = _Watch(profile, database)
    chunks = watch.run(ahead_where_idle(scan(arguments.log)))
    channel = arguments.channel or (profile.channel if profile else None)
    seen = examine(chunks, database, profile, channel)
    report = Report(str(arguments.log), seen, tuple(watch.changes), watch.left_out)
    if arguments.html is not None:
        from agent.render_html import page  # noqa: PLC0415 - jinja2 is not needed without it

        write_text(arguments.html, page(report, arguments.lang), force=True)
    if arguments.draft_profile is not None and database is not None:
        text = draft_text(
            database, arguments.draft_profile, log=Path(arguments.log).name, seen=seen
        )
        write_text(arguments.draft_profile, text, force=False)
    _show(arguments, report)
    return 0 if seen.evidence.log.frames else EXIT_NOTHING


def _show(arguments: Namespace, report: Report) -> None:
    if arguments.json:
        print(json.dumps(report_values(report), ensure_ascii=False, indent=1))  # noqa: T201 - the command's output
        return
    for line in report_lines(report, arguments.lang):
        print(line)  # noqa: T201 - the command's output


def _profile(arguments: Namespace) -> tuple[Profile | None, Database | None]:
    if arguments.profile is None:
        return None, None if arguments.dbc is None else load(arguments.dbc)
    profile, database = load_profile(profile_path(arguments.profile), arguments.dbc)
    if arguments.channel is not None:
        profile = replace(profile, channel=arguments.channel)
    return profile, database


class _Watch:
    """Derives the status while the chunks go by. Without a profile it does nothing.

    Attributes:
        changes: the first changes of the status; left_out: how many more there were.
    """

    def __init__(self, profile: Profile | None, database: Database | None) -> None:
        self.changes: list[Change] = []
        self.left_out = 0
        self._columns: ColumnTimeline | None = None
        self._scalar: Timeline | None = None
        if profile is not None and database is not None:
            if profile.family:  # its code reads frame by frame
                self._scalar = Timeline(profile, database)
            else:
                self._columns = ColumnTimeline(profile, database)

    def run(self, chunks: Iterator[Chunk]) -> Iterator[Chunk]:
        """Hand the chunks through."""
        for chunk in chunks:
            for change in self._take(chunk):
                if len(self.changes) < MOST_CHANGES:
                    self.changes.append(change)
                else:
                    self.left_out += 1
            yield chunk

    def _take(self, chunk: Chunk) -> Iterator[Change]:
        if self._columns is not None:
            yield from self._columns.take(chunk)
        elif self._scalar is not None:
            yield from self._scalar.run(frames(chunk))
