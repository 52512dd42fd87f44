"""The guest itself: it has a CAN stack, and its processes do not disturb each other's registers."""

import os
import subprocess
import sys
import threading
import time

WORK = """
import hashlib, math, zlib
x, seed = 0.0, bytes(range(256)) * 64
for n in range(1, 60):
    x += sum(math.sin(i * n) * math.sqrt(i) / (i + 1.5) for i in range(500))
    seed = zlib.compress(hashlib.sha256(seed).digest() * 300)[:200] + seed[: 4096 - 200]
print(x.hex(), hashlib.sha256(seed).hexdigest())
"""


def test_the_modules_are_there() -> None:
    """vcan, vxcan and slcan are loaded; the kernel is the guest's."""
    loaded = subprocess.run(["lsmod"], capture_output=True, text=True, check=True).stdout  # noqa: S607 - kmod
    for name in ("can_raw", "vcan", "vxcan", "slcan"):
        assert f"{name} " in loaded
    assert os.environ["CAN_GUEST"] == "uml"


def test_registers_survive_other_processes_and_threads() -> None:
    """Floating point, hashes, compression: in three processes, then in four threads, the same."""
    wanted = run(WORK)
    processes = [
        subprocess.Popen([sys.executable, "-c", WORK], stdout=subprocess.PIPE, text=True)  # noqa: S603 - ours
        for _ in range(3)
    ]
    found = [process.communicate()[0] for process in processes]
    assert found == [wanted] * 3
    threads = f"""
import contextlib, io, threading
def work():
    exec({WORK!r}, {{"print": lambda *words: out.append(" ".join(words))}})
out = []
all = [threading.Thread(target=work) for _ in range(4)]
[each.start() for each in all]; [each.join() for each in all]
print(*sorted(set(out)), sep="\\n")
"""
    assert run(threads) == wanted


def run(text: str) -> str:
    """Run Python; return its output."""
    words = [sys.executable, "-c", text]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout  # noqa: S603 - ours


def test_time_goes_on() -> None:
    """Sleeping threads wake in time while another one computes."""
    late_s: list[float] = []

    def sleeper() -> None:
        for _ in range(50):
            began_s = time.monotonic()
            time.sleep(0.01)
            late_s.append(time.monotonic() - began_s - 0.01)

    thread = threading.Thread(target=sleeper)
    thread.start()
    while thread.is_alive():
        sum(range(1000))
    assert sorted(late_s)[len(late_s) // 2] < 0.05
