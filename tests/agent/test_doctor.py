"""`bms-agent doctor`: facts in, verdicts out; what could not be looked at is never well."""

import subprocess
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from agent.doctor import BAD, FAIL, OK, UNKNOWN, WARN, Finding, Verdict, examine, exit_code
from agent.doctor_agent_rules import AGENT_RULES
from agent.doctor_box_rules import (
    BOX_RULES,
    DISK_RULES,
    PLATFORM_RULES,
    TROUBLES,
)
from agent.doctor_bus_rules import BUS_RULES
from agent.doctor_facts import (
    AgentFacts,
    BoxFacts,
    BusFacts,
    DiskFacts,
    HeardFacts,
    PeriodFacts,
    PlatformFacts,
)
from agent.doctor_heard_rules import HEARD_RULES
from agent.doctor_listen import Recording, judge_recording
from agent.doctor_look import fits
from agent.errors import CloudError, CloudThrottled
from agent.retry import RETRY_AFTER_CAP_S, RULES
from agent.sqlite_file import MIB
from bms_can.frame import Frame
from bms_can.link import LinkState
from bms_can.profile import IntegrityRule
from bms_can.profile_load import load_profile
from tests.bms_can import tiny
from tests.second_battery import ROOT

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
LINK = LinkState(
    "can0",
    3,
    "can",
    up=True,
    echo=True,
    carrier=True,
    state="ERROR-ACTIVE",
    bitrate=500_000,
    restart_ms=0,
    tx_queue=10,
    tx_errors=0,
    rx_errors=0,
)
BUS = BusFacts(
    "socketcan",
    "can0",
    kernel_can=True,
    asked=True,
    link=LINK,
    wanted_bitrate=500_000,
    commands=True,
    rmem_max=4 * MIB,
    rmem_wanted=2 * MIB,
    backlog_lost=0,
    agent_may=True,
)
HEARD = HeardFacts(
    "candump can0",
    5.0,
    frames=500,
    percent_known=99.0,
    babbling="",
    missing=(),
    periods=(PeriodFacts("M", 0.1, 0.101, 0.5),),
    status="1: contactor open",
)
PLATFORM = PlatformFacts(
    "https://ems/api", "key", "", uids=("A",), refused=(), took_s=0.1, date=NOW, here=NOW
)
DISK = DiskFacts("/var/lib/bms-agent", True, 0o700, "", 1000 * MIB, 200 * MIB, 0.01)  # noqa: FBT003 - there
AGENT = AgentFacts(
    "agent.toml", held=True, answers=True, devices={"A": {"battery": "ess", "read_only": True}}
)
UNIT = {"LoadState": "loaded", "UnitFileState": "enabled", "ActiveState": "active"}
BOX = BoxFacts(NOW, "3.11.7", {"cantools": ("45.1.0", "<46,>=45", True)}, systemd=True, unit=UNIT)
GOOD: Sequence[tuple[Any, Any]] = (
    (BUS_RULES, BUS),
    (HEARD_RULES, HEARD),
    (PLATFORM_RULES, PLATFORM),
    (DISK_RULES, DISK),
    (AGENT_RULES, AGENT),
    (BOX_RULES, BOX),
)
NOTHING_SEEN: Sequence[tuple[Any, Any]] = (
    (BUS_RULES, BusFacts("socketcan", "can0")),
    (BUS_RULES, replace(BUS, link=LinkState("can0", 3, "can", up=True))),
    (HEARD_RULES, HeardFacts("candump can0", 5.0, frames=1)),
    (PLATFORM_RULES, replace(PLATFORM, date=None, refused=None)),
    (DISK_RULES, DiskFacts("/x", there=True)),
    (AGENT_RULES, AgentFacts("agent.toml", held=None)),
    (BOX_RULES, BoxFacts(NOW, "3.11")),
)
# What may be said to be well of facts in which nothing, or next to nothing, was seen.
SEEN_ALL_THE_SAME = {
    "kernel", "interface", "up", "kernel backlog", "receive buffer",  # of a link without numbers
    "opens", "frames", "key", "TLS", "directory", "clock", "python",
}  # fmt: skip


def verdicts(rules: Any, facts: Any) -> dict[str, Verdict]:  # noqa: ANN401 - any table, any facts
    """Return check -> verdict."""
    return {finding.check: finding.verdict for finding in examine(rules, facts)}


