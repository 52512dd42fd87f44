"""What the parsers of all commands have in common."""

import argparse

Commands = argparse._SubParsersAction  # noqa: SLF001 - argparse has no public name for it


def formatter(prog: str) -> argparse.HelpFormatter:
    """Return what lays out the help."""
    return argparse.RawDescriptionHelpFormatter(prog, max_help_position=32, width=100)


def command(
    commands: "Commands[argparse.ArgumentParser]", name: str, text: str, example: str
) -> argparse.ArgumentParser:
    """Add a command: what it does in a sentence, and examples behind its options."""
    return commands.add_parser(
        name, help=text, description=text, epilog=example, formatter_class=formatter
    )
