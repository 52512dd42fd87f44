"""Builds the objects of the agent from its configuration. The only place that sees all of it."""

import logging
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version

from agent import jobs
from agent.clock import Clock
from agent.cloud import Cloud
from agent.config import Config, DeviceConfig
from agent.control_loop import ControlLoop
from agent.deliver import Deliverer
from agent.device import Device
from agent.executor import Executor, Offer
from agent.facts import DISTRIBUTION, box_facts, doubt_text, lockout_text
from agent.gate import Gate, sent_before
from agent.journal import Journal
from agent.journal_rows import Stamp
from agent.latches import Latches
from agent.local import LocalDoor
from agent.local_handlers import handlers
from agent.observer import Observer
from agent.outbox import Outbox
from agent.poll import Poller
from agent.recorder import FlightRecorder
from agent.schedule import Schedule
from agent.site import tighten
from agent.supervisor import Supervisor, Worker, notify_socket
from bms_can.bus import BusSettings, open_port
from bms_can.control import ControlPort
from bms_can.database import Database
from bms_can.frame import Frame, frame_text
from bms_can.guard import Guard
from bms_can.intake import Intake
from bms_can.profile import Profile
from bms_can.profile_load import load_profile
from bms_can.receiver import Receiver

JOURNAL_FILE, QUEUE_FILE = "journal.db", "queue.db"
POLL_STUCK_S = 1200.0  # a long poll lasts 40 s at the most, a back-off up to 900 s
JOB_LATE_S = 120.0  # a report takes 15 s at the most, and its start may wait for another one
RX_STUCK_S = 60.0  # opening a bus may block for a while; the wait before it is 1.5 s at the most
HOUSEKEEPING_S = 6 * 3600.0
DISK_STUCK_S = 600.0  # a worn card stalls for long; a recording is no reason to end the agent
# python-can drivers that give no own frames back; there "sent" rests on the driver's word.
NO_ECHO = frozenset({"slcan", "serial", "usb2can", "nican", "iscan"})

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Link:
    """Everything that belongs to one device."""

    device: Device
    database: Database
    receiver: Receiver
    loop: ControlLoop
    observer: Observer
    executor: Executor
    poller: Poller
    gate: Gate
    sync: jobs.SyncState


@dataclass(frozen=True, slots=True)
class System:
    """The whole agent, built and not yet started."""

    links: tuple[Link, ...]
    supervisor: Supervisor
    journal: Journal
    outbox: Outbox
    cloud: Cloud
    schedule: Schedule
    deliverer: Deliverer

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


@dataclass(frozen=True, slots=True)
class Shared:
    """What all devices of a box share."""

    config: Config
    clock: Clock
    journal: Journal
    outbox: Outbox
    cloud: Cloud
    deliverer: Deliverer
    schedule: Schedule
    recorder: FlightRecorder


def build(config: Config, clock: Clock) -> System:
    """Build the agent.

    Raises:
        BadInput: a profile or DBC is wrong.
        JournalFailed, OutboxFailed: the state directory cannot be used.
    """
    loaded = [(each, *_profile(each, config)) for each in config.devices]
    supervisor = Supervisor(clock, notify_socket())
    shared = _shared(config, clock, supervisor)
    links = tuple(_link(shared, *each) for each in loaded)
    for link in links:
        _plan_sync(shared, link)
    schedule, deliverer, recorder = shared.schedule, shared.deliverer, shared.recorder
    job = partial(jobs.housekeeping, shared.journal, clock)
    schedule.every(HOUSEKEEPING_S, job, "housekeeping", HOUSEKEEPING_S)
    parts = {link.device.uid: (link.device, link.gate) for link in links}
    answers = handlers(parts, shared.journal, clock, recorder.folder, recorder.counts)
    door = LocalDoor(config.state_dir, answers, clock)
    supervisor.workers = [
        *(worker for link in links for worker in _workers(link)),
        Worker("door", door.run, door.stop, _beats(door)),
        Worker("recorder", recorder.run, recorder.stop, _beats(recorder), DISK_STUCK_S),
        Worker("deliver", deliverer.run, deliverer.stop, _beats(deliverer), POLL_STUCK_S),
    ]
    supervisor.on_step = partial(_clock_stepped, schedule, links, deliverer)
    supervisor.overdue = partial(schedule.overdue, JOB_LATE_S)
    supervisor.on_stop = shared.cloud.close
    return System(
        links, supervisor, shared.journal, shared.outbox, shared.cloud, schedule, deliverer
    )


def _profile(device: DeviceConfig, config: Config) -> tuple[Profile, Database]:
    """Read the profile of a device and tighten its interlocks as the site wants."""
    profile, database = load_profile(device.profile)
    tightened, ignored = tighten(profile, config.site)
    for line in ignored:
        log.warning("device %s: [site] %s", device.uid, line)
    return replace(tightened, channel=None), database


def _clock_stepped(schedule: Schedule, links: tuple[Link, ...], deliverer: Deliverer) -> None:
    """A certificate that was not valid yet may be valid now: nobody waits for a back-off."""
    schedule.clock_stepped()
    deliverer.retry()
    for link in links:
        link.poller.retry()


