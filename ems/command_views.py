"""How a command and its events look in answers. Pure."""

import json
from collections.abc import Mapping
from typing import Any

from ems.clock import rfc3339

Row = Mapping[Any, Any]


def command_view(row: Row) -> dict[str, Any]:
    """Return a command as operators see it."""
    return {
        "id": row["id"],
        "device_uid": row["device_uid"],
        "command": row["command"],
        "state": row["state"],
        "provisional": bool(row["provisional"]),
        "finished": bool(row["finished"]),
        "version": row["version"],
        "cancel_requested": bool(row["cancel_requested"]),
        "issued_by": row["issued_by"],
        "issued_key": row["issued_key"],
        "issued_from": row["issued_from"],
        "issued_at": rfc3339(row["issued_ms"]),
        "expires_at": rfc3339(row["deadline_ms"]),
        "reason": row["issue_reason"],
        "updated_at": rfc3339(row["updated_ms"]),
    }


def event_view(row: Row) -> dict[str, Any]:
    """Return one event of a life. `received_at` is the platform's time, `at` the device's."""
    return {
        "state": row["state"],
        "origin": row["origin"],
        "refused": bool(row["refused"]),
        "version": row["version"],
        "reason": row["reason"],
        "detail": row["detail"],
        "evidence": json.loads(row["evidence"]) if row["evidence"] else None,
        "at": row["device_at"],
        "received_at": rfc3339(row["received_ms"]),
    }


def pending_view(row: Row, mono_ms: int) -> dict[str, Any]:
    """Return a command as the device gets it; `expires_in_ms` counts from this very moment."""
    return {
        "id": row["id"],
        "command": row["command"],
        "expires_in_ms": max(0, row["deadline_mono_ms"] - mono_ms),
        "issued_by": row["issued_by"],
        "version": row["version"],
        "cancel_requested": bool(row["cancel_requested"]),
    }
