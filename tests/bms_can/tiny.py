"""A tiny battery as files: a DBC and a profile as parsed TOML, to be changed and written."""

import copy
import re
from pathlib import Path
from typing import Any

from bms_can.database import Database
from bms_can.profile import Profile
from bms_can.profile_load import load_profile
from tests.bms_can.build import toml_text

Toml = dict[str, Any]
GONE = object()

DBC = """VERSION ""
BS_:
BU_: BMS EMS
BO_ 256 State: 8 BMS
 SG_ contactor : 0|2@1+ (1,0) [0|3] "" EMS
 SG_ mode : 8|8@1+ (1,0) [0|255] "" EMS
 SG_ current : 16|16@1- (0.1,0) [-3000|3000] "A" EMS
 SG_ remote : 32|1@1+ (1,0) [0|1] "" EMS
 SG_ soc : 40|8@1+ (0.5,0) [0|100] "%" EMS
BO_ 257 Alarms: 8 BMS
 SG_ errors : 0|16@1+ (1,0) [0|65535] "" EMS
 SG_ door : 16|2@1+ (1,0) [0|3] "" EMS
 SG_ lid : 18|2@1+ (1,0) [0|3] "" EMS
 SG_ hottest : 24|8@1+ (1,-40) [-40|125] "degC" EMS
BO_ 258 Cells: 8 BMS
 SG_ page M : 0|8@1+ (1,0) [0|1] "" EMS
 SG_ cell_2 m0 : 16|16@1+ (1,0) [0|5000] "mV" EMS
 SG_ cell_10 m1 : 16|16@1+ (1,0) [0|5000] "mV" EMS
BO_ 259 Quiet: 8 BMS
 SG_ errors : 0|8@1+ (1,0) [0|255] "" EMS
BO_ 260 Alive: 8 BMS
 SG_ beat : 0|8@1+ (1,0) [0|255] "" EMS
BO_ 512 Control: 8 EMS
 SG_ wish : 0|2@1+ (1,0) [0|2] "" BMS
 SG_ reset : 8|1@1+ (1,0) [0|1] "" BMS
 SG_ counter : 48|4@1+ (1,0) [0|15] "" BMS
 SG_ checksum : 56|8@1+ (1,0) [0|255] "" BMS
BO_ 513 Wide: 8 EMS
 SG_ wish : 0|2@1+ (1,0) [0|2] "" BMS
 SG_ counter : 32|32@1+ (1,0) [0|0] "" BMS
CM_ SG_ 257 door "cabinet door";
BA_DEF_ BO_ "GenMsgCycleTime" INT 0 100000000;
BA_DEF_DEF_ "GenMsgCycleTime" 0;
BA_ "GenMsgCycleTime" BO_ 256 100;
BA_ "GenMsgCycleTime" BO_ 257 1000;
BA_ "GenMsgCycleTime" BO_ 258 200;
BA_ "GenMsgCycleTime" BO_ 260 90000000;
VAL_ 256 contactor 1 "closed" 2 "open" 3 "partial" ;
VAL_ 256 mode 0 "off" 1 "ready" 2 "charge" 3 "drive" ;
VAL_ 257 door 0 "shut" 1 "open" ;
VAL_ 257 lid 0 "open" 1 "shut" ;
VAL_ 512 wish 0 "none" 1 "close" 2 "open" ;
"""

# The attributes that say which messages are CAN FD, and how they go: Control, and Wide more slowly.
FD_DBC = DBC.replace(
    'BA_DEF_ BO_ "GenMsg',
    'BA_DEF_ BO_ "VFrameFormat" ENUM "StandardCAN","ExtendedCAN",'
    + '"reserved",' * 12
    + """"StandardCAN_FD","ExtendedCAN_FD";
BA_DEF_ BO_ "CANFD_BRS" ENUM "0","1";
BA_DEF_DEF_ "VFrameFormat" "StandardCAN";
BA_DEF_DEF_ "CANFD_BRS" "1";
BA_ "VFrameFormat" BO_ 512 14;
BA_ "VFrameFormat" BO_ 513 14;
BA_ "CANFD_BRS" BO_ 513 0;
BA_DEF_ BO_ "GenMsg""",
)

PROFILE: Toml = {
    "profile": {"name": "tiny", "dbc": "tiny.dbc"},
    "freshness": {"required": ["State", "Alarms"]},
    "operating_status": {
        "contactor": {
            "signals": [{"signal": "State.contactor", "closed": ["closed"], "open": ["open"]}]
        },
        "current": {"signal": "State.current", "positive": "charging", "dead_band_a": 1.0},
    },
    "alarms": [{"signals": "Alarms.errors", "active": {"mask": 0x104}, "level": 3}],
    "telemetry": {"soc": "State.soc"},
    "integrity": [
        {
            "messages": ["Control"],
            "counter": "counter",
            "checksum": "checksum",
            "algorithm": "crc8-sae-j1850",
        }
    ],
    "signals": {"State.current": {"sentinels": [0x7FFF]}},
    "commands": {
        "close_contactor": {"message": "Control", "values": {"wish": "close", "reset": 0}},
        "open_contactor": {"message": "Control", "values": {"wish": "open", "reset": 0}},
        "fault_reset": {"message": "Control", "values": {"wish": 0, "reset": 1}},
    },
    "interlocks": {"remote": {"signal": "State.remote", "values": [1]}},
    "guard": [
        {"name": "close", "frame": "200#0100000000000...", "per_minute": 30},
        {"name": "open", "frame": "200#0200000000000...", "per_minute": 30, "when_latched": True},
        {"name": "reset", "frame": "200#0001000000000...", "per_minute": 30},
    ],
    "simulator": {"anything": {"goes": 1}},
}


STATE: Toml = {
    "signal": "State.mode",
    "values": {"1": ["off"], "2": ["ready", 7], "3": [], "4": [3]},
}


def changed(*changes: tuple[str, object], base: Toml | None = None) -> Toml:
    """Return the profile with values set, or taken out with GONE, at paths as `alarms[0].level`."""
    data: Toml = copy.deepcopy(PROFILE if base is None else base)
    for path, value in changes:
        *above, last = (
            int(key[1:-1]) if key.startswith("[") else key.strip('"')
            for key in re.findall(r'"[^"]+"|\[\d+\]|[^.\[\]]+', path)
        )
        place: Any = data
        for key in above:
            place = place[key] if isinstance(key, int) else place.setdefault(key, {})
        if value is GONE:
            del place[last]
        elif isinstance(last, int) and last == len(place):
            place.append(value)
        else:
            place[last] = value
    return data


def write(folder: Path, data: Toml, dbc: str = DBC) -> Path:
    """Write profile and DBC; return the path of the profile."""
    (folder / "tiny.dbc").write_text(dbc, encoding="utf-8")
    path = folder / "tiny.toml"
    path.write_text(toml_text(data), encoding="utf-8")
    return path


def read(folder: Path, *changes: tuple[str, object]) -> tuple[Profile, Database]:
    """Write the changed profile and load it."""
    return load_profile(write(folder, changed(*changes)))
