"""Each shipped battery lives on the simulator, and its status follows as far as its frames tell."""

import pytest

from agent.demo_listening import speakable
from bms_can.profile import CommandCode, OperatingStatus
from bms_can.shipped import shipped_names
from tests.bms_can.batteries.heard import battery
from tests.bms_can.test_simulator import Bench

LIFE = [  # what happens, current asked for [A], true status
    (None, 0.0, OperatingStatus.POWERED_DOWN),
    (CommandCode.CLOSE_CONTACTOR, 0.0, OperatingStatus.IDLE),
    (None, 15.0, OperatingStatus.CHARGING),
    (None, -15.0, OperatingStatus.DISCHARGING),
    (None, 0.0, OperatingStatus.IDLE),
    (CommandCode.OPEN_CONTACTOR, 0.0, OperatingStatus.POWERED_DOWN),
]


@pytest.mark.parametrize("name", shipped_names())
def test_a_life(name: str) -> None:
    """True status or unknown, never another one; every frame is used, none sent by us."""
    profile, database = battery(name)
    bench = Bench(profile, database)
    bench.simulator.request = None  # left to itself, as one that takes no commands
    tellable = speakable(profile.status)
    told = []
    for switch, current_a, _ in LIFE:
        if switch is not None:
            bench.pack.switch(switch)
        bench.pack.request_current(current_a)
        told.append(bench.pass_time(7.0).operating)
    assert told == [true if true in tellable else None for _, _, true in LIFE]
    assert bench.intake.frames == len(bench.frames) > 10
    answers = [each for each in bench.frames if each.data[0] >> 4 == 1]  # their first frames
    assert bench.intake.decoded == len(answers if profile.family else bench.frames) > 2
    assert not bench.intake.bad
    assert bench.simulator.others == 0


def send_all_pages(bench: Bench, message: str) -> None:
    """Let the battery send each page of one message now."""
    (sender,) = [each for each in bench.simulator._senders if each.message.name == message]
    for _ in sender.pages:
        shown = bench.simulator._view()
        for frame in bench.simulator._frames(sender, shown, bench.now_s):
            assert bench.intake.take(frame) in (True, False)


@pytest.mark.parametrize("name", shipped_names())
def test_every_alarm_can_come_and_go(name: str) -> None:
    """Each alarm of the profile is seen when the simulated battery raises it, and alone."""
    profile, database = battery(name)
    bench = Bench(profile, database)
    bench.simulator.request = None
    assert bench.pass_time(9.0).alarm_count == (0 if profile.alarms else None)
    own = profile.simulator.get("signals", {})
    assert isinstance(own, dict)
    for rule in [rule for rule in profile.alarms if rule.signal not in own]:
        message = rule.signal.split(".", 1)[0]
        bench.pack.raise_alarm(rule.key, 1 if rule.level is None else rule.level)
        send_all_pages(bench, message)
        assert [alarm.key for alarm in bench.status().alarms] == [rule.key]
        bench.pack.clear_alarm(rule.key)
        send_all_pages(bench, message)


@pytest.mark.parametrize("name", shipped_names())
def test_what_is_shipped_says_how_well_it_is_known(name: str) -> None:
    """Each real battery names its source and what was verified, and why it takes no commands."""
    profile, _ = battery(name)
    if name == "ess_bau":
        assert set(profile.commands) == set(CommandCode)
        return
    assert profile.source
    assert profile.verified
    if name == "foxbms2":
        assert set(profile.commands) == set(CommandCode)
        assert profile.held is not None
        return
    assert profile.read_only_reason
    assert not profile.commands


@pytest.mark.parametrize("name", shipped_names())
def test_each_alarm_has_a_name_in_both_languages(name: str) -> None:
    """The platform's people read Chinese, others English; no label is left to chance."""
    for rule in battery(name)[0].alarms:
        assert any("\u4e00" <= letter <= "\u9fff" for letter in rule.label_zh), rule.key
        assert rule.label_en.isascii(), rule.key
        assert rule.label_en != rule.key
