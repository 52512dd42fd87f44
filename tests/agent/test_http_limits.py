"""Connections that keep to one budget, name lookup included."""

import socket
import threading
import time
from collections.abc import Callable

import httpcore
import pytest

from agent.clock import FakeClock, SystemClock
from agent.http_limits import BoundedBackend, Budget
from tests.agent.scripted_server import ScriptedServer, answer, drips, says, silent


def backend(seconds: float = 1.0) -> BoundedBackend:
    """Return a backend whose call ends in so many seconds."""
    clock = SystemClock()
    budget = Budget(clock)
    budget.end_s = clock.monotonic_s() + seconds
    return BoundedBackend(budget)


def port_of(server: ScriptedServer) -> int:
    """Return the port of a server."""
    return int(server.url.rsplit(":", 1)[1].split("/")[0])


def resolves_to(monkeypatch: pytest.MonkeyPatch, answers: Callable[[], list[str]]) -> None:
    """Make the resolver give these addresses for any name."""

    def getaddrinfo(*_args: object, **_more: object) -> list[object]:
        return [(0, 0, 0, "", (address, 0)) for address in answers()]

    monkeypatch.setattr("agent.http_limits.socket.getaddrinfo", getaddrinfo)


def test_each_address_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name whose first address does not answer is reached at the second."""
    with ScriptedServer(says(answer())) as server:
        found = ["127.0.0.2", "127.0.0.1", "127.0.0.1"]

        def lookup(*_args: object) -> list[str]:
            return found

        bounded = backend()
        monkeypatch.setattr(bounded, "_lookup", lookup)
        stream = bounded.connect_tcp("two.example", port_of(server))
        stream.write(b"GET / HTTP/1.1\r\n\r\n")
        assert stream.read(1000).startswith(b"HTTP/1.1 200")
        stream.close()
        found[1:] = []
        with pytest.raises(httpcore.ConnectError):
            bounded.connect_tcp("one.example", port_of(server))
        found.clear()
        with pytest.raises(httpcore.ConnectError, match="no address"):
            bounded.connect_tcp("none.example", port_of(server))


def test_names_are_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """The resolver's addresses are used, each once."""
    resolves_to(monkeypatch, lambda: ["192.0.2.1", "192.0.2.1", "192.0.2.2"])
    assert backend()._lookup("x.example", 1, 1.0) == ["192.0.2.1", "192.0.2.2"]
    assert backend()._lookup("192.0.2.9", 1, 1.0) == ["192.0.2.9"]


def test_a_slow_resolver_does_not_stretch_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """The budget ends a name lookup, which knows no time-out of its own."""
    done = threading.Event()

    def hang() -> list[str]:
        done.wait(5.0)
        return []

    resolves_to(monkeypatch, hang)
    started_s = time.monotonic()
    with pytest.raises(httpcore.ConnectTimeout, match="no answer about the name"):
        backend(0.1).connect_tcp("slow.example", 1, timeout=5.0)
    assert time.monotonic() - started_s < 1.0
    done.set()


@pytest.mark.parametrize("error", [socket.gaierror("unknown"), UnicodeError("label too long")])
def test_a_name_that_is_none(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """What the resolver raises in its thread comes back as a failed connection."""

    def fail() -> list[str]:
        raise error

    resolves_to(monkeypatch, fail)
    with pytest.raises(httpcore.ConnectError, match=str(error)):
        backend().connect_tcp("bad.example", 1)


def test_nothing_starts_when_the_budget_is_over() -> None:
    """Each operation fails at once, with the class that belongs to it."""
    clock = FakeClock()
    budget = Budget(clock)
    bounded = BoundedBackend(budget)
    with ScriptedServer(silent) as server:
        stream = bounded.connect_tcp("127.0.0.1", port_of(server))
        budget.end_s = clock.monotonic_s()
        with pytest.raises(httpcore.ReadTimeout):
            stream.read(1)
        with pytest.raises(httpcore.WriteTimeout):
            stream.write(b"x")
        with pytest.raises(httpcore.ConnectTimeout):
            bounded.connect_tcp("127.0.0.1", port_of(server))
        stream.close()


def test_the_smaller_limit_counts() -> None:
    """An operation ends at its own time-out, or at the budget, whichever is nearer."""
    clock = FakeClock()
    budget = Budget(clock)
    assert budget.left(3.0, TimeoutError) == 3.0
    budget.end_s = clock.monotonic_s() + 2.0
    assert budget.left(3.0, TimeoutError) == 2.0
    assert budget.left(None, TimeoutError) == 2.0
    assert budget.left(1.0, TimeoutError) == 1.0


def test_each_thread_has_its_own_budget() -> None:
    """A long poll in one thread does not lengthen a call in another."""
    budget = Budget(FakeClock())
    budget.end_s = 5.0
    seen: list[float] = []
    thread = threading.Thread(target=lambda: seen.append(budget.end_s))
    thread.start()
    thread.join()
    assert seen == [float("inf")]


def test_cut_ends_reads_and_later_connections() -> None:
    """A read that waits returns at once; a connection opened afterwards is dead."""
    bounded = backend(10.0)
    with ScriptedServer(drips(b"", b"", 1.0)) as server:
        stream = bounded.connect_tcp("127.0.0.1", port_of(server))
        stream.write(b"GET / HTTP/1.1\r\n\r\n")
        threading.Timer(0.05, bounded.cut).start()
        started_s = time.monotonic()
        assert stream.read(10) == b""
        assert time.monotonic() - started_s < 1.0
        stream.close()
        late = bounded.connect_tcp("127.0.0.1", port_of(server))
        assert late.read(10) == b""
        late.close()
