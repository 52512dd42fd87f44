"""How the service ends and comes again: hanging, wrongly configured, started twice."""

import os
import signal
import time

from tests.systemd.box import CONFIG, START_S, UID, Box

WATCHDOG_S, RESTART_S = 15.0, 2.0  # of the unit


def test_a_process_that_hangs_is_ended_and_started_anew(box: Box) -> None:
    """WatchdogSec: stopped, it says nothing to systemd for 15 s; no core is kept."""
    before = box.state(lambda each: each["SubState"] == "running", START_S)
    began_s = time.monotonic()
    os.kill(int(before["MainPID"]), signal.SIGSTOP)
    told = box.report(began_s + WATCHDOG_S, WATCHDOG_S + RESTART_S + START_S)
    assert told.at_s - began_s < WATCHDOG_S + RESTART_S + 12.0
    after = box.show()
    assert int(after["NRestarts"]) == int(before["NRestarts"]) + 1
    assert "Watchdog timeout (limit 15s)" in box.log()
    assert (
        box.types(f"find /var /run /opt /etc -xdev -name 'core*' -newer {CONFIG} -size +100k") == ""
    )


def test_a_wrong_configuration_is_told_once_and_not_tried_again(box: Box) -> None:
    """Exit status 78; systemctl says so at once, and no restart comes in twice its time."""
    box.types(f"cp {CONFIG} /run/good.toml; sed -i 's/^profile = .*/profile = \"nix\"/' {CONFIG}")
    box.types("systemctl restart bms-agent", status=1)
    time.sleep(2 * RESTART_S)
    found = box.show()
    ended = (found["ActiveState"], found["Result"], found["ExecMainStatus"])
    assert ended == ("failed", "exit-code", "78")
    assert (found["NRestarts"], found["MainPID"]) == ("0", "0")
    assert "profile: there is no file" in box.log()
    began_s = time.monotonic()
    box.types(f"cp /run/good.toml {CONFIG}; systemctl start bms-agent")
    assert box.report(began_s).body["box"]["read_only"] is False


def test_a_second_agent_is_refused(box: Box) -> None:
    """Root finds the lock of the service's own state directory."""
    assert "another agent already uses /var/lib/bms-agent" in box.types(
        f"sudo bms-agent run {CONFIG}", status=75
    )
    assert UID in box.types(f"bms-agent status {CONFIG}")
