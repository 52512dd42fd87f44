"""Root's tools beside the running service: they find its socket and its files."""

from tests.systemd.box import CONFIG, Box

# Of an slcan adapter, whose driver has no error counters and gives back what is only queued.
OF_THE_ADAPTER = {
    ("warn", "can0 echo"),
    ("unknown", "can0 tx errors"),
    ("unknown", "can0 rx errors"),
    ("unknown", "SITE-1 other master"),
    # The service as shipped.
    ("warn", "can0 restart by the agent"),
}


def test_status(box: Box) -> None:
    """A person reads it, and a program."""
    assert "operating_status  1" in box.types(f"sudo bms-agent status {CONFIG}")
    (device,) = box.status()["devices"].values()
    assert device["bus"]["trouble"] == ""


def test_doctor(box: Box) -> None:
    """It sees systemd's unit, the service's files and socket, the interface and the frames.

    Exit status 1 is for what this adapter cannot do, and for the right that the service has not.
    """
    said = box.types(f"sudo bms-agent doctor --listen-s 3 {CONFIG}", status=1)
    verdicts = {
        (line[:8].strip(), line[9:40].strip()): line[40:].strip()
        for line in said.splitlines()
        if not line.startswith(" ")
    }
    assert ("ok", "machine unit") in verdicts, said
    assert verdicts["ok", "agent process"] == "runs and answers"
    assert verdicts["ok", "state mode"] == "0700"
    assert ("ok", "state durable write") in verdicts
    bad = {key for key in verdicts if key[0] in {"warn", "fail", "unknown"}}
    assert bad == OF_THE_ADAPTER, said


def test_lockout_why_and_verify(box: Box) -> None:
    """Each finds the service's state below /var/lib/private."""
    said = box.types(f'sudo bms-agent lockout set --reason "cell change, Li Wei" {CONFIG}')
    assert "LOCKED OUT since" in said
    assert "REFUSED: local lock-out" in box.types(f"bms-agent why close_contactor {CONFIG}")
    assert "no local lock-out" in box.types(f"sudo bms-agent lockout clear {CONFIG}")
    assert "the chain is whole" in box.types(f"sudo bms-agent verify {CONFIG}")
