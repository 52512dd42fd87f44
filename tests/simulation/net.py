"""The network between box and platform: loss, delay, repetition, foreign answers.

`SimCloud` is the agent's real client with its one way to the wire replaced.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random

from agent.answer import Answer
from agent.clock import Clock
from agent.cloud import Cloud
from agent.errors import CloudClosed, CloudUnreachable
from agent.keys import Secret
from agent.strict_json import canonical
from tests.simulation.platform import Platform, Request

DEADLINE_S = 15.0
LONGEST_TRANSIT_S = 20.0

Later = Callable[[float, str, Callable[[], None]], None]

# What a device between box and platform may answer instead of it.
FOREIGN = (
    Answer(200, "text/html", b"<html>please log in</html>"),
    Answer(200, "application/json", b'{"code":0,"message":"ok","da'),
    Answer(200, "application/json", b'{"message":"ok"}'),
    Answer(302, "text/html", b""),
    Answer(429, "application/json", b"{}", 2.0),
    Answer(500, "text/plain", b"oops"),
    Answer(503, "application/json", b"{}", 5.0),
)


@dataclass(slots=True)
class Weather:
    """How the network is now: chances 0..1, delays [s]."""

    refuse: float = 0.0
    lose_request: float = 0.0
    lose_answer: float = 0.0
    foreign: float = 0.0
    repeat: float = 0.0
    delay_s: float = 0.02


@dataclass(slots=True)
class Exchange:
    """One call under way."""

    answer: Answer | None = None
    error: str = ""
    forgotten: bool = field(default=False)

    def done(self) -> bool:
        """Tell whether it has ended."""
        return self.answer is not None or bool(self.error)


class Network:
    """Carries calls.

    Args:
        platform: the other end.
        random: decides their fate.
        later: plans something after some seconds.

    Attributes:
        sent: called with each request as it leaves the box.
        stored: called when the platform has dealt with a request, before the answer leaves.
    """

    def __init__(self, platform: Platform, random: Random, later: Later) -> None:
        self._platform = platform
        self._random = random
        self._later = later
        self.weather = Weather()
        self.sent: Callable[[Request], None] = lambda _: None
        self.stored: Callable[[Request], None] = lambda _: None

    def send(self, request: Request, exchange: Exchange) -> None:
        """Let a request leave the box."""
        self.sent(request)
        chance, weather = self._random.random, self.weather
        if chance() < weather.refuse:
            self._later(0.01, "net refused", lambda: _fail(exchange, "connection refused"))
            return
        if chance() < weather.foreign:
            answer = self._random.choice(FOREIGN)
            self._later(self._delay_s(), "net foreign", lambda: _end(exchange, answer))
            return
        if chance() >= weather.lose_request:
            self._later(self._delay_s(), "net request", lambda: self._arrive(request, exchange))
        if chance() < weather.repeat:
            again = Exchange()
            self._later(self._delay_s(), "net repeated", lambda: self._arrive(request, again))

    def _arrive(self, request: Request, exchange: Exchange) -> None:
        if not self._platform.up:
            self._later(0.01, "net refused", lambda: _fail(exchange, "connection refused"))
            return
        self._platform.handle(request, lambda answer: self._answer(exchange, answer))
        self.stored(request)

    def _answer(self, exchange: Exchange, answer: Answer) -> None:
        if self._random.random() >= self.weather.lose_answer:
            self._later(self._delay_s(), "net answer", lambda: _end(exchange, answer))

    def _delay_s(self) -> float:
        return min(self._random.expovariate(1 / self.weather.delay_s), LONGEST_TRANSIT_S)


def _end(exchange: Exchange, answer: Answer) -> None:
    exchange.answer = exchange.answer or answer


def _fail(exchange: Exchange, why: str) -> None:
    exchange.error = exchange.error or why


class SimCloud(Cloud):
    """The agent's client; a call leaves through the simulated network."""

    def __init__(
        self,
        key: str,
        clock: Clock,
        network: Network,
        wait: Callable[[Callable[[], bool], float], None],
    ) -> None:
        super().__init__("http://127.0.0.1/wad/ems/v1/api", Secret(key), clock, DEADLINE_S)
        self._network = network
        self._wait = wait

    def _call(
        self,
        purpose: str,  # noqa: ARG002 - the real client's signature
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Mapping[str, object] | None = None,
        extra_s: float = 0.0,
    ) -> Answer:
        if self._closed:
            raise CloudClosed("the client was closed")
        raw = b"" if body is None else canonical(body).encode()
        key = self._auth.secret.reveal()
        exchange = Exchange()
        self._network.send(Request(method, path, params or {}, raw, key), exchange)
        self._wait(exchange.done, self._deadline_s + extra_s)
        if exchange.answer is None:
            raise CloudUnreachable(exchange.error or "no answer in time")
        return exchange.answer
