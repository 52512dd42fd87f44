"""What can go wrong on the CAN side. A class exists only where the caller acts differently.

BmsError
|-- BadInput         a file a person wrote or recorded  -> show every mistake, exit 78
|   |-- BadDatabase  the DBC cannot serve               -> same
|   |-- BadProfile   the profile does not fit           -> same
|   `-- TwoBuses     a log mixes two buses              -> same, and nothing is made of the rest
|-- BadFrame         this one frame is unusable         -> count it by reason, drop it, go on
|-- BadValue         a signal cannot carry this    -> a mistake in the profile or the caller
|-- BadLogLine       this one log line is unusable      -> count it with its number, go on
|-- BusDown          the interface is gone              -> wait, reopen
|-- SendFailed       the frame was not taken            -> the command fails, never sent again
`-- FrameRefused     the guard kept it off the bus      -> report it, never retry
"""

from collections.abc import Sequence


class BmsError(Exception):
    """Base of every error this package raises on purpose."""


class BadInput(BmsError):
    """A file is wrong. All mistakes found are in `mistakes`, one line each."""

    def __init__(self, path: str, mistakes: Sequence[str]) -> None:
        """Keep the file and every mistake, so that a person can mend all of them at once."""
        self.path = path
        self.mistakes = tuple(mistakes)
        super().__init__("\n".join(f"{path}: {mistake}" for mistake in self.mistakes))


class BadDatabase(BadInput):
    """The DBC cannot be loaded, or lacks what is needed."""


class BadProfile(BadInput):
    """The profile is malformed or does not fit its DBC."""


class TwoBuses(BadInput):
    """One identifier comes on two channels of a log, and nobody said which is meant."""


class BadFrame(BmsError):
    """A frame that must change nothing.

    `reason` is one of the words in `REASONS`; `detail` is for a person.
    """

    REASONS = (
        "length",  # not the length that the DBC declares
        "mux",  # multiplexer value without a page in the DBC
        "checksum",
        "counter",  # rolling counter repeated, or wrong too often
    )

    def __init__(self, reason: str, detail: str) -> None:
        """Keep the reason apart, because frames are counted by it."""
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class BadValue(BmsError):
    """A value does not fit its signal, or the values do not make up the message."""


class BadLogLine(BmsError):
    """A line of a log file that holds no usable frame."""

    def __init__(self, line_number: int, reason: str, text: str) -> None:
        """Keep the line number; `text` is the start of the line."""
        super().__init__(f"line {line_number}: {reason}: {text!r}")
        self.line_number = line_number
        self.reason = reason


class BusDown(BmsError):
    """The CAN interface is missing, down, or has failed; reopening may help."""


class SendFailed(BmsError):
    """The operating system or adapter did not take the frame."""


class FrameRefused(BmsError):
    """The guard kept a frame off the bus."""

    def __init__(self, rule: str, detail: str) -> None:
        """Keep the rule, so that the platform can be told which one it was."""
        super().__init__(f"{rule}: {detail}")
        self.rule = rule
        self.detail = detail
