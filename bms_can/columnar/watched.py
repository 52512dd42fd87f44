"""Which rows of a chunk can matter to a status: found in columns, by the rules of the profile.

A row matters where a message says something new, or may have come back after its deadline. All
other rows only show that a message is still alive. What a payload means is asked of
`status.meaning_of` itself, once for each payload that differs from its predecessor in a bit of
a signal that counts.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bms_can.columnar.chunk import Chunk
from bms_can.columnar.plan import EXTENDED_BIT
from bms_can.columnar.seal import Seal
from bms_can.database import Database
from bms_can.frame import Frame
from bms_can.intake import Intake
from bms_can.layout import wire_length
from bms_can.profile import Profile
from bms_can.status import meaning_of
from bms_can.telling import bits_of
from bms_can.timeline import awaited

WORDS, LENGTHS = 8, 65  # 64 bytes as integers; 0..64 bytes
NEAR_S = 1e-5  # a message as little before its deadline counts as late: looking twice does no harm
MOST_MEANINGS = 100_000
NEVER = -1

Rows = NDArray[np.int64]
Times = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Watched:
    """What was found in one chunk.

    Attributes:
        rows: accepted frames of messages that count, ascending; messages: their numbers.
        news: of these, the rows that matter, ascending.
        alarms: rows at which the deadline of a message has passed, in no order.
    """

    rows: Rows
    messages: Rows
    news: Rows
    alarms: Rows


def frame_at(chunk: Chunk, row: int) -> Frame:
    """Return one frame of a chunk."""
    length = int(chunk.length[row])
    return Frame(
        float(chunk.at_s[row]),
        int(chunk.can_id[row]),
        bool(chunk.extended[row]),
        chunk.data[row, :length].tobytes(),
        chunk.channels[int(chunk.channel[row])],
    )


class Watcher:
    """Finds the rows that matter, chunk after chunk of one log.

    Args:
        profile, database: the battery.
        intake: checks the frames of messages with a counter, a checksum or multiplexer pages.
    """

    def __init__(self, profile: Profile, database: Database, intake: Intake) -> None:
        self._profile = profile
        self._intake = intake
        ages = awaited(profile)
        self.names = tuple(dict.fromkeys(name.split(".", 1)[0] for name in ages))
        messages = [database.messages[name] for name in self.names]
        keys = [each.frame_id | each.is_extended_frame * EXTENDED_BIT for each in messages]
        order = np.argsort(np.array(keys, np.uint32), kind="stable")
        self._keys, self._numbers = np.array(keys, np.uint32)[order], order.astype(np.int64)
        self._fits = _table([_fitting(database, name) for name in self.names], LENGTHS, np.bool_)
        self._masks = _table(
            [_mask(profile, database, name) for name in self.names], WORDS, np.uint64
        )
        self._deadlines_s = np.array([ages.get(name, np.inf) for name in self.names])
        self._paged = np.array([each.is_multiplexed() for each in messages])
        self._seals = {
            number: Seal(database, profile.integrity[name], intake.integrity)
            for number, name in enumerate(self.names)
            if name in profile.integrity
        }
        self._words = np.zeros((len(self.names), WORDS), np.uint64)
        self._at_s = np.full(len(self.names), np.nan)
        self._said = [NEVER] * len(self.names)
        self._meanings: dict[tuple[int, bytes], int] = {}
        self._numbered: dict[object, int] = {}

    def look(
        self, chunk: Chunk, ours: NDArray[np.bool_], passed_s: Times, first_s: float
    ) -> Watched:
        """Return what matters in a chunk.

        Args:
            chunk: the next one.
            ours: rows of the battery's channel.
            passed_s: how far the log's time has come at each row [s], never falling.
            first_s: start of the log [s].
        """
        rows, messages = self._accepted(chunk, ours)
        self._at_s = np.where(np.isnan(self._at_s), first_s, self._at_s)
        order = np.argsort(messages, kind="stable")
        groups = _Groups(messages[order], len(self.names))
        returned, alarms = self._ages(chunk, rows[order], groups, passed_s)
        changed = self._changed(chunk, rows[order], groups)
        news = np.zeros(len(rows), np.bool_)
        news[order] = returned | self._paged[groups.messages]
        candidates = np.zeros(len(rows), np.bool_)
        candidates[order] = changed
        self._mark_news(chunk, rows, messages, np.flatnonzero(candidates), news)
        return Watched(rows, messages, rows[news], alarms)

    def _accepted(self, chunk: Chunk, ours: NDArray[np.bool_]) -> tuple[Rows, Rows]:
        if not self.names:
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        keys = chunk.can_id | chunk.extended * np.uint32(EXTENDED_BIT)
        at = np.searchsorted(self._keys, keys).clip(max=len(self._keys) - 1)
        rows = np.flatnonzero((self._keys[at] == keys) & ours)
        messages = self._numbers[at[rows]]
        good = self._fits[messages, chunk.length[rows]]
        careful = good & self._paged[messages]
        for number, seal in self._seals.items():
            its = np.flatnonzero(good & (messages == number))
            right = None if self._paged[number] else seal.right(chunk.data[rows[its]])
            if right is None:
                careful[its] = True
            else:
                good[its] = right
        for index in np.flatnonzero(careful).tolist():
            good[index] = self._intake.accept(frame_at(chunk, int(rows[index]))) is not None
        return rows[good], messages[good]

    def _changed(self, chunk: Chunk, rows: Rows, groups: "_Groups") -> NDArray[np.bool_]:
        """Tell where a bit that counts differs from the message's frame before; rows by message."""
        width = chunk.data.shape[1] // 8
        words = np.ascontiguousarray(chunk.data[rows]).view(np.uint64)
        words &= self._masks[groups.messages, :width]
        changed = np.ones(len(rows), np.bool_)
        changed[1:] = (words[1:] != words[:-1]).any(axis=1)
        before = self._words[groups.present, :width]
        heard = np.array(
            [self._said[number] != NEVER for number in groups.present.tolist()], np.bool_
        )
        beyond = self._words[groups.present, width:].any(axis=1)
        changed[groups.firsts] = ~heard | beyond | (words[groups.firsts] != before).any(axis=1)
        self._words[groups.present] = 0
        self._words[groups.present, :width] = words[groups.lasts]
        return changed

    def _ages(
        self, chunk: Chunk, rows: Rows, groups: "_Groups", passed_s: Times
    ) -> tuple[NDArray[np.bool_], Rows]:
        """Return which rows may end a silence, and the rows at which a deadline has passed."""
        at_s = chunk.at_s[rows]
        before_s, before = np.empty_like(at_s), np.empty_like(rows)
        before_s[1:], before[1:] = at_s[:-1], rows[:-1]
        before_s[groups.firsts], before[groups.firsts] = self._at_s[groups.present], NEVER
        due_s = before_s + self._deadlines_s[groups.messages]
        now_s = passed_s[rows]
        near_s = NEAR_S + 8 * float(np.spacing(abs(passed_s[-1])))
        over = now_s > due_s
        alarms = [_first_after(passed_s, due_s[over], before[over])]
        last = np.full(len(self.names), NEVER, np.int64)
        last[groups.present] = rows[groups.lasts]
        self._at_s[groups.present] = at_s[groups.lasts]
        ends_s = self._at_s + self._deadlines_s
        silent = passed_s[-1] > ends_s
        alarms.append(_first_after(passed_s, ends_s[silent], last[silent]))
        return now_s + near_s > due_s, np.concatenate(alarms)

    def _mark_news(
        self,
        chunk: Chunk,
        rows: Rows,
        messages: Rows,
        candidates: Rows,
        news: NDArray[np.bool_],
    ) -> None:
        """Mark the candidates that mean something else than the message's frame before."""
        for index in candidates.tolist():
            number = int(messages[index])
            if self._paged[number]:
                self._said[number] = 0
                continue
            meaning = self._meaning(chunk, int(rows[index]), number)
            if meaning != self._said[number]:
                self._said[number] = meaning
                news[index] = True

    def _meaning(self, chunk: Chunk, row: int, number: int) -> int:
        """Return the number of what a frame means."""
        data = chunk.data[row]
        words = data.view(np.uint64) & self._masks[number, : len(data) // 8]
        key = number, words.tobytes()
        known = self._meanings.get(key)
        if known is None:
            read = self._intake.read(frame_at(chunk, row))
            meaning = meaning_of(self._profile, {} if read is None else read[1])
            known = self._numbered.setdefault(tuple(meaning.items()), len(self._numbered))
            if len(self._meanings) >= MOST_MEANINGS:
                self._meanings.clear()
            self._meanings[key] = known
        return known


class _Groups:
    """Rows sorted by message: where each message begins and ends.

    Attributes:
        messages: number of the message of each row, ascending.
        present: messages that have rows; firsts, lasts: places of the first and last row of each.
    """

    def __init__(self, messages: Rows, count: int) -> None:
        self.messages = messages
        counts = np.bincount(messages, minlength=count)
        self.present = np.flatnonzero(counts)
        ends = np.cumsum(counts)[self.present]
        self.firsts, self.lasts = ends - counts[self.present], ends - 1


def _first_after(passed_s: Times, moments_s: Times, before: Rows) -> Rows:
    """Return the first row at which a moment has passed, later than the row `before`."""
    found = np.searchsorted(passed_s, moments_s, side="right")
    later: Rows = np.maximum(found, before + 1)
    return later


def _table(rows: list[NDArray[Any]], width: int, kind: type) -> NDArray[Any]:
    """Return rows below each other, also none at all."""
    return np.array(rows, kind).reshape(-1, width)


def _fitting(database: Database, name: str) -> NDArray[np.bool_]:
    """Return by payload length whether a frame of this message has it."""
    message = database.messages[name]
    fits = np.full(LENGTHS, not message.length)
    if message.length:
        fits[[wire_length(message.length), *database.more_lengths.get(name, ())]] = True
    return fits


def _mask(profile: Profile, database: Database, name: str) -> NDArray[np.uint64]:
    """Return the bits of the signals of a message that the status or an alarm rests on."""
    keys = [key for key in profile.status_signals() if key.split(".", 1)[0] == name]
    bits = bits_of(database, keys)
    return np.frombuffer(bits.to_bytes(8 * WORDS, "little"), np.uint64)