@pytest.mark.parametrize(("rules", "facts"), GOOD)
def test_what_is_well_is_said_to_be_well(rules: Any, facts: Any) -> None:  # noqa: ANN401 - any table
    """Nothing to mend, nothing unknown, exit code 0."""
    found = list(examine(rules, facts))
    assert {finding.verdict for finding in found} == {OK}
    assert all(finding.said and not finding.mend for finding in found)
    assert exit_code(found) == 0


@pytest.mark.parametrize(("rules", "facts"), NOTHING_SEEN)
def test_what_was_not_seen_is_never_well(rules: Any, facts: Any) -> None:  # noqa: ANN401 - any table
    """No rule says ok of a fact that is not there, and each says why it does not know."""
    found = list(examine(rules, facts))
    assert {each.check for each in found if each.verdict is OK} <= SEEN_ALL_THE_SAME
    unknown = [each for each in found if each.verdict is UNKNOWN]
    assert unknown
    assert all(each.said for each in unknown)


def link(**changed: object) -> BusFacts:
    """Return the good bus with another link."""
    return replace(BUS, link=replace(LINK, **changed))  # type: ignore[arg-type]  # fields by name


BAD_BUSES: list[tuple[str, BusFacts, Verdict, str]] = [
    ("kernel", replace(BUS, kernel_can=False), FAIL, "modprobe can_raw"),
    ("interface", replace(BUS, link=None), FAIL, "plug the adapter in"),
    ("up", replace(link(up=False, bitrate=None), wanted_bitrate=None), FAIL, "listen-only on"),
    ("up", link(up=False), FAIL, "ip link set can0 up"),
    ("up", link(up=False, bitrate=None), FAIL, "type can bitrate 500000"),
    ("carrier", link(carrier=False), FAIL, "ip link set can0 down && ip link set can0 up"),
    ("bit rate", link(bitrate=250_000), FAIL, "ip link set can0 type can bitrate 500000"),
    ("CAN FD", replace(link(mtu=16), fd=True), FAIL, "bitrate 500000 dbitrate 2000000 fd on"),
    ("state", link(state="ERROR-WARNING"), WARN, "termination"),
    ("echo", link(echo=False), WARN, "another adapter"),
    ("state", link(state="ERROR-PASSIVE"), FAIL, "termination"),
    ("state", link(state="BUS-OFF"), FAIL, "link set can0 down && ip link set can0 up"),
    ("tx errors", link(tx_errors=1), WARN, "termination"),
    ("rx errors", link(rx_errors=96), FAIL, "termination"),
    ("transmit queue", link(tx_queue=1000), WARN, "txqueuelen 10"),
    ("restart after bus-off", link(restart_ms=100), WARN, "restart-ms 0"),
    ("restart by the agent", replace(BUS, agent_may=False), WARN, "service.d/bus-off.conf"),
    ("transmitter", link(modes=("LISTEN-ONLY",)), FAIL, "listen-only off"),
    ("kernel backlog", replace(BUS, backlog_lost=636), WARN, "netdev_max_backlog=10000"),
    ("receive buffer", replace(BUS, rmem_max=212992), WARN, "sysctl -w net.core.rmem_max=2097152"),
]


@pytest.mark.parametrize(("check", "facts", "verdict", "mend"), BAD_BUSES)
def test_each_fault_of_an_interface(
    check: str, facts: BusFacts, verdict: Verdict, mend: str
) -> None:
    """One thing is wrong: that line says so, with what mends it; the others stay well."""
    found = {finding.check: finding for finding in examine(BUS_RULES, facts)}
    assert found[check].verdict is verdict
    assert mend in found[check].mend
    assert {each.verdict for name, each in found.items() if name != check} <= {OK, UNKNOWN}
    assert_shell_takes(found[check].mend)


def assert_shell_takes(mend: str) -> None:
    """What mends is pasted into a shell: what is for people only stands behind a `#`."""
    done = subprocess.run(["sh", "-n", "-c", mend], capture_output=True, text=True, check=False)  # noqa: S603, S607 - read, not run
    assert not done.stderr, mend


def test_a_down_interface_has_one_fault() -> None:
    """No carrier and a stopped controller follow from it: two more lines would mislead."""
    facts = link(up=False, carrier=False, state="STOPPED")
    found = {each.check: each for each in examine(BUS_RULES, facts)}
    assert [name for name, each in found.items() if each.verdict in BAD] == ["up"]


