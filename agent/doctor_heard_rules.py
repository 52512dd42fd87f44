"""What `bms-agent doctor` makes of what it heard on a bus, against DBC and profile. Pure."""

from collections.abc import Sequence

from agent.doctor import FAIL, OK, WARN, Rule, Verdict
from agent.doctor_bus_rules import wrong_if
from agent.doctor_facts import HeardFacts, PeriodFacts

LEAST_KNOWN_PCT = 50.0
SLOW = 1.5  # a mean period this much off the DBC's
NAMED = 5  # identifiers, messages that are named in one line


def _judge_known(percent: float, _facts: HeardFacts) -> Verdict:
    return FAIL if percent == 0 else WARN if percent < LEAST_KNOWN_PCT else OK


def _says_known(percent: float, facts: HeardFacts) -> str:
    named = f"; not in it: {', '.join(facts.unknown[:NAMED])}" if facts.unknown else ""
    left = len(facts.unknown) - NAMED
    more = f" and {left} more" if left > 0 else ""
    return f"{percent:.1f} % of the frames are in it{named}{more}"


def _off(period: PeriodFacts) -> bool:
    """Tell whether a message comes at another pace than the DBC says."""
    if period.mean_s is None:
        return False
    return not period.wanted_s / SLOW <= period.mean_s <= period.wanted_s * SLOW


def _late(period: PeriodFacts) -> bool:
    late_s = period.deadline_s
    return late_s is not None and period.mean_s is not None and period.mean_s > late_s


def _judge_periods(_periods: tuple[PeriodFacts, ...], facts: HeardFacts) -> Verdict:
    if any(_late(each) for each in facts.periods):
        return FAIL
    return wrong_if(any(_off(each) for each in facts.periods), WARN)


def _says_periods(_periods: tuple[PeriodFacts, ...], facts: HeardFacts) -> str:
    wrong = [
        f"{each.message} every {1000 * (each.mean_s or 0):.0f} ms, not {1000 * each.wanted_s:.0f}"
        for each in facts.periods
        if _off(each) or _late(each)
    ]
    good = f"{len(facts.periods)} messages come as often as the DBC says"
    return "; ".join(wrong[:NAMED]) or good


def _heard(facts: HeardFacts) -> bool:
    return facts.frames > 0


HEARD_RULES: Sequence[Rule[HeardFacts]] = (
    Rule(
        "opens",
        lambda facts: facts.trouble,
        lambda trouble, _: wrong_if(trouble),
        lambda trouble, _: trouble or "yes, to listen only",
        lambda _: "see the lines about the interface",
    ),
    Rule(
        "frames",
        lambda facts: None if facts.trouble else facts.frames,
        lambda frames, _: wrong_if(not frames),
        lambda frames, facts: (
            f"{frames} in {facts.seconds:g} s"
            + (f", and {facts.error_frames} error frames" if facts.error_frames else "")
        ),
        lambda facts: f"{facts.command}  # supply of the BMS, wiring, termination, bit rate?",
        unseen="the bus did not open",
    ),
    Rule(
        "babbling",
        lambda facts: facts.babbling,
        lambda babbling, _: wrong_if(babbling),
        lambda babbling, _: babbling or "no identifier comes far too often",
        lambda _: (
            "find the node that sends it, and switch it off: it takes the bus from the others"
        ),
        "listened too short to tell",
        applies=_heard,
    ),
    Rule(
        "DBC",
        lambda facts: facts.percent_known,
        _judge_known,
        _says_known,
        lambda _: "bms-agent sniff --help  # another DBC? sniff shows what unknown identifiers do",
        unseen="no DBC was given",
        applies=_heard,
    ),
    Rule(
        "contents",
        lambda facts: dict(facts.doubts) if facts.percent_known else None,
        lambda doubts, _: wrong_if(doubts, WARN),
        lambda _, facts: (
            "; ".join(f"{name}: {why}" for name, why in facts.doubts.items())
            or "lengths and values are those of the DBC"
        ),
        lambda _: "is this the DBC of this firmware? bms-agent replay on a recording says more",
        unseen="no DBC was given, or no frame of it came",
        applies=_heard,
    ),
    Rule(
        "required messages",
        lambda facts: facts.missing,
        lambda missing, _: wrong_if(missing),
        lambda missing, _: f"missing: {', '.join(missing)}" if missing else "all came",
        lambda _: "wrong profile, or that part of the battery is off",
        unseen="no profile was given",
        applies=_heard,
    ),
    Rule(
        "periods",
        lambda facts: facts.periods or None,
        _judge_periods,
        _says_periods,
        lambda _: "set [freshness.deadline_ms] of the profile to what the battery really does",
        unseen="the DBC gives no cycle time for what came",
        applies=_heard,
    ),
    Rule(
        "counters and checksums",
        lambda facts: None if facts.missing is None else facts.bad,
        lambda bad, _: wrong_if(bad, WARN),
        lambda bad, _: (
            ", ".join(f"{count} x {reason}" for reason, count in bad.items())
            or "every frame was good"
        ),
        lambda _: "[[integrity]] of the profile, or a broken sender",
        unseen="no profile was given, or nothing came that its [[integrity]] checks",
        applies=_heard,
    ),
    Rule(
        "other master",
        lambda facts: None if facts.missing is None or facts.ours else facts.control,
        lambda control, _: wrong_if(control),
        lambda control, _: f"{', '.join(control)} came" if control else "nobody sends our commands",
        lambda _: "find who else commands this battery: there must be one master",
        unseen="an agent runs here, or no profile was given",
        applies=_heard,
    ),
    Rule(
        "status",
        lambda facts: facts.status,
        lambda *_: OK,
        lambda status, _: status,
        lambda _: "",
        unseen="the battery's status is not known",
        applies=_heard,
    ),
)
