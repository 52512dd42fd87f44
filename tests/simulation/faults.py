"""Everything that can go wrong, as a table. A fault begins, lasts for a while, and is undone."""

import errno
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from bms_can.misbehaviour import HEALTHY, NAMED, misbehaviour
from tests.hostile import data_message
from tests.simulation.battery import Noise
from tests.simulation.disk import Disk
from tests.simulation.net import Weather

if TYPE_CHECKING:
    from tests.simulation.world import World

YEAR_S = 365.25 * 86_400
DAY_S = 86_400.0

Undo = Callable[[], None]
Begin = Callable[["World"], Undo | None]


class Fault(NamedTuple):
    """One kind of trouble.

    Attributes:
        weight: how often it is drawn.
        begin: lets it happen; what it returns undoes it.
        mean_s: how long it lasts [s].
    """

    weight: float
    begin: Begin
    mean_s: float = 4.0


# --- the box


def _crash(world: "World") -> None:
    world.crash(world.random.uniform(0.2, 4.0))


def _reboot(world: "World") -> None:
    world.crash(world.random.uniform(2.0, 30.0), reboot=True)


def _crash_at_a_hook(world: "World") -> None:
    world.arm(world.random.choice(world.HOOKS), world.random.randrange(6))


def _suspend(world: "World") -> None:
    world.suspend(10 ** world.random.uniform(0, 3.5))


def _wall(world: "World") -> None:
    step_s = world.random.choice((40 * YEAR_S, -40 * YEAR_S, 3600.0, -3600.0, 5.0, -5.0))
    world.box_clock.wall_off_s = step_s if world.random.random() < 0.8 else 0.0


def _hold(world: "World") -> None:
    fibres = [each for each in world.box.fibres if not each.ended]
    if fibres:
        held = world.random.choice(fibres)
        held.hold_s = world.now_s + world.random.expovariate(1.0)


def _housekeeping(world: "World") -> None:
    if world.box.system is not None:
        world.box.system.schedule.wake("housekeeping")


# --- the disk


def _disk(fail: str = "", slow_s: float = 0.0) -> Begin:
    def begin(world: "World") -> Undo:
        disk = world.disk
        disk.fail, disk.slow_s = fail, slow_s * world.random.uniform(0.1, 1.0)
        return lambda: _healthy(disk)

    return begin


def _healthy(disk: Disk) -> None:
    disk.fail, disk.slow_s = "", 0.0


# --- the bus


def _no_acknowledge(world: "World") -> Undo:
    """Nobody is there: no frame arrives, and ours wait in the queue (reliability rule 21)."""
    world.link.acknowledged = False
    world.battery.noise = Noise(cut=True)

    def undo() -> None:
        world.link.acknowledged = True
        world.battery.noise = Noise()
        world.link.flush()

    return undo


def _stalled(world: "World") -> Undo:
    """Frames arrive, ours wait: the adapter's fault."""
    world.link.acknowledged = False

    def undo() -> None:
        world.link.acknowledged = True
        world.link.flush()

    return undo


def _bus_off(world: "World") -> Undo:
    world.link.dropping = True
    world.battery.noise = Noise(cut=True, errors=3)

    def undo() -> None:
        world.link.dropping = False
        world.battery.noise = Noise()

    return undo


def _no_echo(world: "World") -> Undo:
    world.link.echo = False
    return lambda: setattr(world.link, "echo", True)


def _late_echo(world: "World") -> Undo:
    world.link.echo_delay_s = world.random.choice((0.02, 0.045, 0.06, 0.2))
    return lambda: setattr(world.link, "echo_delay_s", 0.0)


def _send_error(world: "World") -> Undo:
    numbers = (errno.ENOBUFS, errno.ENETDOWN, errno.ENODEV, errno.EBADF, errno.EIO)
    world.link.send_errno = world.random.choice(numbers)
    return lambda: setattr(world.link, "send_errno", None)


def _receive_error(world: "World") -> Undo:
    world.link.recv_errno = world.random.choice((errno.ENETDOWN, errno.ENODEV, errno.EIO))
    return lambda: setattr(world.link, "recv_errno", None)


def _one_receive_error(world: "World") -> None:
    world.link.once.append(world.random.choice((errno.ENETDOWN, errno.ENODEV, errno.EBADF)))


def _unplug(world: "World") -> Undo:
    world.link.unplug()
    return lambda: setattr(world.link, "vanished", False)


def _noise(**wrong: float) -> Begin:
    def begin(world: "World") -> Undo:
        for name, value in wrong.items():
            share = type(value)(value * world.random.uniform(0.1, 1.0))
            setattr(world.battery.noise, name, share)
        return lambda: setattr(world.battery, "noise", Noise())

    return begin


def _cut(world: "World") -> Undo:
    world.battery.noise.cut = True
    return lambda: setattr(world.battery, "noise", Noise())


def _foreign_master(world: "World") -> None:
    control_id, extended = world.kind.control
    data = world.random.choice(world.kind.foreign).ljust(8, b"\0")
    world.link.deliver(data_message(control_id, data, extended=extended))


# --- the battery


def _misbehave(world: "World") -> Undo:
    pack = world.battery.simulator.pack
    words = world.random.sample(sorted(NAMED), world.random.choice((1, 1, 2)))
    pack.misbehave(replace(misbehaviour(words)))
    return lambda: world.battery.simulator.pack.misbehave(HEALTHY)


