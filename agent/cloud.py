"""The platform's HTTP interface, as calls that return values or raise CloudError.

The only import of httpx. Every error of httpx becomes one of ours here and nowhere else; nothing
is repeated here (retry.py decides). Each call has one deadline for all of it. No redirect is
followed, no proxy or CA is taken from the environment, no answer above 64 KiB is read, and the key
is set by an auth class, so that it stands in no header that anything prints.
"""

import logging
import ssl
import threading
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

import httpcore
import httpx

from agent.answer import Answer, judge, judge_data
from agent.clock import Clock
from agent.errors import (
    CloudClosed,
    CloudError,
    CloudNonsense,
    CloudUnreachable,
    CloudUntrusted,
)
from agent.http_limits import CONNECT_S, SOCKET_OPTIONS, BoundedBackend, Budget
from agent.keys import Secret
from agent.payload import Pending, SyncAck, read_accepted_through, read_pending, read_sync
from agent.retry import retry_after_s
from agent.strict_json import canonical

MAX_ANSWER_BYTES = 64 * 1024
LEAST_CONNECTIONS, KEEPALIVE_EXPIRY_S = 2, 5.0
FAILURES_BEFORE_FRESH, STALE_ANSWER_S = 3, 0.5

_HEADERS = {"Accept": "application/json", "Accept-Encoding": "identity"}
_POLL, _SEND = "poll", "send"
_NO_ANSWER = "disconnected without sending"  # httpcore's words for a connection that just ended

ERRORS: Mapping[type[Exception], type[CloudError]] = MappingProxyType(
    {
        httpx.HTTPError: CloudUnreachable,
        httpx.RemoteProtocolError: CloudNonsense,
        httpx.DecodingError: CloudNonsense,
        httpx.TooManyRedirects: CloudNonsense,
        httpx.HTTPStatusError: CloudNonsense,
        httpx.CookieConflict: CloudNonsense,
        httpx.InvalidURL: CloudNonsense,
        httpx.StreamError: CloudUnreachable,
    }
)


def translate(error: Exception) -> CloudError:
    """Return our error for one of httpx, by the nearest class in `ERRORS`."""
    if _caused_by(error, ssl.SSLCertVerificationError):
        return CloudUntrusted(str(error))
    ours = next(ERRORS[kind] for kind in type(error).__mro__ if kind in ERRORS)
    if _NO_ANSWER in str(error):
        ours = CloudUnreachable
    return ours(f"{type(error).__name__}: {error}")


def _caused_by(error: BaseException | None, kind: type[BaseException]) -> bool:
    while error is not None:
        if isinstance(error, kind):
            return True
        error = error.__cause__ or error.__context__
    return False


class _KeyHeader(httpx.Auth):
    """Sets the key on the request as it goes out."""

    def __init__(self, secret: Secret) -> None:
        self.secret = secret

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        request.headers["X-API-Key"] = self.secret.reveal()
        yield request


class _BoundedTransport(httpx.HTTPTransport):
    """httpx's transport over our backend. `_pool` is private to httpx: hence the pin below 0.29."""

    def __init__(self, context: ssl.SSLContext, backend: BoundedBackend, most: int) -> None:
        super().__init__(verify=context, trust_env=False)
        self._pool = httpcore.ConnectionPool(
            ssl_context=context,
            max_connections=most,
            keepalive_expiry=KEEPALIVE_EXPIRY_S,
            http1=True,
            http2=False,
            network_backend=backend,
            socket_options=SOCKET_OPTIONS,
        )


class _Session:
    """A client with its backend, and how many calls are inside."""

    def __init__(self, context: ssl.SSLContext, budget: Budget, connections: int) -> None:
        self.backend = BoundedBackend(budget)
        self.client = httpx.Client(
            transport=_BoundedTransport(context, self.backend, connections),
            follow_redirects=False,
            trust_env=False,
            timeout=httpx.Timeout(None, connect=CONNECT_S),
        )
        self.users = self.failures = 0
        self.retired = False


