"""bms-agent run: the agent itself."""

import gc
import logging
import os
import signal
import sys
from argparse import Namespace

from agent.clock import SystemClock
from agent.config import load
from agent.errors import JournalFailed, OutboxFailed
from agent.keys import HideSecrets
from agent.lock import AlreadyRunning, only_one
from agent.memory import COLLECT_S, one_arena, set_apart
from agent.wiring import System, build

EXIT_RUNNING, EXIT_NO_STATE = 75, 74  # EX_TEMPFAIL, EX_IOERR of sysexits.h

log = logging.getLogger(__name__)


def main(arguments: Namespace) -> int:
    """Run until SIGTERM or SIGINT; return the exit code."""
    one_arena()
    config = load(arguments.config, os.environ)
    set_up_logging(config.log_level, HideSecrets(config.platform.key))
    try:
        with only_one(config.state_dir):
            code = _run(build(config, SystemClock()))
    except AlreadyRunning as error:
        print(f"bms-agent: {error}", file=sys.stderr)  # noqa: T201 - the command's output
        return EXIT_RUNNING
    except (JournalFailed, OutboxFailed) as error:
        print(f"bms-agent: {config.state_dir}: {error}", file=sys.stderr)  # noqa: T201 - the command's output
        return EXIT_NO_STATE
    if code:
        # A thread that hangs must not keep the process from ending; the journal is safe as it is.
        logging.shutdown()
        os._exit(code)
    return 0


def _run(system: System) -> int:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: system.supervisor.stop())
    for link in system.links:
        device = link.device
        mode = "listens only" if device.read_only else "may send commands"
        log.info("device %s: battery %s, %s", device.uid, device.profile.name, mode)
    system.schedule.every(COLLECT_S, gc.collect, "memory", COLLECT_S)
    set_apart()
    code = system.run()
    log.info("ended")
    return code


def set_up_logging(level: str, redact: logging.Filter) -> None:
    """Log to stderr, with journald's priority prefix but on a terminal; no line holds a key."""
    handler = logging.StreamHandler()
    people = logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
    handler.setFormatter(people if sys.stderr.isatty() else _Journald("%(message)s"))
    handler.addFilter(redact)
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


class _Journald(logging.Formatter):
    """Puts the priority that journald understands before each line (sd-daemon(3))."""

    _PRIORITIES = (
        (logging.CRITICAL, 2),
        (logging.ERROR, 3),
        (logging.WARNING, 4),
        (logging.INFO, 6),
    )

    def format(self, record: logging.LogRecord) -> str:
        """Return the line with its prefix."""
        priority = next((code for least, code in self._PRIORITIES if record.levelno >= least), 7)
        text = super().format(record).replace("\n", f"\n<{priority}>")
        return f"<{priority}>{record.name}: {text}"
