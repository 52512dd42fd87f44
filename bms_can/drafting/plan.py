"""What a draft rests on: the DBC, what a log showed, the answers of a person. Pure."""

from dataclasses import dataclass, field
from functools import cached_property

from bms_can.database import Database, cycle_time_ms
from bms_can.drafting.guess import Candidate, best, candidates, contactor_values
from bms_can.drafting.sign_words import positive_means
from bms_can.drafting.support import Polarity, Sign, flowing_while, polarity_of, sign_of
from bms_can.examine.examination import Examination
from bms_can.examine.judge_ids import is_steady
from bms_can.examine.stream import Stream, StreamKey
from bms_can.profile_load import MOST_DEADLINE_MS

LEAST_MS, PLACEHOLDER_MS = 500, 2000
PERIODS = 5
ROUND_MS = 100
LIKELY = 0.5
SURE = 0.8
NEAR_BEST = 0.2  # contactors this near to the best one belong to the same pack
OFF_PERIOD = 0.2
TO_A = {"ma": 0.001, "ka": 1000.0}


@dataclass(frozen=True)
class Answers:
    """What a person said; None: nothing.

    Attributes:
        positive: "charging" or "discharging": what a positive current is.
        one_is_closed: what a contactor's bit means.
    """

    positive: str | None = None
    one_is_closed: bool | None = None


@dataclass(frozen=True)
class Plan:
    """Guesses for one battery.

    Attributes:
        database: its DBC; dbc: how the profile names it; name: of the profile.
        seen: the log examined with this DBC, None: there is none; log: its name.
        answers: of a person.
    """

    database: Database
    dbc: str
    name: str
    seen: Examination | None = None
    log: str = ""
    answers: Answers = field(default_factory=Answers)

    @cached_property
    def channel(self) -> str:
        """The channel that the DBC describes best."""
        if self.seen is None:
            return ""
        evidence = self.seen.evidence
        return max(evidence.log.channels, key=evidence.heard_messages, default="")

    @cached_property
    def heard(self) -> dict[str, int] | None:
        """Frames by message on that channel, None without a log."""
        if self.seen is None or self.seen.evidence.dbc is None:
            return None
        tallies = self.seen.evidence.dbc.messages.items()
        return {
            key.name: tally.frames + tally.refused.total()
            for key, tally in tallies
            if key.channel == self.channel
        }

    def stream(self, message: str) -> Stream | None:
        """Return the frames of a message, None if it is not in the log."""
        definition = self.database.messages[message]
        if self.seen is None:
            return None
        key = StreamKey(self.channel, definition.frame_id, definition.is_extended_frame)
        return self.seen.evidence.log.streams.get(key)

    def best(self, role: str) -> Candidate | None:
        """Return the likeliest signal for a role."""
        return best(self.database, role, self.heard, LIKELY)

    @cached_property
    def current(self) -> Candidate | None:
        """Pack current."""
        return self.best("current")

    @cached_property
    def state(self) -> Candidate | None:
        """A signal that says the state."""
        return self.best("state")

    @cached_property
    def contactors(self) -> list[Candidate]:
        """Feedback of the contactors, of one message; the first is the likeliest."""
        found = [
            each
            for each in candidates(self.database, "contactor", self.heard)
            if each.score >= LIKELY
        ]
        near = [each for each in found if each.score >= found[0].score - NEAR_BEST]
        return [each for each in near if each.message.name == found[0].message.name]

    @cached_property
    def sign(self) -> Sign:
        """What speaks for the sign of the current; never used without a person."""
        if self.current is None:
            return Sign("", 0.0, "no current")
        text, heard = self.current.signal.comment or "", self._sign_heard(self.current)
        said = positive_means(text)
        if not said:
            return heard
        if not heard.positive:
            return Sign(said, 0.9, f'comment "{text}"')
        why = f'comment "{text}"; {heard.why}'
        if heard.positive != said:
            return Sign("", 0.0, f"{why}: the two contradict each other")
        return Sign(said, 0.9, why)

    def _sign_heard(self, current: Candidate) -> Sign:
        """Return what the log says about the sign."""
        if self.seen is None or self.seen.evidence.dbc is None:
            return Sign("", 0.0, "no log")
        voltage = self.best("total_voltage")
        name = None if voltage is None else voltage.name
        return sign_of(self.seen.evidence.dbc, self.channel, current.name, name)

    def contactor_meaning(self, one: Candidate) -> tuple[list[str | int], list[str | int], str]:
        """Return the values that mean closed, those that mean open, and why; empty: not known."""
        closed, opened = contactor_values(one.signal)
        if closed and opened:
            if denied := self.denied(one, opened):
                return [], [], denied
            return [*closed], [*opened], "the names of the values say so"
        if one.signal.length > 1:
            return [], [], "its values have no names that say open and closed"
        polarity = self._polarity(one)
        if polarity.one_is_closed is None:
            return [], [], polarity.why
        return ([1], [0], polarity.why) if polarity.one_is_closed else ([0], [1], polarity.why)

    def denied(self, one: Candidate, opened: list[str]) -> str:
        """Return what the log says against values that are named like an open contactor, or ""."""
        if self.current is None or self.seen is None or self.seen.evidence.dbc is None:
            return ""
        raws = {raw for raw, name in (one.signal.choices or {}).items() if str(name) in opened}
        factor = TO_A.get((self.current.signal.unit or "").lower(), 1.0)
        flowing_a = flowing_while(
            self.seen.evidence.dbc, self.channel, one.name, frozenset(map(float, raws)),
            self.current.name, factor,
        )  # fmt: skip
        if flowing_a is None:
            return ""
        return f"named open ({', '.join(opened)}), but up to {flowing_a:.3g} A flow meanwhile"

    def _polarity(self, one: Candidate) -> Polarity:
        if self.answers.one_is_closed is not None:
            return Polarity(self.answers.one_is_closed, "a person said so")
        if self.seen is None or self.seen.evidence.dbc is None:
            return Polarity(None, "no log")
        current = None if self.current is None else self.current.name
        return polarity_of(self.seen.evidence.dbc, self.channel, one.name, current)

    def deadline(self, message: str) -> tuple[int | None, str]:
        """Return the deadline to write [ms], None: the DBC's cycle time serves; and why."""
        stated_ms = cycle_time_ms(self.database.messages[message])
        stream = self.stream(message)
        rhythm = None if stream is None else stream.timing.rhythm()
        coarse = self.seen is not None and self.seen.evidence.coarse
        if stream is None or rhythm is None or rhythm.period_s is None or coarse:
            if stated_ms is not None:
                return None, f"cycle time of the DBC: {stated_ms} ms"
            return PLACEHOLDER_MS, "TODO: neither DBC nor log gives a period; this is a guess"
        period_ms = rhythm.period_s * 1000
        words = f"every {period_ms:.0f} ms in the log, the longest silence {rhythm.longest_s:.3g} s"
        near = stated_ms is not None and abs(period_ms / stated_ms - 1) <= OFF_PERIOD
        if near and is_steady(rhythm, stream):
            return None, f"{words}; cycle time of the DBC: {stated_ms} ms"
        late_ms = max(LEAST_MS, PERIODS * max(period_ms, rhythm.late_s * 1000))
        note = "" if is_steady(rhythm, stream) else "; TODO: irregular, have a look"
        rounded_ms = round(-(-late_ms // ROUND_MS) * ROUND_MS)
        return min(rounded_ms, MOST_DEADLINE_MS), words + note
