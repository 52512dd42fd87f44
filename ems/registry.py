"""Devices and keys in the store."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

from sqlalchemy import func, select, update

from ems.clock import EmsClock, rfc3339
from ems.database import Database
from ems.errors import ConfigError
from ems.schema import api_key_devices, api_keys, devices
from ems.security import NewKey, Principal, Role, is_device_uid, key_id_of, matches, new_key

_NAME = re.compile(r"[^\x00-\x1f\x7f]{1,64}")


class Registry:
    """Who exists: devices, and the keys that may speak for or to them."""

    def __init__(self, database: Database, clock: EmsClock) -> None:
        self._db = database
        self._clock = clock

    def add_device(self, uid: str, name: str, facts: Mapping[str, str | None]) -> None:
        """Add a device; `facts` may hold code, license_code, location and affiliation.

        Raises:
            ConfigError: the id is malformed or taken, or the name is empty.
        """
        if not is_device_uid(uid):
            raise ConfigError(f"device UID {uid!r}: must be 1 to 64 of letters, digits, _ and -")
        _check_name("--name", name)
        with self._db.write() as connection:
            if connection.scalar(select(devices.c.uid).where(devices.c.uid == uid)):
                raise ConfigError(f"device UID {uid!r}: already in {self._db.path}")
            row = {**facts, "uid": uid, "name": name, "created_ms": self._clock.wall_ms()}
            connection.execute(devices.insert().values(**row))

    def set_two_step(self, uid: str, *, on: bool) -> None:
        """Say whether a close for this device must be armed first and then confirmed.

        Raises:
            ConfigError: no such device.
        """
        with self._db.write() as connection:
            query = update(devices).where(devices.c.uid == uid).values(two_step=on)
            if connection.execute(query).rowcount == 0:
                raise ConfigError(f"device UID {uid!r}: no such device in {self._db.path}")

    def two_step_devices(self) -> frozenset[str]:
        """Return the devices whose close needs two steps."""
        with self._db.read() as connection:
            return frozenset(connection.scalars(select(devices.c.uid).where(devices.c.two_step)))

    def has_device(self, uid: str) -> bool:
        """Say whether the device exists."""
        with self._db.read() as connection:
            return connection.scalar(select(devices.c.uid).where(devices.c.uid == uid)) is not None

    def list_devices(
        self, scope: frozenset[str] | None, offset: int, limit: int
    ) -> tuple[int, list[dict[str, Any]]]:
        """Return the number of devices in scope and one page of them, in the vendor's shape."""
        mine = devices.c.uid.in_(scope) if scope is not None else devices.c.uid.is_not(None)
        with self._db.read() as connection:
            total = connection.scalar(select(func.count()).select_from(devices).where(mine)) or 0
            query = select(devices).where(mine).order_by(devices.c.uid).offset(offset).limit(limit)
            rows = connection.execute(query).mappings().all()
        return total, [_device_view(row) for row in rows]

    def save_heartbeats(self, seen_ms: Mapping[str, int]) -> None:
        """Keep when each device called last (wall ms)."""
        if not seen_ms:
            return
        with self._db.write() as connection:
            for uid, at_ms in seen_ms.items():
                where = devices.c.uid == uid
                connection.execute(update(devices).where(where).values(heartbeat_ms=at_ms))

    def create_key(self, role: Role, name: str, device_uids: Sequence[str]) -> NewKey:
        """Make a key. An operator key without devices covers all devices.

        Raises:
            ConfigError: no such device, or a device key without one.
        """
        _check_name("--name", name)
        if role == "device" and not device_uids:
            raise ConfigError("--device: a device key needs at least one device")
        with self._db.write() as connection:
            known = set(connection.scalars(select(devices.c.uid)))
            for uid in device_uids:
                if uid not in known:
                    raise ConfigError(f"--device {uid!r}: no such device in {self._db.path}")
            taken = set(connection.scalars(select(api_keys.c.id)))
            key = new_key()
            while key.key_id in taken:
                key = new_key()
            row: dict[str, Any] = {
                "id": key.key_id,
                "role": role,
                "name": name,
            }
            row |= {"sha256": key.sha256, "all_devices": not device_uids}
            row |= {"created_ms": self._clock.wall_ms()}
            connection.execute(api_keys.insert().values(**row))
            for uid in dict.fromkeys(device_uids):
                pair = {"key_id": key.key_id, "device_uid": uid}
                connection.execute(api_key_devices.insert().values(**pair))
        return key

    def list_keys(self) -> list[dict[str, Any]]:
        """Return every key without its hash."""
        with self._db.read() as connection:
            rows = connection.execute(select(api_keys).order_by(api_keys.c.created_ms)).mappings()
            pairs = connection.execute(select(api_key_devices)).all()
            return [
                {
                    "id": row["id"],
                    "role": row["role"],
                    "name": row["name"],
                    "devices": "all"
                    if row["all_devices"]
                    else sorted(pair.device_uid for pair in pairs if pair.key_id == row["id"]),
                    "created": rfc3339(row["created_ms"]),
                    "revoked": rfc3339(row["revoked_ms"]),
                }
                for row in rows
            ]

    def revoke_key(self, key_id: str) -> None:
        """Revoke a key, at once and for ever.

        Raises:
            ConfigError: no such key.
        """
        with self._db.write() as connection:
            where = api_keys.c.id == key_id
            if connection.scalar(select(api_keys.c.id).where(where)) is None:
                raise ConfigError(f"key id {key_id!r}: no such key in {self._db.path}")
            values = {"revoked_ms": func.coalesce(api_keys.c.revoked_ms, self._clock.wall_ms())}
            connection.execute(update(api_keys).where(where).values(values))

    def identify(self, text: str) -> Principal | None:
        """Return who this key is, or None: unknown, revoked and malformed look the same."""
        key_id = key_id_of(text)
        with self._db.read() as connection:
            query = select(api_keys).where(api_keys.c.id == key_id, api_keys.c.revoked_ms.is_(None))
            row = connection.execute(query).mappings().one_or_none()
            if not matches(text, row["sha256"] if row else None) or row is None:
                return None
            scope = select(api_key_devices.c.device_uid).where(api_key_devices.c.key_id == key_id)
            uids = None if row["all_devices"] else frozenset(connection.scalars(scope))
        return Principal(row["id"], row["name"], cast("Role", row["role"]), uids)


def _check_name(argument: str, name: str) -> None:
    if not _NAME.fullmatch(name):
        raise ConfigError(f"{argument} {name!r}: 1 to 64 printable characters are needed")


def _device_view(row: Mapping[Any, Any]) -> dict[str, Any]:
    names = ("uid", "license_code", "name", "code", "location", "affiliation")
    return {name: row[name] for name in names} | {"heartbeat_time": rfc3339(row["heartbeat_ms"])}
