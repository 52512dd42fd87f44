"""docs/operations.md, followed from its top: each step does what the page says."""

import time

from tests.systemd.box import CLOSE, CONFIG, OPEN, START_S, Box, Seen

BACK_S = 1.0  # docs/operations.md, USB adapters
ROOM_S = 1.0  # of a guest on a busy machine


def test_first_the_systemd_of_this_machine_has_started(box: Box) -> None:
    """It is the first process, and no unit of its own has failed."""
    assert box.types("cat /proc/1/comm").strip() == "systemd"
    assert "0 loaded units listed" in box.types("systemctl --failed")


def test_the_program_is_installed_by_hashes(seen: Seen) -> None:
    """By Debian's own Python, at /opt/bms-agent."""
    assert "Successfully installed bms-can-agent" in seen.apt


def test_can0_comes_up_and_only_listens(seen: Seen) -> None:
    """With the bit rate of the file, no restart after bus-off; frames of the battery are heard."""
    for link in (seen.first, seen.replugged):
        assert (link.bitrate, link.restart_ms, link.modes) == (500_000, 0, ("LISTEN-ONLY",))
    assert len(seen.can0.strip().splitlines()[-20:]) == 20
    assert seen.can0.count("1801E5F4") > 2


def test_a_plugged_adapter_gets_the_short_queue(seen: Seen) -> None:
    """Both files of ours are in effect once the adapter was put in again."""
    assert seen.replugged.tx_queue == 10
    for name in ("80-can0.link", "80-can0.network"):
        assert f"/etc/systemd/network/{name}" in seen.files


def test_the_configuration_is_checked_before_the_service_runs(seen: Seen) -> None:
    """The page's editing leaves nothing to complain about."""
    assert "good: bms-agent run would start with this" in seen.check


def test_the_service_says_itself_that_it_is_up(box: Box, seen: Seen) -> None:
    """Type=notify: "Started" comes after the agent's own first word; it is enabled."""
    ready = seen.log.index("Started bms-agent.service")
    assert seen.log.index("battery ess_bau, listens only") < ready
    assert box.types("systemctl is-enabled bms-agent; systemctl is-active bms-agent").split() == [
        "enabled",
        "active",
    ]


def test_it_reports_to_the_platform_and_only_listens(seen: Seen) -> None:
    """As shipped: the battery's status, read-only; the receive buffer of the page's sysctl."""
    assert seen.report["operating_status"] == 1
    assert seen.report["box"]["read_only"] is True
    assert seen.report["box"]["bus"]["buffer_bytes"] == 2 * 8388608


def test_then_it_may_command(box: Box, seen: Seen) -> None:
    """The page's last block ends the listening of the controller and of the agent."""
    assert box.link(lambda link: link.up).modes == ()
    assert box.slcan.adapter.commands[-1] == "O"
    assert seen.why.startswith("SITE-1: close_contactor would be")
    assert "pass   read-only" in seen.why


def test_a_command_is_carried_out_and_proven(box: Box) -> None:
    """Close and open, from the platform to the battery's own frames."""
    for code in (CLOSE, OPEN):
        step = box.command(code)
        assert step["state"] == "succeeded", step
        assert step["evidence"]["frames"], step


def test_a_pulled_adapter_comes_back(box: Box) -> None:
    """Networkd sets up the new interface, with our files, and the agent opens it."""
    link = box.replug()
    up_s = time.monotonic()
    assert (link.bitrate, link.modes) == (500_000, ())
    assert box.report(up_s, START_S).at_s - up_s < BACK_S + ROOM_S


def test_the_key_is_handed_over_by_systemd(box: Box) -> None:
    """The key is root's, the service has its own copy, and reads no other."""
    assert box.types("stat -c %a:%U /etc/bms-agent/api-key").strip() == "600:root"
    environ = box.types(f"tr '\\0' '\\n' </proc/{box.pid()}/environ")
    assert "BMS_AGENT_PLATFORM__KEY_FILE=/run/credentials/bms-agent.service/api-key" in environ
    assert "k" * 43 not in environ
    assert "GLIBC_TUNABLES=glibc.malloc.tcache_count=0" in environ
    assert "key         from /etc/bms-agent/api-key" in box.types(f"bms-agent check {CONFIG}")
