"""What `bms-agent doctor` holds to be right about platform, disk, machine and agent. Pure."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from agent.doctor import FAIL, OK, WARN, Rule, Verdict
from agent.doctor_bus_rules import wrong_if
from agent.doctor_facts import AgentFacts, BoxFacts, DiskFacts, PlatformFacts

MIB = 1024 * 1024
FIRST_SANE_YEAR = 2025  # a box without a battery-backed clock starts earlier
SKEW_WARN_S, SKEW_FAIL_S = 5.0, 300.0  # certificates and records need it; commands do not
FSYNC_WARN_S, FSYNC_FAIL_S = 0.25, 2.0  # a command waits for four durable writes
LEAST_FREE = 64 * MIB
OTHERS = 0o077  # permission bits of group and others
UNIT_WORDS = ("LoadState", "UnitFileState", "ActiveState", "NRestarts")  # of systemctl show
_SET_CLOCK = "timedatectl set-ntp true; timedatectl timesync-status"

# What the call that asks for the key may end in: verdict and what to do.
TROUBLES: Mapping[str, tuple[Verdict, str]] = {
    "": (OK, ""),
    "CloudUnreachable": (FAIL, "network, name, firewall, proxy: curl -v {url}/test-apikey"),
    "CloudUntrusted": (FAIL, "the clock of this box, or [platform] ca_file: curl -v {url}"),
    "CloudRefusedKey": (FAIL, "a new key into {key_file}: ems-server key create --role device"),
    "CloudNonsense": (FAIL, "[platform] url, or a portal in between: curl -i {url}/test-apikey"),
    "CloudThrottled": (WARN, "wait; the platform has too many calls of this key"),
    "CloudRefused": (FAIL, "[platform] url: is it this platform's, with the prefix?"),
}


def _mend_platform(facts: PlatformFacts) -> str:
    return TROUBLES[facts.trouble][1].format(url=facts.url, key_file=facts.key_file)


def _judge_skew(skew_s: float, _facts: PlatformFacts) -> Verdict:
    return FAIL if abs(skew_s) > SKEW_FAIL_S else WARN if abs(skew_s) > SKEW_WARN_S else OK


PLATFORM_RULES: Sequence[Rule[PlatformFacts]] = (
    Rule(
        "key",
        lambda facts: facts.trouble,
        lambda trouble, _: TROUBLES[trouble][0],
        lambda trouble, facts: (
            facts.words
            if trouble
            else f"{facts.url} takes the key, in {1000 * (facts.took_s or 0):.0f} ms"
        ),
        _mend_platform,
    ),
    Rule(
        "TLS",
        lambda facts: None if facts.trouble == "CloudUnreachable" else facts.trouble,
        lambda trouble, _: wrong_if(trouble == "CloudUntrusted"),
        lambda trouble, facts: (
            facts.words
            if trouble == "CloudUntrusted"
            else f"the certificate holds, by {facts.ca_file or 'the public CAs'}"
        ),
        _mend_platform,
        "the platform did not answer",
        lambda facts: facts.url.startswith("https:"),
    ),
    Rule(
        "clock",
        lambda facts: facts.skew_s,
        _judge_skew,
        lambda skew_s, _: f"ours is {abs(skew_s):.1f} s {'ahead' if skew_s > 0 else 'behind'}",
        lambda _: _SET_CLOCK,
        unseen="the platform did not say what time it is",
    ),
)


def _judge_free(free: int, facts: DiskFacts) -> Verdict:
    return FAIL if free < LEAST_FREE else WARN if free < facts.wanted_bytes else OK


def _judge_fsync(took_s: float, _facts: DiskFacts) -> Verdict:
    return FAIL if took_s > FSYNC_FAIL_S else WARN if took_s > FSYNC_WARN_S else OK


def _there(facts: DiskFacts) -> bool:
    return facts.there


DISK_RULES: Sequence[Rule[DiskFacts]] = (
    Rule(
        "directory",
        lambda facts: facts.there,
        lambda there, _: wrong_if(not there, WARN),
        lambda there, facts: facts.path if there else f"{facts.path} is not there yet",
        lambda facts: f"install -d -m 700 {facts.path}, or let the unit make it (StateDirectory=)",
    ),
    Rule(
        "mode",
        lambda facts: facts.mode,
        lambda mode, _: wrong_if(mode & OTHERS, WARN),
        lambda mode, _: f"{mode:04o}" + (", others can look in" if mode & OTHERS else ""),
        lambda facts: f"chmod 700 {facts.path}",
        applies=_there,
    ),
    Rule(
        "writable",
        lambda facts: facts.trouble,
        lambda trouble, _: wrong_if(trouble),
        lambda trouble, _: trouble or "yes",
        lambda facts: f"mount | grep ' / '; ls -ld {facts.path}; run doctor as the agent's user",
        applies=_there,
    ),
    Rule(
        "free",
        lambda facts: facts.free_bytes,
        _judge_free,
        lambda free, facts: (
            f"{free // MIB} MiB; journal, queue and recordings may take {facts.wanted_bytes // MIB}"
        ),
        lambda _: "free the disk, or lower the quotas in [agent] and [recorder]",
        applies=_there,
    ),
    Rule(
        "durable write",
        lambda facts: facts.fsync_s,
        _judge_fsync,
        lambda took_s, _: f"{1000 * took_s:.1f} ms at the slowest",
        lambda _: "another card or disk: each command waits for four of these",
        unseen="nothing could be written",
        applies=_there,
    ),
)


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
    "the last try's words, up to 15 min old (after HTTP 429 65 min); if platform above is ok, the"
    " next try ends it, else see there; journalctl -u bms-agent"
)


def _trouble(check: str, key: str, verdict: Verdict, mend: str) -> Rule[AgentFacts]:
    """Return the rule that a text of the running agent must be empty."""
    return Rule(
        check,
        _said(key),
        lambda said, _: wrong_if(said, verdict),
        lambda said, _: "; ".join(said) or "none",
        lambda facts: mend.format(config=facts.config),
        "no agent answers",
    )


AGENT_RULES: Sequence[Rule[AgentFacts]] = (
    Rule(
        "process",
        lambda facts: facts.held,
        _judge_agent,
        _says_agent,
        lambda _: "systemctl start bms-agent; journalctl -u bms-agent",
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
        lambda _: "docs/operations.md, What to do when: bus.trouble, bus.doubt",
        unseen="no agent answers",
    ),
    _trouble("local lock-out", "lockout", WARN, "bms-agent lockout clear {config}"),
    _trouble(
        "lost frames",
        "tx_unsafe",
        FAIL,
        "docs/operations.md on tx_unsafe, then bms-agent unlatch {config}",
    ),
    _trouble(
        "foreign master",
        "foreign_master",
        FAIL,
        "find it, stop it, then bms-agent unlatch {config}",
    ),
    _trouble("journal", "journal", FAIL, "free the disk; bms-agent verify {config}"),
    _trouble("reports", "sync_trouble", WARN, _LAST_CALL),
    _trouble("command poll", "poll_trouble", WARN, _LAST_CALL),
    _trouble("results", "deliver_trouble", WARN, _LAST_CALL),
)


def _package(name: str) -> Rule[BoxFacts]:
    def fact(facts: BoxFacts) -> tuple[str, str, bool] | None:
        return facts.packages.get(name)

    return Rule(
        name,
        fact,
        lambda found, _: wrong_if(not found[2]),
        lambda found, _: f"{found[0]} ({found[1]} wanted)" if found[1] else found[0],
        lambda _: f"pip install '{name}' at the version of requirements/base.lock",
        "is not installed",
        lambda facts: name in facts.packages,
    )


def _judge_unit(unit: Mapping[str, str], _facts: BoxFacts) -> Verdict:
    if unit.get("LoadState") != "loaded":
        return WARN
    enabled = unit.get("UnitFileState") == "enabled"
    return wrong_if(not enabled or unit.get("ActiveState") != "active", WARN)


BOX_RULES: Sequence[Rule[BoxFacts]] = (
    Rule(
        "clock",
        lambda facts: facts.now.year,
        lambda year, _: wrong_if(year < FIRST_SANE_YEAR),
        lambda _, facts: facts.now.isoformat(timespec="seconds"),
        lambda _: _SET_CLOCK,
    ),
    Rule(
        "python",
        lambda facts: facts.python,
        lambda *_: OK,
        lambda python, _: python,
        lambda _: "",
    ),
    *map(_package, ("bms-can-agent", "python-can", "cantools", "httpx", "apscheduler", "sqlite")),
    Rule(
        "unit",
        lambda facts: facts.unit if facts.systemd else None,
        _judge_unit,
        lambda unit, _: "bms-agent.service is {}, {}, {}; restarted {} times".format(
            *(unit.get(key) or "not known" for key in UNIT_WORDS)
        ),
        lambda _: (
            "cp deploy/bms-agent.service /etc/systemd/system/; systemctl daemon-reload;"
            " systemctl enable --now bms-agent"
        ),
        unseen="systemd does not run here",
    ),
)
