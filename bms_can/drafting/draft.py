"""The commented text of a draft profile. Pure.

What is sure enough stands as it would in a finished profile, with its reasons. What is not stands
commented out, with a TODO. Commands and the sign of the current are never drafted as facts.
"""

from collections.abc import Iterable

from bms_can.drafting.draft_hints import hint_lines, hints
from bms_can.drafting.draft_parts import (
    alarm_lines,
    command_lines,
    frame_lines,
    integrity_lines,
    signal_lines,
    telemetry_lines,
)
from bms_can.drafting.guess import Candidate, state_values
from bms_can.drafting.plan import SURE, Plan
from bms_can.drafting.toml_text import comment, listed, off, quoted
from bms_can.status_rules import OperatingStatus

RULE_WIDTH = 100


def draft(plan: Plan) -> str:
    """Return the TOML text of a draft. It loads, and reports nothing that nobody has confirmed."""
    status, used, questions = _status(plan)
    telemetry, telemetry_messages, more = telemetry_lines(plan)
    alarms, alarm_messages, still_more = alarm_lines(plan)
    messages = list(dict.fromkeys([*used, *telemetry_messages, *alarm_messages]))
    integrity, integrity_questions = integrity_lines(plan, messages)
    frames, frame_questions = frame_lines(plan, messages)
    asked = [*questions, *more, *still_more, *integrity_questions, *frame_questions]
    sections = [
        (_head(plan, asked), ""),
        (_profile(plan), ""),
        (frames, "What the DBC says wrong about frames"),
        (_freshness(plan, used, messages), "When the battery counts as silent"),
        (status, "1 powered down, 2 idle, 3 charging, 4 discharging"),
        (alarms, "Alarms: their number is alarm_status"),
        (telemetry, "Values for the platform"),
        (integrity, "Counters and checksums"),
        (signal_lines(plan, messages), "What the DBC says wrong about signals"),
        (command_lines(plan), "Commands: never drafted"),
    ]
    return "\n".join(line for lines, title in sections for line in _section(lines, title))


def _section(lines: Iterable[str], title: str) -> list[str]:
    text = list(lines)
    if not text:
        return []
    rule = [f"# --- {title} ".ljust(RULE_WIDTH, "-"), ""] if title else []
    return [*rule, *text, ""]


def _head(plan: Plan, questions: list[str]) -> list[str]:
    source = f"{plan.dbc} and {plan.log}" if plan.log else f"{plan.dbc} alone, without a log"
    lines = comment(
        f"Draft of a profile, guessed from {source}. No person has confirmed it. Each guess says"
        " what it rests on; what is not sure is commented out and marked TODO."
        " Keys: docs/profile.md."
    )
    lines += ["#", "# Open questions, to be answered from the maker's document or at the battery:"]
    for number, question in enumerate(questions, 1):
        lines += comment(f"{number}. {question}", "#   ")
    lines += [
        "#",
        "# Then: bms-agent profile check FILE; bms-agent profile show FILE; bms-agent replay.",
    ]
    return lines


def _profile(plan: Plan) -> list[str]:
    lines = [
        "[profile]",
        f"name = {quoted(plan.name)}",
        f"dbc = {quoted(plan.dbc)}",
        "# Another DBC is refused; take this line out to allow it.",
        f'dbc_sha256 = "{plan.database.sha256}"',
        'read_only = "drafted; commands need a person"',
    ]
    if plan.seen is not None and plan.seen.evidence.many_channels and plan.channel:
        heard = plan.seen.evidence.heard_messages(plan.channel)
        lines += comment(f"{heard} messages of the DBC are heard on this channel, the most of all.")
        lines.append(f"channel = {quoted(plan.channel)}")
    return lines


def _freshness(plan: Plan, required: list[str], messages: list[str]) -> list[str]:
    later = [name for name in _status_messages(plan) if name not in required]
    lines = ["[freshness]", f"required = {listed(required)}"]
    if later:
        lines += comment("With contactor and current in place of `state` below, it is:")
        lines += off([f"required = {listed([*required, *later])}"])
    lines += ["", "[freshness.deadline_ms]"]
    for message in dict.fromkeys([*messages, *later]):
        deadline_ms, why = plan.deadline(message)
        if deadline_ms is None:
            lines += comment(f"{message}: {why}; three periods, at least 500 ms, are the default")
        else:
            lines += comment(f"{message}: {why}")
            lines.append(f"{quoted(message)} = {deadline_ms}")
    return lines if plan.contactors or plan.state else lines + _hint_deadlines(plan, messages)