def test_a_bit_rate_that_nothing_confirms_is_not_well() -> None:
    """Neither agent.toml nor the DBC says one: it may be right or wrong."""
    assert verdicts(BUS_RULES, replace(BUS, wanted_bitrate=None))["bit rate"] is UNKNOWN


def test_a_bus_that_only_listens_needs_no_short_queue() -> None:
    """Queue, restart and listen-only matter where something is sent."""
    facts = replace(link(tx_queue=1000, restart_ms=100, modes=("LISTEN-ONLY",)), commands=False)
    assert set(verdicts(BUS_RULES, facts).values()) == {OK}


def test_who_ends_a_bus_off_is_named_exactly() -> None:
    """Without a kernel's restart and without the right: a person, and what gives the right.

    The kernel may do it only where nothing is commanded; who only listens never is in bus-off.
    """
    mends = {}
    for commands in (True, False):
        facts = replace(BUS, agent_may=False, commands=commands)
        found = {each.check: each for each in examine(BUS_RULES, facts)}
        assert "no CAP_NET_ADMIN" in found["restart by the agent"].said
        mends[commands] = found["restart by the agent"].mend
    assert "RestartSec=1" not in mends[True]
    assert "RestartSec=1" in mends[False]
    for quiet in (link(restart_ms=100), link(modes=("LISTEN-ONLY",))):
        assert "restart by the agent" not in verdicts(BUS_RULES, replace(quiet, agent_may=False))
    nobody = verdicts(BUS_RULES, replace(BUS, agent_may=None))
    assert nobody["restart by the agent"] is UNKNOWN


def test_a_virtual_interface_has_no_controller() -> None:
    """On vcan nothing is said about bit rate, state and counters: there are none."""
    facts = replace(BUS, link=LinkState("vcan0", 3, "vcan", up=True, carrier=True, tx_queue=10))
    found = verdicts(BUS_RULES, facts)
    assert set(found.values()) == {OK}
    assert "state" not in found


SLOW = (PeriodFacts("M", 0.1, 0.2, 0.5),)
LATE = (PeriodFacts("M", 0.1, 0.6, 0.5),)
BAD_HEARD: list[tuple[str, HeardFacts, Verdict]] = [
    ("opens", replace(HEARD, trouble="no such device", frames=0), FAIL),
    ("frames", replace(HEARD, frames=0), FAIL),
    ("DBC", replace(HEARD, percent_known=0.0), FAIL),
    ("DBC", replace(HEARD, percent_known=20.0, unknown=("100",) * 9), WARN),
    ("contents", replace(HEARD, doubts={"M": "length"}), WARN),
    ("required messages", replace(HEARD, missing=("M",)), FAIL),
    ("periods", replace(HEARD, periods=SLOW), WARN),
    ("periods", replace(HEARD, periods=LATE), FAIL),
    ("counters and checksums", replace(HEARD, bad={"checksum": 3}), WARN),
    ("babbling", replace(HEARD, babbling="babbling: 123 1500/s"), FAIL),
    ("other master", replace(HEARD, control=("1811F4E5",)), FAIL),
]


@pytest.mark.parametrize(("check", "facts", "verdict"), BAD_HEARD)
def test_each_fault_of_what_is_heard(check: str, facts: HeardFacts, verdict: Verdict) -> None:
    """Silence, the wrong DBC, a missing message, a second master."""
    found = {finding.check: finding for finding in examine(HEARD_RULES, facts)}
    assert found[check].verdict is verdict
    assert found[check].mend
    assert_shell_takes(found[check].mend)


def test_our_own_agent_is_no_other_master() -> None:
    """While an agent runs here, control frames may be its own: that is not known, not well."""
    facts = replace(HEARD, control=("1811F4E5",), ours=True)
    assert verdicts(HEARD_RULES, facts)["other master"] is UNKNOWN


def test_every_error_of_the_platform_has_a_verdict() -> None:
    """A new class of CloudError needs a line in the table; closing is our own doing."""
    kinds = {kind.__name__ for kind in CloudError.__subclasses__()} - {"CloudClosed"}
    assert kinds == set(TROUBLES) - {""}
    for kind in kinds:
        facts = replace(PLATFORM, trouble=kind, words="so it is", date=None)
        key = next(iter(examine(PLATFORM_RULES, facts)))
        assert (key.verdict in BAD, bool(key.mend), "{" in key.mend) == (True, True, False)
        assert_shell_takes(key.mend)


