"""How often a caller may call. Pure but for one lock; time is an argument [ms, monotonic].

Rules:
- Each key has a bucket: so many requests a second, twice as many at once.
- Wrong keys are counted by address, over a sliding minute. A good key is never refused for the
  wrong keys of its neighbours: behind a proxy all have one address, and a stranger could shut out
  every box. Nothing is lost by that, as nobody guesses 256 bits.
- There is no limit of closes here. The box has the binding one (3 in 10 min, from what really went
  out); a second count here would go by what was asked, and refuse closes that the box allows.
"""

import threading
from collections import deque
from dataclasses import dataclass
from math import ceil

#: Addresses remembered at once; the one that was wrong the longest ago is forgotten first.
MAX_ADDRESSES = 4096
_MINUTE_MS = 60_000
#: What a full bucket holds, as a time: requests of 2 s may come at once [ms].
_ROOM_MS = 2000
#: Rounding of many small costs [ms].
_ROUNDING_MS = 1e-6


@dataclass(frozen=True, slots=True)
class Limits:
    """Requests a second per operator key and device of a key; wrong keys a minute per address."""

    operator_per_s: int = 10
    device_per_s: int = 100
    refused_per_min: int = 20


class KeyRates:
    """Token buckets, one a key."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._full_at_ms: dict[str, float] = {}  # when the bucket will be full again

    def wait_s(self, key_id: str, per_s: int, now_ms: int) -> int:
        """Count a request; return 0 if it may pass, else after how many seconds to try again."""
        with self._lock:
            full_ms = max(self._full_at_ms.get(key_id, 0.0), now_ms) + 1000 / per_s
            over_ms = full_ms - now_ms - _ROOM_MS
            if over_ms > _ROUNDING_MS:
                return ceil(over_ms / 1000)
            self._full_at_ms[key_id] = full_ms
            return 0


class Refusals:
    """Wrong keys of each address in the last minute."""

    def __init__(self, per_min: int) -> None:
        self._per_min = per_min
        self._lock = threading.Lock()
        self._at_ms: dict[str, deque[int]] = {}

    def wait_s(self, address: str, now_ms: int) -> int:
        """Count a wrong key; return 0, or after how many seconds the next may come."""
        with self._lock:
            times = self._at_ms.pop(address, None) or deque(maxlen=self._per_min)
            self._at_ms[address] = times  # now the newest
            if len(self._at_ms) > MAX_ADDRESSES:
                del self._at_ms[next(iter(self._at_ms))]
            if len(times) == self._per_min and (left_ms := times[0] + _MINUTE_MS - now_ms) > 0:
                return ceil(left_ms / 1000)
            times.append(now_ms)
            return 0
