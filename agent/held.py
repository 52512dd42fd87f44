"""Body of the thread that sends the held request of one device: rest, or closed while it is held.

The control thread judges and renews, this one sends, both under one lock: once a hold has ended no
frame of it can go out any more. At most one frame is on its way. A closed one that does not come
back latches the transmit path as any lost close does; a rest one only keeps closes off until
another has come back (docs/adr/0014).
"""

import threading
from collections.abc import Mapping

from agent.clock import Clock
from agent.device import Device
from agent.echoes import ECHO_S, LOST
from agent.errors import JournalFailed
from agent.gate import Box, Gate
from agent.held_way import LISTENS, Seen, Way, body_of, no_proof
from agent.journal import Journal
from agent.journal_rows import Stamp
from bms_can.confirmation import effect_seen, missing_proof
from bms_can.errors import FrameRefused, SendFailed
from bms_can.frame import Frame
from bms_can.held import HeldRequest
from bms_can.held_plan import Asked, HeldPlan
from bms_can.interlocks import Situation, judge_hold, refusal
from bms_can.profile import CommandCode

RENEW_S = 0.05  # judged again so often: lock-out and status, not in each of 300 passes a second
LISTEN_S = 1.0  # without another master, before the first frame
ANEW_S = 5.0  # after so long without a frame of ours another master may have taken over
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0  # after a rest frame that did not come back
LAST_FRAMES, LAST_S = 3, 0.8  # rest frames of an agent that ends, and the least time for them
NOTE = "hold-ended"
CLOSE = CommandCode.CLOSE_CONTACTOR


