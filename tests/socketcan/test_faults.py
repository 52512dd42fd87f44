"""Faults of a CAN interface, one after the other, on one running agent that is never restarted.

For each: how soon the status was withdrawn, how soon after its end the battery is reported again,
and that no control frame went by that nobody had asked for. The limits are in `Stage.row`.
"""

import math
import os
import random
import time
from collections.abc import Callable, Sequence

from tests.socketcan.nodes import sh
from tests.socketcan.platform import Told
from tests.socketcan.stage import CLOSE, OPEN, SLCAN, VCAN, Stage

FLAPS_S = float(os.environ.get("FLAPS_S", "15"))  # `make socketcan-long`: 300
SEED = int(os.environ.get("SEED", "1"))
# How an interface goes and comes back.
FLAPS = {
    "down": ("ip link set vcan0 down", "ip link set vcan0 up"),
    "deleted": ("ip link del vcan0", "ip link add dev vcan0 type vcan && ip link set vcan0 up"),
    "renamed": (
        "ip link set vcan0 down && ip link set vcan0 name was0 && ip link set was0 up",
        "ip link set was0 down && ip link set was0 name vcan0 && ip link set vcan0 up",
    ),
    "can0 down": ("ip link set can0 down", "ip link set can0 up"),
}


def lived_through(
    scene: Stage, uid: str, name: str, begin: Callable[[], object], end: Callable[[], object]
) -> None:
    """Let a fault begin, wait until the status is withdrawn, end it, wait until all is well."""
    battery = (scene.vcan if uid == VCAN else scene.slcan).battery
    before = len(scene.control_frames()), len(scene.slcan.sent)
    began_s = time.monotonic()
    begin()
    withdrawn_s = scene.withdrawn(uid, began_s)
    note = f"{withdrawn_s:.2f} s after the fault began"
    withdrawn_s += began_s - max(began_s, battery.spoke_s)
    time.sleep(2.0)  # long enough for any back-off to have grown
    end()
    ended_s = time.monotonic()
    healthy_s = scene.healthy(uid, ended_s)
    time.sleep(0.5)  # a frame that was held back would come out now
    late = len(scene.control_frames()) + len(scene.slcan.sent) - sum(before)
    scene.row(name, withdrawn_s, healthy_s, late, note)


def test_the_battery_falls_silent(scene: Stage) -> None:
    """Nothing is wrong with the bus, but nobody speaks."""
    silent = scene.vcan.battery.silent
    lived_through(scene, VCAN, "battery silent", silent.set, silent.clear)


def test_link_down_and_up(scene: Stage) -> None:
    """The same socket goes on when the link is up again."""
    opened = scene.fact(VCAN, "opened")
    lived_through(
        scene,
        VCAN,
        "vcan: link down, up",
        lambda: sh("ip link set vcan0 down"),
        lambda: sh("ip link set vcan0 up"),
    )
    assert scene.fresh_fact(VCAN, "opened") == opened


def test_interface_deleted_and_made_anew(scene: Stage) -> None:
    """Another interface of the same name: the socket must be another, too."""
    opened = scene.fact(VCAN, "opened")
    lived_through(
        scene,
        VCAN,
        "vcan: deleted, recreated",
        lambda: sh("ip link del vcan0"),
        lambda: sh("ip link add dev vcan0 type vcan && ip link set vcan0 up"),
    )
    assert scene.fresh_fact(VCAN, "opened") > opened


def test_adapter_pulled_and_put_back(scene: Stage) -> None:
    """A USB adapter goes with its interface, and comes back with another one of that name."""
    lived_through(
        scene, SLCAN, "slcan: pulled, put back", scene.slcan.adapter.pull, scene.slcan.plug
    )


def back_s(told: Sequence[Told]) -> float:
    """Return when the status came back for good, inf if it did not, monotonic [s]."""
    gone = max((place for place, each in enumerate(told) if not each.connected), default=-1)
    return next((each.at_s for each in told[gone + 1 :]), math.inf)


def test_interfaces_that_flap(scene: Stage) -> None:
    """Down, deleted, renamed at random, commands in between: well at once, and no frame late."""
    dice = random.Random(SEED)  # noqa: S311 - no secret
    began_s = time.monotonic()
    flaps, commands = 0, []
    while time.monotonic() < began_s + FLAPS_S:
        gone, back = FLAPS[dice.choice(list(FLAPS))]
        commands.append(scene.command(dice.choice([VCAN, SLCAN]), dice.choice([CLOSE, OPEN]), 2.0))
        time.sleep(dice.uniform(0.0, 0.7))
        sh(gone)
        time.sleep(dice.uniform(0.0, 0.8))
        sh(back)
        flaps += 1
    ended_s = time.monotonic()
    ends = [scene.outcome(each)["state"] for each in commands]
    before = len(scene.control_frames()) + len(scene.slcan.sent)
    time.sleep(3.0)  # longer than any command lived: a frame now would be one that had waited
    late = len(scene.control_frames()) + len(scene.slcan.sent) - before
    healthy_s = max(0.0, *(back_s(scene.platform.told[uid]) - ended_s for uid in (VCAN, SLCAN)))
    done = ends.count("succeeded")
    note = f"{flaps} in {FLAPS_S:.0f} s, {done} of {len(ends)} commands done, seed {SEED}"
    scene.row("flapping interfaces", None, healthy_s, late, note)
    for uid in (VCAN, SLCAN):
        assert not scene.local(do="status")["devices"][uid]["foreign_master"]
    scene.local(do="clear-latches", who="test")  # a frame whose echo went with its interface
