"""The platform in process: the real stores and rules behind its routes, without sockets.

The routes themselves are FastAPI functions and are tested elsewhere; what they do between request
and store is said again here, and the long poll is a list of polls that wait.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from agent.answer import Answer
from ems import answers
from ems.command_views import Row, pending_view
from ems.database import open_database
from ems.errors import ApiError, BadParameter, NoDevice, Unauthorized
from ems.issue import Issue
from ems.payloads import IssueBody, Model, ReportsBody, ResultBody, SyncBody, read_model
from ems.registry import Registry
from ems.security import Principal
from ems.services import Services, Settings
from tests.simulation.clocks import PlatformClock

KIB = 1024
POLL_AFTER_MS = 1000
UID = "A"


class Request(NamedTuple):
    """A call of the device as it arrives."""

    method: str
    path: str
    params: Mapping[str, str]
    body: bytes
    key: str


Reply = Callable[[Answer], object]


class _Poll(NamedTuple):
    """A long poll that waits; `end_s` in true time [s]."""

    reply: Reply
    end_s: float


class Platform:
    """One platform with one device, restartable.

    Args:
        path: its database.
        clock: its clocks.
        now_s: true time [s].

    Attributes:
        key: the device's key.
        up: it answers.
    """

    def __init__(self, path: Path, clock: PlatformClock, now_s: Callable[[], float]) -> None:
        self._path = path
        self._clock = clock
        self._now_s = now_s
        self._polls: list[_Poll] = []
        self._sync_news = False
        self.up = True
        database = open_database(path)
        registry = Registry(database, clock)
        registry.add_device(UID, "Battery A", {})
        self.key = registry.create_key("device", "box", [UID]).text
        self._operator_key = registry.create_key("operator", "control-room", []).text
        database.close()
        self._start()

    def _start(self) -> None:
        self.services = Services(open_database(self._path), self._clock, Settings())
        self.services.commands.adopt()
        self.services.statuses.adopt()
        self._known: dict[str, Principal] = {}
        operator = self.services.registry.identify(self._operator_key)
        assert operator is not None
        self.operator = operator

    def stop(self) -> None:
        """End the process: who waits gets no answer."""
        self.up = False
        self._polls.clear()
        self.services.database.close()

    def start(self) -> None:
        """Start it again on the same file."""
        self._start()
        self.up = True

    def hang_up(self) -> None:
        """The device's process has died, and its machine said so: nobody waits any more."""
        self._polls.clear()

    # --- operators

    def issue(self, code: int, expires_in_ms: int | None, key: str) -> str:
        """Queue a command; return its id. The same key gives the same id."""
        asked = {"device_uid": UID, "command": code, "expires_in_ms": expires_in_ms}
        issue = Issue(IssueBody.model_validate(asked), self.operator, "192.0.2.7", key)
        command_id, _ = self.services.commands.issue(issue)
        self._look_again()
        return command_id

    def cancel(self, command_id: str) -> None:
        """Ask for a command to be withdrawn; too late is no error here."""
        try:
            self.services.commands.cancel(command_id, self.operator)
        except BadParameter:
            return
        self._look_again()

    def ask_sync(self) -> None:
        """Ask the device for a status now."""
        self._sync_news = True
        self._look_again()

    def shown(self) -> int | None:
        """Return the operating_status that operators see now."""
        return self.services.statuses.get(UID).operating_status

    # --- time

    def tick(self) -> None:
        """Do the housekeeping of a second, and answer polls that waited long enough."""
        self.services.commands.settle()
        self.services.commands.tick_wall()
        for poll in [poll for poll in self._polls if poll.end_s <= self._now_s()]:
            self._polls.remove(poll)
            self._answer_poll(poll, self.services.commands.take(UID).rows)

    # --- the device

    def handle(self, request: Request, reply: Reply) -> None:
        """Take a call; `reply` is called now, or later for a long poll."""
        try:
            data = self._route(request, reply)
        except ApiError as error:
            answer = answers.refusal(error)
        else:
            if data is None:
                return
            answer = answers.ok(data)
        reply(Answer(answer.status_code, "application/json", bytes(answer.body)))

    def _route(self, request: Request, reply: Reply) -> object:
        who = self._who(request.key)
        if request.path == "/bms-control/pending":
            self._check(who, request.params["device_uid"])
            self._poll(int(request.params["wait"]), reply)
            return None
        if request.path == "/bms-control/sync":
            self._check(who, request.params["device_uid"])
            sync = _read(SyncBody, request.body, 64 * KIB)
            return self.services.statuses.put(UID, sync).data()
        if request.path == "/bms-control/result":
            result = _read(ResultBody, request.body, 64 * KIB)
            self._check(who, result.device_uid)
            told = self.services.results.tell(result)
            return {"id": told.command["id"], "state": told.command["state"]}
        reports = _read(ReportsBody, request.body, 1024 * KIB)
        self._check(who, reports.device_uid)
        return self.services.results.add_reports(reports)

    def _who(self, key: str) -> Principal:
        if key not in self._known:
            who = self.services.registry.identify(key)
            if who is None:
                raise Unauthorized
            self._known[key] = who
        return self._known[key]

    @staticmethod
    def _check(who: Principal, device_uid: str) -> None:
        if not who.covers(device_uid):
            raise NoDevice(device_uid)

    # --- the long poll

    def _poll(self, wait_s: int, reply: Reply) -> None:
        """Answer with news at once, else later; the newest poll takes the place of all others."""
        for poll in self._polls:
            self._answer_poll(poll, None)
        self._polls = [_Poll(reply, self._now_s() + wait_s)]
        self._look_again()
        if not wait_s and self._polls:
            self._answer_poll(self._polls.pop(), self.services.commands.take(UID).rows)

    def _look_again(self) -> None:
        """There may be news: answer who waits."""
        if not self._polls:
            return
        taken = self.services.commands.take(UID)
        if taken.is_new or self._sync_news:
            for poll in self._polls:
                self._answer_poll(poll, taken.rows)
            self._polls.clear()

    def _answer_poll(self, poll: _Poll, rows: "list[Row] | tuple[Row, ...] | object") -> None:
        now_ms = self._clock.monotonic_ms()
        listed = rows if isinstance(rows, list | tuple) else ()
        data = {
            "poll_after_ms": POLL_AFTER_MS if rows is None else 0,
            "sync_requested": self._sync_news,
            "commands": [pending_view(row, now_ms) for row in listed],
        }
        self._sync_news = False
        body = bytes(answers.ok(data).body)
        poll.reply(Answer(200, "application/json", body))


def _read(model: type[Model], raw: bytes, limit: int) -> Model:
    if len(raw) > limit:
        raise BadParameter("body: too large", 413)
    return read_model(model, raw)
