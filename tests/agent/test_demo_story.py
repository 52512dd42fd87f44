"""The demonstration's story: every step is proven, and each missing proof is named."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agent.demo_operator import Operator, Refused
from agent.demo_story import CLOSE, COMMAND_S, STATUS_S, Line, Play, Unproven
from bms_can.misbehaviour import misbehaviour
from bms_can.pack import Pack
from bms_can.profile import CommandCode
from bms_can.profile_load import load_profile
from bms_can.simulator import Simulator
from tests.ems_process import Ems

ROOT = Path(__file__).parents[2]
LIFE = ("accepted", "gated", "sending", "sent", "acknowledged", "succeeded", "held")


class Stage(Operator):
    """A battery and, instead of agent and platform, an operator that looks at it directly.

    Attributes:
        spoil: changes what the platform would say of the status; `state`: of each command.
    """

    def __init__(self, *wrong: str) -> None:
        super().__init__("http://127.0.0.1:1/api", "key", "operator.key", "DEMO-1")
        self.now_s = 1000.0
        self.simulator = Simulator(
            *load_profile(ROOT / "dbc" / "ess_bau.toml"), now_s=self.now_s
        )  # fmt: skip
        self.simulator.pack.misbehave(misbehaviour(wrong))
        self.spoil: Callable[[dict[str, Any]], dict[str, Any]] = dict
        self.state = ""
        self._records: dict[str, dict[str, Any]] = {}

    @property
    def pack(self) -> Pack:
        """The battery."""
        return self.simulator.pack

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.now_s += seconds
        self.simulator.due_frames(self.now_s)

    def status(self) -> dict[str, Any]:
        """See Operator."""
        current = round(self.pack.current_a)
        closed = self.pack.feedback.value == "closed"
        operating = 1 if not closed else 2 + (current > 0) + 2 * (current < 0)
        shown = {"operating_status": operating, "alarm_status": len(self.pack.alarms)}
        return self.spoil(shown | {"disconnected": 0})

    def send(self, command: int) -> str:
        """See Operator."""
        faulty = command == CLOSE and self.pack.reset_required
        events = [{"state": state} for state in (LIFE if not faulty else ("accepted", "rejected"))]
        if not faulty:
            self.wait(0.01)
            self.pack.command(CommandCode(command), self.now_s)
            self.wait(5.0)
        if self.state:
            events = [{"state": self.state, "reason": "no-effect", "detail": "nothing seen"}]
        command_id = f"c-{len(self._records)}"
        self._records[command_id] = {"state": events[-1]["state"], "events": events}
        return command_id

    def command(self, command_id: str) -> dict[str, Any]:
        """See Operator."""
        return self._records[command_id]

    def play(self) -> list[Line]:
        """Play the story to its end."""
        return list(Play(self, self.simulator, self.wait, lambda: self.now_s).story())

    def missing(self) -> str:
        """Play the story, which must fail; return what it says."""
        with pytest.raises(Unproven) as failed:
            self.play()
        return str(failed.value)


def test_a_good_battery_plays_the_whole_story() -> None:
    """Each step that does something is followed by a proof before the next one."""
    found = Stage().play()
    assert {line.kind for line in found} == {"step", "curl", "seen", "proof"}
    kinds = [line.kind for line in found]
    for start in (index for index, kind in enumerate(kinds) if kind == "step"):
        rest = kinds[start + 1 :]
        step = rest[: rest.index("step")] if "step" in rest else rest
        assert "proof" in step, found[start].text
    shown = " ".join(line.text for line in found if line.kind == "proof")
    assert all(f"operating_status {status}" in shown for status in (1, 2, 3, 4))
    assert "the command is rejected" in shown
    curls = " ".join(line.text for line in found if line.kind == "curl")
    assert all(f'"command": {command}' in curls for command in (1, 2, 3))


def test_a_battery_without_a_reset_is_given_no_fault_to_reset() -> None:
    """A profile gives the commands that the battery knows; its story asks for no other."""
    stage = Stage()
    play = Play(stage, stage.simulator, stage.wait, lambda: stage.now_s, can_reset=False)
    found = list(play.story())
    curls = " ".join(line.text for line in found if line.kind == "curl")
    assert '"command": 1' not in curls
    assert not any("fault" in line.text for line in found if line.kind == "step")
    assert stage.status()["operating_status"] == 1


def test_a_status_that_does_not_come_is_named() -> None:
    """What the platform shows, what was awaited, and how long it was awaited."""
    stage = Stage()
    stage.spoil = lambda shown: shown | {"alarm_status": 7}
    began_s = stage.now_s
    assert stage.missing() == (
        "powered down: the platform shows operating_status 1, alarm_status 7, disconnected 0,"
        " not operating_status 1, alarm_status 0, disconnected 0"
    )
    assert STATUS_S <= stage.now_s - began_s < STATUS_S + 1.0


def test_an_unknown_status_proves_nothing() -> None:
    """Null is not 1."""
    stage = Stage()
    stage.spoil = lambda shown: shown | {"operating_status": None}
    assert "operating_status None" in stage.missing()


@pytest.mark.parametrize("state", ["timed_out", "failed", "rejected", "expired", "reverted"])
def test_a_command_without_proof_is_named(state: str) -> None:
    """Only `held` is a proof; anything else ends the story with state, reason and detail."""
    stage = Stage()
    stage.state = state
    assert stage.missing() == (
        f"Close the contactor: no proof; the command is {state} (no-effect: nothing seen)"
    )


def test_a_command_that_never_ends_is_named() -> None:
    """The story does not wait for ever."""
    stage = Stage()
    stage.state = "sent"
    began_s = stage.now_s
    assert "no proof; the command is sent" in stage.missing()
    assert stage.now_s - began_s > COMMAND_S


@pytest.mark.parametrize(("gaps", "proven"), [(2, True), (3, False)])
def test_after_a_gap_a_person_decides_again(gaps: int, *, proven: bool) -> None:
    """A close refused because frames came late is given anew, as a new command, a few times."""
    stage = Stage()
    send, left = stage.send, gaps

    def busy(command: int) -> str:
        nonlocal left
        if command != CLOSE or not left:
            return send(command)
        left -= 1
        last = {"state": "rejected", "reason": "blocked-by-health", "detail": "steady for 2 s"}
        stage._records[f"gap-{left}"] = {"state": "rejected", "events": [last]}
        return f"gap-{left}"

    stage.send = busy  # type: ignore[method-assign]  # the platform of a busy machine
    if proven:
        lines = [line.text for line in stage.play()]
        assert sum("a person waits and decides again" in line for line in lines) == gaps
    else:
        assert "the command is rejected (blocked-by-health: steady for 2 s)" in stage.missing()


def test_a_close_that_should_be_refused_and_is_not() -> None:
    """A platform that lets a close through with a latched fault fails the story."""
    stage = Stage()
    send = stage.send

    def careless(command: int) -> str:
        command_id = send(command)
        record = stage.command(command_id)
        if record["state"] == "rejected":
            record["state"] = "held"
            record["events"] = [{"state": "held"}]
        return command_id

    stage.send = careless  # type: ignore[method-assign]  # the platform, spoilt
    assert "it should have been rejected; the command is held" in stage.missing()


def test_an_effect_that_does_not_show_is_named() -> None:
    """`held` alone is not enough: the status must have followed."""
    assert "the platform shows the effect: the platform shows operating_status 1" in (
        Stage("ignore_close").missing()
    )


def test_an_end_in_between_is_not_swallowed() -> None:
    """Ctrl-C while waiting ends the story with the caller's own error."""

    def ended(_: float) -> None:
        raise KeyboardInterrupt

    stage = Stage()
    play = Play(stage, stage.simulator, ended, lambda: stage.now_s)
    with pytest.raises(KeyboardInterrupt):
        list(play.story())


