"""The two clocks of the platform. Lives count on the monotonic one; wall time is for people."""

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol


class EmsClock(Protocol):
    """Where the platform reads time. Tests step it."""

    def wall_ms(self) -> int:
        """Return UTC wall time in ms since 1970. It may step."""

    def monotonic_ms(self) -> int:
        """Return ms that only go forward, suspend included, within one boot."""

    def boot_id(self) -> str:
        """Return the name of this boot: monotonic values of two boots cannot be compared."""


class SystemClock:
    """The clocks of this machine (Linux)."""

    def wall_ms(self) -> int:
        """Return UTC wall time in ms since 1970."""
        return time.time_ns() // 1_000_000

    def monotonic_ms(self) -> int:
        """Return CLOCK_BOOTTIME in ms: unlike CLOCK_MONOTONIC it counts a suspend."""
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000

    def boot_id(self) -> str:
        """Return the kernel's id of this boot."""
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def rfc3339(wall_ms: int | None) -> str | None:
    """Write a wall time as RFC 3339 in UTC with ms, or None for None."""
    if wall_ms is None:
        return None
    text = datetime.fromtimestamp(wall_ms / 1000, tz=UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")