class RequestSender:
    """The held request of one device.

    Args:
        device: whose. Its bus must give our own frames back.
        plan: what is sent.
        clock: time.
        gate: judges whether a hold may last; it is told what the request is.
        journal: keeps the end of each hold.

    Attributes:
        beats: loop passes, for the watchdog.
        trouble: why the last frame was not sent, "" if it was.
    """

    def __init__(
        self, device: Device, plan: HeldPlan, clock: Clock, gate: Gate, journal: Journal
    ) -> None:
        self._device = device
        self._clock = clock
        self._gate = gate
        self._journal = journal
        self._request = HeldRequest(plan)
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._leaving = False
        self._renewed_s = float("-inf")
        self._alone_since_s = device.listening_since_s
        self._begun = False
        self._way: Way | None = None
        self._closed_ways: list[Way] = []
        self._pause_s = FIRST_PAUSE_S
        self.beats = 0
        self.trouble = ""
        gate.request = self.at_rest

    # --- the control thread

    def renew(self) -> None:
        """Judge again and renew the lease; called by the control loop in each pass."""
        early = self._clock.monotonic_s() - self._renewed_s < RENEW_S
        if early and not self._gate.journal_fault:  # which may be over again a moment later
            return
        try:
            box = self._gate.box()
        except JournalFailed as error:
            box = Box("", f"cannot be read: {error}")
        now_s = self._clock.monotonic_s()
        situation = self._gate.situation(now_s, box)
        silent, breaks = self._silent(situation), self._breaks(situation)
        with self._lock:
            self._request.renew(now_s, silent, breaks, _stops(situation))
        self._renewed_s = now_s
        self._note_ends()

    def ask(self, asked: Asked) -> None:
        """Let a command have its frames."""
        with self._lock:
            if self._leaving and not asked.opens:
                asked.refused = "the agent stops"
                return
            self._request.ask(asked, self._clock.monotonic_s())

    def seen(self, asked: Asked) -> Seen:
        """Return what has become of a command so far."""
        with self._lock:
            hold = self._request.hold
            in_force = hold is not None and hold.asked is asked
            return Seen(tuple(asked.frames), asked.refused, asked.returned, in_force)

    def withdraw(self, asked: Asked, reason: str) -> bool:
        """Take back a command; tell whether no frame of it went out, nor ever will."""
        with self._lock:
            return self._request.withdraw(asked, reason)

    def prove(self, command_id: str) -> None:
        """The battery has shown the effect of a close: it is held."""
        with self._lock:
            self._request.prove(command_id)

    def end(self, command_id: str, reason: str) -> None:
        """End what a command began. When this returns no frame of it can go out any more."""
        with self._lock:
            self._request.end(command_id, reason, self._clock.monotonic_s())

    def at_rest(self) -> tuple[str, str]:
        """Return who holds it closed, and why it is not sent regularly; "" for what is well."""
        with self._lock:
            held_by, why = self._request.at_rest(self._clock.monotonic_s())
        return held_by, why or no_proof(self._device)

    def holds(self) -> bool:
        """Tell whether closed is in force and was proven."""
        with self._lock:
            return self._request.hold is not None and self._request.hold.proven

    # --- its own thread

    def run(self) -> None:
        """Send until `stop`. To be the target of a thread."""
        while not self._stop.is_set():
            self.beats += 1
            self._clock.wait(self._stop, self.step())

    def stop(self) -> None:
        """Let `run` return; see `leave`."""
        self._stop.set()

    def leave(self) -> None:
        """The agent ends: no closed frame from here on; wait a moment until rest has gone out."""
        self._leaving = True
        now_s = self._clock.monotonic_s()
        if not self._lock.acquire(timeout=LAST_S):
            return  # a send that does not end: no other frame follows it
        try:
            self._request.leave("the agent stops", now_s)
        finally:
            self._lock.release()
        end_s = now_s + max(LAST_S, (LAST_FRAMES + 1) * self._request.plan.period_s)
        while not self._rested() and self._clock.monotonic_s() < end_s:
            self._clock.wait(self._stop, ECHO_S / 5)  # meanwhile the control thread notes the end

    def step(self) -> float:
        """Send what is due; return how long nothing is to be done [s]."""
        with self._lock:
            self._look_back(self._clock.monotonic_s())
            cannot = self._cannot()
            frame = self._request.due(self._clock.monotonic_s(), cannot, self._only_listens())
            if frame is not None:
                self._send(frame)
            return self._request.wait_s(self._clock.monotonic_s())

    def facts(self) -> Mapping[str, object]:
        """Return how it goes, for people."""
        with self._lock:
            request, hold, last = self._request, self._request.hold, self._request.last_end
            why = request.why_silent or self.trouble
            return {
                "asks": "nothing" if request.why_silent else "rest" if hold is None else "closed",
                "why_not": why,
                "command": "" if hold is None else hold.asked.command_id,
                "proven": hold is not None and hold.proven,
                "last_end": "" if last is None else f"command {last.command_id}: {last.reason}",
                "sent": request.sent_frames,
                "skipped": request.skipped,
            }

    # --- inside

    def _rested(self) -> bool:
        """Tell whether the last word on the bus is rest, said more than once."""
        since = self._request.at_rest_since
        return since is None or since >= LAST_FRAMES

    def _only_listens(self) -> str:
        """Return why nothing may go out yet; after a long gap of ours it listens anew."""
        foreign = self._device.control.foreign
        if foreign:
            return f"another master sent {foreign}"
        now_s, last_s = self._clock.monotonic_s(), self._request.last_s
        if self._begun and last_s is not None:
            begun_s = max(last_s, self._alone_since_s + LISTEN_S)
            if now_s - begun_s > ANEW_S:
                self._begun, self._alone_since_s = False, now_s
        return "" if self._begun else LISTENS

    def _silent(self, situation: Situation) -> str:
        """Return why not even rest may go out."""
        if situation.foreign:
            self._begun, self._alone_since_s = False, situation.now_s
            return f"another master sent {situation.foreign}"
        if self._begun:
            return ""
        heard, required = situation.signals.heard, self._device.profile.required
        since = [heard[name].steady_since_s for name in required if name in heard]
        since_s = max(since, default=situation.now_s)
        if len(since) < len(required) or situation.status.disconnected:
            return "the battery is not heard yet"
        if situation.now_s - max(since_s, self._alone_since_s) < LISTEN_S:
            return LISTENS
        self._begun = True
        return ""

    def _breaks(self, situation: Situation) -> str:
        """Return why no hold may be in force."""
        profile = self._device.profile
        refused = refusal(judge_hold(situation, profile))
        if refused is not None:
            return self._gate.words(refused)
        plan, now_s = profile.commands[CLOSE], situation.now_s
        if not self.holds() or effect_seen(plan, situation.signals, profile, now_s):
            return ""
        seen = missing_proof(plan, situation.signals, profile, now_s)
        return f"the battery is closed no more: {seen}"

    def _cannot(self) -> str:
        control = self._device.control
        latched = control.unsafe or control.stuck or control.foreign
        return latched or self._device.bus_doubt() or no_proof(self._device)

    def _send(self, frame: Frame) -> None:
        control = self._device.control
        before, clears = control.outstanding(frame), control.clears
        try:
            control.send(frame, frame.at_s)
        except (FrameRefused, SendFailed) as error:
            self.trouble = str(error)
            self._request.failed(self.trouble, self._clock.monotonic_s())
            return
        self.trouble, now_s = "", self._clock.monotonic_s()
        self._way = Way(frame, frame.at_s, now_s, before, clears)
        if frame.data != self._request.plan.rest.data:  # watched even if an open overtakes it
            self._closed_ways.append(self._way)
        self._request.sent(frame, now_s)

    def _look_back(self, now_s: float) -> None:
        """Let go of the frames that came back, or find that one does not."""
        control, newest = self._device.control, self._way
        drained_s = control.drained_s  # before the look at what came
        others = [way for way in self._closed_ways if way is not newest]
        for way in others if newest is None else [*others, newest]:
            back = way.look(control, now_s, drained_s)
            if back is None:
                continue
            if way in self._closed_ways:
                self._closed_ways.remove(way)
                control.unsafe = control.unsafe or ("" if back else f"held request: {LOST}")
            if way is newest:
                self._way = None
                self._settle(way, now_s, back=back)

    def _settle(self, way: Way, now_s: float, *, back: bool) -> None:
        """Tell the request what became of the frame on its way."""
        control, request = self._device.control, self._request
        rest = way.frame.data == request.plan.rest.data
        if back:
            request.back()
            if rest:
                self._pause_s, control.stuck = FIRST_PAUSE_S, ""
        elif rest:
            self.trouble = control.stuck = f"held request: {LOST}"
            request.lost(now_s, self._pause_s)
            self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)
        else:
            request.lost(now_s, 0.0)

    def _note_ends(self) -> None:
        """Write down which holds ended; what cannot be written is tried again."""
        with self._lock:
            ends = list(self._request.ends)
        for ended in ends:
            try:
                stamp, about = Stamp.of(self._clock), ended.command_id
                self._journal.note(NOTE, stamp, body_of(ended), self._device.uid, about)
            except JournalFailed:
                return
            with self._lock:
                if ended in self._request.ends:  # not pushed out by newer ones
                    self._request.ends.remove(ended)


def _stops(situation: Situation) -> str:
    """Return why nothing but rest may go out."""
    return f"local lock-out: {situation.lockout}" if situation.lockout else situation.journal