def _silence(world: "World") -> Undo:
    message = world.random.choice((*world.kind.silent, "*"))
    world.battery.simulator.pack.misbehave(misbehaviour([f"silent={message}"]))
    return lambda: world.battery.simulator.pack.misbehave(HEALTHY)


def _frozen(world: "World") -> Undo:
    message = world.random.choice((*world.kind.frozen, "*"))
    word = world.random.choice(("frozen_counter", "wrong_checksum"))
    world.battery.simulator.pack.misbehave(misbehaviour([f"{word}={message}"]))
    return lambda: world.battery.simulator.pack.misbehave(HEALTHY)


def _emergency_stop(world: "World") -> Undo:
    pack = world.battery.simulator.pack
    pack.press_emergency_stop()
    return pack.release_emergency_stop


def _local_mode(world: "World") -> Undo:
    pack = world.battery.simulator.pack
    pack.remote = False
    return lambda: setattr(pack, "remote", True)


def _alarm(world: "World") -> Undo:
    pack = world.battery.simulator.pack
    key = world.random.choice(world.kind.alarms)
    pack.raise_alarm(key, world.random.choice((1, 2, 3)))
    return lambda: pack.clear_alarm(key)


def _latched_fault(world: "World") -> Undo:
    pack = world.battery.simulator.pack
    key = world.random.choice(world.kind.faults)
    pack.raise_alarm(key, 3, latched=True)
    return lambda: pack.clear_alarm(key)


def _current(world: "World") -> None:
    world.battery.simulator.pack.request_current(world.random.choice((0.0, 0.0, 10.0, -80.0, 80.0)))


def _battery_reboot(world: "World") -> None:
    world.battery.reboot(world.now_s)


# --- network and platform


def _weather(**wrong: float) -> Begin:
    def begin(world: "World") -> Undo:
        world.network.weather = Weather(**wrong)
        return lambda: setattr(world.network, "weather", Weather())

    return begin


def _platform_restart(world: "World") -> Undo:
    world.platform.stop()
    return world.platform.start


def _platform_reboot(world: "World") -> Undo:
    world.platform.stop()

    def undo() -> None:
        world.platform_clock.reboot()
        world.platform_clock.wall_off_s = world.random.choice((0.0, -3600.0, 3600.0))
        world.platform.start()

    return undo


# --- people


def _lockout(world: "World") -> Undo:
    world.set_lockout()
    return world.clear_lockout


def _clear_latches(world: "World") -> None:
    world.clear_latches()


FAULTS: dict[str, Fault] = {
    "crash": Fault(2, _crash),
    "reboot": Fault(1, _reboot),
    "crash at a hook": Fault(4, _crash_at_a_hook),
    "suspend": Fault(0.7, _suspend),
    "wall clock": Fault(1, _wall),
    "hold a thread": Fault(2, _hold),
    "housekeeping": Fault(0.5, _housekeeping),
    "disk does not write": Fault(1, _disk("write"), 3.0),
    "disk in doubt": Fault(1.5, _disk("doubt"), 1.0),
    "disk dead": Fault(1, _disk("dead"), 3.0),
    "disk slow": Fault(2, _disk(slow_s=3.0), 8.0),
    "nobody acknowledges": Fault(1, _no_acknowledge, 20.0),
    "transmit queue stalled": Fault(1, _stalled, 10.0),
    "bus off": Fault(1, _bus_off, 8.0),
    "no echo": Fault(1, _no_echo),
    "late echo": Fault(1, _late_echo),
    "send error": Fault(1, _send_error),
    "receive error": Fault(1, _receive_error),
    "one receive error": Fault(1, _one_receive_error),
    "unplugged": Fault(1, _unplug, 8.0),
    "cable cut": Fault(2, _cut, 6.0),
    "frames lost": Fault(1, _noise(lose=0.6), 10.0),
    "bits flipped": Fault(1, _noise(flip=0.5), 10.0),
    "frames repeated": Fault(1, _noise(repeat=0.8), 10.0),
    "lengths wrong": Fault(0.5, _noise(resize=0.5, remote=0.1, twin=0.3), 10.0),
    "error frames": Fault(1, _noise(errors=30), 5.0),
    "babble": Fault(0.5, _noise(babble=60), 5.0),
    "foreign master": Fault(0.5, _foreign_master),
    "battery misbehaves": Fault(3, _misbehave, 10.0),
    "battery silent": Fault(3, _silence, 6.0),
    "battery frozen": Fault(1, _frozen, 6.0),
    "emergency stop": Fault(1, _emergency_stop, 6.0),
    "local mode": Fault(1, _local_mode, 6.0),
    "alarm": Fault(1.5, _alarm, 12.0),
    "latched fault": Fault(1.5, _latched_fault, 4.0),
    "current": Fault(2, _current),
    "battery reboots": Fault(1, _battery_reboot),
    "network lossy": Fault(2, _weather(lose_request=0.3, lose_answer=0.4, repeat=0.3), 20.0),
    "network down": Fault(2, _weather(refuse=1.0), 15.0),
    "network black hole": Fault(1, _weather(lose_request=1.0), 30.0),
    "answers lost": Fault(2, _weather(lose_answer=0.8), 15.0),
    "network slow": Fault(2, _weather(delay_s=4.0, repeat=0.3), 20.0),
    "foreign answers": Fault(1, _weather(foreign=0.5), 15.0),
    "platform restarts": Fault(1, _platform_restart, 3.0),
    "platform reboots": Fault(0.7, _platform_reboot, 10.0),
    "lock-out": Fault(2, _lockout, 15.0),
    "latches cleared": Fault(2, _clear_latches),
}
