"""What `bms-agent doctor` holds to be right about platform, disk and machine. Pure."""

from collections.abc import Mapping, Sequence
from shlex import quote

from agent.doctor import FAIL, OK, WARN, Rule, Verdict
from agent.doctor_bus_rules import wrong_if
from agent.doctor_facts import BoxFacts, DiskFacts, PlatformFacts

MIB = 1024 * 1024
FIRST_SANE_YEAR = 2025  # a box without a battery-backed clock starts earlier
SKEW_WARN_S, SKEW_FAIL_S = 5.0, 300.0  # certificates and records need it; commands do not
FSYNC_WARN_S, FSYNC_FAIL_S = 0.25, 2.0  # a command waits for four durable writes
LEAST_FREE = 64 * MIB
OTHERS = 0o077  # permission bits of group and others
UNIT_WORDS = ("LoadState", "UnitFileState", "ActiveState", "NRestarts")  # of systemctl show
_SET_CLOCK = "timedatectl set-ntp true; timedatectl status"

_NEW_KEY = (
    "editor {key_file}  # a new key, by the platform's operator: ems-server key create"
    " --role device{devices} --name NAME --db PATH"
)

# What the call that asks for the key may end in: verdict and what to do.
TROUBLES: Mapping[str, tuple[Verdict, str]] = {
    "": (OK, ""),
    "CloudUnreachable": (FAIL, "curl -v {url}/test-apikey  # network, name, firewall, proxy?"),
    "CloudUntrusted": (FAIL, "curl -v {url}  # the clock of this box? [platform] ca_file?"),
    "CloudRefusedKey": (FAIL, _NEW_KEY),
    "CloudNonsense": (FAIL, "curl -i {url}/test-apikey  # [platform] url? a portal in between?"),
    "CloudThrottled": (WARN, "wait; the platform has too many calls of this key"),
    "CloudRefused": (FAIL, "curl -i {url}/test-apikey  # [platform] url, with its prefix?"),
}


def _mend_platform(facts: PlatformFacts) -> str:
    return _filled(TROUBLES[facts.trouble][1], facts)


def _filled(text: str, facts: PlatformFacts) -> str:
    devices = "".join(f" --device {uid}" for uid in facts.uids)
    return text.format(url=facts.url, key_file=quote(facts.key_file), devices=devices)


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
        "devices",
        lambda facts: facts.refused,
        lambda refused, _: wrong_if(refused),
        lambda refused, facts: (
            "; ".join(refused) or f"the key may report for {', '.join(facts.uids)}"
        ),
        lambda facts: _filled(_NEW_KEY, facts),
        "the key was not taken, or the platform could not be asked",
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


def _mend_directory(facts: DiskFacts) -> str:
    if facts.trouble:
        return f"ls -ld {quote(facts.path)}  # or another [agent] state_dir"
    return f"install -d -m 700 {quote(facts.path)}  # or let the unit make it: StateDirectory="


DISK_RULES: Sequence[Rule[DiskFacts]] = (
    Rule(
        "directory",
        lambda facts: facts.there,
        lambda there, facts: wrong_if(not there, FAIL if facts.trouble else WARN),
        lambda there, facts: (
            facts.path if there else f"{facts.path} {facts.trouble or 'is not there yet'}"
        ),
        _mend_directory,
    ),
    Rule(
        "mode",
        lambda facts: facts.mode,
        lambda mode, _: wrong_if(mode & OTHERS, WARN),
        lambda mode, _: f"{mode:04o}" + (", others can look in" if mode & OTHERS else ""),
        lambda facts: f"chmod 700 {quote(facts.path)}",
        applies=_there,
    ),
    Rule(
        "writable",
        lambda facts: facts.trouble,
        lambda trouble, _: wrong_if(trouble),
        lambda trouble, _: trouble or "yes",
        lambda facts: (
            f"df -h {quote(facts.path)}; findmnt -T {quote(facts.path)}; ls -ld {quote(facts.path)}"
            "  # is doctor run as the agent's user, or as root?"
        ),
        applies=_there,
    ),
    Rule(
        "free",
        lambda facts: facts.free_bytes,
        _judge_free,
        lambda free, facts: (
            f"{free // MIB} MiB; journal, queue and recordings may take {facts.wanted_bytes // MIB}"
        ),
        lambda facts: (
            f"df -h {quote(facts.path)}  # free it, or lower the quotas in [agent] and [recorder]"
        ),
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


def _package(name: str) -> Rule[BoxFacts]:
    def fact(facts: BoxFacts) -> tuple[str, str, bool]:
        return facts.packages[name] or ("not installed", "", False)

    return Rule(
        name,
        fact,
        lambda found, _: wrong_if(not found[2]),
        lambda found, _: f"{found[0]} ({found[1]} wanted)" if found[1] else found[0],
        lambda facts: (
            f"{quote(facts.program)} -m pip install --require-hashes --only-binary=:all:"
            " -r requirements/base.lock"
        ),
        applies=lambda facts: name in facts.packages,
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
            "cp deploy/bms-agent.service /etc/systemd/system/ && systemctl daemon-reload &&"
            " systemctl enable --now bms-agent"
        ),
        unseen="systemd does not run here",
    ),
)
