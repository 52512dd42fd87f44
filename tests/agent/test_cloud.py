"""The platform's client against real servers on loopback that behave in every bad way."""

import gzip
import json
import logging
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import httpx
import pytest

from agent.clock import SystemClock
from agent.cloud import ERRORS, MAX_ANSWER_BYTES, Cloud, translate
from agent.errors import (
    CloudClosed,
    CloudError,
    CloudNonsense,
    CloudRefused,
    CloudRefusedKey,
    CloudThrottled,
    CloudUnreachable,
    CloudUntrusted,
)
from agent.keys import Secret
from bms_can.profile import CommandCode
from tests.agent.scripted_server import (
    Script,
    ScriptedServer,
    answer,
    drips,
    resets,
    says,
    silent,
)

KEY = "emsk_test_0123456789"
DEADLINE_S = 0.3
CERTIFICATE = Path(__file__).with_name("tls_localhost.pem")
SYNCED = answer(b'{"code":0,"message":"ok","data":{"device_uid":"BAT","sequence":7}}')


@contextmanager
def cloud_of(
    *scripts: Script, deadline_s: float = DEADLINE_S
) -> Iterator[tuple[Cloud, ScriptedServer]]:
    """Run a server and a client for it."""
    with ScriptedServer(*scripts) as server, closing(client(server.url, deadline_s)) as cloud:
        yield cloud, server


def client(url: str, deadline_s: float = DEADLINE_S, ca_file: Path | None = None) -> Cloud:
    """Return a client."""
    return Cloud(url, Secret(KEY), SystemClock(), deadline_s, ca_file)


def outcome(*scripts: Script) -> CloudError:
    """Return the error that a call ends in."""
    with cloud_of(*scripts) as (cloud, _), pytest.raises(CloudError) as caught:
        cloud.put_sync("BAT", {"sequence": 1})
    assert KEY not in repr(caught.value)
    return caught.value


def test_each_call_on_the_wire() -> None:
    """Method, path, parameters, body and key are as the platform wants them."""
    pending = b'{"code":0,"message":"","data":{"poll_after_ms":500,"commands":[]}}'
    reports = b'{"code":0,"message":"","data":{"stored":1,"accepted_through":9}}'
    scripts = (
        says(SYNCED),
        says(answer(pending)),
        says(answer()),
        says(answer(reports)),
        says(answer(b'{"message":"ok"}')),
    )
    with cloud_of(*scripts) as (cloud, server):
        assert cloud.put_sync("BAT", {"sequence": 7}).sequence == 7
        assert cloud.get_pending("BAT", 0).poll_after_s == 0.5
        cloud.post_result({"id": "a", "detail": "接触器"})
        assert cloud.post_reports({"device_uid": "BAT", "reports": []}) == 9
        cloud.test_key()
    sync, poll, result, report, test = server.requests
    assert sync.startswith("PUT /api/bms-control/sync?device_uid=BAT HTTP/1.1\r\n")
    assert sync.endswith('\r\n\r\n{"sequence":7}')
    assert poll.startswith("GET /api/bms-control/pending?device_uid=BAT&wait=0 HTTP/1.1\r\n")
    assert result.startswith("POST /api/bms-control/result HTTP/1.1\r\n")
    assert result.endswith('{"detail":"接触器","id":"a"}')
    assert report.startswith("POST /api/bms-control/reports HTTP/1.1\r\n")
    assert test.startswith("GET /api/test-apikey HTTP/1.1\r\n")
    for request in server.requests:
        assert f"X-API-Key: {KEY}\r\n" in request
        assert "Accept-Encoding: identity\r\n" in request


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(silent, id="says nothing"),
        pytest.param(drips(b"", b"H"), id="drips a status line"),
        pytest.param(drips(HEAD, b"X-A: b\r\n"), id="drips headers"),
        pytest.param(drips(HEAD + b"Content-Length: 9999\r\n\r\n", b" "), id="drips a body"),
        pytest.param(
            drips(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"), id="chunks"
        ),
    ],
)
def test_one_deadline_for_the_whole_call(script: Script) -> None:
    """However a server spins it out, the call ends at its deadline."""
    started_s = time.monotonic()
    assert isinstance(outcome(script), CloudUnreachable)
    assert time.monotonic() - started_s < DEADLINE_S + 2.0  # the scripts never end by themselves


