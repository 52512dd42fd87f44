"""Code for batteries whose frames a DBC cannot describe: the extension point of a profile. Pure.

A profile names a family: `family = "NAME"` in [profile]. The family turns the frames of the bus
into frames that the DBC describes: it puts together what came in several frames, or takes off what
a DBC has no words for. It only hears: it can send nothing, and what it returns is checked, decoded
and judged as if it had come from the bus.

A family is a class in an installed package, found by the entry point group `bms_can.families`; no
path and no text of a profile is ever run. It is imported only when a profile names it.
"""

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Protocol, cast

from bms_can.coverage import Coverage
from bms_can.database import Database
from bms_can.errors import BadFrame, BadProfile
from bms_can.frame import Frame
from bms_can.intake import Intake
from bms_can.profile import Profile
from bms_can.signals import Sample

GROUP = "bms_can.families"
BUILT_IN = {"isotp": "bms_can.isotp:IsoTp"}


class Family(Protocol):
    """Belongs to one device and one thread; may keep what it has heard."""

    def translate(self, frame: Frame) -> Frame | None:
        """Return the frame that the DBC describes, or None while there is none yet.

        Keep `at_s` and `channel`. Frames that are none of its business are returned as they are.

        Raises:
            BadFrame: this frame breaks the battery's own rules; it is counted by its reason.
        """


class Spoken(Family, Protocol):
    """A family that a simulated battery can speak: what it hears, turned round.

    Attributes:
        simulated: in which way a simulated battery is not a real one; for people.
    """

    simulated: str

    def as_sent(self, frame: Frame) -> list[Frame]:
        """Return what the bus carries for a frame as the DBC describes it.

        Raises:
            BadFrame: no battery of this family sends such a frame.
        """


Make = Callable[[Mapping[str, object]], Family]
"""From the profile's table [family]; ValueError says what is wrong with it."""


def find(name: str) -> Make | None:
    """Return the maker of a family, None if no installed package has it.

    Raises:
        ImportError, AttributeError: an installed package announces it and does not have it.
    """
    if name in BUILT_IN:
        module, _, attribute = BUILT_IN[name].partition(":")
        return getattr(import_module(module), attribute)  # type: ignore[no-any-return]  # a Make by contract
    from importlib.metadata import entry_points  # noqa: PLC0415 - 20 ms, and hardly ever needed

    for each in entry_points(group=GROUP, name=name):
        return each.load()  # type: ignore[no-any-return]  # a Make by contract
    return None


def made(profile: Profile) -> Family | None:
    """Return a new family for one device, None for a profile without one.

    Raises:
        BadProfile: it is not installed, cannot be imported, or refuses its table [family].
    """
    if not profile.family:
        return None
    try:
        make = find(profile.family)
        if make is None:
            raise BadProfile(profile.path, [f"profile.family: no package has {profile.family!r}"])
        return make(profile.family_options)
    except (ImportError, AttributeError) as error:
        raise BadProfile(profile.path, [f"profile.family: {profile.family}: {error}"]) from error
    except ValueError as error:
        raise BadProfile(profile.path, [f"family: {error}"]) from error


def speaker(profile: Profile) -> Spoken | None:
    """Return what turns the frames of a simulated battery round, None for a profile without family.

    Raises:
        BadProfile: its family has no `as_sent`, or see `made`.
    """
    family = made(profile)
    if family is not None and not hasattr(family, "as_sent"):
        why = f"profile.family: {profile.family} cannot be simulated: it has no method as_sent"
        raise BadProfile(profile.path, [why])
    return cast("Spoken | None", family)


class TranslatingIntake(Intake):
    """An intake behind a family. Counts what it hears as the other does."""

    def __init__(self, profile: Profile, database: Database, family: Family) -> None:
        super().__init__(profile, database)
        self._family = family

    def take(self, frame: Frame) -> bool:
        """See Intake. Every new payload counts as news: the same bytes may mean something else."""
        translated = self._translated(frame)
        accepted = None if translated is None else super().accept(translated)
        return accepted is not None and self.store(*accepted, translated or frame)

    def take_many(self, frames: Sequence[Frame]) -> bool:
        """See Intake. Only the family knows what a frame is: each is shown to it."""
        return self.take_each(frames)

    def accept(self, frame: Frame) -> tuple[str, dict[str, Sample]] | None:
        """See Intake."""
        translated = self._translated(frame)
        return None if translated is None else super().accept(translated)

    def _translated(self, frame: Frame) -> Frame | None:
        try:
            translated = self._family.translate(frame)
        except BadFrame as bad:
            self.bad[bad.reason] += 1
            translated = None
        self.frames += translated is None
        return translated


class TranslatingCoverage(Coverage):
    """A count behind a family. A frame that became part of another one counts as explained."""

    def __init__(self, database: Database, channel: str | None, family: Family) -> None:
        super().__init__(database, channel)
        self._family = family

    def take(self, frame: Frame) -> None:
        """See Coverage."""
        try:
            translated = self._family.translate(frame)
        except BadFrame:
            translated = frame  # what the DBC says to it as it is
        if translated is not None:
            super().take(translated)
            return
        self.frames += 1
        self.known += 1
        self.decoded += 1


def coverage_of(profile: Profile | None, database: Database, channel: str | None) -> Coverage:
    """Return a count of one log against one DBC, with the family of the profile, if any.

    Raises:
        BadProfile: see `made`.
    """
    family = None if profile is None else made(profile)
    if family is None:
        return Coverage(database, channel)
    return TranslatingCoverage(database, channel, family)


def intake_of(profile: Profile, database: Database) -> Intake:
    """Return the way in for one device: with its family, where the profile names one.

    Raises:
        BadProfile: see `made`.
    """
    family = made(profile)
    return (
        Intake(profile, database)
        if family is None
        else TranslatingIntake(profile, database, family)
    )
