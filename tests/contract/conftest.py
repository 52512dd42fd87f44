"""Fixtures of the contract: an operator and a box at the real platform (tests/conftest.py)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from tests.ems_process import Ems

__all__ = ["Box", "Ems"]


@pytest.fixture
def operator(ems: Ems) -> Iterator[httpx.Client]:
    """Give an operator of all devices."""
    with ems.client(ems.operator_key) as client:
        yield client


@dataclass
class Box:
    """A device as the platform sees it: its id and a client with its key."""

    uid: str
    http: httpx.Client

    def poll(self, wait: int = 0) -> dict[str, Any]:
        """Poll and return the data."""
        answer = self.http.get(
            "/bms-control/pending", params={"device_uid": self.uid, "wait": wait}
        )
        assert answer.status_code == 200, answer.text
        data = answer.json()["data"]
        assert isinstance(data, dict)
        return data

    def tell(self, command_id: str, state: str, **more: object) -> httpx.Response:
        """Post a result."""
        body = {"device_uid": self.uid, "id": command_id, "version": 1, "state": state}
        return self.http.post("/bms-control/result", json=body | more)

    def report(self, sequence: int, **more: object) -> httpx.Response:
        """Report a status: idle, closed, no alarm, observed now."""
        body = {"operating_status": 2, "alarm_status": 0, "disconnected": 0, "age_ms": 0}
        query = {"device_uid": self.uid}
        return self.http.put(
            "/bms-control/sync", params=query, json=body | {"sequence": sequence} | more
        )


@pytest.fixture
def box(ems: Ems) -> Iterator[Box]:
    """Give a new device of the session's platform."""
    uid, key = ems.new_device()
    with ems.client(key) as client:
        yield Box(uid, client)
