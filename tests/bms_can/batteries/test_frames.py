"""Frames of each shipped battery, written out by hand from its published facts or recorded.

Nothing here uses a DBC to make the bytes: they are what a person reads from the protocol's text.
Frames marked "recorded" were published with their meaning by owners of such batteries.
"""

import pytest

from bms_can.telemetry import read_telemetry
from tests.bms_can.batteries.heard import NOW_S, after, battery, said, value

Said = tuple[int | None, list[str] | None, float | None]

# --- Pylontech 1.2: current and temperature in tenths, + charging; 0x35C bit 7 charge, 6 discharge
US5000 = ("356#7A13F2FE6B01", "359#0000000006504E", "35C#C000")  # recorded: 49.86 V, -27.0 A
PYLONTECH: list[tuple[str, tuple[str, ...], Said]] = [
    ("recorded, discharging", US5000, (4, [], -27.0)),
    ("charging with 5 A", ("356#7A1332006B01", *US5000[1:]), (3, [], 5.0)),
    ("at rest", ("356#7A1300006B01", *US5000[1:]), (2, [], 0.0)),
    ("padded to 8", ("356#7A1300006B010000", "359#0000000006504E00", "35C#C000000000000000"),
     (2, [], 0.0)),
    ("only discharge allowed", ("356#7A1300006B01", US5000[1], "35C#4000"), (2, [], 0.0)),
    ("neither allowed: unknown, never powered down",
     ("356#7A1300006B01", US5000[1], "35C#0000"), (None, [], 0.0)),
    ("over-voltage protection", (US5000[0], "359#0200000006504E", US5000[2]),
     (4, ["over_voltage_protection"], -27.0)),
    ("charge over-current, cold, internal communication",
     (US5000[0], "359#0001100806504E", US5000[2]),
     (4, ["charge_over_current_protection", "internal_communication_alarm",
          "low_temperature_alarm"], -27.0)),
]  # fmt: skip

# --- CAN-bms with 0x35A: two bits each, 01 active, 10 not, 00 not supported
VICTRON: list[tuple[str, tuple[str, ...], Said]] = [
    ("recorded, protocol 1.3, nothing supported",
     ("356#7B13E9FE6B01", "35A#0000000000000000"), (4, [], -27.9)),
    ("all well", ("356#7B1332006B01", "35A#AAAAAAAAAAAAAAAA"), (3, [], 5.0)),
    ("no current says nothing of a contactor",
     ("356#7B1300006B01", "35A#AAAAAAAAAAAAAAAA"), (None, [], 0.0)),
    ("high voltage alarm, byte 0 bits 2 and 3",
     ("356#7B1332006B01", "35A#A6AAAAAAAAAAAAAA"), (3, ["high_voltage_alarm"], 5.0)),
    ("contactor alarm and imbalance warning",
     ("356#7B1332006B01", "35A#AAAAA6AAAAAAAAA9"),
     (3, ["contactor_alarm", "cell_imbalance_warning"], 5.0)),
    ("both bits are no value", ("356#7B1332006B01", "35A#0C00000000000000"), (3, None, 5.0)),
]  # fmt: skip

# --- SMA high voltage: big endian; 0x4D8 byte 6: 2 disconnected, 3 connected, 5 fault
SMA: list[tuple[str, tuple[str, ...], Said]] = [
    ("419.4 V, 2.2 A, connected", ("4D8#1062001601680308", "158#AAAAAAAAAAAAAAAA"), (3, [], 2.2)),
    ("discharging", ("4D8#1062FFEA01680308", "158#AAAAAAAAAAAAAAAA"), (4, [], -2.2)),
    ("disconnected", ("4D8#1062000001680208", "158#AAAAAAAAAAAAAAAA"), (1, [], 0.0)),
    ("fault", ("4D8#1062000001680508", "158#AAAAAAAAAAAAAAAA"), (None, ["state"], 0.0)),
    ("a state that nobody published", ("4D8#1062000001680908", "158#AAAAAAAAAAAAAAAA"),
     (None, [], 0.0)),
    ("first and tenth message", ("4D8#1062000001680308", "158#A9AAA6AAAAAAAAAA"),
     (2, ["disconnector_position_fault", "system_fault"], 0.0)),
]  # fmt: skip

