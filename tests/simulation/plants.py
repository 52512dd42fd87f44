"""Bugs to be planted in the agent: each breaks one promise, so that the checks can be seen to work.

Each takes pytest's MonkeyPatch, which takes the bug out again.
"""

import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import wraps
from typing import Any, NamedTuple

import pytest

from agent import observer
from agent.aftermath import Aftermaths
from agent.cloud import Cloud
from agent.echoes import Echoes
from agent.errors import CloudError, JournalFailed
from agent.executor import Executor
from agent.gate import Gate
from agent.record import Recorder
from agent.run import Run
from bms_can import interlocks, status
from bms_can.commands import FINAL, Command, CommandState
from bms_can.control import ControlPort
from bms_can.frame import Frame
from bms_can.guard import Guard, Heard
from bms_can.profile import OperatingStatus
from bms_can.status import BmsStatus
from bms_can.table import SignalTable, Watch

Plant = Callable[[pytest.MonkeyPatch], None]

S = CommandState


def resends_after_a_restart(patch: pytest.MonkeyPatch) -> None:
    """What was under way when the process died is sent once more."""
    step = Executor.step

    def again(self: Executor) -> float:
        if not self._resumed:
            with suppress(JournalFailed):
                for entry in self._record.journal.unfinished("A"):
                    plan = self._device.profile.commands[entry.command.code]
                    if entry.state in {S.SENDING, S.SENT, S.ACKNOWLEDGED}:
                        self._session.begin(Run(entry.command, plan, entry.state, 0.0), plan)
        return step(self)

    patch.setattr(Executor, "step", again)


def never_expires(patch: pytest.MonkeyPatch) -> None:
    """The life of a command is not looked at."""
    patch.setattr(Command, "expired", lambda *_: False)


def skips_the_second_look(patch: pytest.MonkeyPatch) -> None:
    """After the durable row nothing is judged again."""
    patch.setattr(Executor, "_changed_meanwhile", lambda *_: None)
    patch.setattr("agent.session.life_over", lambda *_: None)


def ignores_alarms(patch: pytest.MonkeyPatch) -> None:
    """A close is not blocked by an alarm."""
    rules = {
        code: tuple(rule for rule in found if rule is not interlocks._no_alarm)
        for code, found in interlocks.RULES.items()
    }
    patch.setattr(interlocks, "RULES", rules)


def ignores_the_lockout(patch: pytest.MonkeyPatch) -> None:
    """The local lock-out is set and nobody looks."""
    box = Gate.box
    patch.setattr(Gate, "box", lambda self: box(self)._replace(lockout=""))
    patch.setattr(Gate, "stops", lambda *_: False)


def forgets_what_it_sent(patch: pytest.MonkeyPatch) -> None:
    """No rate limit counts anything."""
    patch.setattr(Gate, "remember", lambda *_: None)
    patch.setattr("agent.wiring_device.sent_before", lambda *_: [])


def loses_the_latch(patch: pytest.MonkeyPatch) -> None:
    """A frame that never came back is forgotten."""
    patch.setattr(Echoes, "look", lambda self, _now_s: self._awaited.clear())
    patch.setattr(Echoes, "returned", lambda *_: True)


def takes_anyone_for_itself(patch: pytest.MonkeyPatch) -> None:
    """Another master's frame counts as an echo."""
    hear = Guard.hear

    def mine(self: Guard, frame: Frame) -> Heard:
        heard = hear(self, frame)
        self.foreign = ""
        return Heard.ECHO if heard is Heard.FOREIGN else heard

    patch.setattr(Guard, "hear", mine)


def sends_before_it_writes(patch: pytest.MonkeyPatch) -> None:
    """The row `sending` is remembered, and written with the next one."""
    advance = Recorder.advance

    @wraps(advance)
    def late(self: Recorder, subject: Any, state: S, *rest: Any) -> None:  # noqa: ANN401 - as the original
        if state is S.SENDING:
            subject.state = state
            return
        entry = self.journal.entry(subject.command.id)
        if subject.state is S.SENDING and entry is not None and entry.state is S.GATED:
            advance(self, subject, S.SENDING)
        advance(self, subject, state, *rest)

    patch.setattr(Recorder, "advance", late)


def takes_silence_for_powered_down(patch: pytest.MonkeyPatch) -> None:
    """A silent battery is reported as powered down."""
    derive = status.derive_status

    def wrong(*args: Any, **more: Any) -> BmsStatus:  # noqa: ANN401 - as the original
        found = derive(*args, **more)
        if not found.disconnected:
            return found
        down = OperatingStatus.POWERED_DOWN
        return replace(found, operating=down, disconnected=False, age_s=0.0)

    patch.setattr(observer, "derive_status", wrong)


