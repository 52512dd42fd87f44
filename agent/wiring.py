"""Builds the objects of the agent from its configuration. The only place that sees all of it."""

import logging
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from agent import jobs
from agent.buses import (
    BusKey,
    Fan,
    Loaded,
    bus_of,
    bus_warnings,
    device_mistakes,
    forms_of,
    heard_ids,
    settings_of,
)
from agent.clock import Clock
from agent.cloud import Cloud
from agent.config import Config, DeviceConfig
from agent.control_loop import ControlLoop
from agent.deliver import Deliverer
from agent.errors import BadConfig
from agent.facts import own_version
from agent.heartbeat import HeartbeatSender
from agent.held import RequestSender
from agent.journal import Journal
from agent.journal_rows import Stamp
from agent.local import LocalDoor
from agent.local_handlers import handlers
from agent.outbox import Outbox
from agent.outside import Outside
from agent.poll import Poller
from agent.recorder import FlightRecorder
from agent.schedule import Schedule
from agent.site import tighten
from agent.supervisor import Supervisor, Worker, notify_socket
from agent.vitals import Vitals
from agent.wiring_device import Bus, Link, Shared, build_link, sync_name
from bms_can.bus import open_port
from bms_can.profile_load import load_profile
from bms_can.receiver import Receiver

JOURNAL_FILE, QUEUE_FILE = "journal.db", "queue.db"
POLL_STUCK_S = 1200.0  # a long poll lasts 40 s at the most, a back-off up to 900 s
JOB_LATE_S = 120.0  # a report takes 15 s at the most, and its start may wait for others
RX_STUCK_S = 60.0  # opening a bus may block for a while; the wait before it is 1 s at the most
HOUSEKEEPING_S = 6 * 3600.0
DISK_STUCK_S = 600.0  # a worn card stalls for long; a recording is no reason to end the agent
CALLS_OF_A_DEVICE = 2  # at once beside its long poll: a report, and a result

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class System:
    """The whole agent, built and not yet started."""

    links: tuple[Link, ...]
    supervisor: Supervisor
    journal: Journal
    outbox: Outbox
    cloud: Cloud
    schedule: Schedule

    def run(self) -> int:
        """Run until `supervisor.stop`; return the exit code."""
        self.schedule.start()
        try:
            return self.supervisor.run()
        finally:
            self.cloud.close()
            self.schedule.stop()
            self.outbox.close()
            self.journal.close()


def build(config: Config, clock: Clock, outside: Outside | None = None) -> System:
    """Build the agent.

    Args:
        config: what it is to be.
        clock: time.
        outside: the border to the world; None: the real one.

    Raises:
        BadInput: a profile or DBC is wrong.
        BadConfig: two batteries on one bus cannot be told apart.
        JournalFailed, OutboxFailed: the state directory cannot be used.
    """
    world = outside or Outside(
        Cloud, open_port, Schedule, LocalDoor, random.random, load_profile
    )  # looked up here, so that a test may replace one of them
    loaded = [_load(each, config, world) for each in config.devices]
    if mistakes := device_mistakes(loaded):
        raise BadConfig(str(config.path), mistakes)
    for line in bus_warnings(loaded):
        log.warning("%s", line)
    supervisor = Supervisor(clock, notify_socket())
    shared = _shared(config, clock, supervisor, world)
    buses = _buses(loaded, clock, world)
    links = tuple(build_link(shared, each, buses[bus_of(each.config.can)]) for each in loaded)
    for link in links:
        _plan_sync(shared, link)
    job = partial(jobs.housekeeping, shared.journal, clock)
    shared.schedule.every(HOUSEKEEPING_S, job, "housekeeping", HOUSEKEEPING_S)
    supervisor.workers = [
        *_bus_workers(links),
        *(worker for link in links for worker in _workers(link)),
        *_box_workers(shared, links, world),
    ]
    supervisor.on_step = partial(_clock_stepped, shared.schedule, links)
    supervisor.overdue = partial(shared.schedule.overdue, JOB_LATE_S)
    supervisor.on_stop = partial(_leave, shared.cloud, links)
    return System(links, supervisor, shared.journal, shared.outbox, shared.cloud, shared.schedule)


def _load(device: DeviceConfig, config: Config, world: Outside) -> Loaded:
    """Read the profile of a device and tighten its interlocks as the site wants."""
    profile, database = world.load_profile(device.profile)
    tightened, ignored = tighten(profile, config.site)
    for line in ignored:
        log.warning("device %s: [site] %s", device.uid, line)
    return Loaded(device, replace(tightened, channel=None), database)


def _leave(cloud: Cloud, links: Sequence[Link]) -> None:
    """The end has come: first of all nothing is held closed any more, while the bus is open."""
    for link in links:
        if link.request is not None:
            link.request.leave()
    cloud.close()


def _clock_stepped(schedule: Schedule, links: Sequence[Link]) -> None:
    """A certificate that was not valid yet may be valid now: nobody waits for a back-off."""
    schedule.clock_stepped()
    for link in links:
        link.deliverer.retry()
        link.poller.retry()


