"""Write half_minute.log anew: half a minute in the life of the simulated default battery.

    .venv/bin/python tests/data/ess_bau/record.py > tests/data/ess_bau/half_minute.log

The simulator is exact, so the same code writes the same file. Command frames of the EMS are in it.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

from bms_can.frame import Frame, frame_text
from bms_can.profile import CommandCode, Profile
from bms_can.profile_load import load_profile
from bms_can.simulator import Simulator
from bms_can.simulator_words import action

PROFILE = Path(__file__).parents[3] / "dbc" / "ess_bau.toml"
START_S = 1_780_000_000  # wall time of the first line [s]
END_MS = 30_000
TICK_MS = 10
CLOSE, OPEN, RESET = (
    CommandCode.CLOSE_CONTACTOR,
    CommandCode.OPEN_CONTACTOR,
    CommandCode.FAULT_RESET,
)

# Time [ms] -> what happens: a line of simulator_words, or a command on the bus.
SCRIPT: dict[int, str | CommandCode] = {
    2_005: CLOSE,
    6_000: "charge 60",
    10_000: "discharge 60",
    14_000: "alarm soc_low_alarm 2",
    16_000: "clear soc_low_alarm",
    16_500: "idle",
    17_000: "fault contactor_fault",
    19_005: CLOSE,
    20_000: "clear contactor_fault",
    20_505: RESET,
    22_000: "wrong silent",
    25_000: "repair",
    26_005: CLOSE,
    29_005: OPEN,
}


def recording() -> Iterator[Frame]:
    """Yield all frames on the bus, with the time since the start."""
    profile, database = load_profile(PROFILE)
    simulator = Simulator(profile, database)
    commands = list(_command_frames(profile))
    for now_ms in range(0, END_MS, TICK_MS):
        for at_ms in range(now_ms - TICK_MS + 1, now_ms + 1):
            event = SCRIPT.get(at_ms)
            if isinstance(event, str):
                simulator.tell(action(event))
        while commands and commands[0].at_s <= now_ms / 1000:
            frame = commands.pop(0)
            yield frame
            simulator.hear(frame, frame.at_s)
        yield from simulator.due_frames(now_ms / 1000)


def _command_frames(profile: Profile) -> Iterator[Frame]:
    counter = 0
    for at_ms, event in SCRIPT.items():
        if isinstance(event, CommandCode):
            plan = profile.commands[event]
            for number in range(plan.repeat):
                frame = plan.frames[counter % len(plan.frames)]
                yield frame._replace(at_s=at_ms / 1000 + number * plan.period_s)
                counter += 1


def lines() -> Iterator[str]:
    """Yield the recording as candump -l writes it."""
    for frame in recording():
        text = frame_text(frame.can_id, frame.extended, frame.data)
        yield f"({START_S + frame.at_s:.6f}) can0 {text}"


if __name__ == "__main__":
    sys.stdout.writelines(f"{line}\n" for line in lines())
