"""Builds what belongs to one device; its parts call each other in a circle, tied here."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from agent import jobs
from agent.buses import NO_ECHO, Fan, Loaded
from agent.clock import Clock
from agent.cloud import Cloud
from agent.config import Config
from agent.control_loop import ControlLoop
from agent.deliver import Deliverer
from agent.device import Device
from agent.executor import Executor, Offer
from agent.facts import box_facts, doubt_text, lockout_text
from agent.gate import Gate, sent_before
from agent.heartbeat import HeartbeatSender, allowed
from agent.held import RequestSender
from agent.held_session import HeldSession
from agent.journal import Journal
from agent.latches import Latches
from agent.observer import Observer
from agent.outbox import Outbox
from agent.poll import Poller
from agent.recorder import FlightRecorder
from agent.schedule import Schedule
from bms_can.control import ControlPort
from bms_can.database import Database
from bms_can.families import intake_of
from bms_can.frame import Frame, frame_text
from bms_can.guard import Guard
from bms_can.receiver import Receiver

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Bus:
    """An open bus, who hears it, and who sends on it: all devices on it share these."""

    receiver: Receiver
    fan: Fan
    senders: dict[str, ControlPort] = field(default_factory=dict)

    def doubt(self, uid: str) -> str:
        """Return why a frame of a device could be late or lost here now, "" while all is well.

        A lost frame of any device may still wait in the queue that all of them share. A node that
        babbles may keep ours waiting, and what it says in another's name is no word to rest on.
        """
        lost = (
            f"{other}: {sender.unsafe or sender.stuck}"
            for other, sender in self.senders.items()
            if other != uid and (sender.unsafe or sender.stuck)
        )
        return self.receiver.doubt or self.receiver.babble.text or next(lost, "")


@dataclass(frozen=True, slots=True)
class Link:
    """Everything that belongs to one device; `bus` may belong to others, too."""

    device: Device
    database: Database
    bus: Bus
    loop: ControlLoop
    observer: Observer
    executor: Executor
    poller: Poller
    deliverer: Deliverer
    gate: Gate
    sync: jobs.SyncState
    heartbeat: HeartbeatSender | None
    request: RequestSender | None = None

    @property
    def receiver(self) -> Receiver:
        """What receives the frames of its bus."""
        return self.bus.receiver


@dataclass(frozen=True, slots=True)
class Shared:
    """What all devices of a box share."""

    config: Config
    clock: Clock
    journal: Journal
    outbox: Outbox
    cloud: Cloud
    schedule: Schedule
    recorder: FlightRecorder
    chance: Callable[[], float]


def sync_name(uid: str) -> str:
    """Return the name of the job that reports a device."""
    return f"sync {uid}"


def build_link(shared: Shared, loaded: Loaded, bus: Bus) -> Link:
    """Build the parts of one device and let it hear its bus."""
    clock, uid = shared.clock, loaded.config.uid
    device = _device(loaded, bus, clock)
    deliverer = _deliverer(shared, uid)
    gate = _gate(shared.journal, device, clock)
    request = _request(device, shared, gate)
    session = None if request is None else HeldSession(device, gate.stops, clock, request)
    executor = Executor(device, shared.journal, clock, gate, deliverer.wake, session)
    observer = _observer(shared, device, deliverer, request)
    foreign, record = partial(_note_foreign, uid), shared.recorder.tap(uid)
    loop = ControlLoop(device, observer, executor, clock, foreign, record)
    heartbeat = _heartbeat(loaded, device, shared, bus)
    renewed = [each.renew for each in (heartbeat, request) if each is not None]
    loop.each_pass = _each_pass(Latches(device, shared.journal, clock), renewed)
    bus.fan.takes += (loop.take_many,)

    def offer(each: Offer) -> None:
        executor.offer(each)
        loop.wake()

    poller = Poller(
        ask=partial(shared.cloud.get_pending, uid, shared.config.platform.poll_wait_s),
        device_uid=uid,
        clock=clock,
        offer=offer,
        wake_sync=partial(shared.schedule.wake, sync_name(uid)),
        chance=shared.chance,
    )
    return Link(
        device=device,
        database=loaded.database,
        bus=bus,
        loop=loop,
        observer=observer,
        executor=executor,
        poller=poller,
        deliverer=deliverer,
        gate=gate,
        sync=jobs.SyncState(),
        heartbeat=heartbeat,
        request=request,
    )


def _heartbeat(loaded: Loaded, device: Device, shared: Shared, bus: Bus) -> HeartbeatSender | None:
    """Return what sends the heartbeat; None unless the battery wants one and a person, too."""
    plan = loaded.profile.heartbeat
    if plan is None or not loaded.config.heartbeat or device.read_only:
        return None
    lockout = partial(lockout_text, shared.journal)
    return HeartbeatSender(device, plan, shared.clock, lockout, lambda: bus.receiver.doubt)


def _request(device: Device, shared: Shared, gate: Gate) -> RequestSender | None:
    """Return what sends the held request; None where the battery has none, or may not be told."""
    plan = device.profile.held
    if plan is None or device.read_only:
        return None
    return RequestSender(device, plan, shared.clock, gate, shared.journal)


def _each_pass(latches: Latches, renewed: Sequence[Callable[[], None]]) -> Callable[[], None]:
    """Return what the control loop does at the end of each pass."""

    def all_of_them() -> None:
        latches.step()
        for renew in renewed:
            renew()

    return all_of_them


def _device(loaded: Loaded, bus: Bus, clock: Clock) -> Device:
    config, profile = loaded.config, loaded.profile
    receiver = bus.receiver
    # Who only listens beside the master of a held request hears no stranger.
    bystander = profile.held is not None and config.read_only
    guard = Guard(() if bystander else allowed(profile, heartbeat=config.heartbeat))
    control = ControlPort(guard, lambda: receiver.port, read_only=config.read_only)
    bus.senders[config.uid] = control
    return Device(
        uid=config.uid,
        profile=profile,
        intake=intake_of(profile, loaded.database),
        control=control,
        read_only=config.read_only,
        echo=config.can.interface not in NO_ECHO,
        listening_since_s=clock.monotonic_s(),
        bus_doubt=partial(bus.doubt, config.uid),
        bus_facts=receiver.facts,
        true_echo=partial(_true_echo, receiver),
    )


def _true_echo(receiver: Receiver) -> bool:
    port = receiver.port
    return port is not None and port.true_echo


def _deliverer(shared: Shared, uid: str) -> Deliverer:
    """One for each device: an answer that fails for one of them holds no other one up."""
    return Deliverer(
        cloud=shared.cloud,
        journal=shared.journal,
        outbox=shared.outbox,
        device_uids=(uid,),
        clock=shared.clock,
        chance=shared.chance,
    )


def _gate(journal: Journal, device: Device, clock: Clock) -> Gate:
    return Gate(
        device,
        partial(lockout_text, journal),
        partial(doubt_text, journal, clock),
        sent_before(journal, device.uid, clock),
    )


def _observer(
    shared: Shared, device: Device, deliverer: Deliverer, request: RequestSender | None
) -> Observer:
    def changed() -> None:
        shared.schedule.wake(sync_name(device.uid))
        deliverer.wake()
        shared.recorder.look(device.uid, observer.status)

    facts = None if request is None else request.facts
    box: Callable[[], Mapping[str, object]] = partial(box_facts, shared.journal, device, facts)
    observer = Observer(device, shared.outbox, shared.clock, box, changed)
    return observer


def _note_foreign(uid: str, frame: Frame) -> None:
    """Another node uses our control identifier."""
    text = frame_text(frame.can_id, frame.extended, frame.data)
    log.error(
        "device %s: another node sends control frame %s; remote closes are refused", uid, text
    )