def test_a_key_that_is_good_for_somebody_else() -> None:
    """An operator's key, or one of another box, passes the test of keys; no report would."""
    facts = replace(PLATFORM, uids=("A", "B"), refused=("B: HTTP 404",))
    found = {each.check: each for each in examine(PLATFORM_RULES, facts)}
    assert (found["key"].verdict, found["devices"].verdict) == (OK, FAIL)
    assert "--device A --device B" in found["devices"].mend
    assert_shell_takes(found["devices"].mend)


@pytest.mark.parametrize(
    ("skew_s", "verdict"), [(0.0, OK), (-5.0, OK), (6.0, WARN), (-301.0, FAIL)]
)
def test_the_clock_against_the_platform_s(skew_s: float, verdict: Verdict) -> None:
    """Ahead and behind count alike."""
    facts = replace(PLATFORM, here=NOW + timedelta(seconds=skew_s))
    assert verdicts(PLATFORM_RULES, facts)["clock"] is verdict


@pytest.mark.parametrize(
    ("check", "changed", "verdict"),
    [
        ("directory", {"there": False, "path": "/a dir/it's"}, WARN),
        ("directory", {"there": False, "trouble": "is no directory"}, FAIL),
        ("mode", {"mode": 0o750}, WARN),
        ("writable", {"trouble": "Read-only file system", "fsync_s": None}, FAIL),
        ("free", {"free_bytes": 63 * MIB}, FAIL),
        ("free", {"free_bytes": 100 * MIB}, WARN),
        ("durable write", {"fsync_s": 0.3}, WARN),
        ("durable write", {"fsync_s": 3.0}, FAIL),
    ],
)
def test_each_fault_of_the_disk(check: str, changed: dict[str, Any], verdict: Verdict) -> None:
    """What a command would wait for, or fail by."""
    found = {each.check: each for each in examine(DISK_RULES, replace(DISK, **changed))}
    assert found[check].verdict is verdict
    assert_shell_takes(found[check].mend)


@pytest.mark.parametrize(
    ("check", "said", "verdict"),
    [
        ("local lock-out", {"lockout": "cell change"}, WARN),
        ("lost frames", {"tx_unsafe": "no echo"}, FAIL),
        ("foreign master", {"foreign_master": "1811F4E5#01"}, FAIL),
        ("journal", {"journal": "disk full"}, FAIL),
        ("reports", {"sync_trouble": "HTTP 500"}, WARN),
        ("bus", {"bus": {"trouble": "babbling: 123 1500/s", "doubt": ""}}, WARN),
        ("bus", {"bus": {"trouble": "", "doubt": "error-passive"}}, WARN),
        ("command poll", {"poll_trouble": "HTTP 500"}, WARN),
    ],
)
def test_what_the_running_agent_says(check: str, said: dict[str, Any], verdict: Verdict) -> None:
    """Latches, lock-out and troubles of one device are named with it."""
    facts = replace(AGENT, devices={"A": {}, "B": said})
    found = {finding.check: finding for finding in examine(AGENT_RULES, facts)}[check]
    assert found.verdict is verdict
    assert found.said.startswith("B: ")
    assert_shell_takes(found.mend)


@pytest.mark.parametrize("key", ["sync_trouble", "poll_trouble", "deliver_trouble"])
def test_a_trouble_of_a_call_is_told_to_be_the_last_try_s(key: str) -> None:
    """It may be over: the text names the longest wait, which is the one of the retry rules."""
    facts = replace(AGENT, devices={"A": {key: "HTTP 500"}})
    found = next(each for each in examine(AGENT_RULES, facts) if each.verdict is WARN)
    longest_min = max(rule.cap_s for rule in RULES.values()) / 60
    throttled_min = (RULES[CloudThrottled].cap_s + RETRY_AFTER_CAP_S) / 60
    words = f"up to {longest_min:g} min old (after HTTP 429 {throttled_min:g} min)"
    assert words in found.mend


def test_a_bus_without_trouble_is_well() -> None:
    """Of a bus on which nothing is wrong the running agent has nothing to say."""
    facts = replace(AGENT, devices={"A": {"bus": {"trouble": "", "doubt": ""}}})
    assert verdicts(AGENT_RULES, facts)["bus"] is OK


