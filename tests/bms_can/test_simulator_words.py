"""A demo's lines of text do to the battery what they say, and nothing else is taken."""

import pytest

from bms_can import simulator_words
from bms_can.errors import BadValue
from bms_can.misbehaviour import HEALTHY, NAMED, Misbehaviour, hits, misbehaviour
from bms_can.pack import Pack, Phase
from bms_can.profile import CommandCode
from bms_can.simulator_words import WORDS, action


def done(*lines: str) -> Pack:
    """Return a closed battery after these lines."""
    pack = Pack()
    pack.command(CommandCode.CLOSE_CONTACTOR, 0.0)
    pack.step(5.0)
    for line in lines:
        action(line)(pack)
    pack.step(10.0)
    return pack


@pytest.mark.parametrize(
    ("line", "current_a"), [("charge 50", 50.0), ("discharge 20.5", -20.5), ("idle", 0.0)]
)
def test_current_words(line: str, current_a: float) -> None:
    """The inverter's current is set with its direction."""
    assert done("charge 1", line).current_a == current_a


def test_alarm_words() -> None:
    """Alarms come with their level and go; a fault opens the contactor and stays."""
    assert done("alarm soc_low_alarm 2").alarms == {"soc_low_alarm": 2}
    assert done("alarm soc_low_alarm").alarms == {"soc_low_alarm": 1}
    assert done("alarm soc_low_alarm", "clear soc_low_alarm").alarms == {}
    faulty = done("fault fan_fault", "clear fan_fault")
    assert (faulty.alarms, faulty.phase) == ({"fan_fault": 3}, Phase.OPEN)


def test_switch_words() -> None:
    """Emergency stop, remote switch, state of charge, misbehaviour and repair."""
    stopped = done("estop")
    assert (stopped.emergency_stop, stopped.phase) == (True, Phase.OPEN)
    assert not done("estop", "release").emergency_stop
    assert not done("local").remote
    assert done("local", "remote").remote
    assert done("soc 95").cells.soc_pct == 95
    assert done("wrong welded slow=5").misbehaviour == Misbehaviour(welded=True, slow_s=5.0)
    assert done("wrong welded", "repair").misbehaviour == HEALTHY


@pytest.mark.parametrize(
    "line",
    [
        "",
        "explode",
        "charge",
        "charge much",
        "charge -5",
        "charge nan",
        "alarm",
        "alarm soc_low_alarm 4",
        "soc 101",
        "wrong nothing_known",
        "wrong slow=-1",
        "wrong slow=nan",
    ],
)
def test_what_means_nothing_is_refused(line: str) -> None:
    """A wrong line is refused as a whole."""
    with pytest.raises(BadValue):
        action(line)


def test_every_misbehaviour_has_a_name() -> None:
    """Each name changes something, and all can be combined."""
    for name in NAMED:
        assert misbehaviour([name]) != HEALTHY
    everything = misbehaviour(list(NAMED))
    untouched = [
        field
        for field in Misbehaviour.__slots__
        if getattr(everything, field) == getattr(HEALTHY, field)
    ]
    assert untouched == []


def test_globs_choose_messages() -> None:
    """A bare name means all messages, a glob some of them."""
    assert hits(misbehaviour(["silent"]).silent, "BAU_State")
    some = misbehaviour(["silent=BAU_Cell*", "silent=BAU_Ack"]).silent
    assert [hits(some, name) for name in ("BAU_CellTemps", "BAU_Ack", "BAU_State")] == [
        True,
        True,
        False,
    ]


def test_the_help_names_every_word() -> None:
    """The list of words for people is complete."""
    text = simulator_words.__doc__ or ""
    missing = [word for word in WORDS if word not in text]
    assert missing == []
