"""Signals that may play a role, best first, each with its reasons. Pure."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from cantools.database.can import Message, Signal

from bms_can.database import Database
from bms_can.drafting.vocabulary import (
    CLOSED_WORDS,
    COUNTED,
    MAY_TELL,
    MESSAGE_AGAINST,
    MESSAGE_FOR,
    MUST_BE_STRONG,
    NOT_STATE,
    OPEN_WORDS,
    ROLES,
    STATE_WORDS,
    Role,
    words_of,
)

MOST_CONTACTOR_BITS = 4
MOST_STATE_BITS = 8
MOST_ALARM_BITS = 2
MOST_SCORE = 0.95  # a name is never certain
LEAST_MEASURED_BITS = 7  # a percentage needs as many
NAME_SCORE, STRONG_SCORE, UNIT_SCORE, CHOICES_SCORE, SEEN_SCORE = 0.4, 0.2, 0.15, 0.25, 0.1
MUX_SCORE, MESSAGE_SCORE, WRONG_MESSAGE_SCORE, COMMENT_SCORE = -0.1, 0.1, -0.3, -0.1
UNSIGNED_SCORE = -0.15


class Candidate(NamedTuple):
    """A signal that may play a role.

    Attributes:
        name: "Message.Signal"; score: 0 to 1; reasons: for people.
    """

    name: str
    message: Message
    signal: Signal
    score: float
    reasons: tuple[str, ...]


def candidates(
    database: Database, role: str, heard: Mapping[str, int] | None = None
) -> list[Candidate]:
    """Return the signals that may play a role, the most likely first.

    Args:
        database: where to look.
        role: a key of `ROLES`.
        heard: frames by message name, None: there is no log. What is not heard comes last.
    """
    found = []
    for name, (message, signal) in database.signals.items():
        candidate = _candidate(name, message, signal, role)
        if candidate is not None:
            found.append(candidate if heard is None else _with_log(candidate, heard))
    often = heard or {}
    best_first = sorted(found, key=lambda each: (-each.score, -often.get(each.message.name, 0)))
    return [each._replace(score=min(each.score, MOST_SCORE)) for each in best_first]


def _candidate(name: str, message: Message, signal: Signal, role: str) -> Candidate | None:
    rule = ROLES[role]
    words, comment = words_of(signal.name), (signal.comment or "").strip()
    by_name = bool(rule.wanted.search(words))
    if not (by_name or rule.wanted.search(comment)) or rule.against.search(words):
        return None
    if not by_name and rule.against.search(comment):
        return None
    if not _unit_fits(rule, signal) or not _form_fits(role, signal):
        return None
    strong = bool(rule.strong.search(words) or rule.strong.search(comment))
    also = rule.also.search(f"{words} {comment} {words_of(message.name)}")
    if (role in MUST_BE_STRONG and not strong) or not also:
        return None
    score = NAME_SCORE + _of_message(words_of(message.name), words, role)
    score += (STRONG_SCORE if strong else 0.0) + (0.0 if by_name else COMMENT_SCORE)
    reasons = [f'name "{signal.name}"' if by_name else f'comment "{_short(comment)}"']
    for more, why in _of_signal(rule, role, signal):
        score += more
        reasons += [why] if why else []
    return Candidate(name, message, signal, score, tuple(reasons))


def _of_message(message_words: str, words: str, role: str) -> float:
    """Return what the name of the message is worth."""
    ours = MESSAGE_FOR.search(f"{message_words} {words}")
    of_alarms = role != "alarm" and ROLES["alarm"].wanted.search(message_words)
    wrong = MESSAGE_AGAINST.search(message_words) or of_alarms
    return (MESSAGE_SCORE if ours else 0.0) + (WRONG_MESSAGE_SCORE if wrong else 0.0)


def _of_signal(rule: Role, role: str, signal: Signal) -> Iterator[tuple[float, str]]:
    """Yield what unit, choices, page and sign are worth, with the reason."""
    if rule.units and signal.unit and signal.unit.lower() in rule.units:
        yield UNIT_SCORE, f'unit "{signal.unit}"'
    if meaning := _choices_say(role, signal):
        yield CHOICES_SCORE, f"values named {meaning}"
    if signal.multiplexer_ids:
        yield MUX_SCORE, ""
    if role == "current" and not _goes_below_0(signal):
        yield UNSIGNED_SCORE, "can never be negative"


def _goes_below_0(signal: Signal) -> bool:
    """Tell whether the bits can hold a negative value: a pack's current goes both ways."""
    scale, offset = float(signal.conversion.scale), float(signal.conversion.offset)
    if signal.conversion.is_float:
        return True
    bits = int(signal.length)
    ends = (-(1 << bits - 1), (1 << bits - 1) - 1) if signal.is_signed else (0, (1 << bits) - 1)
    return min(end * scale + offset for end in ends) < 0


