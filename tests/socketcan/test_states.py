"""Error frames, error-passive, bus-off and a full transmit queue: an slcan adapter plays them."""

import subprocess
import time

from tests.socketcan.nodes import clock_s, sh
from tests.socketcan.stage import CLOSE, OPEN, SLCAN, Stage

LISTEN_S = 3.0  # reliability rule 23


def refused_for(scene: Stage, code: int) -> str:
    """Give a command that must be refused; return the words."""
    step = scene.outcome(scene.command(SLCAN, code))
    assert step["state"] == "rejected", step
    assert step["reason"] == "blocked-by-health", step
    return str(step["detail"])


def done(scene: Stage, code: int) -> None:
    """Give a command that must succeed."""
    scene.steady(SLCAN)
    step = scene.outcome(scene.command(SLCAN, code))
    assert step["state"] == "succeeded", step


def bus(scene: Stage) -> dict[str, object]:
    """Return how the agent says its bus is doing."""
    found: dict[str, object] = scene.local(do="status")["devices"][SLCAN]["bus"]
    return found


def await_bus(scene: Stage, name: str, value: object, seconds: float = 5.0) -> None:
    """Wait until the agent says something about its bus."""
    end_s = time.monotonic() + seconds
    while bus(scene)[name] != value:
        assert time.monotonic() < end_s, (name, value, bus(scene), scene.words())
        time.sleep(0.05)


def test_a_command_goes_all_the_way(scene: Stage) -> None:
    """Close and open by a real interface, and what the agent says about it.

    The kernel's slcan driver gives a frame back when it was queued: that proves nothing, and the
    record says so. What proves the command are the battery's own frames.
    """
    before = set(scene.platform.results)
    done(scene, CLOSE)
    done(scene, OPEN)
    sent = [
        step
        for identity, steps in scene.platform.results.items()
        for step in steps
        if identity not in before and step["state"] == "sent"
    ]
    assert sent
    assert {step["evidence"]["echo"] for step in sent} == {False}
    assert all("no echo proves it" in step["detail"] for step in sent)
    found = bus(scene)
    assert (found["state"], found["bitrate"], found["restart_ms"]) == ("ERROR-ACTIVE", 500_000, 0)
    assert (found["trouble"], found["doubt"], found["lost"]) == ("", "", 0)


def test_error_frames_are_counted_by_class(scene: Stage) -> None:
    """No acknowledgement, stuffing, bit and receive overrun; none of them is a data frame."""
    before = bus(scene)["errors"]
    assert isinstance(before, dict)
    for kind in "aasbo":
        scene.slcan.adapter.error(kind)
    wanted = {"no-ack": 2, "protocol/stuff": 1, "controller/rx-overflow": 1}
    end_s = time.monotonic() + 5.0
    while True:
        errors = bus(scene)["errors"]
        assert isinstance(errors, dict)
        new = {name: errors.get(name, 0) - before.get(name, 0) for name in wanted}
        if new == wanted:
            break
        assert time.monotonic() < end_s, (before, errors)
        time.sleep(0.05)
    assert scene.newest(SLCAN).connected


def test_error_passive_keeps_a_close_in(scene: Stage) -> None:
    """Nobody may be acknowledging: a close could come out late. An open still goes."""
    scene.slcan.adapter.state("error-passive", tx_errors=128)
    await_bus(scene, "doubt", "error-passive")
    assert "error-passive" in refused_for(scene, CLOSE)
    sent = len(scene.slcan.sent)
    step = scene.outcome(scene.command(SLCAN, OPEN))
    assert step["state"] == "succeeded", step
    went_out = len(scene.slcan.sent) - sent
    began_s = time.monotonic()
    scene.slcan.adapter.state("error-active")
    await_bus(scene, "doubt", "")
    healthy_s = time.monotonic() - began_s
    scene.row("slcan: error-passive", None, healthy_s, 0, f"close refused, open {went_out} frames")


