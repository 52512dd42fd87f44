"""A platform that keeps what it is told, or fails as scripted, without a network."""

from collections import deque
from collections.abc import Mapping
from typing import Any

from agent.cloud import Cloud
from agent.errors import CloudError
from agent.payload import SyncAck


class FakeCloud(Cloud):
    """Takes the place of agent.cloud.Cloud.

    Attributes:
        script: what the next calls raise, None: they succeed; without a script all succeed.
        results, reports, syncs: bodies taken, in order; `calls`: names of all calls.
        held: the sequence that the platform says it has.
    """

    def __init__(self, *script: CloudError | None) -> None:
        self.script: deque[CloudError | None] = deque(script)
        self.results: list[Mapping[str, Any]] = []
        self.reports: list[Mapping[str, Any]] = []
        self.syncs: list[Mapping[str, Any]] = []
        self.calls: list[str] = []
        self.held: int | None = None

    def post_result(self, body: Mapping[str, object]) -> None:
        """See Cloud."""
        self._next("result")
        self.results.append(body)

    def post_reports(self, body: Mapping[str, object]) -> int | None:
        """See Cloud."""
        self._next("reports")
        self.reports.append(body)
        return self.held

    def put_sync(self, device_uid: str, body: Mapping[str, object]) -> SyncAck:
        """See Cloud."""
        self._next("sync")
        self.syncs.append({"device_uid": device_uid} | dict(body))
        return SyncAck(self.held)

    def close(self) -> None:
        """See Cloud."""
        self.calls.append("close")

    def _next(self, name: str) -> None:
        self.calls.append(name)
        error = self.script.popleft() if self.script else None
        if error is not None:
            raise error