def test_an_agent_that_hangs_or_is_not_there() -> None:
    """A held state directory without an answer is worse than none."""
    hangs = AgentFacts("agent.toml", held=True, words="no answer")
    assert verdicts(AGENT_RULES, hangs)["process"] is FAIL
    assert verdicts(AGENT_RULES, AgentFacts("agent.toml", held=False))["process"] is WARN


def test_a_box_in_the_past_and_an_old_package() -> None:
    """A clock that was never set, a library of the wrong version, a unit that is not enabled."""
    packages = {"cantools": ("44.0.0", "<46,>=45", False), "httpx": None}
    unit = {**UNIT, "UnitFileState": "disabled"}
    facts = replace(BOX, now=NOW.replace(year=1970), packages=packages, unit=unit)
    found = verdicts(BOX_RULES, facts)
    assert (found["clock"], found["cantools"], found["unit"]) == (FAIL, FAIL, WARN)
    assert found["httpx"] is FAIL  # not there at all


@pytest.mark.parametrize(
    ("here", "good"),
    [("3.11.0", True), ("3.11", True), ("3.10.9", False), ("4.0", False), ("4.0.0a1", False)],
)
def test_versions(here: str, good: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """A range as pip writes it."""
    assert fits(here, "<4,>=3.11") is good


def test_exit_code_is_of_what_is_to_be_mended() -> None:
    """Unknown alone is no reason to fail a check of a machine without CAN."""
    assert exit_code([Finding("a", UNKNOWN, "x"), Finding("b", OK, "x")]) == 0
    assert exit_code([Finding("a", WARN, "x", "y")]) == 1


def test_a_profile_without_counters_and_checksums_proves_none(tmp_path: Path) -> None:
    """What nothing checks is unknown, not well; a frame of a wrong length still shows."""
    profile, database = tiny.read(tmp_path)
    before = HeardFacts("candump", 1.0)
    frame = Frame(1.0, 0x100, extended=False, data=bytes(8))
    rule = "counters and checksums"
    sealed = {"State": IntegrityRule("State", "mode", 256, None, None)}
    for integrity, data, verdict in (
        (sealed, bytes(8), OK),
        (profile.integrity, bytes(8), UNKNOWN),  # of Control, which did not come
        ({}, bytes(8), UNKNOWN),
        ({}, bytes(7), WARN),
    ):
        heard = Recording((frame._replace(data=data),), {}, "", 2.0)
        tried = replace(profile, integrity=integrity)
        assert (
            verdicts(HEARD_RULES, judge_recording(before, heard, database, tried))[rule] is verdict
        )


@pytest.mark.parametrize("heartbeat", [True, False])
def test_a_heartbeat_that_we_do_not_send_is_somebody_else_s(heartbeat: bool) -> None:  # noqa: FBT001 - a case
    """Another master's keep-alive is no second master of a box that is to send none."""
    profile, database = load_profile(ROOT / "dbc" / "victron.toml")
    assert profile.heartbeat is not None
    beat = profile.heartbeat.frames[0]
    facts = judge_recording(
        HeardFacts("candump", 5.0),
        Recording((beat,), {}, "", 10.0),
        database,
        profile,
        heartbeat=heartbeat,
    )
    assert verdicts(HEARD_RULES, facts)["other master"] is (FAIL if heartbeat else OK)


def test_a_node_that_babbles_is_named() -> None:
    """Far too many frames of one identifier; in less than a second nobody can tell."""
    frames = (Frame(1.0, 0x123, extended=False, data=bytes(8)),) * 3000
    for seconds, verdict in ((2.0, FAIL), (5.0, OK), (0.5, UNKNOWN)):
        heard = Recording(frames, {}, "", 10.0)
        facts = judge_recording(HeardFacts("candump", seconds), heard, None, None)
        found = {each.check: each for each in examine(HEARD_RULES, facts)}["babbling"]
        assert found.verdict is verdict
        assert ("123 1500/s" in found.said) is (verdict is FAIL)


def test_no_frame_of_the_dbc_proves_nothing_about_its_contents() -> None:
    """Of what did not come nobody can say that it is as the DBC says."""
    assert verdicts(HEARD_RULES, replace(HEARD, percent_known=0.0))["contents"] is UNKNOWN
