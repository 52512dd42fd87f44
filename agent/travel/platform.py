"""The platform of a replay: takes everything, notes it, and hands out commands at their time.

Not the real platform: `ems/` shares no code with the agent. It stands behind the wire, so that the
agent's own client writes and reads every call as it does on a box.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from agent.answer import Answer
from agent.clock import Clock
from agent.cloud import Cloud
from agent.errors import CloudClosed
from agent.keys import Secret
from agent.strict_json import canonical
from agent.travel.seen import AlarmSeen, Asked, CommandSeen, ReportSeen, StepSeen
from agent.travel.stage import Stage

URL = "http://127.0.0.1/wad/ems/v1/api"
ISSUED_BY = "replay"
Json = Mapping[str, Any]


@dataclass(slots=True)
class _Command:
    asked: Asked
    id: str
    delivered: bool = False
    steps: list[StepSeen] = field(default_factory=list)


class Platform:
    """What the platform knows of the one device.

    Args:
        stage: its time.
        wall: the time of day at the start of the stage.
        asked: the commands that will be given.

    Attributes:
        reports, alarms: what came, in order.
    """

    def __init__(self, stage: Stage, wall: datetime, asked: Sequence[Asked]) -> None:
        self._stage = stage
        self._start_s = stage.now_s
        self._wall = wall
        self._commands = [_Command(each, f"c{number}") for number, each in enumerate(asked, 1)]
        self.reports: list[ReportSeen] = []
        self.alarms: list[AlarmSeen] = []

    @property
    def commands(self) -> tuple[CommandSeen, ...]:
        """What became of each command."""
        return tuple(CommandSeen(each.asked, tuple(each.steps)) for each in self._commands)

    def pending(self, wait_s: float) -> Json:
        """Answer a poll: at once if there is a new command, else after the wait."""
        if not any(self._is_new(each) for each in self._commands):
            coming = [self._at_s(each) for each in self._commands if not each.delivered]
            until_s = min([*coming, self._stage.now_s + wait_s])
            self._stage.wait(lambda: False, until_s - self._stage.now_s)
        rows = [each for each in self._commands if self._is_open(each)]
        for each in rows:
            each.delivered = True
        return {
            "poll_after_ms": 0,
            "sync_requested": False,
            "commands": [self._row(each) for each in rows],
        }

    def put_sync(self, device_uid: str, body: Json) -> Json:
        """Take a report."""
        self.reports.append(
            ReportSeen(
                self._rel_s(), body["operating_status"], body["alarm_status"], body["disconnected"]
            )
        )
        return {"device_uid": device_uid, "sequence": body["sequence"]}

    def take_result(self, body: Json) -> Json:
        """Take a step of a command."""
        command = next(each for each in self._commands if each.id == body["id"])
        step = StepSeen(self._wall_rel_s(body["at"]), body["state"], body["reason"])
        command.steps.append(step)
        return {"id": body["id"], "state": body["state"]}

    def take_reports(self, body: Json) -> Json:
        """Take kept changes; the edges of alarms are noted."""
        for each in body["reports"]:
            if each["kind"] == "alarm":
                alarm = each["body"]
                on = bool(alarm["active"])
                at_s = self._wall_rel_s(each["at"])
                self.alarms.append(AlarmSeen(at_s, alarm["key"], on, alarm["level"]))
        return {"accepted_through": body["reports"][-1]["sequence"]}

    def _at_s(self, command: _Command) -> float:
        return self._start_s + command.asked.at_s

    def _is_open(self, command: _Command) -> bool:
        return self._at_s(command) <= self._stage.now_s and not command.steps

    def _is_new(self, command: _Command) -> bool:
        return self._is_open(command) and not command.delivered

    def _row(self, command: _Command) -> Json:
        left_s = self._at_s(command) + command.asked.life_s - self._stage.now_s
        return {
            "id": command.id,
            "command": int(command.asked.code),
            "version": 1,
            "expires_in_ms": max(0, round(left_s * 1000)),
            "issued_by": ISSUED_BY,
            "cancel_requested": False,
        }

    def _rel_s(self) -> float:
        return round(self._stage.now_s - self._start_s, 6)

    def _wall_rel_s(self, text: str) -> float:
        return round((datetime.fromisoformat(text) - self._wall).total_seconds(), 3)


class StageCloud(Cloud):
    """The agent's client; its calls end at the platform of the replay."""

    def __init__(self, platform: Platform, clock: Clock) -> None:
        super().__init__(URL, Secret("no-secret"), clock)
        self._platform = platform

    def _call(
        self,
        purpose: str,  # noqa: ARG002 - the client's signature
        method: str,  # noqa: ARG002 - same
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Mapping[str, object] | None = None,
        extra_s: float = 0.0,
    ) -> Answer:
        if self._closed:
            raise CloudClosed("the client was closed")
        read = {} if body is None else json.loads(canonical(body))
        data = self._answer(path.rpartition("/")[2], params or {}, read, extra_s)
        text = canonical({"code": 0, "message": "ok", "data": data})
        return Answer(200, "application/json", text.encode())

    def _answer(self, call: str, params: Mapping[str, str], body: Json, wait_s: float) -> Json:
        if call == "pending":
            return self._platform.pending(wait_s)
        if call == "sync":
            return self._platform.put_sync(params["device_uid"], body)
        taken = self._platform.take_result if call == "result" else self._platform.take_reports
        return taken(body)
