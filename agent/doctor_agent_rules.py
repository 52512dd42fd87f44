"""What `bms-agent doctor` holds to be right about the running agent, by its own word. Pure."""

from collections.abc import Callable, Mapping, Sequence
from shlex import quote
from typing import Any

from agent.doctor import FAIL, OK, WARN, Rule, Verdict
from agent.doctor_bus_rules import wrong_if
from agent.doctor_facts import AgentFacts


def _said(key: str) -> Callable[[AgentFacts], Any]:
    """Return the texts of all devices under a key of the agent's answer; None without one."""

    def fact(facts: AgentFacts) -> list[str] | None:
        if not facts.answers:
            return None
        return [f"{uid}: {said[key]}" for uid, said in facts.devices.items() if said.get(key)]

    return fact


def _bus_troubles(facts: AgentFacts) -> list[str] | None:
    """Return what the agent says is wrong with its buses; None without an answer."""
    if not facts.answers:
        return None
    found = []
    for uid, said in facts.devices.items():
        bus = said.get("bus")
        why = (bus.get("trouble") or bus.get("doubt")) if isinstance(bus, Mapping) else ""
        found += [f"{uid}: {why}"] if why else []
    return found


def _judge_agent(held: bool, facts: AgentFacts) -> Verdict:  # noqa: FBT001 - the fact
    if held:
        return wrong_if(not facts.answers)
    return WARN


def _says_agent(held: bool, facts: AgentFacts) -> str:  # noqa: FBT001 - the fact
    if not held:
        return "none runs here"
    return "runs and answers" if facts.answers else f"runs, but does not answer: {facts.words}"


# What a call ended with stands until it is tried again: up to RULES of agent.retry later.
_LAST_CALL = (
    "journalctl -u bms-agent  # the last try's words, up to 15 min old (after HTTP 429 65 min); if"
    " platform above is ok, the next try ends it, else see there"
)


def _trouble(check: str, key: str, verdict: Verdict, mend: str) -> Rule[AgentFacts]:
    """Return the rule that a text of the running agent must be empty."""
    return Rule(
        check,
        _said(key),
        lambda said, _: wrong_if(said, verdict),
        lambda said, _: "; ".join(said) or "none",
        lambda facts: mend.format(config=quote(facts.config)),
        "no agent answers",
    )


AGENT_RULES: Sequence[Rule[AgentFacts]] = (
    Rule(
        "process",
        lambda facts: facts.held,
        _judge_agent,
        _says_agent,
        lambda facts: (
            "systemctl start bms-agent; journalctl -u bms-agent"
            f"  # without systemd: bms-agent run {quote(facts.config)}"
        ),
        unseen="the state directory cannot be looked at; run doctor as root or the agent's user",
    ),
    Rule(
        "commands",
        _said("battery"),
        lambda *_: OK,
        lambda _, facts: "; ".join(
            f"{uid} {'listens only' if said.get('read_only') else 'may be commanded'}"
            for uid, said in facts.devices.items()
        ),
        lambda _: "",
        unseen="no agent answers",
    ),
    Rule(
        "bus",
        _bus_troubles,
        lambda said, _: wrong_if(said, WARN),
        lambda said, _: "; ".join(said) or "no trouble",
        lambda facts: (
            f"bms-agent status {quote(facts.config)}  # docs/operations.md, What to do when"
        ),
        unseen="no agent answers",
    ),
    _trouble("local lock-out", "lockout", WARN, "bms-agent lockout clear {config}"),
    _trouble(
        "lost frames",
        "tx_unsafe",
        FAIL,
        "bms-agent unlatch {config}  # after what docs/operations.md says on tx_unsafe",
    ),
    _trouble(
        "foreign master",
        "foreign_master",
        FAIL,
        "bms-agent unlatch {config}  # after it was found and stopped",
    ),
    _trouble("journal", "journal", FAIL, "bms-agent verify {config}  # is the disk full?"),
    _trouble("reports", "sync_trouble", WARN, _LAST_CALL),
    _trouble("command poll", "poll_trouble", WARN, _LAST_CALL),
    _trouble("results", "deliver_trouble", WARN, _LAST_CALL),
)