# --- foxBMS 2: big endian; 0x220 byte 0: strings and state; 0x233: current in the last 17 bits
CLOSED, PACK_0_A = "220#1700000000000000", "233#1F40000000000000"
FOXBMS2: list[tuple[str, tuple[str, ...], Said]] = [
    ("standby", ("220#0500000000000000", PACK_0_A), (1, [], 0.0)),
    ("normal, one string", (CLOSED, PACK_0_A), (2, [], 0.0)),
    ("+10 A discharges", (CLOSED, "233#1F400000000003E8"), (4, [], -10.0)),
    ("-10 A charges", (CLOSED, "233#1F4000000001FC18"), (3, [], 10.0)),
    ("precharge", ("220#0600000000000000", PACK_0_A), (None, [], 0.0)),
    ("opening", ("220#0400000000000000", PACK_0_A), (None, [], 0.0)),
    ("error with a string still connected is not powered down",
     ("220#1A04000000000000", PACK_0_A), (2, ["general_error"], 0.0)),
    ("timing error and emergency shut-off, as recorded",
     ("220#0308000100000000", PACK_0_A), (1, ["can_timing_error", "emergency_shutoff"], 0.0)),
    ("pack values missing", (CLOSED,), (None, [], None)),
]  # fmt: skip
FOXBMS2_STATE: list[tuple[str, tuple[str, ...], Said]] = [
    ("idle", ("220#0308000100000000",), (1, ["can_timing_error", "emergency_shutoff"], None)),
    ("normal: which way is not told", (CLOSED,), (None, [], None)),
]  # fmt: skip

# --- Orion BMS 2: little endian, - charging; 0x35B bit 18 discharge relay; 0x35A 32 codes
ORION2: list[tuple[str, tuple[str, ...], Said]] = [
    ("relay closed, 0.7 A is noise",
     ("356#6D0B0700A000", "35B#00000400", "35A#00000000"), (2, [], -0.7)),
    ("-5 A charges", ("356#6D0BCEFFA000", "35B#00000400", "35A#00000000"), (3, [], 5.0)),
    ("relay open", ("356#6D0B0000A000", "35B#00000300", "35A#00000000"), (1, [], 0.0)),
    ("two codes", ("356#6D0B0000A000", "35B#00000400", "35A#80000100"),
     (2, ["p0a10_pack_too_hot", "p0a1f_internal_communication"], 0.0)),
    ("no fault message yet", ("356#6D0B0000A000", "35B#00000400"), (2, None, 0.0)),
]  # fmt: skip

# --- Kona EV: 0x5A3 bit 6 main contactor; 0x595 current in bytes 4 and 5, + discharging
KONA_EV: list[tuple[str, tuple[str, ...], Said]] = [
    ("3.4 A, driving", ("5A3#4F00000000000000", "595#000000002200DE0D"), (4, None, -3.4)),
    ("open", ("5A3#0F00000000000000", "595#000000000000DE0D"), (1, None, 0.0)),
    ("precharge current past the open contactor",
     ("5A3#0F00000000000000", "595#000100001400DE0D"), (1, None, -2.0)),
    ("charging", ("5A3#4F00000000000000", "595#00020000CEFFDE0D"), (3, None, 5.0)),
]  # fmt: skip

# --- Leaf: 0x1DB 11 bits of 0.5 A, + charging, then relay cut, failsafe, voltage, flags; CRC last
NISSAN_LEAF: list[tuple[str, tuple[str, ...], Said]] = [
    ("-20 A, 350 V, interlock closed", ("1DB#FB00AF28000000",), (4, [], -20.0)),
    ("+20 A", ("1DB#0500AF28000000",), (3, [], 20.0)),
    ("at rest: the relay has no feedback", ("1DB#0000AF28000000",), (None, [], 0.0)),
    ("511.5 A after the start is no current", ("1DB#7FE0AF28000000",), (None, [], None)),
    ("relay cut request, caution, interlock open", ("1DB#050CAF20000000",),
     (3, ["failsafe", "interlock", "relay_cut_request"], 20.0)),
    ("recorded, 62 kWh, fast charging", ("1DB#0880BC2A000442E6",), (3, [], 34.0)),
    ("recorded, 24 kWh, driving", ("1DB#FE80BD2A00000086",), (4, [], -6.0)),
    ("recorded, 62 kWh, braking", ("1DB#0EA0C42A00075162",), (3, [], 58.5)),
    ("recorded, 62 kWh, the first frame after the start",
     ("1DB#7FE0FFC600800061",), (None, ["interlock"], None)),
    ("recorded, 62 kWh, a pack alone on a bench",
     ("1DB#0004C262000003B6",), (None, ["failsafe", "interlock"], 0.0)),
]  # fmt: skip

