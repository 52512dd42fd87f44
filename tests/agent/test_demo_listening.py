"""The story of a battery that can only be read: the status follows, commands are rejected."""

from collections.abc import Callable
from typing import Any

import pytest

from agent.demo_listening import Listening, play_for, speakable
from agent.demo_operator import Operator
from agent.demo_story import Line, Play, Unproven
from bms_can.families import intake_of
from bms_can.frame import Frame
from bms_can.profile import Profile
from bms_can.profile_load import load_profile
from bms_can.shipped import profile_path
from bms_can.simulator import Simulator
from bms_can.status import derive_status


class Stage(Operator):
    """A real battery simulation and the real driver; only agent and platform are left out.

    Attributes:
        spoil: changes what becomes of each command.
    """

    def __init__(self, name: str) -> None:
        super().__init__("http://127.0.0.1:1/api", "key", "operator.key", "DEMO-1")
        self.now_s = 1000.0
        self.profile, database = load_profile(profile_path(name))
        self.simulator = Simulator(self.profile, database, now_s=self.now_s)
        self.intake = intake_of(self.profile, database)
        self.spoil: Callable[[dict[str, Any]], dict[str, Any]] = dict

    def wait(self, seconds: float) -> None:
        """Let time pass in steps of a hundred milliseconds."""
        for _ in range(max(1, round(seconds * 10))):
            self.now_s += 0.1
            for frame in self.simulator.due_frames(self.now_s):
                self.intake.take(frame)

    def status(self) -> dict[str, Any]:
        """See Operator."""
        found = derive_status(
            self.intake.table.snapshot(), self.profile, self.now_s, listening_since_s=1000.0
        )
        return {
            "operating_status": found.operating,
            "alarm_status": found.alarm_count,
            "disconnected": int(found.disconnected),
        }

    def send(self, command: int) -> str:
        """See Operator."""
        return str(command)

    def command(self, command_id: str) -> dict[str, Any]:
        """See Operator."""
        record = {"state": "rejected", "events": [{"state": "rejected", "reason": "read-only"}]}
        return self.spoil(record | {"id": command_id})

    def play(self) -> list[Line]:
        """Play the story to its end."""
        self.wait(6.0)
        play = play_for(self.profile, self, self.simulator, self.wait, lambda: self.now_s)
        assert isinstance(play, Listening)
        return list(play.story())


@pytest.mark.parametrize(
    "name", ["pylontech", "foxbms2_state", "kona_ev", "victron", "nissan_leaf_uds"]
)
def test_every_step_is_proven(name: str) -> None:
    """The three commands are rejected, and the last line says that nothing was sent."""
    found = Stage(name).play()
    proofs = [line.text for line in found if line.kind == "proof"]
    assert sum("the command is rejected (read-only" in text for text in proofs) == 3
    assert found[-1] == Line("proof", "every frame on the bus was the battery's")
    assert not [line for line in found if line.kind == "missing"]


def test_what_cannot_be_shown_is_said() -> None:
    """Diagnostic answers: unasked here, and no status in them; both stand before the first step."""
    found = Stage("kona_ev_uds").play()
    unasked, unknown = [line.text for line in found[1:3] if line.kind == "seen"]
    assert unasked.endswith("a real battery answers only when somebody asks")
    assert unknown.startswith("operating_status stays unknown: diagnostic answers tell the charge")


def test_a_frame_of_ours_would_be_seen() -> None:
    """One frame from somebody else is enough: the story ends unproven."""
    stage = Stage("pylontech")
    stage.simulator.hear(Frame(0.0, 0x305, extended=False, data=bytes(8)), stage.now_s)
    with pytest.raises(Unproven, match="1 frames on the bus were not the battery's"):
        stage.play()


@pytest.mark.parametrize(
    "spoiled",
    [
        {"state": "held", "events": [{"state": "held"}]},
        {"state": "rejected", "events": [{"state": "rejected", "reason": "blocked-by-health"}]},
    ],
)
def test_a_command_must_be_rejected_for_this_reason(spoiled: dict[str, Any]) -> None:
    """Done, or rejected because of something else, is no proof of read-only."""
    stage = Stage("pylontech")
    stage.spoil = lambda _: spoiled
    with pytest.raises(Unproven, match="Close is rejected: read-only: it should have been"):
        stage.play()


def test_a_battery_with_commands_plays_the_other_story() -> None:
    """Which story fits is told by the profile's commands."""
    profile, database = load_profile(profile_path("ess_bau"))
    stage = Stage("ess_bau")
    play = play_for(profile, stage, Simulator(profile, database), stage.wait, lambda: 0.0)
    assert type(play) is Play


@pytest.mark.parametrize(
    ("name", "statuses"),
    [
        ("ess_bau", {1, 2, 3, 4}), ("pylontech", {2, 3, 4}), ("victron", {3, 4}),
        ("foxbms2_state", {1, 3, 4}), ("ecube_pcs", {2, 3, 4}), ("foxbms2", {1, 2, 3, 4}),
        ("kona_ev_uds", set()),
    ],
)  # fmt: skip
def test_what_a_battery_can_tell(name: str, statuses: set[int]) -> None:
    """A battery without feedback never says "powered down", one without contactor never "idle"."""
    profile: Profile = load_profile(profile_path(name))[0]
    assert set(map(int, speakable(profile.status))) == statuses
