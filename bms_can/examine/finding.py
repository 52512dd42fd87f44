"""A finding: something that a log says, with its evidence. Words for it are the reader's affair."""

from collections.abc import Iterable, Mapping
from enum import IntEnum
from typing import NamedTuple

Value = str | int | float | None
Numbers = Mapping[str, Value]


class Weight(IntEnum):
    """How much a person should care."""

    NOTE = 1  # good to know
    LOOK = 2  # needs a look before the profile is trusted
    WRONG = 3  # something does not fit


class Finding(NamedTuple):
    """One finding.

    Attributes:
        kind: key of the tables of words, such as "length".
        weight: how much it matters.
        subject: channel and identifier, message, signal, or "" for the log itself.
        confidence: 0 to 1, that the statement is true and not chance.
        frames: frames that show it; of_frames: of how many.
        first_s, first_line: where it is seen first; None: nowhere in particular.
        numbers: what the words need.
    """

    kind: str
    weight: Weight
    subject: str
    confidence: float
    frames: int
    of_frames: int
    first_s: float | None
    first_line: int | None
    numbers: Numbers

    @property
    def share(self) -> float:
        """Share of the frames that show it, 0 to 1."""
        return self.frames / self.of_frames if self.of_frames else 0.0


def ranked(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return findings with the ones first that a person should read first."""
    return tuple(
        sorted(findings, key=lambda each: (-each.weight, -each.confidence * each.share, each[0:3]))
    )


def identifier(can_id: int, *, extended: bool) -> str:
    """Return an identifier as candump writes it."""
    return f"0x{can_id:08X}" if extended else f"0x{can_id:03X}"
