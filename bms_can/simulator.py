"""A battery management system made from a profile and its DBC: it sends frames and takes commands.

Works for any profile, because the values of its frames are the profile's own rules turned round
(simulator_values.py). Time is an argument; simulator_bus.py puts it on a bus.
"""

import math
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, replace

from bms_can.database import Database
from bms_can.errors import BadFrame, BadProfile
from bms_can.families import speaker
from bms_can.frame import Frame
from bms_can.integrity import Integrity
from bms_can.layout import Field, field_of, read, write
from bms_can.misbehaviour import hits
from bms_can.pack import Answer, Pack
from bms_can.pack_cells import PackSettings
from bms_can.pack_view import View, view
from bms_can.profile import Profile
from bms_can.simulator_controls import Control, Controls
from bms_can.simulator_frames import Sender, senders_of
from bms_can.simulator_request import RequestEar


class Simulator:
    """A simulated battery on its bus. Belongs to one thread; others use `tell`.

    Attributes:
        pack: the battery.
        heard: control frames by what became of them: "command", "repetition", "no command", or
            the reason of a BadFrame.
        answer: the newest answer that was sent, None before the first.
        request: the ear for a held request, None for a battery without one.
        others: frames heard from others, whatever they are.
        note: in which way it is not a real battery, "" for none that a person must know.
    """

    def __init__(
        self, profile: Profile, database: Database, pack: Pack | None = None, *, now_s: float = 0.0
    ) -> None:
        self.pack = pack or Pack(settings_of(profile), now_s=now_s)
        self.heard: Counter[str] = Counter()
        self.answer: Answer | None = None
        self.others = 0
        self._answered_counter = 0
        self._integrity = Integrity(database, profile.integrity)
        self._checksums = _checksums(profile, database)
        self._controls = Controls(profile, database)
        held = profile.held
        self.request = None if held is None else RequestEar(held.period_s, now_s)
        self._senders = senders_of(profile, database, now_s)
        self._family = speaker(profile)
        self._check_family(profile)
        self.note = "" if self._family is None else self._family.simulated
        self._ready: list[Frame] = []
        self._told: deque[Callable[[Pack], None]] = deque()

    def tell(self, action: Callable[[Pack], None]) -> None:
        """Have something done to the battery before it sends or hears again; from any thread."""
        self._told.append(action)

    def _do_what_was_told(self) -> None:
        while self._told:
            self._told.popleft()(self.pack)

    @property
    def next_due_s(self) -> float:
        """When the next frame is due [s]; infinite for a battery that sends nothing by itself."""
        if self._ready:
            return -math.inf
        return min((sender.next_s for sender in self._senders), default=math.inf)

    def due_frames(self, now_s: float) -> list[Frame]:
        """Return the frames that are due at `now_s` [s]: answers first, then cyclic messages."""
        self._do_what_was_told()
        if self.request is not None:
            self.request.step(now_s, self.pack)
        self.pack.step(now_s)
        found, self._ready = self._ready, []
        due = [sender for sender in self._senders if sender.is_due(now_s)]
        shown = self._view() if due else None
        for sender in due:
            if shown is not None:
                found += self._frames(sender, shown, now_s)
        return found

    def hear(self, frame: Frame, now_s: float) -> Answer | None:
        """Take a frame from the bus; a command acts once, however often its frame is repeated.

        Returns:
            The battery's answer to a new command, None for anything else or if it was ignored.
        """
        self._do_what_was_told()
        self.others += 1
        try:
            control = self._controls.take(frame, now_s)
        except BadFrame as bad:
            self.heard[bad.reason] += 1
            return None
        if control is not None and self.request is not None:
            self.heard["request"] += 1
            self.request.hear(control.code, now_s, self.pack)
            return None
        return None if control is None else self._act(control, now_s)

    def _act(self, control: Control, now_s: float) -> Answer | None:
        if control.code is None or control.repeated:
            self.heard["no command" if control.code is None else "repetition"] += 1
            return None
        self.heard["command"] += 1
        answer = self.pack.command(control.code, now_s)
        if answer is not None and not self.pack.misbehaviour.no_ack:
            self.answer, self._answered_counter = answer, control.counter
            shown = self._view()
            for sender in self._senders:
                if sender.period_s is None:
                    self._ready += self._frames(sender, shown, now_s)
        return answer

    def _view(self) -> View:
        shown = view(self.pack, self.answer, self._answered_counter)
        if self.request is not None:
            shown.words["state"] = self.request.word(self.pack)
        return shown

    def _frames(self, sender: Sender, shown: View, now_s: float) -> Iterator[Frame]:
        """Yield the next frame of a message, or those of its family; none while it is silent."""
        message, wrong = sender.message, self.pack.misbehaviour
        if hits(wrong.silent, message.name):
            return
        data = self._integrity.sealed(message.name, sender.payload(shown), sender.counter)
        checksum = self._checksums.get(message.name)
        if checksum is not None and hits(wrong.wrong_checksum, message.name):
            data = write(checksum, data, int(read(checksum, data)) ^ 0xFF)
        sender.sent += 1
        sender.counter += not hits(wrong.frozen_counter, message.name)
        frame = Frame(now_s, message.frame_id, message.is_extended_frame, data)
        yield from [frame] if self._family is None else self._family.as_sent(frame)

    def _check_family(self, profile: Profile) -> None:
        """Refuse at once a message that its family could not send.

        Raises:
            BadProfile: see above.
        """
        if self._family is None:
            return
        shown = self._view()
        for sender in self._senders:
            message = sender.message
            for page in range(len(sender.pages)):
                data = replace(sender, sent=page).payload(shown)
                frame = Frame(0.0, message.frame_id, message.is_extended_frame, data)
                try:
                    self._family.as_sent(frame)
                except BadFrame as bad:
                    raise BadProfile(profile.path, [f"simulator: {message.name}: {bad}"]) from bad


def settings_of(profile: Profile) -> PackSettings:
    """Return the size of the battery from the profile's table [simulator.battery].

    Raises:
        BadProfile: a key is unknown, or its value is not a number of the right kind.
    """
    table = profile.simulator.get("battery", {})
    if not isinstance(table, Mapping):
        raise BadProfile(profile.path, ["simulator.battery: must be a table"])
    kinds = {each.name: type(each.default) for each in fields(PackSettings)}
    mistakes = []
    for key, value in table.items():
        kind = kinds.get(key)
        if kind is None:
            mistakes.append(f"simulator.battery.{key}: there is no such key")
        elif type(value) not in {kind, int} or (value <= 0 and key != "soc_pct"):
            mistakes.append(f"simulator.battery.{key}: must be a positive {kind.__name__}")
    if mistakes:
        raise BadProfile(profile.path, mistakes)
    return PackSettings(**table)


def _checksums(profile: Profile, database: Database) -> dict[str, Field]:
    """Return the place of each message's checksum."""
    found = {}
    for message, rule in profile.integrity.items():
        place = database.signals.get(f"{message}.{rule.checksum}")
        field = None if place is None else field_of(*place)
        if field is not None:
            found[message] = field
    return found
