"""Command to frame, and frame to platform: the two ways through the whole."""

import random
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import can

from bench.baseline import Echo, echo
from bench.stand import DEVICE, ENDED, ROOT, Stand, stand, until
from bench.table import LATENCY_HEAD, latency_row, show
from bms_can.codec import Codec
from bms_can.frame import Frame
from bms_can.profile_load import load_profile

COMMANDS, CHANGES = 200, 60
CONTROL_ID = 0x1811F4E5
CLOSE, OPEN = 2, 3
ALARM = "soc_low_alarm"


def commands(count: int = COMMANDS) -> None:
    """Print how long a command takes from POST to its frame on the bus, beside what is least."""
    with TemporaryDirectory(prefix="bench-") as name, stand(Path(name)) as found, echo() as peer:
        taken, posts, gets, raw = [], [], [], []
        for number in range(count):
            code = OPEN if number % 2 else CLOSE
            taken_s, post_s = _one_command(found, code)
            taken.append(taken_s)
            posts.append(post_s)
            gets.append(_get_s(found))
            raw.append(_raw_s(peer))
    show(
        "Command to frame (POST /bms-control begun -> control frame on the bus)",
        LATENCY_HEAD,
        [
            latency_row("POST -> control frame", taken, "p50 <= 20, p99 <= 100"),
            latency_row("the POST itself, there and back", posts),
            latency_row("GET /test-apikey, there and back", gets),
            latency_row("200 bytes over loopback TCP, there and back", raw),
        ],
    )


def _one_command(found: Stand, code: int) -> tuple[float, float]:
    """Give one command; return POST to frame and the POST itself [s]."""
    time.sleep(random.uniform(0.0, 0.1))  # noqa: S311 - not in step with the battery's frames
    found.forget_frames()
    wall_s, began_s = time.time(), time.perf_counter()  # noqa: TID251 - the kernel's stamps are wall time
    body: dict[str, object] = {"device_uid": DEVICE, "command": code}
    command_id = found.operator().call("POST", "/bms-control", body)
    post_s = time.perf_counter() - began_s
    stamps = (each.timestamp for each in found.frames(5.0) if each.arbitration_id == CONTROL_ID)
    frame_s = next(stamps, None)
    path = f"/bms-control/commands/{command_id}"
    until(lambda: found.operator().call("GET", path)["state"] in ENDED)
    state = found.operator().call("GET", path)
    if frame_s is None or state["state"] != "held":
        raise SystemExit(f"bench: command {code} was not carried out: {state['events'][-1]}")
    return frame_s - wall_s, post_s


def _get_s(found: Stand) -> float:
    began_s = time.perf_counter()
    found.operator().call("GET", "/test-apikey")
    return time.perf_counter() - began_s


def _raw_s(peer: Echo) -> float:
    return peer.round_trip_s()


def changes(count: int = CHANGES) -> None:
    """Print how long a change of the status takes from its frame to an answer of GET."""
    _, database = load_profile(ROOT / "dbc" / "ess_bau.toml")
    codec = Codec(database)
    with TemporaryDirectory(prefix="bench-") as name, stand(Path(name)) as found:
        taken = [_one_change(found, codec, number % 2 == 0) for number in range(count)]
    show(
        "Frame to platform (alarm frame on the bus -> GET /bms-control shows it)",
        LATENCY_HEAD,
        [latency_row("changed frame -> visible by GET", taken, "at once, not after 10 s")],
    )


def _one_change(found: Stand, codec: Codec, raised: bool) -> float:  # noqa: FBT001 - one of two
    """Change the battery; return frame to GET [s]."""
    assert found.simulator is not None  # noqa: S101 - it runs in this process
    time.sleep(random.uniform(0.8, 1.0))  # noqa: S311 - at most one report in 0.5 s goes out
    found.forget_frames()
    if raised:
        found.simulator.tell(lambda pack: pack.raise_alarm(ALARM))
    else:
        found.simulator.tell(lambda pack: pack.clear_alarm(ALARM))
    until(lambda: found.status()["alarm_status"] == int(raised), step_s=0.001)
    visible_s = time.time()  # noqa: TID251 - the kernel's stamps are wall time
    return visible_s - next(
        message.timestamp for message in found.frames(1.0) if _says(codec, message, raised)
    )


def _says(codec: Codec, message: can.Message, raised: bool) -> bool:  # noqa: FBT001 - one of two
    """Tell whether a frame carries the new state of the alarm."""
    data = bytes(message.data)
    frame = Frame(0.0, message.arbitration_id, message.is_extended_id, data)
    decoded = codec.decode(frame)
    sample = None if decoded is None else decoded[1].get(f"BAU_Alarms.{ALARM}")
    return sample is not None and bool(sample.raw) == raised
