"""What a person should look at: states whose values have no names, senders' addresses. Pure."""

from bms_can.drafting.guess import Candidate, unnamed_states
from bms_can.drafting.plan import Plan
from bms_can.drafting.toml_text import comment, off, quoted
from bms_can.examine.dbc_tally import Named
from bms_can.examine.judge_ids import other_senders
from bms_can.examine.signal_tally import SignalTally

MOST_HINTS, MOST_VALUES, MOST_SENDERS = 8, 16, 20


def tally_of(plan: Plan, name: str) -> SignalTally | None:
    """Return what a log showed of a signal."""
    dbc = None if plan.seen is None else plan.seen.evidence.dbc
    return None if dbc is None else dbc.signals.get(Named(plan.channel, name))


def hints(plan: Plan) -> list[Candidate]:
    """Return signals whose name may tell the state, values unnamed; those first that moved."""
    found = unnamed_states(plan.database, plan.heard)
    if plan.heard is not None:
        found = [each for each in found if plan.heard.get(each.message.name)]
    found.sort(key=lambda each: not _changes(plan, each))  # of the rest the order stays
    return found[:MOST_HINTS]


def hint_lines(plan: Plan) -> list[str]:
    """Return what a person may look at in place of a contactor."""
    lines: list[str] = []
    for one in hints(plan):
        bits = "1 bit" if one.signal.length == 1 else f"{one.signal.length} bits"
        lines += comment(f"{one.name}, {bits}{_values_seen(plan, one)}", "#   ")
    head = "By name these may tell it; the DBC does not name their values:"
    return [*comment(head), *lines] if lines else []


def _changes(plan: Plan, one: Candidate) -> int:
    tally = tally_of(plan, one.name)
    return 0 if tally is None else tally.changes


def _values_seen(plan: Plan, one: Candidate) -> str:
    tally = tally_of(plan, one.name)
    if tally is None or not tally.frames:
        return ""
    if tally.distinct is None or len(tally.distinct) > MOST_VALUES:
        return ": many values in the log"
    values = ", ".join(f"{raw:g}" for raw in sorted(tally.distinct))
    return f": {values} in the log, {tally.changes} changes"


def sender_lines(plan: Plan, questions: list[str]) -> list[str]:
    """Return the senders of messages whose address in the DBC is a placeholder, commented out."""
    found = {} if plan.seen is None else other_senders(plan.seen.evidence, plan.channel)
    if not found:
        return []
    lines = comment(
        "TODO: these messages come from another sender than the DBC says (the last byte of the"
        " identifier, a J1939 address). With the battery's address they are used:"
    )
    for name, streams in list(found.items())[:MOST_SENDERS]:
        said = ", ".join(f"0x{s.key.can_id & 0xFF:02X} x{s.frames}" for s in streams)
        lines += comment(f"{name}: heard from {said}")
        lines += off([f"{quoted(name)} = {{ source = 0x{streams[0].key.can_id & 0xFF:02X} }}"])
    questions.append(f"Which address has the battery? {len(found)} messages come from another one.")
    return lines
