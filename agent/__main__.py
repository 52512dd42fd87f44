"""`bms-agent`, also as `python -m agent`."""

import sys

INTERRUPTED = 130  # 128 + SIGINT, as shells say it


def main() -> int:
    """Run the command line; Ctrl-C ends it without a traceback, also while modules are loaded."""
    try:
        from agent.cli import main as run  # noqa: PLC0415 - the import is what may be interrupted

        return run()
    except KeyboardInterrupt:
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