@pytest.mark.parametrize(
    ("script", "kind"),
    [
        (says(answer(b"<html>Welcome</html>", content_type="text/html")), CloudNonsense),
        (says(answer(b"<html>Welcome</html>")), CloudNonsense),
        (says(answer(b'{"code":0,"message":"","data"')), CloudNonsense),
        (says(answer(b'{"code":0,"message":"","data":{"device_uid":"OTHER"}}')), CloudNonsense),
        (says(answer(b'{"code":0,"code":1,"message":""}')), CloudNonsense),
        (says(answer(b'{"code":0,"message":"","data":NaN}')), CloudNonsense),
        (says(answer(b'{"code":0.0,"message":""}')), CloudNonsense),
        (says(answer(b'{"code":false,"message":""}')), CloudNonsense),
        (says(answer(b'{"message":"ok"}')), CloudNonsense),
        (says(answer(b"[]")), CloudNonsense),
        (says(answer(b"")), CloudNonsense),
        (says(answer(b"[" * 50_000)), CloudNonsense),
        (says(answer(b" " * (MAX_ANSWER_BYTES + 1))), CloudNonsense),
        (says(HEAD + b"\r\n" + b'{"code":0,"message":""'), CloudNonsense),
        (says(HEAD + b"Content-Length: 100\r\n\r\n{}"), CloudNonsense),
        (says(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"), CloudNonsense),
        (says(answer(status="204 No Content")), CloudNonsense),
        (says(answer(status="302 Found")), CloudNonsense),
        (says(answer(b'{"detail":"Not Found"}', "404 Not Found")), CloudNonsense),
        (says(answer(b'{"code":0,"message":"API Key"}', "401 Unauthorized")), CloudRefusedKey),
        (says(answer(b"no", "403 Forbidden")), CloudRefusedKey),
        (says(answer(b'{"code":140008,"message":"m","data":"d"}', "400 Bad")), CloudRefused),
        (says(answer(b'{"code":100001,"message":"m"}')), CloudRefused),
        (says(answer(b"<html>", "413 Too Large", content_type="text/html")), CloudRefused),
        (says(answer(b"", "429 Too Many Requests", "Retry-After: 7")), CloudThrottled),
        (says(answer(b"", "503 Service Unavailable", "Retry-After: 7")), CloudThrottled),
        (says(answer(b"", "503 Service Unavailable")), CloudUnreachable),
        (says(answer(b"", "500 Oops")), CloudUnreachable),
        (says(answer(b"", "408 Request Timeout")), CloudUnreachable),
        (says(b""), CloudUnreachable),
        (resets, CloudUnreachable),
    ],
)
def test_every_bad_answer_is_one_of_ours(script: Script, kind: type[CloudError]) -> None:
    """The class says what the caller does, whatever came back."""
    assert type(outcome(script)) is kind


def test_parts_of_a_refusal() -> None:
    """Code and texts of the platform are kept."""
    error = outcome(says(answer(b'{"code":140008,"message":"m","data":"d"}', "400 Bad")))
    assert isinstance(error, CloudRefused)
    assert (error.status, error.code) == (400, 140008)
    assert "m: d" in str(error)


def test_retry_after_in_both_forms() -> None:
    """Seconds and date are read; the date counts against the server's own clock."""
    for header in (
        ("Retry-After: 7",),
        ("Date: Fri, 02 Jan 1970 00:00:00 GMT", "Retry-After: Fri, 02 Jan 1970 00:00:07 GMT"),
    ):
        error = outcome(says(answer(b"", "429 Too Many Requests", *header)))
        assert isinstance(error, CloudThrottled)
        assert error.retry_after_s == 7.0


def test_gzip_bomb_is_not_unpacked() -> None:
    """A compressed answer is refused before its body is read."""
    bomb = gzip.compress(b" " * 20_000_000)
    error = outcome(says(answer(bomb, "200 OK", "Content-Encoding: gzip")))
    assert isinstance(error, CloudNonsense)
    assert "compressed" in str(error)


def test_endless_body_stops_at_the_limit() -> None:
    """A body without an end is cut at 64 KiB, long before the deadline."""
    started_s = time.monotonic()
    with cloud_of(drips(HEAD + b"\r\n", b" " * 65536, 0.001), deadline_s=10.0) as (cloud, _):
        with pytest.raises(CloudNonsense, match="larger than"):
            cloud.put_sync("BAT", {})
        assert time.monotonic() - started_s < 2.0


def test_redirect_never_takes_the_key_along() -> None:
    """The other server sees no request at all."""
    with ScriptedServer(says(SYNCED)) as other:
        for status in ("301 Moved", "302 Found", "307 Temporary Redirect", "308 Permanent"):
            error = outcome(says(answer(b"", status, f"Location: {other.url}/x")))
            assert isinstance(error, CloudNonsense)
    assert other.requests == []


def test_nobody_listens() -> None:
    """A closed port is unreachable."""
    with ScriptedServer(silent) as server:
        url = server.url
    with closing(client(url)) as cloud, pytest.raises(CloudUnreachable):
        cloud.test_key()


def test_environment_is_not_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy in the environment gets nothing."""
    with ScriptedServer(says(SYNCED)) as proxy, cloud_of(says(SYNCED)) as (cloud, server):
        for name in ("HTTP_PROXY", "ALL_PROXY", "http_proxy"):
            monkeypatch.setenv(name, proxy.url)
        cloud.put_sync("BAT", {})
        assert len(server.requests) == 1
    assert proxy.requests == []


def all_errors() -> list[type[Exception]]:
    """Return every exception class that httpx has."""
    found = [
        value
        for name in dir(httpx)
        if isinstance(value := getattr(httpx, name), type) and issubclass(value, Exception)
    ]
    assert len(found) > 25
    return found


@pytest.mark.parametrize("kind", all_errors())
def test_no_error_of_httpx_is_unmapped(kind: type[Exception]) -> None:
    """Every class of httpx becomes one of ours, also those that we never saw."""
    error = kind.__new__(kind)
    Exception.__init__(error, "text")
    assert isinstance(translate(error), CloudError)
    assert any(parent in ERRORS for parent in kind.__mro__)


def test_what_is_caught_is_what_is_mapped() -> None:
    """The three families in the except clause cover all classes."""
    families = (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL)
    assert [kind for kind in all_errors() if not issubclass(kind, families)] == [
        httpx.CookieConflict
    ]  # raised by reading cookies only, which we never do


COMMAND = {"id": "a", "command": 2, "expires_in_ms": 8000, "version": 1}


def pending_answer(*commands: dict[str, object], sync: bool = False) -> bytes:
    """Return an answer with these commands."""
    data = {"poll_after_ms": 0, "sync_requested": sync, "commands": commands}
    return answer(json.dumps({"code": 0, "message": "", "data": data}).encode())


def held(data: bytes, hold_s: float) -> Script:
    """Hold the request, then answer."""

    def script(wire: object, stop: threading.Event) -> None:
        stop.wait(hold_s)
        wire.sendall(data)  # type: ignore[attr-defined]

    return script


def test_a_held_poll_does_not_eat_the_life_of_a_command() -> None:
    """After a long wait the commands are asked for again, so that their life counts from then."""
    scripts = (
        held(pending_answer(COMMAND, sync=True), 0.7),
        says(pending_answer(COMMAND | {"expires_in_ms": 7990})),
    )
    with cloud_of(*scripts) as (cloud, server):
        clock = SystemClock()
        pending = cloud.get_pending("BAT", 5)
        assert len(server.requests) == 2
        assert "wait=0" in server.requests[1]
        assert clock.monotonic_s() - pending.asked_at_s < 0.3
        assert pending.sync_requested
        assert pending.commands[0].expires_in_s == 7.99
        assert pending.commands[0].code is CommandCode.CLOSE_CONTACTOR


def test_a_quick_poll_needs_no_second_one() -> None:
    """An answer that came at once is taken as it is."""
    with cloud_of(says(pending_answer(COMMAND))) as (cloud, server):
        assert len(cloud.get_pending("BAT", 5).commands) == 1
        assert len(server.requests) == 1


def test_a_failing_second_poll_leaves_the_first_answer() -> None:
    """Then the life counts from the first request: shorter, never longer."""
    with cloud_of(held(pending_answer(COMMAND), 0.6), resets) as (cloud, _):
        before_s = SystemClock().monotonic_s()
        pending = cloud.get_pending("BAT", 5)
        assert pending.asked_at_s - before_s < 0.3
        assert pending.commands[0].expires_in_s == 8.0


def in_thread(call: Callable[[], object]) -> tuple[threading.Thread, list[Exception]]:
    """Run a call in a thread; its error ends up in the list."""
    errors: list[Exception] = []

    def run() -> None:
        try:
            call()
        except CloudError as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, errors


@pytest.mark.parametrize("tls", [False, True])
def test_close_ends_a_waiting_poll(*, tls: bool) -> None:
    """Closing from another thread ends a long poll at once."""
    certificate = CERTIFICATE if tls else None
    asked = threading.Event()

    def hold(_wire: object, stop: threading.Event) -> None:
        asked.set()
        stop.wait()

    with ScriptedServer(hold, certificate=certificate) as server:
        cloud = client(server.url, 20.0, certificate)
        thread, errors = in_thread(lambda: cloud.get_pending("BAT", 25))
        assert asked.wait(5.0)
        started_s = time.monotonic()
        cloud.close()
        thread.join(5.0)
        assert time.monotonic() - started_s < 0.5
        assert [type(error) for error in errors] == [CloudClosed]
        with pytest.raises(CloudClosed):
            cloud.test_key()


def test_a_waiting_poll_does_not_hold_up_results() -> None:
    """Poll and send have connections of their own."""
    asked = threading.Event()

    def hold(_wire: object, stop: threading.Event) -> None:
        asked.set()
        stop.wait()

    with cloud_of(hold, says(answer()), deadline_s=5.0) as (cloud, _):
        thread, errors = in_thread(lambda: cloud.get_pending("BAT", 1))
        assert asked.wait(5.0)
        cloud.post_result({})
        cloud.close()
        thread.join(5.0)
        assert [type(error) for error in errors] == [CloudClosed]


def test_fresh_client_after_three_failures() -> None:
    """Three failures in a row, and the next call uses a new client."""
    with cloud_of(resets, resets, resets, says(SYNCED)) as (cloud, _):
        clients = []
        for _ in range(3):
            with pytest.raises(CloudUnreachable):
                cloud.put_sync("BAT", {})
            clients.append(cloud._sessions["send"].client)
        cloud.put_sync("BAT", {})
        assert len(set(clients)) == 1
        assert cloud._sessions["send"].client is not clients[0]
        assert clients[0].is_closed


def test_tls_is_verified() -> None:
    """A certificate that nobody vouches for is refused; with the private CA it is good."""
    with ScriptedServer(says(SYNCED), certificate=CERTIFICATE) as server:
        with closing(client(server.url, 2.0)) as cloud, pytest.raises(CloudUntrusted):
            cloud.put_sync("BAT", {})
        with closing(client(server.url, 2.0, CERTIFICATE)) as cloud:
            assert cloud.put_sync("BAT", {}).sequence == 7
            context = cloud._context
    assert len(server.requests) == 1
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname


def test_the_key_is_in_no_log(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever is logged at the lowest level, and every repr, is without the key."""
    with caplog.at_level(logging.DEBUG), cloud_of(resets, says(SYNCED)) as (cloud, _):
        with pytest.raises(CloudUnreachable) as caught:
            cloud.put_sync("BAT", {})
        cloud.put_sync("BAT", {})
        shown = [repr(cloud), repr(cloud._sessions["send"].client.headers), repr(caught.value)]
    assert KEY not in caplog.text + "".join(shown)


@pytest.mark.parametrize("body", [b'{"message":"no"}', b'{"code":1,"message":"ok"}'])
def test_key_test_with_a_strange_answer(body: bytes) -> None:
    """Only the platform's own words count."""
    with cloud_of(says(answer(body))) as (cloud, _), pytest.raises(CloudNonsense):
        cloud.test_key()


def test_imports_are_in_one_place() -> None:
    """No other module of the agent imports httpx."""
    folder = Path(sys.modules["agent.cloud"].__file__ or "").parent
    users = [file.name for file in folder.rglob("*.py") if "import httpx" in file.read_text()]
    assert users == ["cloud.py"]


def test_as_many_long_polls_as_devices_are_held_at_once() -> None:
    """No poll waits for another one's connection: with one too few the last would hang behind."""
    devices = 4
    waiting, all_there = threading.Semaphore(0), threading.Event()

    def hold(wire: socket.socket, _stop: threading.Event) -> None:
        waiting.release()
        assert all_there.wait(5)
        wire.sendall(answer(b'{"code":0,"message":"","data":{"poll_after_ms":1,"commands":[]}}'))

    with ScriptedServer(hold) as server:
        clock = SystemClock()
        with closing(Cloud(server.url, Secret(KEY), clock, 5.0, None, devices)) as cloud:
            polls = [
                threading.Thread(target=cloud.get_pending, args=(f"BAT-{number}", 3))
                for number in range(devices)
            ]
            for poll in polls:
                poll.start()
            assert all(waiting.acquire(timeout=5) for _ in polls)
            all_there.set()
            for poll in polls:
                poll.join(5)
    assert len(server.requests) == devices