class Cloud:
    """The platform. Thread-safe; `close` ends calls that wait in other threads.

    Args:
        base_url: with the prefix, such as https://host/wad/ems/v1/api.
        secret: the box's key; clock: for deadlines and for Retry-After dates.
        deadline_s: longest time of a call [s]; a long poll may take this much beyond its wait.
        ca_file: PEM file of a private CA; None: the public ones.
        connections: calls of one purpose at once; a further one would wait without a deadline.
    """

    def __init__(
        self,
        base_url: str,
        secret: Secret,
        clock: Clock,
        deadline_s: float = 15.0,
        ca_file: Path | None = None,
        connections: int = LEAST_CONNECTIONS,
    ) -> None:
        self._connections = max(LEAST_CONNECTIONS, connections)
        self._url = base_url.rstrip("/")
        self._auth = _KeyHeader(secret)
        self._clock = clock
        self._deadline_s = deadline_s
        self._budget = Budget(clock)
        self._context = _ssl_context(self._url, ca_file)
        self._lock = threading.Lock()
        self._sessions: dict[str, _Session] = {}
        self._closed = False
        for name in ("httpx", "httpcore"):  # they log whole URLs, and headers at DEBUG
            logging.getLogger(name).setLevel(logging.WARNING)

    def __repr__(self) -> str:
        return f"Cloud({self._url!r})"

    def close(self) -> None:
        """End all calls, now and from now on: they raise CloudClosed."""
        with self._lock:
            self._closed = True
            sessions, self._sessions = list(self._sessions.values()), {}
        for session in sessions:
            session.backend.cut()
            self._retire(session)

    def test_key(self) -> str:
        """Ask whether the key is good; return the platform's Date header, "" if it sent none.

        Raises:
            CloudError: it is not, or nobody could be asked.
        """
        answer = self._call(_SEND, "GET", "/test-apikey")
        envelope = judge(answer)
        if envelope.code not in {None, 0} or envelope.message != "ok":
            raise CloudNonsense("test-apikey: the answer is not the platform's")
        return answer.date

    def put_sync(self, device_uid: str, body: Mapping[str, object]) -> SyncAck:
        """Report the status of a device."""
        params = {"device_uid": device_uid}
        answer = self._call(_SEND, "PUT", "/bms-control/sync", params=params, body=body)
        return read_sync(judge_data(answer), device_uid)

    def post_result(self, body: Mapping[str, object]) -> None:
        """Report a step of a command."""
        judge_data(self._call(_SEND, "POST", "/bms-control/result", body=body))

    def post_reports(self, body: Mapping[str, object]) -> int | None:
        """Deliver kept reports; return the newest number that the platform has, if it says so."""
        answer = self._call(_SEND, "POST", "/bms-control/reports", body=body)
        return read_accepted_through(judge_data(answer))

    def get_pending(self, device_uid: str, wait_s: int) -> Pending:
        """Ask for commands; the platform may hold the request for `wait_s` [s].

        The life of a command counts from the start of the request that brought it. A request that
        was held would eat up that life, so its commands are asked for once more without a wait.
        """
        first = self._ask_pending(device_uid, wait_s)
        held_s = self._clock.monotonic_s() - first.asked_at_s
        if not first.commands or held_s < STALE_ANSWER_S:
            return first
        try:
            second = self._ask_pending(device_uid, 0)
        except CloudError:
            return first  # older than need be, so on the safe side
        wanted = first.sync_requested or second.sync_requested
        # The pause named for a poll without a wait is not meant for this one.
        return second._replace(sync_requested=wanted, poll_after_s=first.poll_after_s)

    def _ask_pending(self, device_uid: str, wait_s: int) -> Pending:
        asked_at_s = self._clock.monotonic_s()
        params = {"device_uid": device_uid, "wait": str(wait_s)}
        path = "/bms-control/pending"
        answer = self._call(_POLL, "GET", path, params=params, extra_s=wait_s)
        return read_pending(judge_data(answer), asked_at_s)

    def _call(
        self,
        purpose: str,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Mapping[str, object] | None = None,
        extra_s: float = 0.0,
    ) -> Answer:
        self._budget.end_s = self._clock.monotonic_s() + self._deadline_s + extra_s
        request = httpx.Request(
            method,
            self._url + path,
            params=params,
            content=None if body is None else canonical(body).encode(),
            headers=_HEADERS if body is None else _HEADERS | {"Content-Type": "application/json"},
        )
        with self._borrowed(purpose) as session:
            try:
                answer = self._exchange(session.client, request)
            except (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL) as error:
                session.failures += 1
                if self._closed:
                    raise CloudClosed("the client was closed") from error
                raise translate(error) from error
            session.failures = 0
            return answer

    def _exchange(self, client: httpx.Client, request: httpx.Request) -> Answer:
        response = client.send(request, auth=self._auth, stream=True)
        try:
            if response.headers.get("Content-Encoding", "identity").lower() != "identity":
                raise CloudNonsense("answer is compressed, although we asked for none")
            body = b""
            for part in response.iter_raw():
                body += part
                if len(body) > MAX_ANSWER_BYTES:
                    raise CloudNonsense(f"answer is larger than {MAX_ANSWER_BYTES} bytes")
        finally:
            response.close()
            # It and its stream hold each other, and with them both bodies: that would wait for the
            # collector, for hours.
            response.stream = httpx.ByteStream(b"")
        headers, date = response.headers, response.headers.get("Date", "")
        wait_s = retry_after_s(headers.get("Retry-After"), date or None, self._clock.wall())
        return Answer(response.status_code, headers.get("Content-Type", ""), body, wait_s, date)

    @contextmanager
    def _borrowed(self, purpose: str) -> Iterator[_Session]:
        """Lend the client of a purpose; a fresh one after repeated failures."""
        with self._lock:
            if self._closed:
                raise CloudClosed("the client was closed")
            session = self._sessions.get(purpose)
            old = session if session and session.failures >= FAILURES_BEFORE_FRESH else None
            if session is None or old is not None:
                session = _Session(self._context, self._budget, self._connections)
                self._sessions[purpose] = session
            session.users += 1
        if old is not None:
            self._retire(old)
        try:
            yield session
        finally:
            with self._lock:
                session.users -= 1
            if session.retired:
                self._retire(session)

    def _retire(self, session: _Session) -> None:
        """Close a client when nobody is inside any more; the last one out comes back here."""
        session.retired = True
        with self._lock:
            idle = session.users == 0
        if idle:
            session.client.close()


def _ssl_context(url: str, ca_file: Path | None) -> ssl.SSLContext:
    if not url.startswith("https:"):
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # not used; loads no certificates
    if ca_file is not None:
        context = ssl.create_default_context(cafile=str(ca_file))
    else:
        context = httpx.create_ssl_context(trust_env=False)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
