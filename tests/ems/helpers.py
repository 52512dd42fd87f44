"""A clock that tests step, and short ways to make requests."""

from ems.issue import Issue
from ems.payloads import IssueBody, ResultBody, SyncBody
from ems.security import Principal

OPERATOR = "control-room"


class FakeClock:
    """Wall and monotonic time that only tests move."""

    def __init__(self, wall_ms: int = 1_800_000_000_000, mono_ms: int = 50_000) -> None:
        self.wall = wall_ms
        self.mono = mono_ms
        self.boot = "boot-1"

    def wall_ms(self) -> int:
        """Return the wall time."""
        return self.wall

    def monotonic_ms(self) -> int:
        """Return the monotonic time."""
        return self.mono

    def boot_id(self) -> str:
        """Return the boot."""
        return self.boot

    def advance_s(self, seconds: float) -> None:
        """Let time pass on both clocks."""
        self.wall += round(seconds * 1000)
        self.mono += round(seconds * 1000)


def issue(who: Principal, command: int, device_uid: str = "A", **more: object) -> Issue:
    """Build a request for a command."""
    key = more.pop("idempotency_key", None)
    asked = {"device_uid": device_uid, "command": command} | more
    body = IssueBody.model_validate(asked)
    return Issue(body, who, "192.0.2.7", None if key is None else str(key))


def told(command_id: str, state: str, device_uid: str = "A", **more: object) -> ResultBody:
    """Build a device's word about a command."""
    return ResultBody.model_validate(
        {"device_uid": device_uid, "id": command_id, "version": 1, "state": state} | more
    )


def report(sequence: int, **more: object) -> SyncBody:
    """Build a status report: closed, idle, no alarm, observed now."""
    body = {"operating_status": 2, "alarm_status": 0, "disconnected": 0, "age_ms": 0}
    return SyncBody.model_validate(body | {"sequence": sequence} | more)
