"""A battery for the tests of exports: a DBC with all that a table must get right, and logs."""

from collections.abc import Iterable
from pathlib import Path

DAY_S = 1_700_006_400  # 2023-11-15 00:00:00 UTC

DBC = """VERSION ""
BS_:
BU_: BMS EMS
BO_ 256 Pack: 8 BMS
 SG_ voltage : 0|16@1+ (0.1,0) [0|600] "V" EMS
 SG_ current : 16|16@1- (0.1,0) [-3000|3000] "A" EMS
 SG_ soc : 32|8@1+ (1,0) [0|100] "%" EMS
 SG_ state : 40|3@1+ (1,0) [0|7] "" EMS
 SG_ time : 48|8@1+ (1,0) [0|255] "s" EMS
 SG_ Time : 56|8@1+ (1,0) [0|255] "s" EMS
BO_ 257 Cells: 8 BMS
 SG_ page M : 0|8@1+ (1,0) [0|3] "" EMS
 SG_ cell_1 m0 : 16|16@1+ (0.001,0) [0|5] "V" EMS
 SG_ cell_2 m1 : 16|16@1+ (0.001,0) [0|5] "V" EMS
BO_ 2566848512 Energy: 8 BMS
 SG_ total : 0|64@1+ (1,0) [0|0] "Wh" EMS
BO_ 258 Huge: 8 BMS
 SG_ scaled : 0|64@1+ (1000,0) [0|0] "" EMS
BO_ 259 Bare: 8 BMS
BA_DEF_ BO_ "GenMsgCycleTime" INT 0 100000;
BA_DEF_DEF_ "GenMsgCycleTime" 0;
BA_ "GenMsgCycleTime" BO_ 256 1000;
BA_ "GenMsgCycleTime" BO_ 257 1000;
VAL_ 256 state 0 "idle" 1 "charge" 7 "not available" ;
"""


def write_dbc(folder: Path) -> Path:
    """Write the DBC."""
    path = folder / "battery.dbc"
    path.write_text(DBC, encoding="utf-8")
    return path


def pack(
    *, voltage: int = 0, current: int = 0, soc: int = 0, state: int = 0, time: int = 0, big: int = 0
) -> str:
    """Return a frame of Pack from raw values."""
    parts = ((voltage, 2), (current & 0xFFFF, 2), (soc, 1), (state, 1), (time, 1), (big, 1))
    return "100#" + b"".join(raw.to_bytes(size, "little") for raw, size in parts).hex().upper()


def cell(page: int, raw: int) -> str:
    """Return a frame of Cells."""
    return "101#" + (bytes([page, 0]) + raw.to_bytes(2, "little") + bytes(4)).hex().upper()


def energy(raw: int) -> str:
    """Return a frame of Energy."""
    return "18FF0000#" + raw.to_bytes(8, "little").hex().upper()


def line(at_s: float, frame: str, channel: str = "can0") -> str:
    """Return a line of candump, `at_s` after midnight."""
    return f"({DAY_S + at_s:.6f}) {channel} {frame}"


def write_log(path: Path, lines: Iterable[str]) -> Path:
    """Write a log."""
    path.write_text("".join(f"{each}\n" for each in lines), encoding="utf-8")
    return path


def steady_log(path: Path, count: int, *, seed: int = 0) -> Path:
    """Write a log of `count` frames, 10 a second, that change with the seed."""
    frames = [
        pack(
            voltage=5000 + (number * 7 + seed) % 100,
            current=-number % 200,
            soc=(number // 5 + seed) % 101,
            state=number // 100 % 2,
        )
        if number % 3
        else cell(number % 2, 3000 + number % 500)
        for number in range(600)
    ]
    return write_log(path, (line(number / 10, frames[number % 600]) for number in range(count)))


def unnamed(folder: Path) -> Path:
    """Write a log in a form that names no channel: one frame of Pack."""
    path = folder / "unnamed.csv"
    head = "timestamp,arbitration_id,extended,remote,error,dlc,data"
    path.write_text(f"{head}\n1.0,0x100,0,0,0,8,AAAAAAAAAAA=\n", encoding="utf-8")
    return path
