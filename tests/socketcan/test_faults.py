"""Faults of a CAN interface, one after the other, on one running agent that is never restarted.

For each: how soon the status was withdrawn, how soon after its end the battery is reported again,
and that no control frame went by that nobody had asked for. The limits are in `Stage.row`.
"""

import time
from collections.abc import Callable

from tests.socketcan.nodes import sh
from tests.socketcan.stage import SLCAN, VCAN, Stage


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