# --- Leaf ZE1 behind a tester: answers in several frames; 61 01 has the charge at byte 33 of them
ZE1_GROUP_1 = (  # recorded, published by an open vehicle monitor: 80.4021 %
    "7BB#10356101FFFFFC18", "7BB#2102AFFFFFFB62FF", "7BB#22FFF0DD0B1C30D4", "7BB#23951D3306039500",
    "7BB#24017000269A000C", "7BB#2544B500110BB880", "7BB#260001FFFFFB62FF", "7BB#27FFFCAA01ADFFFF",
)  # fmt: skip
ZE1_GROUP_4 = (  # the first three recorded, the others filled up: 19, 20 and 19 degrees
    "7BB#101F6104020D1302", "7BB#210314FFFFFF020B", "7BB#22131300FFFFFFFF",
    "7BB#23FFFFFFFFFFFFFF", "7BB#24FFFFFFFFFFFFFF",
)  # fmt: skip
NISSAN_LEAF_UDS: list[tuple[str, tuple[str, ...], Said]] = [
    ("values, and never a status", ZE1_GROUP_1, (None, None, None)),
    ("nothing yet", ZE1_GROUP_1[:-1], (None, None, None)),
]

# --- Kona behind a tester: 62 0101 and 59 bytes; a: 0 to 2, e: charge, f to i: power limits ...
KONA_0101 = (
    "7EC#103E620101FFF7E7", "7EC#21FFA027103A9801", "7EC#22FF9C0E74191718",
    "7EC#23181718000018B9", "7EC#2405B83100009000", "7EC#2500100000000F00",
    "7EC#26000004D2000003", "7EC#27E8000100000901", "7EC#2872000000000BB8",
)  # fmt: skip
KONA_EV_UDS: list[tuple[str, tuple[str, ...], Said]] = [
    ("values, and never a status", KONA_0101, (None, None, None)),
    ("a refusal is no answer", ("7EC#037F2231AAAAAAAA",), (None, None, None)),
]

# --- Model 3: 0x212 byte 1 contactor set; 0x132 tenths of A, + charging; 0x320 alerts by page
NO_ALERTS = ("320#0000000000000000", "320#0100000000000000", "320#0200000000000000")
TESLA_MODEL3: list[tuple[str, tuple[str, ...], Said]] = [
    ("closed, 12.3 A in", ("212#0004000000000000", "132#A08C7B0000000000", *NO_ALERTS),
     (3, [], 12.3)),
    ("open", ("212#0001000000000000", "132#A08C000000000000", *NO_ALERTS), (1, [], 0.0)),
    ("closing", ("212#0003000000000000", "132#A08C000000000000", *NO_ALERTS), (None, [], 0.0)),
    ("welded", ("212#0005000000000000", "132#A08C000000000000", *NO_ALERTS),
     (None, ["contactor_set"], 0.0)),
    ("module over-temperature, page 0 bit 22",
     ("212#0004000000000000", "132#A08C000000000000", "320#0000400000000000", *NO_ALERTS[1:]),
     (2, ["a019_module_over_temperature"], 0.0)),
    ("recorded: a car of 2019, closed, its own consumption",
     ("212#98048E0D01002E6B", "132#C790D1FFB226FF0F", *NO_ALERTS), (4, [], -4.7)),
    ("recorded: the same car, in another state",
     ("212#B9048B8D00001E6B", "132#C490C8FF9126FF0F", *NO_ALERTS), (4, [], -5.6)),
    ("a page not heard: the number of alarms is unknown",
     ("212#0004000000000000", "132#A08C000000000000", *NO_ALERTS[:2]), (2, None, 0.0)),
]  # fmt: skip