def test_bus_off(scene: Stage) -> None:
    """Purge, rest, restart, listen, and only then a close; all by the agent itself."""
    adapter, opens = scene.slcan.adapter, scene.slcan.adapter.commands.count("O")
    sent = len(scene.slcan.sent)
    scene.slcan.battery.silent.set()  # a node that is off the bus hears nothing
    began_s = time.monotonic()
    adapter.state("bus-off", tx_errors=255)
    assert "bus-off" in refused_for(scene, CLOSE)
    withdrawn_s = scene.withdrawn(SLCAN, began_s)
    end_s = began_s + 10.0
    while adapter.commands.count("O") == opens:
        assert time.monotonic() < end_s, scene.words()
        time.sleep(0.02)
    up_s = time.monotonic()
    scene.slcan.battery.silent.clear()
    healthy_s = scene.healthy(SLCAN, up_s)
    assert "listening" in refused_for(scene, CLOSE)
    await_bus(scene, "doubt", "", 2 * LISTEN_S)
    listened_s = time.monotonic() - up_s
    late = len(scene.slcan.sent) - sent
    note = f"up again {up_s - began_s:.1f} s after, close allowed {listened_s:.1f} s after that"
    scene.row("slcan: bus-off", withdrawn_s, healthy_s, late, note)
    assert listened_s >= LISTEN_S - 0.1
    done(scene, CLOSE)
    done(scene, OPEN)


def test_what_a_person_sets_down_in_bus_off_stays_down(scene: Stage) -> None:
    """It is told and not overruled; when it is set up again the agent listens before any close."""
    adapter = scene.slcan.adapter
    adapter.state("bus-off", tx_errors=255)
    await_bus(scene, "state", "BUS-OFF")
    sh("ip link set can0 down")
    opens = adapter.commands.count("O")
    scene.slcan.battery.silent.set()
    time.sleep(5.0)  # longer than the rest that the agent had begun
    assert adapter.commands.count("O") == opens
    assert "not by us" in str(bus(scene)["doubt"])
    assert bus(scene)["trouble"] == "the interface is down"
    sh("ip link set can0 up")
    up_s = time.monotonic()
    scene.slcan.battery.silent.clear()
    healthy_s = scene.healthy(SLCAN, up_s)
    while "not by us" in str(bus(scene)["doubt"]):  # until it looks again, within half a second
        assert time.monotonic() < up_s + 1.0
        time.sleep(0.02)
    assert "listening" in refused_for(scene, CLOSE)
    await_bus(scene, "doubt", "", 2 * LISTEN_S)
    scene.row("slcan: set down in bus-off", None, healthy_s, 0, "stayed down until set up by hand")


def test_a_full_transmit_queue(scene: Stage) -> None:
    """The adapter takes nothing: another process fills the queue, and our open cannot go out.

    When the adapter takes frames again, what was in the queue goes out; our open is not among it.
    """
    adapter = scene.slcan.adapter
    adapter.stalled.set()
    filler = ["cangen", "can0", "-g", "1", "-I", "7FF", "-L", "8", "-n", "1000"]
    full = subprocess.run(filler, capture_output=True, text=True, check=False)  # noqa: S603 - can-utils
    assert "No buffer space" in full.stderr
    step = scene.outcome(scene.command(SLCAN, OPEN, life_s=3.0))
    assert step["state"] in {"failed", "rejected", "expired"}, (step, scene.words())
    assert not step["evidence"].get("frames"), step
    assert scene.newest(SLCAN).connected
    before = len(scene.slcan.sent)
    freed_s = clock_s()
    adapter.stalled.clear()
    time.sleep(1.0)
    late = sum(frame.can_id != 0x7FF for _, frame in scene.slcan.sent[before:])
    queued = len(scene.slcan.sent) - before
    assert queued > 5
    scene.row("slcan: ENOBUFS", None, clock_s() - freed_s - 1.0, late, f"{queued} frames waited")
    done(scene, CLOSE)
    done(scene, OPEN)
