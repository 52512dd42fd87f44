"""Judges every control frame once more, from what was on the bus and in the file, not by our code.

It reads the battery's frames with cantools as they are heard, knows checksum and counter by its own
few lines, reads the journal through a connection of its own, and measures time on the wall clock of
the bench, which no reboot moves. It is never stricter than the rules, and never takes our word.
"""

import json
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from typing import Any

import cantools

from bms_can.frame import Frame
from bms_can.profile import CommandCode
from tests.agent.rig import CLOSE, CONTROL_ID, RESET, ROOT, UID, Rig, kind_of

DEADLINES_S = {"BAU_State": 0.5, "BAU_Electrical": 0.5, "BAU_Alarms": 1.0, "BAU_Faults": 1.0}
WANTED = {  # raw values as they stand in the DBC
    ("BAU_State", "contactor_status"): 2,
    ("BAU_State", "system_control_high_voltage"): 0,
    ("BAU_State", "control_mode"): 1,
    ("BAU_State", "emergency_stop"): 0,
    ("BAU_Faults", "reset_required"): 0,
}
TOLERATED = {"soh_low_alarm", "soc_low_alarm", "soc_high_alarm"}
PAYLOADS = {bytes([1, 0, 0, 0, 0, 0]), bytes([2, 0, 0, 0, 0, 0]), bytes([0, 1, 0, 0, 0, 0])}
LIMITS = {CLOSE: (3, 600.0), RESET: (3, 3600.0)}
APART_S = 10.0
ECHO_S = 0.1
SLACK_S = 0.01  # the journal keeps wall times in milliseconds
REPEAT = 3


@cache
def database() -> Any:  # noqa: ANN401 - cantools has several kinds
    """Return the DBC as cantools has it."""
    return cantools.database.load_file(ROOT / "dbc" / "ess_bau.dbc")


def crc8_j1850(data: bytes) -> int:
    """Return the SAE J1850 checksum, bit by bit."""
    rest = 0xFF
    for byte in data:
        rest ^= byte
        for _ in range(8):
            rest = (rest << 1 ^ 0x1D) & 0xFF if rest & 0x80 else rest << 1
    return rest ^ 0xFF


@dataclass(slots=True)
class Heard:
    """The newest valid frame of a message, and since when there was no gap [s]."""

    data: bytes
    at_s: float
    steady_since_s: float