def _hint_deadlines(plan: Plan, messages: list[str]) -> list[str]:
    """Return deadlines of messages on which the status may rest, commented out."""
    lines: list[str] = []
    for message in dict.fromkeys(one.message.name for one in hints(plan)):
        deadline_ms, why = plan.deadline(message)
        if message not in messages and deadline_ms is not None:
            lines += comment(
                f"{message}: {why}; if the status rests on it, `required` names it too:"
            )
            lines += off([f"{quoted(message)} = {deadline_ms}"])
    return lines


def _status_messages(plan: Plan) -> list[str]:
    """Return the messages of contactor and current."""
    found = [*plan.contactors[:1], *([plan.current] if plan.current is not None else [])]
    return list(dict.fromkeys(one.message.name for one in found))


def _status(plan: Plan) -> tuple[list[str], list[str], list[str]]:
    """Return the section, the messages that it rests on, and the questions that it leaves."""
    if plan.answers.positive and plan.current is not None and plan.contactors:
        closed, opened, why = plan.contactor_meaning(plan.contactors[0])
        if closed and opened:
            lines = ["[operating_status]", *_why("contactor", plan.contactors[0], why)]
            lines += _full(plan, plan.answers.positive)
            used = [plan.contactors[0].message.name, plan.current.message.name]
            return lines, list(dict.fromkeys(used)), _contactor_questions(plan)
    if (
        plan.state is not None
        and plan.state.score >= SURE
        and (values := _state_values(plan, plan.state))
    ):
        return _from_state(plan, plan.state, values)
    if plan.contactors:
        return _from_contactor(plan, plan.contactors[0])
    return _nothing(plan)


def _state_values(plan: Plan, state: Candidate) -> dict[int, str]:
    """Return which named value means which status; none that current contradicts is "off"."""
    values = state_values(state.signal)
    off_value = values.get(OperatingStatus.POWERED_DOWN)
    if off_value is not None and plan.denied(state, [off_value]):
        del values[OperatingStatus.POWERED_DOWN]
    return values


def _from_state(
    plan: Plan, state: Candidate, values: dict[int, str]
) -> tuple[list[str], list[str], list[str]]:
    rest = [str(each) for each in (state.signal.choices or {}).values()]
    rest = [each for each in rest if each not in values.values()]
    given = ", ".join(f"{status} = [{quoted(name)}]" for status, name in sorted(values.items()))
    lines = ["[operating_status]", *_why("state", state, "the names of its values")]
    lines += comment(
        "TODO: values that no list names make the status unknown. Which of these mean 1 powered"
        f" down (contactor open) or 2 idle (contactor closed)? {', '.join(rest)}"
    )
    lines.append(f"state = {{ signal = {quoted(state.name)}, values = {{ {given} }} }}")
    lines += _alternative(plan)
    question = f"Which values of {state.name} mean powered down and idle? ({', '.join(rest)})"
    return lines, [state.message.name], [question, *_sign_question(plan)]


def _from_contactor(plan: Plan, one: Candidate) -> tuple[list[str], list[str], list[str]]:
    closed, opened, why = plan.contactor_meaning(one)
    lines = ["[operating_status]", *_why("contactor", one, why)]
    lines += comment(
        'Until a person has said which way the current counts, this says "powered down" while the'
        " contactor is open, and else that the status is unknown."
        if opened
        else "TODO: which value is open is not known, so the status is unknown until a person says."
    )
    values = ", ".join(quoted(each) if isinstance(each, str) else str(each) for each in opened)
    lines.append(f"state = {{ signal = {quoted(one.name)}, values = {{ 1 = [{values}] }} }}")
    lines += _alternative(plan)
    asked = [] if closed and opened else [f"Which value of {one.name} means closed? ({why})"]
    return lines, [one.message.name], [*asked, *_contactor_questions(plan), *_sign_question(plan)]


