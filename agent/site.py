"""[site]: what a site demands beyond the profile's interlocks. Pure.

The keys are those of the profile's [interlocks]. The stricter value wins, whoever says it; a looser
one is named, so that nobody believes in it. With `override = "reason"` the site's values replace
the profile's, and the reason goes into the journal.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Any

from bms_can.profile import InterlockRules, Profile
from bms_can.toml_table import Table

SITE_NUMBERS: Mapping[str, Callable[[float, float], float]] = {
    "steady_s": max,
    "close_interval_s": max,
    "close_max": min,
    "close_window_s": max,
    "reset_max": min,
    "reset_window_s": max,
    "open_max_current_a": min,  # a lower limit waits more often before it opens under load
    "open_wait_s": max,
}
_INTEGERS = frozenset({"close_max", "reset_max"})
_LIMIT_S = 86_400.0
_OPEN_WAIT_LIMIT_S = 30.0  # open is the safe direction: it must not be put off for long


@dataclass(frozen=True, slots=True)
class SiteRules:
    """The site's demands.

    Attributes:
        numbers: key of [interlocks] to value, only those given.
        tolerated_alarms: globs of alarm keys that need not block a close; None: not given.
        override: why the site's values replace the profile's; "" means the stricter wins.
    """

    numbers: Mapping[str, float] = field(default_factory=dict)
    tolerated_alarms: tuple[str, ...] | None = None
    override: str = ""


def read_site(table: Table) -> SiteRules:
    """Read the section; mistakes are recorded in the table."""
    numbers: dict[str, float] = {}
    for key in SITE_NUMBERS:
        limit = _OPEN_WAIT_LIMIT_S if key == "open_wait_s" else _LIMIT_S
        value = (
            table.integer(key, None, minimum=0, maximum=1000)
            if key in _INTEGERS
            else table.number(key, None, minimum=0, maximum=limit)
        )
        if value is not None:
            numbers[key] = value
    tolerated = table.texts("tolerated_alarms", None)
    return SiteRules(numbers, tolerated, table.text("override", ""))


def tighten(profile: Profile, site: SiteRules) -> tuple[Profile, tuple[str, ...]]:
    """Return the profile with the site's interlocks, and a line for each that was not taken."""
    changes: dict[str, Any] = {}
    ignored: list[str] = []
    for key, value in site.numbers.items():
        before = getattr(profile.interlocks, key)
        stricter = value if before is None or site.override else SITE_NUMBERS[key](before, value)
        changes[key] = stricter
        if stricter != value:
            ignored.append(f"site.{key} = {value} is looser than the profile's {before}: ignored")
    if site.tolerated_alarms is not None:
        tolerated, more = _tolerated(profile, site, site.tolerated_alarms)
        changes["tolerated_alarms"] = tolerated
        ignored += more
    rules: InterlockRules = replace(profile.interlocks, **changes)
    return replace(profile, interlocks=rules), tuple(ignored)


def _tolerated(
    profile: Profile, site: SiteRules, globs: tuple[str, ...]
) -> tuple[frozenset[str], list[str]]:
    keys = {alarm.key for alarm in profile.alarms}
    wanted = {key for key in keys if any(fnmatchcase(key, glob) for glob in globs)}
    lost = [
        f"site.tolerated_alarms: {glob} is no alarm of the profile"
        for glob in globs
        if not any(fnmatchcase(key, glob) for key in keys)
    ]
    if site.override:
        return frozenset(wanted), lost
    looser = sorted(wanted - profile.interlocks.tolerated_alarms)
    lost += [
        f"site.tolerated_alarms: {key} blocks a close in the profile: ignored" for key in looser
    ]
    return profile.interlocks.tolerated_alarms & wanted, lost