class Eyewitness:
    """Watches one bench.

    Args:
        rig: the bench.
        steady_s: what its profile asks for [s].

    Attributes:
        sessions: commands with their first frame's time and kind, in order.
        violations: everything that must not have happened.
    """

    def __init__(self, rig: Rig, steady_s: float) -> None:
        self._rig = rig
        self._steady_s = steady_s
        self._heard: dict[str, Heard] = {}
        self._awaited: list[Frame] = []
        self._foreign = False
        self._starts = 0
        self._start_of: dict[str, int] = {}
        self._frames_of: dict[str, list[bytes]] = {}
        self.sessions: list[tuple[str, CommandCode, float]] = []
        self.violations: list[str] = []
        rig.watchers.append(self.hear)
        rig.wire.on_take = self.take

    # --- what happens

    def restarted(self) -> None:
        """The agent was started anew: it has heard nothing, and knows the latches of its file."""
        self._starts += 1
        self._heard.clear()
        kept = self._query("SELECT value FROM meta WHERE key=?", f"latches:{UID}")
        unsafe, foreign = json.loads(kept[0][0]) if kept else ("", "")
        self._foreign = self._foreign and bool(foreign)
        if not unsafe:
            self._awaited.clear()

    def cleared(self) -> None:
        """A person has looked at the bus."""
        self._foreign = False
        self._awaited.clear()

    def hear(self, frame: Frame) -> None:
        """Take a frame that reaches the agent."""
        if frame.can_id == CONTROL_ID:
            echo = next((each for each in self._awaited if each.data == frame.data), None)
            self._foreign = self._foreign or echo is None
            if echo is not None:
                self._awaited.remove(echo)
            return
        name = database().get_message_by_frame_id(frame.can_id).name
        if name not in DEADLINES_S or crc8_j1850(frame.data[:7]) != frame.data[7]:
            return
        before = self._heard.get(name)
        if before is not None and before.data[6] & 0x0F == frame.data[6] & 0x0F:
            return
        steady = before is not None and frame.at_s - before.at_s <= DEADLINES_S[name]
        since_s = before.steady_since_s if before is not None and steady else frame.at_s
        self._heard[name] = Heard(frame.data, frame.at_s, since_s)

    def take(self, frame: Frame) -> None:
        """Judge a frame that leaves the agent."""
        current = self._rig.executor._current
        identity = "nobody" if current is None else current.command.id
        code = kind_of(frame)
        if code is None or frame.data[:6] not in PAYLOADS or not frame.extended:
            self._blame(identity, f"no frame of the list: {frame.data.hex()}")
            return
        if crc8_j1850(frame.data[:7]) != frame.data[7]:
            self._blame(identity, "wrong checksum")
        self._judge_record(identity, code, frame)
        if identity not in self._frames_of:
            self._judge_session(identity, code, frame)
        self._judge_lease(identity, code, frame)
        self._awaited.append(frame)

    # --- verdicts

    def _judge_record(self, identity: str, code: CommandCode, frame: Frame) -> None:
        """The row is there for everybody, the command is of this kind, and it is still alive."""
        rows = self._query("SELECT code, deadline_s, boot_id FROM command WHERE id=?", identity)
        sending = "SELECT count(*) FROM event WHERE command_id=? AND state='sending'"
        if not rows or self._query(sending, identity) != [(1,)]:
            self._blame(identity, "a frame without a durable row")
            return
        ((kind, deadline_s, boot_id),) = rows
        if kind != int(code):
            self._blame(identity, f"a frame of another command, {code.name}")
        if frame.at_s >= deadline_s or boot_id != self._rig.clock.boot_id():
            self._blame(identity, f"a frame {frame.at_s - deadline_s:.3f} s after its deadline")

    def _judge_session(self, identity: str, code: CommandCode, frame: Frame) -> None:
        now_s = self._wall_s()
        if code is not CommandCode.OPEN_CONTACTOR:
            self._judge_rate(identity, code, now_s)
            self._judge_box(identity, frame)
        if code is CLOSE:
            self._judge_battery(identity, frame)
        self._start_of[identity] = self._starts
        self.sessions.append((identity, code, now_s))

    def _judge_lease(self, identity: str, code: CommandCode, frame: Frame) -> None:
        """One session, three frames, each with its own counter, none under a lock-out."""
        sent = self._frames_of.setdefault(identity, [])
        if self._start_of.get(identity) != self._starts:
            self._blame(identity, "a frame after a restart")
        if frame.data in sent or len(sent) >= REPEAT:
            self._blame(identity, f"frame {len(sent) + 1} of one session")
        sent.append(frame.data)
        if code is not CommandCode.OPEN_CONTACTOR and len(sent) > 1:
            self._judge_box(identity, frame)

    def _judge_box(self, identity: str, frame: Frame) -> None:
        lost = [each for each in self._awaited if frame.at_s - each.at_s > ECHO_S]
        if self._query("SELECT 1 FROM meta WHERE key='lockout'"):
            self._blame(identity, "locked out")
        if lost:
            self._blame(identity, f"a frame of {lost[0].at_s:.3f} never came back")
        if self._foreign:
            self._blame(identity, "another master was heard")

    def _judge_rate(self, identity: str, code: CommandCode, now_s: float) -> None:
        most, window_s = LIMITS[code]
        ages_s = [now_s - at_s for _, each, at_s in self.sessions if each is code]
        if sum(age_s < window_s - SLACK_S for age_s in ages_s) >= most:
            self._blame(identity, f"number {most + 1} within {window_s:g} s")
        if code is CLOSE and ages_s and min(ages_s) < APART_S - SLACK_S:
            self._blame(identity, f"{min(ages_s):.3f} s after the last one")

    def _judge_battery(self, identity: str, frame: Frame) -> None:
        for name, deadline_s in DEADLINES_S.items():
            heard = self._heard.get(name)
            if heard is None:
                self._blame(identity, f"{name} was never heard")
                return
            if frame.at_s - heard.at_s > deadline_s:
                self._blame(identity, f"{name} is {frame.at_s - heard.at_s:.3f} s old")
            if frame.at_s - heard.steady_since_s < self._steady_s:
                self._blame(identity, f"{name} is not steady")
            self._judge_values(identity, name, heard.data)

    def _judge_values(self, identity: str, name: str, data: bytes) -> None:
        values = database().get_message_by_name(name).decode(data, decode_choices=False)
        for signal, value in values.items():
            wanted = WANTED.get((name, signal), value)
            alarm = signal.endswith(("_alarm", "_fault")) and signal not in TOLERATED
            if value != wanted or (alarm and value):
                self._blame(identity, f"closed with {name}.{signal} = {value}")

    # --- means

    def _query(self, text: str, *values: object) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self._rig.folder / "journal.db")) as db:
            return db.execute(text, values).fetchall()

    def _wall_s(self) -> float:
        return self._rig.clock.wall().timestamp()

    def _blame(self, identity: str, what: str) -> None:
        self.violations.append(f"{identity}: {what}")
