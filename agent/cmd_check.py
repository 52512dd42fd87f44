"""bms-agent check: is a configuration, or a profile with its DBC, complete and coherent?"""

import os
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path

from agent.buses import Loaded, bus_warnings, device_mistakes
from agent.config import Config, load
from agent.errors import BadConfig
from agent.site import tighten
from bms_can.database import Database
from bms_can.frame import frame_text
from bms_can.profile import CommandCode, CommandPlan, InterlockRules, Profile, StatusRule
from bms_can.profile_load import load_profile
from bms_can.toml_table import read_toml


def main(arguments: Namespace) -> int:
    """Check one file; wrong input raises, with every mistake."""
    if "profile" in read_toml(arguments.file):
        lines = profile_lines(*load_profile(arguments.file, arguments.dbc))
    else:
        lines = config_lines(load(arguments.file, os.environ))
    for line in lines:
        print(line)  # noqa: T201 - the command's output
    return 0


def config_lines(config: Config) -> Iterator[str]:
    """Yield what a good configuration says, and check each of its profiles.

    Raises:
        BadInput: a profile or DBC is wrong.
        BadConfig: two batteries on one bus cannot be told apart.
    """
    platform = config.platform
    found = [Loaded(device, *load_profile(device.profile)) for device in config.devices]
    yield f"platform    {platform.url}, a report every {platform.sync_period_s:g} s"
    yield f"key         from {platform.key_file}"
    yield f"state       {config.state_dir}"
    for device, profile, database in found:
        mode = "listens only" if device.read_only else "may send commands"
        mode += ", with its heartbeat" if device.heartbeat else ""
        sends = profile.held is not None and not device.read_only
        mode += ", sends its request all the time" if sends else ""
        yield f"device      {device.uid} on {device.can.interface} {device.can.channel}, {mode}"
        tightened, ignored = tighten(profile, config.site)
        yield from (f"  {line}" for line in profile_lines(tightened, database))
        yield from (f"  warning     {line}" for line in ignored)
    if config.site.override:
        yield f"override    [site] replaces what the profiles say: {config.site.override}"
    if mistakes := device_mistakes(found):
        raise BadConfig(str(config.path), mistakes)
    yield from (f"warning     {line}" for line in bus_warnings(found))
    yield "good: bms-agent run would start with this"


def profile_lines(profile: Profile, database: Database) -> Iterator[str]:
    """Yield what a good profile says, for a person to compare with the battery's manual."""
    yield f"profile     {profile.name} ({profile.path})"
    count = len(database.messages)
    yield f"DBC         {database.path}, {count} messages, read as {database.encoding}"
    for warning in database.warnings:
        yield f"warning     {warning}"
    yield f"status      {_status_words(profile.status)}"
    for message in profile.required:
        deadline_ms = profile.deadlines_s[message] * 1000
        yield f"required    {message}, at the latest every {deadline_ms:g} ms"
    yield f"alarms      {len(profile.alarms)}"
    yield f"telemetry   {len(profile.telemetry)} fields"
    for code, plan in profile.commands.items():
        first = plan.frames[0]
        text = frame_text(first.can_id, first.extended, first.data)
        yield f"command     {int(code)} {code.name.lower()}: {text}, {_times(profile, plan)}"
    if (held := profile.held) is not None:
        text = frame_text(held.rest.can_id, held.rest.extended, held.rest.data)
        yield f"request     {text} at rest, every {held.period_s * 1000:g} ms; closes are held"
    if (beat := profile.heartbeat) is not None:
        first = beat.frames[0]
        text = frame_text(first.can_id, first.extended, first.data)
        yield f"heartbeat   {text} every {beat.period_s * 1000:g} ms, where it is switched on"
    if profile.read_only_reason:
        yield f"read-only   {profile.read_only_reason}"
    else:
        yield f"interlocks  {_interlock_words(profile.interlocks)}"
    yield f"good: {Path(profile.path).name} fits its DBC"


def _times(profile: Profile, plan: CommandPlan) -> str:
    """Return how often the frame of a command goes out."""
    held = profile.held
    if held is not None and plan.code is CommandCode.CLOSE_CONTACTOR:
        return f"every {held.period_s * 1000:g} ms until its hold ends"
    period_s = plan.period_s if held is None else held.period_s
    return f"{plan.repeat} x every {period_s * 1000:g} ms" if plan.repeat > 1 else "once"


def _interlock_words(rules: InterlockRules) -> str:
    limit_a = rules.open_max_current_a
    words = [
        f"steady {rules.steady_s:g} s",
        f"close {rules.close_max} in {rules.close_window_s:g} s, each {rules.close_interval_s:g} s",
        f"reset {rules.reset_max} in {rules.reset_window_s:g} s",
        "open never waits"
        if limit_a is None
        else f"open waits above {limit_a:g} A for {rules.open_wait_s:g} s",
        f"tolerated alarms: {', '.join(sorted(rules.tolerated_alarms)) or 'none'}",
    ]
    return "; ".join(words)


def _status_words(rule: StatusRule) -> str:
    if rule.state is not None:
        return f"from {rule.state.signal}"
    if rule.unknown:
        return f"always unknown: {rule.unknown}"
    contactors = [] if rule.contactor is None else [each.signal for each in rule.contactor.signals]
    words = f"contactor {', '.join(contactors)}" if contactors else "no contactor feedback"
    if rule.current is None:
        return words
    sign = "charging" if rule.current.sign > 0 else "discharging"
    return f"{words}; current {rule.current.signal}, positive = {sign}"
