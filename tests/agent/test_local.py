"""The local door: real sockets, odd clients, and a door that stays open whatever they do."""

import json
import logging
import socket
import stat
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent import local
from agent.clock import FakeClock, SystemClock
from agent.errors import JournalFailed
from agent.local import (
    LONGEST_PATH,
    MAX_LINE,
    SOCKET_FILE,
    Answer,
    BadRequest,
    LocalDoor,
    NotRunning,
    ask,
    path_mistake,
)

CLOCK = SystemClock()
HUGE = "x" * 4_000_000  # more than a socket buffers
PATIENCE_S = 10.0


def echo(request: Mapping[str, object]) -> Answer:
    """Give the request back."""
    return {"was": dict(request)}


def refuse(_request: Mapping[str, object]) -> Answer:
    """Understand and refuse."""
    raise BadRequest("not today")


def fail(_request: Mapping[str, object]) -> Answer:
    """Find a journal that cannot be used."""
    raise JournalFailed("journal.db: disk I/O error")


def huge(_request: Mapping[str, object]) -> Answer:
    """Say more than a lazy client takes."""
    return {"text": HUGE}


HANDLERS = {"echo": echo, "refuse": refuse, "fail": fail, "huge": huge}


@contextmanager
def open_door(state_dir: Path) -> Iterator[LocalDoor]:
    """Serve in a thread, as the agent does."""
    door = LocalDoor(state_dir, HANDLERS, CLOCK)
    thread = threading.Thread(target=door.run)
    thread.start()
    never = threading.Event()
    while door.beats == 0 and thread.is_alive():
        CLOCK.wait(never, 0.001)
    try:
        yield door
    finally:
        door.stop()
        thread.join(PATIENCE_S)
        assert not thread.is_alive()


@pytest.fixture(scope="module")
def state_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return a state directory with a door that is open for all tests of this file."""
    folder = tmp_path_factory.mktemp("state")
    with open_door(folder):
        yield folder


def connect(folder: Path) -> socket.socket:
    """Return a connection of a client that is no program of ours."""
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    client.connect(str(folder / SOCKET_FILE))
    client.settimeout(PATIENCE_S)
    return client


def say(folder: Path, data: bytes) -> bytes:
    """Send bytes and nothing more; return all that comes back."""
    with connect(folder) as client:
        with suppress(BrokenPipeError):
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: client.recv(65536), b""))


def seconds(action: Callable[[], object]) -> float:
    """Return how long something takes."""
    start_s = CLOCK.monotonic_s()
    action()
    return CLOCK.monotonic_s() - start_s


def test_question_and_answer(state_dir: Path) -> None:
    """A request reaches its handler whole, and the answer comes back as it is."""
    request = {"do": "echo", "text": "电芯", "list": [1, None]}
    assert ask(state_dir, request) == {"was": request}


def test_a_large_answer(state_dir: Path) -> None:
    """An answer may be larger than what a socket buffers."""
    assert ask(state_dir, {"do": "huge"}) == {"text": HUGE}


@pytest.mark.parametrize(
    ("word", "told"), [("refuse", "not today"), ("fail", "journal cannot be used"), ("x", "do")]
)
def test_refusals(state_dir: Path, word: str, told: str) -> None:
    """What is refused comes back as a refusal with its reason; so does a failed journal."""
    with pytest.raises(BadRequest, match=told):
        ask(state_dir, {"do": word})


MALFORMED = {
    "nothing": b"\n",
    "words": b"hello\n",
    "half": b'{"do": "echo"\n',
    "list": b"[]\n",
    "number": b"1\n",
    "no word": b"{}\n",
    "word of a wrong kind": b'{"do": ["echo"]}\n',
    "word null": b'{"do": null}\n',
    "no text": b"\xff\xfe\x00\n",
    "deep": b"[" * 10_000 + b"\n",
    "huge number": b'{"do": ' + b"9" * 10_000 + b"}\n",
    "too long": b'{"do": "echo", "x": "' + b"y" * MAX_LINE + b'"}\n',
    "too long without an end": b"z" * (MAX_LINE + 1),
    "no line end": b'{"do": "refuse"}',
}


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED)
def test_malformed_requests(state_dir: Path, data: bytes) -> None:
    """Each gets one line that says what is wrong, and the next client is served."""
    (key,) = json.loads(say(state_dir, data))
    assert key == "error"
    assert ask(state_dir, {"do": "echo"})


def test_a_request_far_too_long(state_dir: Path) -> None:
    """The door reads no further than it must, and its answer arrives all the same."""
    with pytest.raises(BadRequest, match="longer than"):
        ask(state_dir, {"do": "echo", "x": 100_000 * "y"})


def test_only_the_first_line_counts(state_dir: Path) -> None:
    """One connection is one request."""
    answer = say(state_dir, b'{"do": "echo"}\n{"do": "refuse"}\n')
    assert json.loads(answer) == {"was": {"do": "echo"}}


@given(st.binary(max_size=200))
def test_no_request_breaks_it(line: bytes) -> None:
    """Whatever comes, there is an answer."""
    assert LocalDoor(Path(), HANDLERS, FakeClock())._answer(line)


def test_a_client_that_says_nothing(state_dir: Path) -> None:
    """It keeps the next one waiting for less than 2 s."""
    with connect(state_dir):
        assert seconds(lambda: ask(state_dir, {"do": "echo"})) < 2.0


def test_a_client_that_drips(state_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A byte now and then does not prolong its time."""
    monkeypatch.setattr(local, "REQUEST_S", 0.2)
    never, stop = threading.Event(), threading.Event()

    def drip(client: socket.socket) -> None:
        with suppress(OSError):
            while not stop.is_set():
                client.sendall(b" ")
                CLOCK.wait(never, 0.02)

    with connect(state_dir) as client:
        dripping = threading.Thread(target=drip, args=(client,))
        dripping.start()
        taken_s = seconds(lambda: ask(state_dir, {"do": "echo"}))
        stop.set()
        dripping.join()
    assert taken_s < 1.0


