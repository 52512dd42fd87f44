"""The parts of the agent, built from its file: who is who, who may send, what is left behind."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agent.clock import FakeClock, SystemClock
from agent.config import load
from agent.errors import JournalFailed
from agent.facts import box_facts
from agent.wiring import System, build
from bms_can.errors import BadInput
from bms_can.profile import CommandCode
from tests.second_battery import second_battery

ROOT = Path(__file__).parents[2]
CONFIG = """\
[platform]
url = "http://127.0.0.1:9/wad/ems/v1/api"
key_file = "box.key"
[agent]
state_dir = "state"
{site}
[[device]]
uid = "BAT-1"
profile = "{profile}"
{mode}
[device.can]
interface = "virtual"
channel = "wiring-1"
[[device]]
uid = "BAT-2"
profile = "ess_bau"
[device.can]
interface = "virtual"
channel = "wiring-2"
"""


def write(folder: Path, *, site: str = "", profile: str = "ess_bau", mode: str = "") -> Path:
    """Write agent.toml for two batteries."""
    (folder / "state").mkdir(mode=0o700, exist_ok=True)
    key = folder / "box.key"
    key.touch(mode=0o600)
    key.write_text("secret-" * 6, encoding="ascii")
    path = folder / "agent.toml"
    path.write_text(CONFIG.format(site=site, profile=profile, mode=mode), encoding="utf-8")
    return path


@contextmanager
def built(path: Path) -> Iterator[System]:
    """Build the agent; close its files at the end."""
    system = build(load(path, {}), FakeClock())
    try:
        yield system
    finally:
        system.cloud.close()
        system.outbox.close()
        system.journal.close()


def test_each_device_has_its_own_parts(tmp_path: Path) -> None:
    """Two batteries share platform, journal and delivery, and nothing else."""
    with built(write(tmp_path)) as system:
        first, second = system.links
        assert [link.device.uid for link in system.links] == ["BAT-1", "BAT-2"]
        parts = ("receiver", "loop", "observer", "executor", "poller", "deliverer", "gate", "sync")
        for name in parts:
            assert getattr(first, name) is not getattr(second, name)
        assert first.device.table is not second.device.table


def test_every_thread_has_a_name_of_its_own(tmp_path: Path) -> None:
    """The supervisor tells them apart by name, and each one's beats can be read."""
    with built(write(tmp_path)) as system:
        names = [worker.name for worker in system.supervisor.workers]
        assert len(names) == len(set(names))
        for uid in ("BAT-1", "BAT-2"):
            parts = ("can-rx", "control", "poll", "deliver")
            assert {f"{part} {uid}" for part in parts} <= set(names)
        assert [worker.beats() for worker in system.supervisor.workers] == [0] * len(names)


def test_sending_must_be_switched_on(tmp_path: Path) -> None:
    """Without a word of the person who writes the file a device only listens."""
    with built(write(tmp_path)) as system:
        assert [link.device.read_only for link in system.links] == [True, True]
    with built(write(tmp_path, mode="read_only = false")) as system:
        assert [link.device.read_only for link in system.links] == [False, True]