def _shared(config: Config, clock: Clock, supervisor: Supervisor) -> Shared:
    stamp = Stamp.of(clock)
    journal = Journal(config.state_dir / JOURNAL_FILE, stamp, config.journal_max_bytes)
    facts = {"version": version(DISTRIBUTION), "site_override": config.site.override}
    journal.note("start", stamp, facts)
    outbox = Outbox(
        config.state_dir / QUEUE_FILE,
        partial(journal.reserve, "report"),
        stamp.wall,
        max_bytes=config.outbox_max_bytes,
    )
    platform = config.platform
    cloud = Cloud(platform.url, platform.key, clock, platform.deadline_s, platform.ca_file)
    deliverer = Deliverer(
        cloud=cloud,
        journal=journal,
        outbox=outbox,
        device_uids=[each.uid for each in config.devices],
        clock=clock,
        chance=random.random,
    )
    schedule = Schedule(clock, lambda error: supervisor.fail(f"a job raised {error!r}"))
    channels = {each.uid: each.can.channel for each in config.devices}
    recorder = FlightRecorder(config.state_dir, config.recorder, channels, journal, clock)
    return Shared(config, clock, journal, outbox, cloud, deliverer, schedule, recorder)


def _link(shared: Shared, config: DeviceConfig, profile: Profile, database: Database) -> Link:
    """Build what belongs to one device; its parts call each other in a circle, tied here."""
    clock, journal, uid = shared.clock, shared.journal, config.uid
    settings = _bus_settings(config)
    receiver = Receiver(
        partial(open_port, settings, clock.monotonic_s),
        lambda frame: loop.take(frame),  # noqa: PLW0108 - the loop is built below
        on_trouble=partial(_note_bus, uid),
    )
    control = ControlPort(Guard(profile.guard), lambda: receiver.port, read_only=config.read_only)
    device = Device(
        uid=uid,
        profile=profile,
        intake=Intake(profile, database),
        control=control,
        read_only=config.read_only,
        echo=settings.interface not in NO_ECHO,
        listening_since_s=clock.monotonic_s(),
    )
    wake_sync = partial(shared.schedule.wake, _sync_name(uid))

    def changed() -> None:
        wake_sync()
        shared.deliverer.wake()
        shared.recorder.look(uid, observer.status)

    gate = Gate(
        device,
        partial(lockout_text, journal),
        partial(doubt_text, journal, clock),
        sent_before(journal, uid, clock),
    )
    executor = Executor(device, journal, clock, gate, shared.deliverer.wake)
    box = partial(box_facts, journal, device)
    observer = Observer(device, shared.outbox, clock, box, changed)
    foreign, record = partial(_note_foreign, uid), shared.recorder.tap(uid)
    loop = ControlLoop(device, observer, executor, clock, foreign, record)
    loop.each_pass = Latches(device, journal, clock).step

    def offer(each: Offer) -> None:
        executor.offer(each)
        loop.wake()

    poller = Poller(
        ask=partial(shared.cloud.get_pending, uid, shared.config.platform.poll_wait_s),
        device_uid=uid,
        clock=clock,
        offer=offer,
        wake_sync=wake_sync,
        chance=random.random,
    )
    return Link(
        device, database, receiver, loop, observer, executor, poller, gate, jobs.SyncState()
    )


def _bus_settings(config: DeviceConfig) -> BusSettings:
    bus = config.can
    return BusSettings(bus.interface, bus.channel, bus.bitrate, bus.fd, bus.options)


def _note_bus(uid: str, trouble: str) -> None:
    """The bus failed, or works again."""
    if trouble:
        log.warning("device %s: bus: %s", uid, trouble)
    else:
        log.info("device %s: frames arrive again", uid)


def _note_foreign(uid: str, frame: Frame) -> None:
    """Another node uses our control identifier."""
    text = frame_text(frame.can_id, frame.extended, frame.data)
    log.error(
        "device %s: another node sends control frame %s; remote closes are refused", uid, text
    )


def _plan_sync(shared: Shared, link: Link) -> None:
    uid, period_s = link.device.uid, shared.config.platform.sync_period_s
    job = partial(
        jobs.sync, uid, link.observer, shared.cloud, shared.outbox, shared.clock, link.sync
    )
    first_s = random.uniform(0, min(1.0, period_s))  # noqa: S311 - spreads load, no secret
    shared.schedule.every(period_s, job, _sync_name(uid), first_s)


def _sync_name(uid: str) -> str:
    return f"sync {uid}"


def _beats(
    part: ControlLoop | Receiver | Poller | Deliverer | LocalDoor | FlightRecorder,
) -> Callable[[], int]:
    return lambda: part.beats


def _workers(link: Link) -> list[Worker]:
    uid, rx, loop, poll = link.device.uid, link.receiver, link.loop, link.poller
    return [
        Worker(f"can-rx {uid}", rx.run, rx.stop, _beats(rx), RX_STUCK_S),
        Worker(f"control {uid}", loop.run, loop.stop, _beats(loop)),
        Worker(f"poll {uid}", poll.run, poll.stop, _beats(poll), POLL_STUCK_S),
    ]
