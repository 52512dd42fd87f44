"""Bugs to be planted where a held request is sent: see plants.py."""

from contextlib import suppress
from dataclasses import replace

import pytest

from agent.errors import JournalFailed
from agent.held import RequestSender
from agent.held_session import HeldSession
from bms_can import interlocks
from bms_can.commands import CommandState
from bms_can.held import HeldRequest
from bms_can.held_plan import Asked, Hold
from bms_can.interlocks import Situation
from bms_can.profile import CommandCode
from tests.simulation.plants import Bite, Plant

CLOSE = CommandCode.CLOSE_CONTACTOR
HEALED_FRAMES = 40  # by then the battery has forgotten that nobody asked it for a while
HELD = {CommandState.SUCCEEDED, CommandState.HELD}


def _never_asks(patch: pytest.MonkeyPatch, rule: object) -> None:
    kept = tuple(each for each in interlocks.LASTING if each is not rule)
    patch.setattr(interlocks, "LASTING", kept)


def outlives_the_lockout(patch: pytest.MonkeyPatch) -> None:
    """A close needs that nobody works on the battery; a hold does not."""
    _never_asks(patch, interlocks._lockout)
    patch.setattr("agent.held._stops", lambda situation: situation.journal)


def outlives_an_alarm(patch: pytest.MonkeyPatch) -> None:
    """A close needs a healthy battery; a hold does not."""
    _never_asks(patch, interlocks._no_alarm)


def outlives_silence(patch: pytest.MonkeyPatch) -> None:
    """What the battery said last counts for ever while it is held."""
    breaks = RequestSender._breaks

    def calm(self: RequestSender, situation: Situation) -> str:
        return "" if situation.status.disconnected else breaks(self, situation)

    patch.setattr(RequestSender, "_breaks", calm)


def outlives_its_lease(patch: pytest.MonkeyPatch) -> None:
    """The control loop may hang for as long as it likes."""
    patch.setattr(HeldRequest, "_lease", lambda *_: "")


def outlives_a_gap(patch: pytest.MonkeyPatch) -> None:
    """A process that stood still goes on as if nothing had been."""
    patch.setattr(HeldRequest, "_gap", lambda *_: "")


def outlives_an_open(patch: pytest.MonkeyPatch) -> None:
    """An open asks for its frames, and the hold wins."""

    def ask(self: HeldRequest, asked: Asked, _now_s: float) -> None:
        self._asked = asked

    patch.setattr(HeldRequest, "ask", ask)
    patch.setattr(HeldSession, "supersede", lambda *_: None)


def closes_again_by_itself(patch: pytest.MonkeyPatch) -> None:
    """A battery that has opened is closed again: the request goes on."""
    patch.setattr("agent.held.effect_seen", lambda *_: True)


def holds_after_a_restart(patch: pytest.MonkeyPatch) -> None:
    """What was held when the process ended is held again by the next one."""
    step, done = RequestSender.step, list[HeldRequest]()

    def again(self: RequestSender) -> float:
        wait_s = step(self)
        if self._request.sent_frames > HEALED_FRAMES and self._request not in done:
            done.append(self._request)
            _hold_again(self)
        return wait_s

    patch.setattr(RequestSender, "step", again)


def _hold_again(sender: RequestSender) -> None:
    now_s, plan = sender._clock.monotonic_s(), sender._device.profile.commands[CLOSE]
    with suppress(JournalFailed):
        held = [each.command_id or "" for each in sender._journal.log() if each.state in HELD]
        entries = [sender._journal.entry(each) for each in held]
        closes = [each.command.id for each in entries if each and each.command.code is CLOSE]
        for command_id in closes[-1:]:
            asked = Asked(command_id, plan.frames[0], now_s + 10.0, holds=True, proof_s=15.0)
            sender._request.hold = Hold(asked, now_s)  # a proven one would end: it has opened


def does_not_listen(patch: pytest.MonkeyPatch) -> None:
    """The request begins with the process."""
    patch.setattr("agent.held.LISTEN_S", 0.0)


def talks_beside_another_master(patch: pytest.MonkeyPatch) -> None:
    """Another master is heard, and the request goes on."""
    silent, due = RequestSender._silent, HeldRequest.due

    def deaf(self: RequestSender, situation: Situation) -> str:
        return silent(self, replace(situation, foreign=""))

    patch.setattr(RequestSender, "_silent", deaf)
    patch.setattr(HeldRequest, "due", lambda self, now_s, cannot, _silent: due(self, now_s, cannot))


def fills_the_queue(patch: pytest.MonkeyPatch) -> None:
    """A frame counts as back as soon as it was sent."""
    sent = HeldRequest.sent

    def back(self: HeldRequest, *what: object) -> None:
        sent(self, *what)  # type: ignore[arg-type]  # as they came
        self.back()

    patch.setattr(HeldRequest, "sent", back)
    patch.setattr(RequestSender, "_cannot", lambda _: "")
    patch.setattr(RequestSender, "_look_back", lambda *_: None)


HELD_PLANTS: dict[Plant, Bite] = {
    outlives_the_lockout: Bite(("H2",), ("lock-out",), first=101),
    outlives_an_alarm: Bite(("H2",), ("alarm",), first=106),
    outlives_silence: Bite(("H2",), ("battery silent", "cable cut"), first=105),
    outlives_its_lease: Bite(("H4",), ("disk slow",), first=100),
    outlives_a_gap: Bite(("H5",), ("hold a thread",), first=106),
    outlives_an_open: Bite(("H1",), first=100),
    closes_again_by_itself: Bite(("H2",), ("battery misbehaves",), first=104),
    holds_after_a_restart: Bite(("H1",), first=103),
    does_not_listen: Bite(("H0",), ("crash",), first=100),
    talks_beside_another_master: Bite(("H0",), ("foreign master",), first=100),
    fills_the_queue: Bite(
        ("H3", "I4"), ("late echo", "no echo", "transmit queue stalled"), first=100
    ),
}