def test_the_site_tightens_the_profile(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A stricter value counts, a looser one is named and ignored."""
    with built(write(tmp_path, site="[site]\nsteady_s = 9\nclose_max = 50")) as system:
        rules = system.links[0].device.profile.interlocks
        assert rules.steady_s == 9
        assert rules.close_max == 3
    assert "site.close_max = 50 is looser" in caplog.text


def test_an_override_needs_a_reason_and_is_kept(tmp_path: Path) -> None:
    """With one the site's values count; the reason stands in the journal."""
    site = '[site]\nsteady_s = 1\noverride = "acceptance test"'
    with built(write(tmp_path, site=site)) as system:
        assert system.links[0].device.profile.interlocks.steady_s == 1
        (start,) = [event for event in system.journal.log() if event.kind == "start"]
        assert "acceptance test" in str(start.evidence)


def test_a_wrong_profile_leaves_nothing_behind(tmp_path: Path) -> None:
    """All profiles are read before the first file is made."""
    with pytest.raises(BadInput, match=r"no\.toml"):
        load(write(tmp_path, profile="no.toml"), {})
    (tmp_path / "odd.toml").write_text("[profile]\nname = 3\n", encoding="utf-8")
    path = write(tmp_path, profile="odd.toml")
    with pytest.raises(BadInput, match=r"odd\.toml"):
        build(load(path, {}), FakeClock())
    assert list((tmp_path / "state").iterdir()) == []


def test_a_battery_that_stands_twice_is_refused(tmp_path: Path) -> None:
    """The same profile twice on one bus: both named, no file made."""
    path = write(tmp_path)
    path.write_text(path.read_text(encoding="utf-8").replace("wiring-2", "wiring-1"))
    with pytest.raises(BadInput, match="BAT-1 and BAT-2 on wiring-1: both command by 1811F4E5"):
        build(load(path, {}), FakeClock())
    assert list((tmp_path / "state").iterdir()) == []


def test_a_state_directory_that_cannot_be_used(tmp_path: Path) -> None:
    """The journal is named; nothing runs without it."""
    path = write(tmp_path)
    (tmp_path / "state" / "journal.db").mkdir()
    with pytest.raises(JournalFailed):
        build(load(path, {}), FakeClock())


def test_the_box_tells_of_itself(tmp_path: Path) -> None:
    """Version, mode, lock-out and battery go out with each report; nothing is known yet."""
    with built(write(tmp_path, mode="read_only = false")) as system:
        first, second = (link.observer.body() for link in system.links)
        box = first["box"]
        assert isinstance(box, dict)
        assert box["read_only"] is False
        assert box["battery"] == "ess_bau"
        assert not box["lockout"]
        assert (first["operating_status"], first["alarm_status"]) == (None, None)
        assert str(second["box"]).count("'read_only': True") == 1


def test_no_command_of_one_battery_reaches_the_other(tmp_path: Path) -> None:
    """Each gate judges by its own battery: nothing was heard, so nothing may close."""
    with built(write(tmp_path, mode="read_only = false")) as system:
        for link in system.links:
            situation = link.gate.situation(1000.0)
            checks = link.gate.checks(CommandCode.CLOSE_CONTACTOR, situation)
            assert any(not check.passed for check in checks)
        assert system.links[0].device.control is not system.links[1].device.control


def test_it_starts_and_ends_without_anybody(tmp_path: Path) -> None:
    """No bus traffic, no platform: it runs, and ends with 0 and no thread left."""
    before = {thread.ident for thread in threading.enumerate()}
    system = build(load(write(tmp_path), {}), SystemClock())
    codes: list[int] = []
    thread = threading.Thread(target=lambda: codes.append(system.run()))
    thread.start()
    beats = [worker.beats for worker in system.supervisor.workers]
    ended = threading.Event()
    for _ in range(500):
        if all(each() > 0 for each in beats):
            break
        ended.wait(0.01)
    assert all(each() > 0 for each in beats)
    system.supervisor.stop()
    thread.join(10)
    assert codes == [0]
    assert {each.ident for each in threading.enumerate()} <= before


def test_a_lost_frame_stops_the_closes_of_all_on_its_bus(tmp_path: Path) -> None:
    """It waits in the one queue of the adapter; behind it the other's close would come late."""
    path = write(tmp_path, mode="read_only = false")
    second = second_battery(tmp_path)
    text = path.read_text(encoding="utf-8").replace("wiring-2", "wiring-1")
    text = f'"{second}"'.join(text.rsplit('"ess_bau"', 1))
    path.write_text(text, encoding="utf-8")
    with built(path) as system:
        first, other = system.links
        assert first.bus is other.bus
        first.receiver.doubt = ""  # as on an open, healthy bus
        assert [link.device.bus_doubt() for link in system.links] == ["", ""]
        first.device.control.unsafe = "no echo"
        assert [link.device.bus_doubt() for link in system.links] == ["", "BAT-1: no echo"]
        first.receiver.babble.text = "babbling: 123 1500/s"
        assert [link.device.bus_doubt() for link in system.links] == ["babbling: 123 1500/s"] * 2
        first.receiver.babble.text = ""
        assert box_facts(system.journal, first.device)["bus_trouble"] == "the bus is not open"
        situation = other.gate.situation(system.links[0].device.listening_since_s)
        checks = other.gate.checks(CommandCode.CLOSE_CONTACTOR, situation)
        assert [check.value for check in checks if check.rule == "bus"] == ["BAT-1: no echo"]
        assert other.gate.stops(CommandCode.CLOSE_CONTACTOR)
        assert not other.gate.stops(CommandCode.OPEN_CONTACTOR)
        first.device.control.clear()
        assert not other.gate.stops(CommandCode.CLOSE_CONTACTOR)
        first.device.control.stuck = "heartbeat"
        assert [link.gate.stops(CommandCode.CLOSE_CONTACTOR) for link in system.links] == [True] * 2