@pytest.fixture
def operator(ems: Ems, tmp_path: Path) -> Operator:
    """Give an operator of the real platform, with the key in a file."""
    uid, _ = ems.new_device()
    key_file = tmp_path / "operator.key"
    key_file.write_text(ems.operator_key + "\n", encoding="ascii")
    return Operator(ems.url, ems.operator_key, str(key_file), uid)


def test_calls_of_the_documented_interface(operator: Operator) -> None:
    """Status, command and its life, at the real platform."""
    assert operator.status()["disconnected"] == 1
    command_id = operator.send(3)
    assert operator.command(command_id)["state"] == "queued"


def test_what_the_platform_refuses_is_told(operator: Operator) -> None:
    """Call, HTTP status and answer; also when nobody is there."""
    with pytest.raises(Refused, match="HTTP 400") as refused:
        operator.send(9)
    assert "100001" in str(refused.value)
    with pytest.raises(Refused, match="GET /bms-control"):
        Operator("http://127.0.0.1:9/api", "key", "file", "DEMO-1").status()


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl on this machine")
def test_the_curl_lines_work_when_typed(operator: Operator) -> None:
    """A shell that gets the printed lines makes the same calls."""
    lines = [operator.shell_variables(), operator.curl_send(3), operator.curl_status()]
    done = subprocess.run(  # noqa: S603 - our own lines
        ["/bin/sh", "-c", "\n".join(lines)], capture_output=True, text=True, check=True
    )
    sent, status = [json.loads(each) for each in done.stdout.replace("}{", "}\n{").splitlines()]
    assert sent["code"] == status["code"] == 0
    assert status["data"]["device_uid"] == operator.device_uid
    follow = f"{operator.shell_variables()}\n{operator.curl_command(sent['data'])}"
    done = subprocess.run(  # noqa: S603 - our own lines
        ["/bin/sh", "-c", follow], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout)["data"]["state"] == "queued"
