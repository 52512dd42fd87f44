"""Sections of a draft besides the operating status: alarms, telemetry, integrity, frames. Pure."""

from cantools.database.can import Signal

from bms_can.database import Database
from bms_can.drafting.draft_hints import sender_lines, tally_of
from bms_can.drafting.guess import MOST_ALARM_BITS, Candidate, alarm_groups, candidates
from bms_can.drafting.plan import Plan
from bms_can.drafting.toml_text import comment, glob, listed, off, quoted
from bms_can.drafting.vocabulary import COMMAND, MESSAGE_FOR, NO_VALUE, ROLES, words_of
from bms_can.examine.judge_bits import covering
from bms_can.examine.stream import Stream
from bms_can.layout import wire_length
from bms_can.profile_telemetry import FIELD_UNITS

Part = tuple[list[str], list[str], list[str]]  # lines, messages used, questions

TELEMETRY = (
    "soc",
    "soh",
    "total_voltage",
    "highest_cell_voltage",
    "lowest_cell_voltage",
    "highest_cell_temp",
    "lowest_cell_temp",
)
FACTORS = {("mv", "V"): "0.001", ("kv", "V"): "1000"}
WHOLE = 0.999  # share at which a counter or checksum may be checked
LEAST_FRAMES = 50
ALARM_SCORE = 0.6
LEAST_WORD_BITS = 8
OFTEN = 0.01


def telemetry_lines(plan: Plan) -> Part:
    """Return the section [telemetry]."""
    lines: list[str] = []
    used: list[str] = []
    for name in TELEMETRY:
        found = plan.best(name)
        if found is None:
            continue
        lines += comment(f"Guess (confidence {found.score:.2f}): {_reasons(plan, found)}.")
        if _always_zero(plan, found):
            lines += comment("TODO: always 0 in the log: does this version send it?")
        lines.append(f"{name} = {_source(found, FIELD_UNITS[name])}")
        used.append(found.message.name)
    return (["[telemetry]", *lines] if lines else []), used, []


def _source(found: Candidate, wanted: str) -> str:
    factor = FACTORS.get(((found.signal.unit or "").lower(), wanted))
    if factor is not None:
        return f"{{ signal = {quoted(found.name)}, factor = {factor}, unit = {quoted(wanted)} }}"
    if (found.signal.unit or "") == "°" or (found.signal.unit or "").lower() == "deg":
        return f"{{ signal = {quoted(found.name)}, unit = {quoted(wanted)} }}"
    return quoted(found.name)


def _always_zero(plan: Plan, found: Candidate) -> bool:
    tally = tally_of(plan, found.name)
    return tally is not None and tally.is_stuck and tally.high == 0


def _reasons(plan: Plan, found: Candidate) -> str:
    return "; ".join(found.reasons) + _seen(plan, found)


def _seen(plan: Plan, found: Candidate) -> str:
    tally = tally_of(plan, found.name)
    if tally is None:
        return ""
    unit = found.signal.unit or ""
    return f"; {tally.low:.6g} to {tally.high:.6g} {unit} seen".rstrip()


def alarm_lines(plan: Plan) -> Part:
    """Return the sections [[alarms]], one for each message of the battery."""
    found = [c for c in candidates(plan.database, "alarm", plan.heard) if c.score >= ALARM_SCORE]
    groups = dict(alarm_groups(found))
    ours = {name: group for name, group in groups.items() if MESSAGE_FOR.search(words_of(name))}
    ours = ours or groups
    lines: list[str] = []
    for name, group in ours.items():
        lines += _alarm_group(name, group)
        always = [each.name for each in group if _always_on(plan, each)]
        if always:
            lines += comment(
                f"TODO: never zero in the log: {', '.join(always)}. Are they on, or is"
                " 0 not their rest?"
            )
        lines += _left_lines(plan, name, group)
        lines.append("")
    lines += _word_lines(plan)
    others = [f"{name} ({len(group)})" for name, group in groups.items() if name not in ours]
    if others:
        lines += comment(
            f"Other messages with such signals, by name not the battery's: {', '.join(others)}"
        )
    asked = "Level of each alarm (1 to 3), and which of them keep the contactor open?"
    return lines, list(ours), [asked] if ours else []


