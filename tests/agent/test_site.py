"""The site's interlocks: the stricter wins, a looser one is named."""

from dataclasses import replace
from functools import cache

import pytest

from agent.config import PROFILES
from agent.site import SiteRules, read_site, tighten
from bms_can.profile import InterlockRules, Profile
from bms_can.profile_load import load_profile
from bms_can.toml_table import Table

RULES = InterlockRules(steady_s=3.0, close_max=3, close_window_s=600.0, open_max_current_a=None)


@cache
def shipped() -> Profile:
    """Load the default battery once."""
    return load_profile(PROFILES / "ess_bau.toml")[0]


def profile(**changes: object) -> Profile:
    """Return the default battery with these interlocks."""
    return replace(shipped(), interlocks=replace(RULES, **changes))  # type: ignore[arg-type]


def site(**keys: object) -> SiteRules:
    """Read a [site] section."""
    table = Table(keys)
    rules = read_site(table)
    assert table.finish() == ()
    return rules


def test_stricter_is_taken() -> None:
    """Longer waits and smaller counts than the profile's count."""
    demands = site(steady_s=10, close_max=1, open_max_current_a=20)
    changed, ignored = tighten(profile(), demands)
    rules = changed.interlocks
    assert (rules.steady_s, rules.close_max, rules.open_max_current_a) == (10.0, 1, 20.0)
    assert rules.close_window_s == 600.0
    assert ignored == ()


def test_looser_is_named_and_not_taken() -> None:
    """A looser value changes nothing and is told."""
    changed, ignored = tighten(profile(), site(steady_s=1, close_max=9))
    assert changed.interlocks == RULES
    assert ignored == (
        "site.steady_s = 1.0 is looser than the profile's 3.0: ignored",
        "site.close_max = 9 is looser than the profile's 3: ignored",
    )


def test_override_takes_all() -> None:
    """With a reason the site's word stands, also the looser one."""
    changed, ignored = tighten(profile(), site(steady_s=1, override="commissioning"))
    assert changed.interlocks.steady_s == 1.0
    assert ignored == ()


def test_tolerated_alarms_can_only_shrink() -> None:
    """The site may take alarms off the list of tolerated ones, not add any."""
    first, second, *_ = (alarm.key for alarm in shipped().alarms)
    tolerant = profile(tolerated_alarms=frozenset({first, second}))
    assert tighten(tolerant, site(tolerated_alarms=[]))[0].interlocks.tolerated_alarms == set()
    changed, ignored = tighten(tolerant, site(tolerated_alarms=[second, "no_such_*"]))
    assert changed.interlocks.tolerated_alarms == {second}
    assert ignored == ("site.tolerated_alarms: no_such_* is no alarm of the profile",)
    changed, ignored = tighten(profile(), site(tolerated_alarms=[first]))
    assert changed.interlocks.tolerated_alarms == frozenset()
    assert ignored == (f"site.tolerated_alarms: {first} blocks a close in the profile: ignored",)


def test_override_may_tolerate() -> None:
    """With a reason an alarm can be tolerated that the profile does not tolerate."""
    first = shipped().alarms[0].key
    changed, _ = tighten(profile(), site(tolerated_alarms=[first], override="sensor swap"))
    assert changed.interlocks.tolerated_alarms == {first}


@pytest.mark.parametrize(
    ("key", "value", "mistake"),
    [
        ("steady_s", -1, "steady_s: must be at least 0, not -1.0"),
        ("close_max", 1.5, "close_max: must be an integer, not a number"),
        ("open_wait_s", 60, "open_wait_s: must be at most 30.0, not 60.0"),
        ("stedy_s", 3, 'stedy_s: is not a known key; did you mean "steady_s"?'),
    ],
)
def test_mistakes(key: str, value: object, mistake: str) -> None:
    """A wrong demand is refused at load."""
    table = Table({key: value})
    read_site(table)
    assert table.finish() == (mistake,)