# --- Ecube: 29 bits; command in bits 27 to 20; + discharging; 0x85 byte 0: 3 charge, 4 discharge
WELL = ("18580010#0300010000000000", "1C080010#0000000000000000")
ECUBE_PCS: list[tuple[str, tuple[str, ...], Said]] = [
    ("the protocol's example: 812.1 V, 120 A charging",
     ("18280010#B91F50FB00000000", *WELL), (3, [], 120.0)),
    ("discharging", ("18280010#B91FB00400000000", "18580010#0400010000000000", WELL[1]),
     (4, [], -120.0)),
    ("waiting: the contactors are not told",
     ("18280010#B91F000000000000", "18580010#0500010000000000", WELL[1]), (None, [], 0.0)),
    ("charge contactor failure, bit 29",
     ("18280010#B91F000000000000", WELL[0], "1C080010#0000002000000000"),
     (2, ["charge_contactor_failure"], 0.0)),
    ("the same identifiers with 11 bits are not this battery's", ("280#B91F50FB00000000",),
     (None, None, None)),
]  # fmt: skip

ALL = {
    "pylontech": PYLONTECH, "victron": VICTRON, "sma": SMA, "foxbms2": FOXBMS2,
    "foxbms2_state": FOXBMS2_STATE, "orion2": ORION2, "kona_ev": KONA_EV,
    "nissan_leaf": NISSAN_LEAF, "nissan_leaf_uds": NISSAN_LEAF_UDS, "kona_ev_uds": KONA_EV_UDS,
    "tesla_model3": TESLA_MODEL3, "ecube_pcs": ECUBE_PCS,
}  # fmt: skip
CASES = [
    pytest.param(name, frames, expected, id=f"{name}: {text}")
    for name, cases in ALL.items()
    for text, frames, expected in cases
]


def crc8_by_bits(data: bytes, polynomial: int) -> int:
    """Return a CRC-8 from 0 as a person would work it out, bit by bit."""
    rest = 0
    for byte in data:
        rest ^= byte
        for _ in range(8):
            rest = (rest << 1 ^ polynomial) & 0xFF if rest & 0x80 else rest << 1
    return rest


def sealed(name: str, text: str) -> str:
    """Append the Leaf's checksum to 7 bytes; a recorded frame has it, other batteries have none."""
    if name != "nissan_leaf" or len(text) == len("1DB#0123456789ABCDEF"):
        return text
    return f"{text}{crc8_by_bits(bytes.fromhex(text.partition('#')[2]), 0x85):02X}"


@pytest.mark.parametrize(("name", "frames", "expected"), CASES)
def test_what_the_frames_say(name: str, frames: tuple[str, ...], expected: Said) -> None:
    """Operating status, active alarms and current are those that the facts give."""
    operating, alarms, current_a = said(name, *(sealed(name, text) for text in frames))
    assert operating == expected[0]
    assert (alarms is None) == (expected[1] is None)
    assert sorted(alarms or ()) == sorted(expected[1] or ())
    assert current_a == (None if expected[2] is None else pytest.approx(expected[2]))


