"""bms-agent metrics: the running agent's numbers for Prometheus."""

import os
import sys
from argparse import Namespace
from pathlib import Path

from agent.config import load
from agent.local import BadRequest, NotRunning, ask
from agent.metrics import exposition

EXIT_NO_AGENT = 69  # EX_UNAVAILABLE of sysexits.h
READABLE = 0o644


def main(arguments: Namespace) -> int:
    """Print the metrics, or put them into the place of a file; 69 if no agent answers."""
    config = load(arguments.config, os.environ)
    answer, code = None, 0
    try:
        answer = ask(config.state_dir, {"do": "vitals"})
    except (NotRunning, BadRequest) as error:
        print(f"bms-agent: {error}", file=sys.stderr)  # noqa: T201 - the command's output
        code = EXIT_NO_AGENT
    text = "".join(f"{line}\n" for line in exposition(answer))
    if arguments.output is None:
        sys.stdout.write(text)
    else:
        _replace(arguments.output, text)
    return code


def _replace(path: Path, text: str) -> None:
    """Write a file so that a collector sees the old or the new one, never half of it."""
    beside = path.with_name(f".{path.name}.new")
    beside.write_text(text, encoding="utf-8")
    beside.chmod(READABLE)
    beside.replace(path)