def reopens_what_has_ended(patch: pytest.MonkeyPatch) -> None:
    """A command that ended gets another state when the platform lists it again."""
    accept = Recorder.accept

    def again(self: Recorder, command: Command) -> bool:
        entry = self.journal.entry(command.id)
        if entry is not None and entry.state in FINAL:
            self.advance(Run(command, None, entry.state, 0.0), S.FAILED)
        return accept(self, command)

    patch.setattr("agent.journal.may_follow", lambda *_: True)
    patch.setattr(Recorder, "accept", again)


def never_settles(patch: pytest.MonkeyPatch) -> None:
    """Nobody watches what becomes of a command after its own time."""
    patch.setattr(Aftermaths, "step", lambda _: None)


def loses_results(patch: pytest.MonkeyPatch) -> None:
    """A result that could not be told counts as told."""
    post = Cloud.post_result

    def once(self: Cloud, body: Mapping[str, object]) -> None:
        try:
            post(self, body)
        except CloudError:
            return

    patch.setattr(Cloud, "post_result", once)


def loses_reports(patch: pytest.MonkeyPatch) -> None:
    """A report that could not be told counts as told."""
    post = Cloud.post_reports

    def once(self: Cloud, body: Mapping[str, object]) -> int | None:
        try:
            return post(self, body)
        except CloudError:
            return None

    patch.setattr(Cloud, "post_reports", once)


def sends_what_is_not_listed(patch: pytest.MonkeyPatch) -> None:
    """The guard is passed by, and a bit is wrong."""

    def send(self: ControlPort, frame: Frame, _now_s: float) -> None:
        port = self._port()
        if port is not None:
            port.send(frame._replace(data=b"\x03" + frame.data[1:]))

    patch.setattr(ControlPort, "send", send)


def logs_the_key(patch: pytest.MonkeyPatch) -> None:
    """A well-meant line of the log."""
    ask = Cloud._ask_pending

    def tell(self: Cloud, uid: str, wait_s: int) -> Any:  # noqa: ANN401 - as the original
        logging.getLogger("agent.cloud").debug("asking with %s", self._auth.secret.reveal())
        return ask(self, uid, wait_s)

    patch.setattr(Cloud, "_ask_pending", tell)


def confirms_from_old_frames(patch: pytest.MonkeyPatch) -> None:
    """Frames from before the command count as proof."""
    watch = SignalTable.watch

    def full(self: SignalTable, messages: frozenset[str], *rest: Any) -> Watch:  # noqa: ANN401 - as the original
        found = watch(self, messages, *rest)
        found.counts.update(dict.fromkeys(messages, 9))
        return found

    patch.setattr(SignalTable, "watch", full)


def believes_in_sending(patch: pytest.MonkeyPatch) -> None:
    """A frame counts as sent when the driver took it."""
    patch.setattr(Echoes, "returned", lambda *_: True)


def dies_of_a_frame(patch: pytest.MonkeyPatch) -> None:
    """A frame of the wrong length ends the receiving thread."""
    take = SignalTable.postpone

    def fragile(self: SignalTable, message: str, page: int, frame: Frame) -> None:
        if message == "BAU_Faults" and frame.data[0]:
            raise KeyError(message)
        take(self, message, page, frame)

    patch.setattr(SignalTable, "postpone", fragile)


class Bite(NamedTuple):
    """What shows a planted bug.

    Attributes:
        promises: one of these breaks first.
        favoured: faults that bring it out soon.
        first: seed of the first world: one that showed it quickly, when last looked.
    """

    promises: tuple[str, ...]
    favoured: tuple[str, ...] = ()
    first: int = 0


PLANTS: dict[Plant, Bite] = {
    resends_after_a_restart: Bite(("I1", "I4"), ("crash at a hook",), first=103),
    never_expires: Bite(("I2",), ("network slow", "disk slow"), first=104),
    ignores_alarms: Bite(("I3",), ("alarm",), first=104),
    ignores_the_lockout: Bite(("I3",), ("lock-out",), first=103),
    forgets_what_it_sent: Bite(("I3",), first=106),
    loses_the_latch: Bite(("I3", "I4"), ("no echo",)),
    takes_anyone_for_itself: Bite(("I3",), ("foreign master",), first=103),
    sends_before_it_writes: Bite(("I4",)),
    takes_silence_for_powered_down: Bite(("I5",), ("battery silent",)),
    reopens_what_has_ended: Bite(("I6",), ("answers lost",), first=101),
    never_settles: Bite(("I7",)),
    loses_results: Bite(("I8",), ("network down",), first=100),
    loses_reports: Bite(("I8",), ("network down", "alarm"), first=107),
    sends_what_is_not_listed: Bite(("I9",)),
    logs_the_key: Bite(("I10",)),
    confirms_from_old_frames: Bite(("proof",)),
    believes_in_sending: Bite(("I4", "I3"), ("no echo",)),
    dies_of_a_frame: Bite(("I0",), ("latched fault",)),
}
