"""A client that leaves in the middle of its body is no fault of the platform's."""

import socket

from tests.ems_process import Ems

HEAD = (
    "POST /wad/ems/v1/api/bms-control HTTP/1.1\r\nHost: here\r\nX-API-Key: {key}\r\n"
    "Content-Type: application/json\r\nContent-Length: 100\r\n\r\n"
)


def test_a_body_that_breaks_off(own_ems: Ems) -> None:
    """The platform goes on, and its log holds no traceback."""
    host, _, port = own_ems.root.removeprefix("http://").rpartition(":")
    for _ in range(3):
        with socket.create_connection((host, int(port)), timeout=5) as connection:
            connection.sendall(HEAD.format(key=own_ems.operator_key).encode() + b'{"device_uid": ')
    with own_ems.client(own_ems.operator_key) as http:
        assert http.get("/test-apikey").status_code == 200
    assert own_ems.stop() == 0
    assert "Traceback" not in own_ems.log()