def _left_lines(plan: Plan, message: str, group: list[Candidate]) -> list[str]:
    """Return what the names of a message and of its values leave open about its alarms."""
    lines: list[str] = []
    taken = {one.signal.name for one in group}
    short = [s for s in plan.database.messages[message].signals if s.length <= MOST_ALARM_BITS]
    left = [s.name for s in short if s.name not in taken and not s.is_multiplexer]
    if ROLES["alarm"].wanted.search(words_of(message)) and left:
        lines += comment(f"TODO: not taken, by their names: {', '.join(left)}. Are they alarms?")
    for one in group:
        for raw, choice in (one.signal.choices or {}).items():
            if raw and NO_VALUE.search(words_of(str(choice))):
                lines += comment(
                    f"TODO: {raw} of {one.name} is named {choice!s}, and counts as active. If"
                    f" it says nothing: [signals] {quoted(one.name)} = {{ sentinels = [{raw}] }}"
                )
    return lines


def _word_lines(plan: Plan) -> list[str]:
    """Return words whose bits may be alarms, by their names, commented out."""
    lines: list[str] = []
    pattern = ROLES["alarm"]
    for name, (message, signal) in plan.database.signals.items():
        words = words_of(signal.name)
        long = int(signal.length) >= LEAST_WORD_BITS and not signal.choices and _is_word(signal)
        heard = plan.heard is None or plan.heard.get(message.name)
        if not (long and heard and pattern.wanted.search(words)) or pattern.against.search(words):
            continue
        lines += comment(
            f"TODO: {name} has {signal.length} bits{_bits_seen(plan, name)}. Is each an alarm? The"
            " maker's document has their names:"
        )
        lines += off(
            ["[[alarms]]", f"signals = {quoted(glob(name))}", "level = 2", "[alarms.bits]",
             "name_of_the_lowest_bit = 0", ""]
        )  # fmt: skip
    return lines


def _is_word(signal: Signal) -> bool:
    """Tell whether the unit leaves room for bits: a value in mV has none."""
    unit = (signal.unit or "").strip().lower()
    return not unit or "bit" in unit or "flag" in unit or unit == "hex"


def _bits_seen(plan: Plan, name: str) -> str:
    """Say which bits of a word were on in the log."""
    tally = tally_of(plan, name)
    if tally is None or tally.distinct is None:
        return ""
    seen = 0
    for raw in tally.distinct:
        seen |= int(raw) if raw >= 0 else 0
    return f"; on in the log: 0x{seen:X}" if seen else "; none was on in the log"


def _always_on(plan: Plan, one: Candidate) -> bool:
    tally = tally_of(plan, one.name)
    return tally is not None and tally.distinct is not None and 0 not in tally.distinct


def _alarm_group(message: str, group: list[Candidate]) -> list[str]:
    lines = comment(
        f"Guess (confidence {group[0].score:.2f}): signals of {message}, by their names. Not zero"
        " counts as active. TODO: the level is not in the DBC, 2 is a stand-in."
    )
    return [
        *lines,
        "[[alarms]]",
        f"signals = {listed([glob(one.name) for one in group])}",
        'active = "nonzero"',
        "level = 2",
    ]


def integrity_lines(plan: Plan, messages: list[str]) -> tuple[list[str], list[str]]:
    """Return the sections [[integrity]]: what held in the log and has a signal in the DBC."""
    lines: list[str] = []
    questions: list[str] = []
    for name in messages:
        stream = plan.stream(name)
        if stream is None:
            continue
        keys, words = _integrity(plan.database, name, stream)
        if keys:
            lines += comment("; ".join(words))
            lines += ["[[integrity]]", f"messages = [{quoted(name)}]", *keys, ""]
        elif words:
            lines += [*comment(f"TODO: {name}: {'; '.join(words)}"), ""]
    return lines, questions