def _with_log(candidate: Candidate, heard: Mapping[str, int]) -> Candidate:
    frames = heard.get(candidate.message.name, 0)
    if not frames:
        reasons = (*candidate.reasons, "its message is not in the log")
        return candidate._replace(score=candidate.score - 0.5, reasons=reasons)
    reasons = (*candidate.reasons, f"{frames} frames in the log")
    return candidate._replace(score=candidate.score + SEEN_SCORE, reasons=reasons)


def _unit_fits(rule: Role, signal: Signal) -> bool:
    """Tell whether the unit does not speak against it: the right one, or none stated."""
    unit = (signal.unit or "").strip().lower()
    return not rule.units or not unit or unit in rule.units


def _form_fits(role: str, signal: Signal) -> bool:
    bits = int(signal.length)
    if role == "contactor":
        return bits <= MOST_CONTACTOR_BITS and not bool(signal.is_multiplexer)
    if role == "state":
        several = len(signal.choices or {}) > 2  # noqa: PLR2004 - a switch is no state
        return bits <= MOST_STATE_BITS and several and bool(state_values(signal))
    if role == "alarm":
        return bits <= MOST_ALARM_BITS and not bool(signal.is_multiplexer)
    return bits >= LEAST_MEASURED_BITS and not _is_named(signal)


def _is_named(signal: Signal) -> bool:
    """Tell whether most values have names: then it is no measurement."""
    most: int = max(2, (1 << min(int(signal.length), 8)) // 4)
    return len(signal.choices or {}) > most


def _choices_say(role: str, signal: Signal) -> str:
    if role == "contactor":
        closed, opened = contactor_values(signal)
        return f"{', '.join(closed)} / {', '.join(opened)}" if closed and opened else ""
    if role == "state":
        return ", ".join(str(name) for _, name in sorted(state_values(signal).items()))
    return ""


def contactor_values(signal: Signal) -> tuple[list[str], list[str]]:
    """Return the names of values that mean closed, and those that mean open."""
    names = [str(name) for name in (signal.choices or {}).values()]
    closed = [name for name in names if CLOSED_WORDS.match(_last_word(name))]
    opened = [name for name in names if OPEN_WORDS.match(_last_word(name))]
    return closed, opened


def _last_word(name: str) -> str:
    """Return what a choice says: BMS_CTRSTATE_CLOSED says closed."""
    words = words_of(name).split()
    return words[-1] if words else ""


def state_values(signal: Signal) -> dict[int, str]:
    """Return the choices whose meaning is plain: operating status -> name of the choice."""
    found: dict[int, str] = {}
    for name in (signal.choices or {}).values():
        words = words_of(str(name))
        for status, pattern in STATE_WORDS.items():
            if pattern.match(words) and not NOT_STATE.search(words) and status not in found:
                found[status] = str(name)
    return found


def unnamed_states(database: Database, heard: Mapping[str, int] | None) -> list[Candidate]:
    """Return signals that by name may tell a state or a contactor, though no value has a name."""
    found = []
    for name, (message, signal) in database.signals.items():
        words = words_of(signal.name)
        small = int(signal.length) <= MOST_STATE_BITS and not signal.choices
        wanted = MAY_TELL.search(words)
        against = ROLES["alarm"].wanted.search(words) or COUNTED.search(words)
        if not (small and wanted) or against or signal.is_multiplexer or signal.is_signed:
            continue
        score = NAME_SCORE + _of_message(words_of(message.name), words, "state")
        one = Candidate(name, message, signal, score, (f'name "{signal.name}"',))
        found.append(one if heard is None else _with_log(one, heard))
    return sorted(found, key=lambda each: -each.score)


def best(
    database: Database, role: str, heard: Mapping[str, int] | None, least: float = 0.5
) -> Candidate | None:
    """Return the most likely signal for a role, None if none is likely."""
    found = candidates(database, role, heard)
    return found[0] if found and found[0].score >= least else None


def alarm_groups(found: list[Candidate]) -> Iterator[tuple[str, list[Candidate]]]:
    """Yield the candidates for alarms message by message."""
    groups: dict[str, list[Candidate]] = {}
    for each in found:
        groups.setdefault(each.message.name, []).append(each)
    yield from groups.items()


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 60 else f"{line[:57]}..."  # noqa: PLR2004 - a line of a profile