def _shared(config: Config, clock: Clock, supervisor: Supervisor, world: Outside) -> Shared:
    stamp = Stamp.of(clock)
    journal = Journal(config.state_dir / JOURNAL_FILE, stamp, config.journal_max_bytes)
    facts = {"version": own_version(), "site_override": config.site.override}
    journal.note("start", stamp, facts)
    outbox = Outbox(
        config.state_dir / QUEUE_FILE,
        partial(journal.reserve, "report"),
        stamp.wall,
        max_bytes=config.outbox_max_bytes,
    )
    platform, calls = config.platform, CALLS_OF_A_DEVICE * len(config.devices)
    cloud = world.cloud(
        platform.url, platform.key, clock, platform.deadline_s, platform.ca_file, calls
    )
    schedule = world.schedule(clock, lambda error: supervisor.fail(f"a job raised {error!r}"))
    channels = {each.uid: each.can.channel for each in config.devices}
    recorder = FlightRecorder(config.state_dir, config.recorder, channels, journal, clock)
    return Shared(config, clock, journal, outbox, cloud, schedule, recorder, world.chance)


def _buses(loaded: Sequence[Loaded], clock: Clock, world: Outside) -> dict[BusKey, Bus]:
    """Make one receiver for each bus, however many devices are on it."""
    there: dict[BusKey, list[Loaded]] = {}
    for each in loaded:
        there.setdefault(bus_of(each.config.can), []).append(each)
    return {key: _bus(devices, clock, world) for key, devices in there.items()}


def _bus(devices: Sequence[Loaded], clock: Clock, world: Outside) -> Bus:
    settings = settings_of(devices[0].config.can, heard_ids(devices))
    settings = replace(settings, forms=forms_of(devices))
    uids = ", ".join(each.config.uid for each in devices)
    fan = Fan()
    opens = partial(world.open_port, settings, clock.monotonic_s)
    return Bus(Receiver(opens, fan.take, on_trouble=partial(_note_bus, uids)), fan)


def _note_bus(uids: str, trouble: str) -> None:
    """The bus failed, or works again."""
    if trouble:
        log.warning("device %s: bus: %s", uids, trouble)
    else:
        log.info("device %s: frames arrive again", uids)


def _plan_sync(shared: Shared, link: Link) -> None:
    uid, period_s = link.device.uid, shared.config.platform.sync_period_s
    job = partial(
        jobs.sync, uid, link.observer, shared.cloud, shared.outbox, shared.clock, link.sync
    )
    first_s = shared.chance() * min(1.0, period_s)  # spreads the load of a fleet
    shared.schedule.every(period_s, job, sync_name(uid), first_s)


def _beats(
    part: ControlLoop
    | Receiver
    | Poller
    | Deliverer
    | LocalDoor
    | FlightRecorder
    | HeartbeatSender
    | RequestSender,
) -> Callable[[], int]:
    return lambda: part.beats


def _bus_workers(links: Sequence[Link]) -> list[Worker]:
    """Return one receive thread for each bus, named after the devices on it."""
    uids: dict[int, list[str]] = {}
    for link in links:
        uids.setdefault(id(link.bus), []).append(link.device.uid)
    receivers = {id(link.bus): link.receiver for link in links}
    return [
        Worker(f"can-rx {' '.join(uids[key])}", rx.run, rx.stop, _beats(rx), RX_STUCK_S)
        for key, rx in receivers.items()
    ]


def _workers(link: Link) -> list[Worker]:
    uid, loop, poll, deliver = link.device.uid, link.loop, link.poller, link.deliverer
    beat, held = link.heartbeat, link.request
    return [
        Worker(f"control {uid}", loop.run, loop.stop, _beats(loop)),
        Worker(f"poll {uid}", poll.run, poll.stop, _beats(poll), POLL_STUCK_S),
        Worker(f"deliver {uid}", deliver.run, deliver.stop, _beats(deliver), POLL_STUCK_S),
        *([Worker(f"heartbeat {uid}", beat.run, beat.stop, _beats(beat))] if beat else ()),
        *([Worker(f"request {uid}", held.run, held.stop, _beats(held))] if held else ()),
    ]


def _box_workers(shared: Shared, links: Sequence[Link], world: Outside) -> list[Worker]:
    recorder = shared.recorder
    parts = {link.device.uid: (link.device, link.gate) for link in links}
    beats = {each.device.uid: each.heartbeat.facts for each in links if each.heartbeat}
    requests = {each.device.uid: each.request.facts for each in links if each.request}
    cyclic = {"heartbeat": beats, "request": requests}
    answers = handlers(
        parts, shared.journal, shared.clock, recorder.folder, recorder.counts, cyclic
    )
    vitals = Vitals(links, shared.journal, shared.outbox, recorder.counts, shared.clock)
    answers = {**answers, "vitals": vitals.answer}
    door = world.door(shared.config.state_dir, answers, shared.clock)
    return [
        Worker("door", door.run, door.stop, _beats(door)),
        Worker("recorder", recorder.run, recorder.stop, _beats(recorder), DISK_STUCK_S),
    ]
