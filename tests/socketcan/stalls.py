"""Whether this process stood still: then the batteries that it plays were silent for no reason."""

import threading
import time

TICK_S = 0.02
STALL_S = 0.25  # half of the profile's shortest deadline


class Stalls(threading.Thread):
    """Sleeps a little again and again, and notes when that took much too long."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._found: list[tuple[float, float]] = []

    def run(self) -> None:
        """Look until the process ends."""
        before_s = time.monotonic()
        while True:
            time.sleep(TICK_S)
            now_s = time.monotonic()
            if now_s - before_s > STALL_S:
                self._found.append((now_s, now_s - before_s))
            before_s = now_s

    def longest_s(self, since_s: float) -> float:
        """Return the longest stall that ended after a moment [s], 0 if there was none."""
        return max((took_s for end_s, took_s in self._found if end_s >= since_s), default=0.0)