def _integrity(database: Database, name: str, stream: Stream) -> tuple[list[str], list[str]]:
    """Return the keys of a rule, and what they rest on."""
    keys: list[str] = []
    words: list[str] = []
    message = database.messages[name]
    counter = next((each for each in stream.counters if not each.is_page), None)
    if counter is not None:
        signal = covering(message, counter.mask())
        sure = not counter.low and not counter.seen
        held = sure and counter.share >= WHOLE and counter.steps >= LEAST_FRAMES
        many = f"{counter.seen} or more" if counter.seen else str(counter.modulo)
        words.append(f"counts up in {counter.good} of {counter.steps} steps, {many} values")
        if signal and held:
            keys += [f"counter = {quoted(signal)}", f"modulo = {counter.modulo}"]
        elif not signal:
            words.append(f"the DBC has no signal for the counter in byte {counter.byte}")
    checksum = stream.checksum
    if checksum is not None:
        signal = covering(message, 0xFF << 8 * checksum.byte)
        words.append(f"{checksum.words} holds in {checksum.good} of {checksum.frames} frames")
        enough = checksum.share >= WHOLE and checksum.frames >= LEAST_FRAMES
        if signal and checksum.name and enough:
            keys += [f"checksum = {quoted(signal)}", f"algorithm = {quoted(checksum.name)}"]
        elif not signal:
            words.append(f"the DBC has no signal for the checksum in byte {checksum.byte}")
    return keys, words


def frame_lines(plan: Plan, messages: list[str]) -> tuple[list[str], list[str]]:
    """Return the section [frames]: lengths that differ from the DBC's, commented out."""
    lines: list[str] = []
    questions: list[str] = []
    for name in messages:
        stream = plan.stream(name)
        stated = wire_length(plan.database.messages[name].length)
        if stream is None or not stated or set(stream.lengths) <= {stated}:
            continue
        sizes = ", ".join(f"{count} with {size}" for size, count in stream.lengths.most_common())
        lines += comment(
            f"TODO: the DBC says {stated} bytes for {name}; frames in the log: {sizes}. Frames of"
            " another length are not used. If the firmware really sends them:"
        )
        longest = stream.lengths.most_common(1)[0][0]
        lines += off([f"{quoted(name)} = {{ length = {longest} }}"])
        questions.append(f"How long is {name}? DBC {stated} bytes; log: {sizes}.")
    lines += sender_lines(plan, questions)
    return (["[frames]", *lines] if lines else []), questions


def signal_lines(plan: Plan, messages: list[str]) -> list[str]:
    """Return the section [signals]: sentinels and wrong ranges, commented out."""
    lines: list[str] = []
    dbc = None if plan.seen is None else plan.seen.evidence.dbc
    for key, tally in {} if dbc is None else dbc.signals.items():
        if key.channel != plan.channel or key.name.split(".", 1)[0] not in messages:
            continue
        if tally.ones.count:
            lines += comment(
                f"TODO: {tally.ones.count} of {tally.frames} values of {key.name} are all ones:"
                " not available?"
            )
            lines += off([f"{quoted(key.name)} = {{ sentinels = [{tally.field.highest}] }}"])
        elif tally.outside.count > OFTEN * tally.frames:
            lines += comment(
                f"TODO: {tally.outside.count} of {tally.frames} values of {key.name} are outside of"
                f" the DBC's range; {tally.low:.6g} to {tally.high:.6g} were seen. Is the"
                " range wrong?"
            )
            limits = f"minimum = {tally.low:.6g}, maximum = {tally.high:.6g}"
            lines += off([f"{quoted(key.name)} = {{ {limits} }}"])
    return ["[signals]", *lines] if lines else []


def command_lines(plan: Plan) -> list[str]:
    """Return what could carry commands, as comments only."""
    lines = comment(
        "A wrong command frame can move a contactor. So none is drafted: [commands], [interlocks]"
        " and [[guard]] are written by a person from the maker's document (docs/profile.md)."
    )
    found = [m for m in plan.database.messages.values() if COMMAND.search(words_of(m.name))]
    for message in found[:5]:
        seen = (
            "" if plan.heard is None else f", {plan.heard.get(message.name, 0)} frames in the log"
        )
        names = ", ".join(signal.name for signal in message.signals[:10])
        lines += comment(
            f"May carry commands, by its name: {message.name} (0x{message.frame_id:X}){seen};"
            f" signals {names}"
        )
    return lines
