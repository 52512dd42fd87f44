"""bms-agent doctor: is everything here as it should be, and if not, what mends it?"""

import json
import os
import re
import sys
from argparse import Namespace
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from shlex import quote
from typing import NamedTuple

from agent.battery_words import battery_of
from agent.buses import bus_of, settings_of
from agent.clock import Clock, SystemClock
from agent.config import Config, load
from agent.doctor import FAIL, UNKNOWN, Finding, Verdict, examine, exit_code
from agent.doctor_agent_rules import AGENT_RULES
from agent.doctor_box_rules import BOX_RULES, DISK_RULES, PLATFORM_RULES
from agent.doctor_bus_rules import BUS_RULES
from agent.doctor_facts import AgentFacts, HeardFacts
from agent.doctor_heard_rules import HEARD_RULES
from agent.doctor_listen import Recording, judge_recording, record
from agent.doctor_look import (
    look_at_agent,
    look_at_box,
    look_at_bus,
    look_at_disk,
    look_at_platform,
)
from agent.options import bus_settings
from bms_can.bus import BusSettings
from bms_can.database import Database
from bms_can.errors import BadInput
from bms_can.profile import Profile
from bms_can.profile_load import load_profile

EXIT_USAGE = 2
SOCKETCAN = "socketcan"
NO_AGENT = AgentFacts("", held=None)
COLOURS = {"ok": "\x1b[32m", "warn": "\x1b[33m", "fail": "\x1b[1;31m", "unknown": "\x1b[36m"}
PLAIN = "\x1b[0m"
_BAUDRATE = re.compile(rb'^BA_\s+"Baudrate"\s+(\d+)\s*;', re.MULTILINE)


class Battery(NamedTuple):
    """A name, and what to hold the frames against; `heartbeat`: ours is switched on."""

    name: str
    database: Database | None
    profile: Profile | None
    heartbeat: bool = False


@dataclass(frozen=True, slots=True)
class Place:
    """One bus to look at, and the batteries on it."""

    settings: BusSettings
    batteries: tuple[Battery, ...]
    commands: bool


def main(arguments: Namespace) -> int:
    """Look at everything, and say what is wrong; 1 if anything is to be mended."""
    if arguments.config is None and not (arguments.interface and arguments.channel):
        text = "bms-agent doctor: give agent.toml, or a bus by -i and -c"
        print(text, file=sys.stderr)  # noqa: T201 - the command's output
        return EXIT_USAGE
    findings = list(_all(arguments, SystemClock()))
    if arguments.json:
        lines: Iterator[str] = iter([json.dumps([each._asdict() for each in findings], indent=1)])
    else:
        lines = doctor_lines(findings, colour=sys.stdout.isatty() and "NO_COLOR" not in os.environ)
    for line in lines:
        print(line)  # noqa: T201 - the command's output
    return exit_code(findings)


def doctor_lines(findings: Sequence[Finding], *, colour: bool) -> Iterator[str]:
    """Yield one line for each finding, with its mending below it, and the sum."""
    width = max((len(each.check) for each in findings), default=0)
    for check, verdict, said, mend in findings:
        word = f"{verdict.value:7}"
        shown = f"{COLOURS[verdict]}{word}{PLAIN}" if colour else word
        yield f"{shown}  {check:{width}}  {said}"
        if mend:
            yield f"{'':{width + 11}}-> {mend}"
    counts = {verdict: sum(each.verdict is verdict for each in findings) for verdict in Verdict}
    named = ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count)
    done = "something is to be mended" if exit_code(findings) else "nothing is to be mended"
    yield f"{named}: {done}"


def _all(arguments: Namespace, clock: Clock) -> Iterator[Finding]:
    yield from examine(BOX_RULES, look_at_box(clock), "machine")
    if arguments.config is None:
        yield from _buses([_bare(arguments)], clock, arguments.listen_s, NO_AGENT)
        return
    try:
        config = load(arguments.config, os.environ)
        places = _places(config)
    except BadInput as error:
        mend = f"bms-agent check {quote(str(arguments.config))}"
        yield from (Finding("configuration", FAIL, line, mend) for line in str(error).splitlines())
        return
    agent = look_at_agent(config)
    yield from examine(DISK_RULES, look_at_disk(config), "state")
    uids = [device.uid for device in config.devices]
    yield from examine(PLATFORM_RULES, look_at_platform(config.platform, clock, uids), "platform")
    yield from examine(AGENT_RULES, agent, "agent")
    yield from _buses(places, clock, arguments.listen_s, agent)


def _places(config: Config) -> list[Place]:
    """Return the buses of a configuration, each once."""
    loaded = {device.uid: load_profile(device.profile) for device in config.devices}
    found = []
    for key in dict.fromkeys(bus_of(device.can) for device in config.devices):
        here = [device for device in config.devices if bus_of(device.can) == key]
        settings = settings_of(here[0].can)
        batteries = tuple(
            Battery(each.uid, loaded[each.uid][1], loaded[each.uid][0], each.heartbeat)
            for each in here
        )
        found.append(Place(settings, batteries, any(not each.read_only for each in here)))
    return found


def _bare(arguments: Namespace) -> Place:
    """Return the bus of the command line."""
    settings = bus_settings(arguments)
    profile, database = battery_of(arguments)
    return Place(settings, (Battery(settings.channel, database, profile),), commands=False)


def _buses(
    places: Sequence[Place], clock: Clock, listen_s: float, agent: AgentFacts
) -> Iterator[Finding]:
    """Look at all buses; they are listened to at the same time."""
    for place in places:
        yield from _interface(place, agent)
    with ThreadPoolExecutor(len(places)) as pool:
        heard = pool.map(lambda place: record(place.settings, clock, listen_s), places)
        for place, recording in zip(places, heard, strict=True):
            for battery in place.batteries:
                yield from _heard(place, battery, recording, listen_s, ours=bool(agent.held))


def _interface(place: Place, agent: AgentFacts) -> Iterator[Finding]:
    settings = place.settings
    if settings.interface != SOCKETCAN:
        said = f"{settings.interface} is python-can's own; the kernel knows nothing of it"
        yield Finding(f"{settings.channel} interface", UNKNOWN, said)
        return
    wanted = settings.bitrate or _dbc_bitrate(place.batteries)
    facts = look_at_bus(settings, wanted, commands=place.commands)
    facts = replace(facts, agent_may=agent.net_admin)
    yield from examine(BUS_RULES, facts, settings.channel)


def _dbc_bitrate(batteries: Sequence[Battery]) -> int | None:
    """Return what a DBC says about the bit rate (attribute Baudrate); None if none does."""
    for _, database, *_ in batteries:
        found = None if database is None else _BAUDRATE.search(Path(database.path).read_bytes())
        if found is not None and int(found[1]):
            return int(found[1])
    return None


def _heard(
    place: Place, battery: Battery, heard: Recording, listen_s: float, *, ours: bool
) -> Iterator[Finding]:
    name, database, profile, heartbeat = battery
    settings = place.settings
    command = f"bms-agent monitor -i {settings.interface} -c {settings.channel}"
    if settings.interface == SOCKETCAN:
        command = f"candump {settings.channel}"
    before = HeardFacts(command, listen_s, ours=ours)
    facts = judge_recording(before, heard, database, profile, heartbeat=heartbeat)
    yield from examine(HEARD_RULES, facts, name)
