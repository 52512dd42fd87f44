"""Does the bus show the effect of a command? Pure.

The same question is asked before sending (already there: no-op), after it (proof) and during the
hold (still there).
"""

from bms_can.alarms import derive_alarms
from bms_can.profile import CommandPlan, Condition, Profile
from bms_can.signals import Signals
from bms_can.status import derive_status


def proof_of(signal: str, profile: Profile) -> str:
    """Return what must be newer than the send to prove something by a signal, for a watch.

    Its message; the signal itself where it stands on one of several multiplexer pages, because a
    frame of another page says nothing about it.
    """
    return signal if signal in profile.deadlines_s else signal.split(".", 1)[0]


def messages_of(plan: CommandPlan, profile: Profile) -> frozenset[str]:
    """Return what proves the effect, see `proof_of`; each must be newer than the send."""
    confirmed = plan.confirmed
    signals = [condition.signal for condition in confirmed.conditions]
    if confirmed.statuses:
        signals += profile.status.signals()
    signals += [alarm.signal for alarm in profile.alarms if alarm.key in confirmed.alarms_cleared]
    return frozenset(proof_of(signal, profile) for signal in signals)


def is_met(condition: Condition, signals: Signals, profile: Profile, now_s: float) -> bool:
    """Tell whether a condition holds on a fresh, known value."""
    deadline_s = profile.deadline_s(condition.signal)
    sample = signals.fresh(condition.signal, now_s=now_s, max_age_s=deadline_s)
    return sample is not None and sample.value is not None and sample.raw in condition.values


def effect_seen(plan: CommandPlan, signals: Signals, profile: Profile, now_s: float) -> bool:
    """Tell whether everything that proves the command holds at `now_s` [s]."""
    confirmed = plan.confirmed
    if not all(is_met(each, signals, profile, now_s) for each in confirmed.conditions):
        return False
    status = derive_status(signals, profile, now_s)
    if status.disconnected:
        return False
    if confirmed.statuses and status.operating not in confirmed.statuses:
        return False
    if confirmed.alarms_cleared:
        alarms = derive_alarms(signals, profile, now_s)
        on = {alarm.key for alarm in alarms.active} | set(alarms.unknown)
        return on.isdisjoint(confirmed.alarms_cleared)
    return True


def missing_proof(plan: CommandPlan, signals: Signals, profile: Profile, now_s: float) -> str:
    """Say what the bus shows instead of the effect, for a person."""
    status = derive_status(signals, profile, now_s)
    if status.disconnected:
        return f"the BMS is {status.why}"
    parts = []
    if plan.confirmed.statuses and status.operating not in plan.confirmed.statuses:
        wanted = " or ".join(str(int(each)) for each in sorted(plan.confirmed.statuses))
        seen = "unknown" if status.operating is None else str(int(status.operating))
        why = f" ({status.why})" if status.why else ""
        parts.append(f"operating_status is {seen}{why}, not {wanted}")
    alarms = derive_alarms(signals, profile, now_s)
    still = [alarm.key for alarm in alarms.active if alarm.key in plan.confirmed.alarms_cleared]
    if still:
        parts.append(f"still active: {', '.join(still)}")
    unclear = [key for key in alarms.unknown if key in plan.confirmed.alarms_cleared]
    if unclear:
        parts.append(f"still unknown: {', '.join(unclear)}")
    parts += [
        f"{condition.name} is not met"
        for condition in plan.confirmed.conditions
        if not is_met(condition, signals, profile, now_s)
    ]
    return "; ".join(parts) or "the effect did not last for enough frames"