def test_a_client_that_does_not_listen(state_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that nobody takes is given up."""
    monkeypatch.setattr(local, "ANSWER_S", 0.2)
    with connect(state_dir) as client:
        client.sendall(b'{"do": "huge"}\n')
        assert seconds(lambda: ask(state_dir, {"do": "echo"})) < 1.0


def test_time_over_between_two_parts(state_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The end of the time is noticed even if bytes are always there."""
    monkeypatch.setattr(local, "REQUEST_S", 0.0)
    with suppress(ConnectionResetError):
        assert say(state_dir, b'{"do": "echo"}\n') == b""


def test_a_client_that_goes(state_dir: Path) -> None:
    """A client that goes without waiting does no harm."""
    for _ in range(40):  # more than the system lets wait
        with connect(state_dir) as client:
            client.sendall(b'{"do": "echo"}\n')
    assert ask(state_dir, {"do": "echo"})


def test_many_at_once(state_dir: Path) -> None:
    """Clients that come together are all served, one after the other."""
    answers: list[object] = []

    def one(number: int) -> None:
        answers.append(ask(state_dir, {"do": "echo", "n": number})["was"])

    threads = [threading.Thread(target=one, args=(number,)) for number in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 40


def test_only_the_owner(state_dir: Path) -> None:
    """Nobody but the owner can open it."""
    mode = (state_dir / SOCKET_FILE).stat().st_mode
    assert stat.S_ISSOCK(mode)
    assert stat.S_IMODE(mode) == 0o600


def test_it_goes_with_the_agent(tmp_path: Path) -> None:
    """After the end there is no door, and a question says so."""
    with open_door(tmp_path):
        assert (tmp_path / SOCKET_FILE).exists()
    assert not (tmp_path / SOCKET_FILE).exists()
    with pytest.raises(NotRunning, match="no agent answers"):
        ask(tmp_path, {"do": "echo"})


def test_after_a_crash(tmp_path: Path) -> None:
    """The socket that a killed agent left answers nobody, and is no obstacle for the next one."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as left:
        left.bind(str(tmp_path / SOCKET_FILE))
    with pytest.raises(NotRunning, match="refused"):
        ask(tmp_path, {"do": "echo"})
    with open_door(tmp_path):
        assert ask(tmp_path, {"do": "echo"})


def padded(folder: Path, length: int) -> Path:
    """Return a folder whose socket has a path of this many bytes."""
    path = folder / ("d" * (length - len(str(folder / "x" / SOCKET_FILE)) + 1))
    path.mkdir()
    return path


def test_the_longest_path_works(tmp_path: Path) -> None:
    """A path that is not called too long can be bound."""
    folder = padded(tmp_path, LONGEST_PATH)
    assert path_mistake(folder) == ""
    with open_door(folder):
        assert ask(folder, {"do": "echo"})


def test_a_path_too_long(tmp_path: Path) -> None:
    """One byte more is called too long, and it is: the system refuses it."""
    folder = padded(tmp_path, LONGEST_PATH + 1)
    assert f"{LONGEST_PATH + 1} bytes" in path_mistake(folder)
    with pytest.raises(OSError, match="too long"):
        LocalDoor(folder, HANDLERS, CLOCK).run()
    with pytest.raises(NotRunning, match="too long"):
        ask(folder, {"do": "echo"})


def test_bytes_count_not_letters(tmp_path: Path) -> None:
    """A path of few letters may have many bytes."""
    assert path_mistake(tmp_path / ("电" * 40))


@pytest.mark.parametrize("answer", [b"", b'{"was": ', b"[1]\n", b"\xff"])
def test_half_an_answer(tmp_path: Path, answer: bytes) -> None:
    """An agent that ends in the middle of its answer is told from one that answered."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        server.bind(str(tmp_path / SOCKET_FILE))
        server.listen()

        def serve() -> None:
            client, _ = server.accept()
            with client:
                client.recv(4096)
                client.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(NotRunning):
            ask(tmp_path, {"do": "echo"})
        thread.join()


def test_a_lost_client_is_in_the_log(
    state_dir: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that was left is worth a line for whoever looks for it."""
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(local, "REQUEST_S", 0.1)
    with connect(state_dir):
        ask(state_dir, {"do": "echo"})
    assert "local door" in caplog.text
