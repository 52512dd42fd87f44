"""BMS_AGENT_* variables laid over the parsed agent.toml. Pure.

Only the scalars in `_KINDS` can be set; a variable that is none of them is a mistake, because a
misspelt override that does nothing is worse than none.
"""

import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

PREFIX = "BMS_AGENT_"
NOT_OURS = frozenset({"BMS_AGENT_CONFIG"})  # names the file itself, read by the CLI

_KINDS: Mapping[str, type] = {
    "PLATFORM__URL": str,
    "PLATFORM__KEY_FILE": str,
    "PLATFORM__CA_FILE": str,
    "PLATFORM__SYNC_PERIOD_S": float,
    "PLATFORM__DEADLINE_S": float,
    "PLATFORM__POLL_WAIT_S": int,
    "AGENT__STATE_DIR": str,
    "AGENT__LOG_LEVEL": str,
    "AGENT__JOURNAL_MAX_MIB": int,
    "AGENT__OUTBOX_MAX_MIB": int,
    "DEVICE__N__UID": str,
    "DEVICE__N__PROFILE": str,
    "DEVICE__N__READ_ONLY": bool,
    "DEVICE__N__CAN__INTERFACE": str,
    "DEVICE__N__CAN__CHANNEL": str,
    "DEVICE__N__CAN__BITRATE": int,
    "DEVICE__N__CAN__FD": bool,
}
_BOOLEANS = {"true": True, "false": False}
_WORDS = {int: "an integer", float: "a number", bool: "true or false"}
_INDEX = re.compile(r"__([0-9]{1,3})__")


def apply_environment(data: dict[str, Any], environ: Mapping[str, str]) -> list[str]:
    """Lay the variables over `data`, in place where they name something; return the mistakes."""
    mistakes: list[str] = []
    for name in sorted(environ):
        if name.startswith(PREFIX) and name not in NOT_OURS:
            mistake = _apply(data, name.removeprefix(PREFIX), environ[name])
            mistakes += [f"{name} (environment): {mistake}"] if mistake else []
    return mistakes


def _apply(data: dict[str, Any], name: str, text: str) -> str:
    general = _INDEX.sub("__N__", name, count=1)
    kind = _KINDS.get(general)
    if kind is None:
        close = get_close_matches(general, _KINDS, n=1)
        return "sets nothing" + (f"; did you mean {PREFIX}{close[0]}?" if close else "")
    value = _read(kind, text)
    if value is None:
        return f"must be {_WORDS[kind]}"
    return _put(data, name.lower().split("__"), value)


def _read(kind: type, text: str) -> object:
    if kind is bool:
        return _BOOLEANS.get(text.lower())
    try:
        return kind(text)
    except ValueError:
        return None


def _put(data: dict[str, Any], steps: list[str], value: object) -> str:
    place: Any = data
    for step in steps[:-1]:
        if isinstance(place, list):
            if int(step) >= len(place):
                return f"there is no [[device]] number {step}"
            place = place[int(step)]
        elif isinstance(place, dict):
            place = place.setdefault(step, [] if step == "device" else {})
        if not isinstance(place, dict | list):
            return "names something that is no table in the file"
    place[steps[-1]] = value
    return ""
