"""bms-agent export: recorded logs as Parquet or CSV."""

import sys
from argparse import Namespace
from importlib.metadata import version
from math import isfinite

from agent.clock import SystemClock
from agent.progress import Progress, progress
from bms_can.columnar.choose import chosen_signals
from bms_can.columnar.export_dir import Entry, held
from bms_can.columnar.export_engines import engine_of
from bms_can.columnar.export_job import Job
from bms_can.columnar.export_log import Failed
from bms_can.columnar.export_plan import Options, parse_period_us
from bms_can.columnar.export_run import EngineLost
from bms_can.database import Database, load
from bms_can.errors import BadInput

EXIT_FAILED = 1


def main(arguments: Namespace) -> int:
    """Export some logs; 1 if one of them could not be exported."""
    _check(arguments)
    database = load(arguments.dbc)
    for warning in database.warnings:
        _say(f"{arguments.dbc}: {warning}")
    options = _options(arguments, database)
    clock = SystemClock()
    tool = f"bms-agent {version('bms-can-agent')}"
    with held(arguments.output, tool, options) as folder:
        job = Job(folder, database, arguments.log, clock.monotonic_s)
        failure = ""
        with progress(sum(job.sizes.values()), clock.monotonic_s, sys.stderr) as shown:
            try:
                _run(arguments, job, shown)
            except (EngineLost, OSError) as error:
                failure = str(error)
        folder.clear()
    _summary(arguments, job)
    if failure:
        _say(failure)
    return EXIT_FAILED if failure or job.report.failed else 0


def _run(arguments: Namespace, job: Job, shown: Progress) -> None:
    if not job.tasks:
        return
    jobs = min(arguments.jobs, len(job.tasks))
    engine = engine_of(jobs, arguments.scheduler, SystemClock().monotonic_s)
    engine.progress = shown.within if jobs == 1 and arguments.scheduler is None else None

    def tell(outcome: Entry | Failed) -> None:
        path = outcome.path if isinstance(outcome, Failed) else outcome["path"]
        frames = 0 if isinstance(outcome, Failed) else outcome["frames"]
        shown.finished(job.sizes[path], frames)
        with shown.aside():
            if isinstance(outcome, Failed):
                _say(f"{path}: {outcome.reason}")
            else:
                print("\n".join(log_lines(outcome)), flush=True)  # noqa: T201 - the command's output

    try:
        job.run(engine, tell)
    finally:
        engine.close()


def _check(arguments: Namespace) -> None:
    """Refuse what makes no sense, all at once."""
    wrong = []
    if (arguments.engine == "dask") != (arguments.scheduler is not None):
        wrong.append("--engine dask and --scheduler ADDRESS go together")
    if arguments.jobs < 1:
        wrong.append("--jobs must be at least 1")
    if arguments.scheduler is not None and arguments.jobs > 1:
        wrong.append("--jobs counts local processes; the cluster has its own number of workers")
    if arguments.wide is None and arguments.max_age is not None:
        wrong.append("--max-age is for --wide")
    if arguments.max_age is not None and not (
        arguments.max_age > 0 and isfinite(arguments.max_age)
    ):
        wrong.append("--max-age must be positive")
    if arguments.wide is not None:
        try:
            parse_period_us(arguments.wide)
        except ValueError as error:
            wrong.append(f"--wide {arguments.wide}: {error}")
    if wrong:
        raise BadInput("bms-agent export", wrong)


def _options(arguments: Namespace, database: Database) -> Options:
    return Options(
        format=arguments.format,
        signals=chosen_signals(database, arguments.message, arguments.signal),
        channel=arguments.channel,
        wide_us=None if arguments.wide is None else parse_period_us(arguments.wide),
        max_age_s=arguments.max_age,
        all_values=arguments.all_values,
        compression=arguments.compression,
    )


def log_lines(entry: Entry) -> list[str]:
    """Return what there is to say about one log, the most important first."""
    rows = sum(file["rows"] for file in entry["files"])
    counts = f"{entry['frames']} frames, {entry['decoded']} decoded"
    lines = [f"{entry['path']}: {counts}, {rows} rows in {len(entry['files'])} files"]
    for reason, bad in entry["bad_lines"].items():
        first = ", ".join(map(str, bad["first"]))
        lines.append(f"  {bad['count']} lines without a data frame: {reason} (first: {first})")
    for message, reasons in entry["refused"].items():
        told = ", ".join(f"{reason} {count}" for reason, count in reasons.items())
        lines.append(f"  {message}: frames not decoded: {told}")
    for key, count in entry["impossible"].items():
        lines.append(f"  {key}: {count} numbers outside of the DBC's range are null (--all-values)")
    return lines


def _summary(arguments: Namespace, job: Job) -> None:
    report = job.report
    done, skipped, failed = len(report.done), len(report.skipped), len(report.failed)
    left = len(job.tasks) - done - failed
    counts = f"{done} logs exported, {skipped} unchanged, {failed} failed"
    print(f"{arguments.output}: {counts}{f', {left} not done' if left else ''}")  # noqa: T201 - the command's output
    if report.other_dbc:
        _say(
            f"{len(report.other_dbc)} logs in this folder were decoded with another DBC;"
            " export them again to have all alike"
        )


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201 - for a person, beside the output