@pytest.mark.parametrize(
    ("name", "frame", "signal", "expected"),
    [
        ("pylontech", "356#7A13F2FE6B01", "BMS_Values.voltage", 49.86),
        ("pylontech", "355#58005E00", "BMS_Charge.soc", 88),
        ("pylontech", "351#1402C012C012C201", "BMS_Limits.charge_current_limit", 480.0),
        ("victron", "355#540060000000", "BMS_Charge.soh", 96),
        ("victron", "373#E40CEE0C27012901", "BMS_Extremes.highest_cell_voltage", 3310),
        ("sma", "3D8#132E271000000000", "BMS_Charge.soc", 49.10),
        ("sma", "358#11A007000190015E", "BMS_Limits.charge_current_limit", 35.0),
        ("foxbms2", "233#1F40000000000000", "BMS_Pack.battery_voltage", 400.0),
        ("orion2", "355#5F0064000000B603", "BMS_Charge.soc", 95),
        ("orion2", "355#5F0064000000", "BMS_Charge.soh", 100),
        ("kona_ev", "594#683E00001900DC00", "BMS_Power.charge_power", 159.76),
        ("tesla_model3", "132#A08C7B0000000000", "BMS_Values.voltage", 360.0),
        ("tesla_model3", "292#0040060000000000", "BMS_Charge.soc_shown", 40.0),
        ("tesla_model3", "292#6F4689E79C0A0300", "BMS_Charge.soc_shown", 59.3),  # recorded
        ("tesla_model3", "252#6913AA7C0000A10F", "BMS_Power.charge_power", 49.69),  # recorded
        ("tesla_model3", "212#98048E0D01002E6B", "BMS_Status.isolation", 4330),  # recorded
        ("tesla_model3", "132#B395160064402000", "BMS_Values.current", 2.2),  # charging, recorded
        ("tesla_model3", "132#9F9218006640DD00", "BMS_Values.current", 2.4),  # charging, recorded
        ("tesla_model3", "132#7096AEFF5C26FF0F", "BMS_Values.voltage", 385.12),  # recorded
        ("nissan_leaf", "55B#A5C00000E300129B", "LBC_Charge.soc", 66.3),  # recorded
        ("nissan_leaf", "1DC#B40EAFFD0CD4C8F8", "LBC_Limits.discharge_power", 180.0),  # recorded
        ("nissan_leaf", "1DC#B40EAFFD0CD4C8F8", "LBC_Limits.charge_power", 58.5),  # recorded
        ("ecube_pcs", "18180010#220064001E000000", "BMS_Charge.soc", 34),
        ("ecube_pcs", "18080010#9021E803401AE803", "BMS_Limits.charge_current_limit", 100.0),
        ("ecube_pcs", "18380010#420D08052C0D0B02", "BMS_CellVoltages.lowest_cell_voltage", 3372),
    ],
)
def test_values(name: str, frame: str, signal: str, expected: float) -> None:
    """A value is that which the protocol's own text gives for these bytes."""
    assert value(name, signal, frame) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("name", "frames", "expected"),
    [
        ("nissan_leaf_uds", ZE1_GROUP_1, {"soc": 80.4021, "cell_temp": [None, None, None]}),
        ("nissan_leaf_uds", (*ZE1_GROUP_1, *ZE1_GROUP_4), {"cell_temp": [19, 20, 19]}),
        ("nissan_leaf_uds", ZE1_GROUP_1[:-1], {"soc": None}),
        ("nissan_leaf_uds", (*ZE1_GROUP_1[:3], *ZE1_GROUP_1[4:]), {"soc": None}),
        (
            "kona_ev_uds", KONA_0101,
            {
                "soc": 80.0, "total_voltage": 370.0, "max_allowed_charge_power": 100.0,
                "max_allowed_discharge_power": 150.0, "highest_cell_temp": 25,
                "lowest_cell_temp": 23, "highest_cell_voltage": 3.7, "highest_voltage_id": 5,
                "lowest_cell_voltage": 3.68, "lowest_voltage_id": 49,
                "charge_accumulated_energy": 123.4, "discharge_accumulated_energy": 100.0,
            },
        ),
    ],
)  # fmt: skip
def test_answers_in_several_frames(
    name: str, frames: tuple[str, ...], expected: dict[str, object]
) -> None:
    """What the platform is told of a diagnostic answer; of one with a hole in it, nothing."""
    _, intake = after(name, *frames)
    told = read_telemetry(intake.table.snapshot(), battery(name)[0], NOW_S)
    assert {key: told[key] for key in expected} == expected


def test_a_leaf_frame_with_a_wrong_checksum_changes_nothing() -> None:
    """The checksum is the car's own; it was checked on a recorded frame of 0x1D4."""
    assert crc8_by_bits(bytes.fromhex("F7070000074430"), 0x85) == 0x70, "recorded"
    _, intake = after("nissan_leaf", "1DB#FB00AF2800000000")
    assert dict(intake.bad) == {"checksum": 1}
    assert not intake.table.snapshot().samples


@pytest.mark.parametrize("text", ["356#7A13F2FE", "356#7A13F2FE6B0100", "355#5800"])
def test_a_length_that_is_not_stated_is_refused(text: str) -> None:
    """Pylontech frames may be padded, but not be of any length."""
    _, intake = after("pylontech", text)
    assert dict(intake.bad) == {"length": 1}


def test_telemetry_turns_the_sign() -> None:
    """On the platform a charging current is positive, whatever the battery's sign."""
    status, intake = after("orion2", "356#6D0BCEFFA000", "35B#00000400")
    profile = battery("orion2")[0]
    told = read_telemetry(intake.table.snapshot(), profile, NOW_S)
    assert told["total_current"] == status.current_a == pytest.approx(5.0)
