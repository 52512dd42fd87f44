"""May this command go out now? Every rule, with the signal, value and age that decided. Pure.

Unknown means no: a rule passes only on a fresh value that says so. Opening is the safe direction:
it needs no healthy battery, only a box that may send. Rules 12 to 14 of docs/safety.md.
"""

from collections.abc import Callable, Mapping, Sequence

from bms_can.commands import Reason
from bms_can.profile import CommandCode, Condition, OperatingStatus, Profile
from bms_can.situation import Check, Sent, Situation

__all__ = [
    "LASTING",
    "RULES",
    "Check",
    "Sent",
    "Situation",
    "judge",
    "judge_hold",
    "must_wait_for_current",
    "refusal",
]


Rule = Callable[[CommandCode, Situation, Profile], list[Check]]


def judge(code: CommandCode, situation: Situation, profile: Profile) -> tuple[Check, ...]:
    """Return the verdict of every rule that applies to a command, in a fixed order."""
    return tuple(check for rule in RULES[code] for check in rule(code, situation, profile))


def judge_hold(situation: Situation, profile: Profile) -> tuple[Check, ...]:
    """Return the verdict of every rule of a close that must go on to hold while it is held."""
    code = CommandCode.CLOSE_CONTACTOR
    return tuple(check for rule in LASTING for check in rule(code, situation, profile))


def refusal(checks: Sequence[Check]) -> Check | None:
    """Return the first verdict that refuses, None if all pass."""
    return next((check for check in checks if not check.passed), None)


def must_wait_for_current(situation: Situation, profile: Profile) -> Check | None:
    """Return why an open should wait a little: the pack is under load; None if it need not.

    An unknown current does not wait: opening late is worse than opening blind (rule 14).
    """
    limit_a = profile.interlocks.open_max_current_a
    current_a = situation.status.current_a
    if limit_a is None or current_a is None or abs(current_a) <= limit_a:
        return None
    rule = profile.status.current
    return Check(
        "open under load",
        passed=False,
        reason=Reason.BLOCKED_BY_PROCESS,
        subject="" if rule is None else rule.signal,
        value=f"{current_a:g} A",
        age_s=situation.status.age_s,
        wanted=f"at most {limit_a:g} A",
    )


def _setting(rule: str, reason: Reason, found: str, wanted: str) -> list[Check]:
    """Verdict of a rule that refuses while a text is set."""
    return [Check(rule, not found, reason, rule, found or wanted, None, wanted)]


def _read_only(_code: CommandCode, situation: Situation, profile: Profile) -> list[Check]:
    found = "listen only" if situation.read_only else profile.read_only_reason
    return _setting("read-only", Reason.READ_ONLY, found, "may send")


def _known_command(code: CommandCode, _situation: Situation, profile: Profile) -> list[Check]:
    has = code in profile.commands
    seen = "in the profile" if has else "not in the profile"
    name = code.name.lower()
    reason = Reason.INCONSISTENT_PARAMETERS
    return [Check("command", has, reason, name, seen, None, "in the profile")]


def _lockout(_code: CommandCode, situation: Situation, _profile: Profile) -> list[Check]:
    return _setting("local lock-out", Reason.LOCAL_LOCKOUT, situation.lockout, "not set")


def _journal(_code: CommandCode, situation: Situation, _profile: Profile) -> list[Check]:
    return _setting("journal", Reason.JOURNAL_FAILED, situation.journal, "in order")


def _tx_safe(_code: CommandCode, situation: Situation, _profile: Profile) -> list[Check]:
    return _setting("transmit path", Reason.BLOCKED_BY_HEALTH, situation.tx_unsafe, "safe")


def _bus(_code: CommandCode, situation: Situation, _profile: Profile) -> list[Check]:
    return _setting("bus", Reason.BLOCKED_BY_HEALTH, situation.bus, "error-active")


def _only_master(_code: CommandCode, situation: Situation, _profile: Profile) -> list[Check]:
    return _setting("only master", Reason.LOCKED_BY_OTHER_CLIENT, situation.foreign, "none heard")


def _request(_code: CommandCode, situation: Situation, profile: Profile) -> list[Check]:
    """A held request is at rest, and goes out regularly: then only a command may change it."""
    if profile.held is None:
        return []
    process, health = Reason.BLOCKED_BY_PROCESS, Reason.BLOCKED_BY_HEALTH
    held = situation.held_by and f"held closed by command {situation.held_by}"
    found = _setting("request", process, held, "at rest")
    return found + _setting("request sent", health, situation.request, "regularly")


def _reset_at_rest(code: CommandCode, situation: Situation, profile: Profile) -> list[Check]:
    """The frame of a reset asks for open contactors as well: it must not open any."""
    return [] if profile.held is None else _powered_down(code, situation, profile)


def _steady(_code: CommandCode, situation: Situation, profile: Profile) -> list[Check]:
    """Every required message is fresh, and has come without a gap for a while."""
    return [_steady_message(message, situation, profile) for message in profile.required]


def _steady_message(message: str, situation: Situation, profile: Profile) -> Check:
    deadline_s, steady_s = profile.deadlines_s[message], profile.interlocks.steady_s
    wanted = f"younger than {deadline_s:g} s, without a gap for {steady_s:g} s"
    heard = situation.signals.heard.get(message)
    health = Reason.BLOCKED_BY_HEALTH
    if heard is None:
        return Check("fresh", False, health, message, "unknown", None, wanted)  # noqa: FBT003 - field of a tuple
    age_s = situation.now_s - heard.at_s
    since_s = situation.now_s - heard.steady_since_s
    passed = age_s <= deadline_s and since_s >= steady_s
    return Check("fresh", passed, health, message, f"steady for {since_s:.3f} s", age_s, wanted)


