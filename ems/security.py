"""API keys: how they look, how they are made, how they are checked. Pure but for the random source.

Text form ``emsk_<8 hex id>_<43 characters>``: the id finds the row, the rest is 256 random bits.
Only the SHA-256 of the whole text is stored; a fast hash is enough, as nobody can guess 256 bits.
"""

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass, field
from typing import Literal

Role = Literal["operator", "device"]

_FORM = re.compile(r"emsk_([0-9a-f]{8})_[A-Za-z0-9_-]{43}")
_UID = re.compile(r"[A-Za-z0-9_-]{1,64}")
#: Compared with when the id is unknown, so that both refusals do the same work.
_NOBODY = "0" * 64


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key as it is made. `text` is shown once and kept nowhere."""

    key_id: str
    sha256: str
    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Principal:
    """Who calls: the key's id and name, its role, and its devices (None = all)."""

    key_id: str
    name: str
    role: Role
    devices: frozenset[str] | None

    def covers(self, device_uid: str) -> bool:
        """Say whether the key's scope includes this device."""
        return self.devices is None or device_uid in self.devices


def new_key() -> NewKey:
    """Make a key of 256 random bits."""
    key_id = secrets.token_hex(4)
    text = f"emsk_{key_id}_{secrets.token_urlsafe(32)}"
    return NewKey(key_id=key_id, sha256=digest(text), text=text)


def digest(text: str) -> str:
    """Return the SHA-256 of a key's text, in hex, as it is stored."""
    return hashlib.sha256(text.encode()).hexdigest()


def key_id_of(text: str) -> str | None:
    """Return the id inside a key's text, or None if the text does not have the form of a key."""
    match = _FORM.fullmatch(text)
    return match.group(1) if match else None


def matches(text: str, sha256: str | None) -> bool:
    """Say in constant time whether `text` has the stored hash; None (no key) never matches."""
    same = hmac.compare_digest(digest(text), sha256 or _NOBODY)
    return same and sha256 is not None


def is_device_uid(text: str) -> bool:
    """Say whether `text` has the form of a device id."""
    return _UID.fullmatch(text) is not None