def _nothing(plan: Plan) -> tuple[list[str], list[str], list[str]]:
    """No contactor and no state: the status stays unknown, and says why."""
    stand_in = plan.current or plan.best("soc") or plan.best("total_voltage")
    name = stand_in.name if stand_in is not None else _any_signal(plan)
    lines = ["[operating_status]", *hint_lines(plan)]
    if plan.answers.positive and plan.current is not None:
        lines += comment(
            "TODO: no signal is surely a contactor or a state. A person said which way the current"
            " counts; while none flows the status is unknown."
        )
        lines += ['at_rest = "unknown"', _current(plan, plan.answers.positive)]
    else:
        lines += _unknown(plan)
    question = "Which signal says whether the contactor is closed, or what state the battery is in?"
    sign = [] if plan.answers.positive else _sign_question(plan)
    return lines, [name.split(".", 1)[0]], [question, *sign]


def _unknown(plan: Plan) -> list[str]:
    lines = comment(
        "TODO: no signal is surely a contactor or a state, so no status is reported. If there is"
        " one, see docs/profile.md. A battery without contactor feedback has its current and what"
        " it means that none flows."
    )
    if plan.current is not None:
        lines += _sign_lines(plan, "unknown")
        lines += off(['at_rest = "unknown"', _current(plan, None)])
    return [*lines, 'unknown = "drafted: no signal is known to tell the state of this battery"']


def _any_signal(plan: Plan) -> str:
    """Return a signal of the busiest message."""
    heard = plan.heard or {}
    return max(plan.database.signals, key=lambda name: heard.get(name.split(".", 1)[0], 0))


def _alternative(plan: Plan) -> list[str]:
    """Return contactor and current, commented out."""
    if plan.current is None or not plan.contactors:
        return []
    return [*_sign_lines(plan, "state"), *off(_full(plan, None))]


def _sign_lines(plan: Plan, instead: str) -> list[str]:
    """Return what speaks for a sign, and what a person has to do then."""
    lines = comment(f"Sign of the current: {plan.sign.why}.")
    put = f"then put these lines in place of `{instead}`:"
    if not plan.sign.positive:
        return [*lines, *comment(f"TODO: a person must say it, {put}")]
    return lines + comment(
        f'That speaks for positive = "{plan.sign.positive}" (confidence'
        f" {plan.sign.confidence:.2f}). TODO: a person must confirm it, {put}"
    )


def _full(plan: Plan, positive: str | None) -> list[str]:
    return [_contactor(plan), _current(plan, positive)]


def _contactor(plan: Plan) -> str:
    rows = []
    for one in plan.contactors:
        closed, opened, _ = plan.contactor_meaning(one)
        sets = (
            ", ".join(quoted(v) if isinstance(v, str) else str(v) for v in side)
            for side in (closed, opened)
        )
        shut, gap = sets
        rows.append(f"  {{ signal = {quoted(one.name)}, closed = [{shut}], open = [{gap}] }},\n")
        if plan.answers.positive:
            break  # one is enough for a status that nobody has checked
    return f'contactor = {{ combine = "series", signals = [\n{"".join(rows)}] }}'


def _current(plan: Plan, positive: str | None) -> str:
    signal = "" if plan.current is None else plan.current.name
    unit = "" if plan.current is None else (plan.current.signal.unit or "").lower()
    factor = {"ma": ", factor = 0.001", "ka": ", factor = 1000"}.get(unit, "")
    sign = quoted(positive or "TODO charging or discharging")
    return (
        f"current = {{ signal = {quoted(signal)}, positive = {sign}, dead_band_a = 1.0{factor} }}"
    )


def _why(what: str, one: Candidate, more: str) -> list[str]:
    reasons = "; ".join(one.reasons)
    return comment(f"Guess ({what}, confidence {one.score:.2f}): {reasons}. Values: {more}.")


def _sign_question(plan: Plan) -> list[str]:
    if plan.current is None:
        return ["Which signal is the pack's current?"]
    return [
        f"Is {plan.current.name} positive while the battery is charged, or while it is discharged?"
    ]


def _contactor_questions(plan: Plan) -> list[str]:
    if len(plan.contactors) < 2:  # noqa: PLR2004 - one is not several
        return []
    names = ", ".join(one.name for one in plan.contactors)
    return [f"Which of these must be closed for the pack to be on its terminals? {names}"]