def _connected(_code: CommandCode, situation: Situation, _profile: Profile) -> list[Check]:
    """Every required message was heard and is fresh: "not silent yet" is not enough."""
    status = situation.status
    passed = not status.disconnected and status.age_s is not None
    seen = "connected" if passed else status.why
    reason = Reason.BLOCKED_BY_HEALTH
    return [Check("BMS heard", passed, reason, "required", seen, status.age_s, "connected")]


def _powered_down(_code: CommandCode, situation: Situation, _profile: Profile) -> list[Check]:
    status = situation.status
    passed = status.operating is OperatingStatus.POWERED_DOWN
    seen = f"unknown ({status.why})" if status.operating is None else str(int(status.operating))
    reason = Reason.BLOCKED_BY_PROCESS
    return [Check("contactor open", passed, reason, "operating_status", seen, status.age_s, "1")]


def _no_alarm(_code: CommandCode, situation: Situation, profile: Profile) -> list[Check]:
    status, tolerated = situation.status, profile.interlocks.tolerated_alarms
    blocking = [
        alarm.key for alarm in status.alarms if alarm.blocks_close and alarm.key not in tolerated
    ]
    unknown = status.alarm_count is None and bool(profile.alarms)
    seen = ", ".join(blocking) or ("unknown" if unknown else "none")
    passed = not blocking and not unknown
    interlocked = Reason.BLOCKED_BY_INTERLOCKING
    return [Check("no alarm", passed, interlocked, "alarms", seen, status.age_s, "none")]


def _remote(_code: CommandCode, situation: Situation, profile: Profile) -> list[Check]:
    remote = profile.interlocks.remote
    if remote is None:
        return []
    return [_condition("remote mode", Reason.BLOCKED_BY_MODE, remote, situation, profile)]


def _conditions(_code: CommandCode, situation: Situation, profile: Profile) -> list[Check]:
    reason = Reason.BLOCKED_BY_INTERLOCKING
    return [
        _condition(condition.name, reason, condition, situation, profile)
        for condition in profile.interlocks.conditions
    ]


def _lasting(code: CommandCode, situation: Situation, profile: Profile) -> list[Check]:
    """The conditions that a hold needs as well as its start."""
    start = frozenset[str]() if profile.held is None else profile.held.only_at_start
    return [each for each in _conditions(code, situation, profile) if each.rule not in start]


def _condition(
    rule: str, reason: Reason, condition: Condition, situation: Situation, profile: Profile
) -> Check:
    wanted = " or ".join(f"{value:g}" for value in sorted(condition.values))
    deadline_s = profile.deadline_s(condition.signal)
    sample = situation.signals.samples.get(condition.signal)
    if sample is None:
        return Check(rule, False, reason, condition.signal, "unknown", None, wanted)  # noqa: FBT003 - field of a tuple
    age_s = situation.now_s - sample.at_s
    known = sample.value is not None and age_s <= deadline_s
    passed = known and sample.raw in condition.values
    seen = f"{sample.raw:g}" if known else f"unknown (last {sample.raw:g})"
    return Check(rule, passed, reason, condition.signal, seen, age_s, wanted)


def _rate(code: CommandCode, situation: Situation, profile: Profile) -> list[Check]:
    """At most so many in a window, and closes at least so far apart."""
    limits = profile.interlocks
    closing = code is CommandCode.CLOSE_CONTACTOR
    most, window_s = (
        (limits.close_max, limits.close_window_s)
        if closing
        else (limits.reset_max, limits.reset_window_s)
    )
    ages_s = [situation.now_s - sent.at_s for sent in situation.sent if sent.code is code]
    recent = sum(age_s < window_s for age_s in ages_s)
    name, limited = code.name.lower(), Reason.RATE_LIMITED
    wanted = f"fewer than {most} in {window_s:g} s"
    found = [Check("rate", recent < most, limited, name, f"{recent}", None, wanted)]
    if closing and ages_s:
        apart_s, least_s = min(ages_s), limits.close_interval_s
        seen, wanted = f"{apart_s:.1f} s ago", f"at least {least_s:g} s apart"
        found.append(Check("interval", apart_s >= least_s, limited, name, seen, apart_s, wanted))
    return found


RULES: Mapping[CommandCode, tuple[Rule, ...]] = {
    CommandCode.CLOSE_CONTACTOR: (
        _read_only,
        _known_command,
        _lockout,
        _journal,
        _tx_safe,
        _bus,
        _only_master,
        _request,
        _steady,
        _connected,
        _remote,
        _powered_down,
        _conditions,
        _no_alarm,
        _rate,
    ),
    CommandCode.FAULT_RESET: (
        _read_only,
        _known_command,
        _lockout,
        _journal,
        _tx_safe,
        _bus,
        _only_master,
        _request,
        _connected,
        _remote,
        _reset_at_rest,
        _rate,
    ),
    CommandCode.OPEN_CONTACTOR: (_read_only, _known_command),
}

LASTING: tuple[Rule, ...] = (
    _read_only,
    _lockout,
    _journal,
    _tx_safe,
    _bus,
    _only_master,
    _connected,
    _remote,
    _lasting,
    _no_alarm,
)
