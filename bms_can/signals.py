"""Newest value of each signal, and when its message was heard: immutable values. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple


class Sample(NamedTuple):
    """One decoded signal.

    Attributes:
        raw: the integer (or float) as it stands in the frame, before factor and offset.
        value: the physical value in the DBC's unit, or None where it is out of the declared range,
            a sentinel, or NaN: heard, but unknown.
        at_s: time of its frame [s].
    """

    raw: int | float
    value: int | float | None
    at_s: float


@dataclass(frozen=True, slots=True)
class Heard:
    """When a message was heard.

    Attributes:
        at_s: time of the newest valid frame [s].
        steady_since_s: time since when no gap was longer than the message's deadline [s].
        count: valid frames so far.
    """

    at_s: float
    steady_since_s: float
    count: int


@dataclass(frozen=True, slots=True)
class Signals:
    """A snapshot: immutable, safe to hand to any thread.

    Attributes:
        samples: newest sample by "Message.Signal".
        heard: reception of each message by name.
    """

    samples: Mapping[str, Sample] = field(default_factory=dict)
    heard: Mapping[str, Heard] = field(default_factory=dict)

    def fresh(self, signal: str, *, now_s: float, max_age_s: float) -> Sample | None:
        """Return the sample if it is known and not older than `max_age_s`, else None."""
        sample = self.samples.get(signal)
        if sample is None or now_s - sample.at_s > max_age_s:
            return None
        return sample
