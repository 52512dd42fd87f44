"""An operator at the platform's documented HTTP interface, and the same as curl lines."""

import json
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlencode, urlsplit

TIMEOUT_S = 10.0


class Refused(Exception):
    """The platform did not answer a call with success."""


class Operator:
    """Makes the calls that a person would make, and knows them as curl lines.

    Args:
        url: of the platform, with the prefix.
        key: an operator's API key.
        key_file: where a person finds that key.
        device_uid: whose battery.
    """

    def __init__(self, url: str, key: str, key_file: str, device_uid: str) -> None:
        self._url = url
        self._key = key
        self._key_file = key_file
        self.device_uid = device_uid

    def status(self) -> dict[str, Any]:
        """GET /bms-control: operating_status, alarm_status, disconnected."""
        found: dict[str, Any] = self._data("GET", "/bms-control", {"device_uid": self.device_uid})
        return found

    def send(self, command: int) -> str:
        """POST /bms-control: 1 fault reset, 2 close contactor, 3 open contactor; return its id."""
        body = {"device_uid": self.device_uid, "command": command}
        return str(self._data("POST", "/bms-control", body=body))

    def command(self, command_id: str) -> dict[str, Any]:
        """GET /bms-control/commands/ID: the whole life of a command."""
        found: dict[str, Any] = self._data("GET", f"/bms-control/commands/{command_id}")
        return found

    def shell_variables(self) -> str:
        """Return the line that a person types before the others."""
        return f"EMS={self._url}; KEY=$(cat {self._key_file})"

    def curl_status(self) -> str:
        """Return the line that asks for the status."""
        return _curl(f"bms-control?device_uid={self.device_uid}")

    def curl_send(self, command: int) -> str:
        """Return the line that gives a command."""
        body = json.dumps({"device_uid": self.device_uid, "command": command})
        return _curl("bms-control", f" --json '{body}'")

    def curl_command(self, command_id: str) -> str:
        """Return the line that asks for the life of a command."""
        return _curl(f"bms-control/commands/{command_id}")

    def _data(
        self,
        method: str,
        path: str,
        params: dict[str, str] | None = None,
        body: dict[str, object] | None = None,
    ) -> Any:  # noqa: ANN401 - what JSON holds
        parts = urlsplit(self._url)
        connection = HTTPConnection(parts.hostname or "", parts.port, timeout=TIMEOUT_S)
        query = f"?{urlencode(params)}" if params else ""
        headers = {"X-API-Key": self._key, "Content-Type": "application/json"}
        try:
            content = None if body is None else json.dumps(body)
            connection.request(method, parts.path + path + query, content, headers)
            response = connection.getresponse()
            answer = json.loads(response.read())
        except (OSError, ValueError) as error:
            raise Refused(f"{method} {path}: {error}") from error
        finally:
            connection.close()
        if response.status != 200 or answer.get("code") != 0:  # noqa: PLR2004 - HTTP OK
            raise Refused(f"{method} {path}: HTTP {response.status}, {answer}")
        return answer["data"]


def _curl(path: str, more: str = "") -> str:
    return f'curl -sH "X-API-Key: $KEY"{more} "$EMS/{path}"'
