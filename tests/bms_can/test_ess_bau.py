"""The default battery: its DBC, its profile, and that both say what the platform's page says."""

import warnings
from pathlib import Path

import cantools
import pytest

from bms_can.database import Database, cycle_time_ms
from bms_can.profile import CommandCode, Profile
from bms_can.profile_load import load_profile
from bms_can.profile_telemetry import FIELD_UNITS

DBC = Path(__file__).parents[2] / "dbc" / "ess_bau.dbc"

# The platform's "battery array" page: label -> signal.
ALARMS = {
    "单体过压": "cell_over_voltage_alarm",
    "单体欠压": "cell_under_voltage_alarm",
    "单体高温": "cell_high_temp_alarm",
    "单体低温": "cell_low_temp_alarm",
    "压差大": "voltage_diff_large_alarm",
    "温差大": "temp_diff_large_alarm",
    "总压过压": "total_over_voltage_alarm",
    "总压欠压": "total_under_voltage_alarm",
    "SOH低": "soh_low_alarm",
    "SOC低": "soc_low_alarm",
    "SOC高": "soc_high_alarm",
    "充电过流": "charge_over_current_alarm",
    "放电过流": "discharge_over_current_alarm",
    "充电高温": "charge_high_temp_alarm",
    "放电高温": "discharge_high_temp_alarm",
    "充电低温": "charge_low_temp_alarm",
    "放电低温": "discharge_low_temp_alarm",
    "连接器温度异常": "connector_temp_alarm",
    "绝缘电阻低": "insulation_low_alarm",
}
FAULTS = {
    "整机故障": "machine_fault",
    "急停状态": "emergency_stop_fault",
    "禁止充电": "charge_prohibited",
    "禁止放电": "discharge_prohibited",
    "预充故障": "precharge_fault",
    "接触器粘连": "contactor_stuck_fault",
    "接触器故障": "contactor_fault",
    "电流传感器故障": "current_sensor_fault",
    "温度传感器故障": "temperature_sensor_fault",
    "风扇故障": "fan_fault",
    "系统均衡功能故障": "balancing_fault",
    "BMU与BCU通讯故障": "bmu_bcu_comm_fault",
    "BCU与BAU通讯故障": "bcu_bau_comm_fault",
    "BAU对外通讯故障": "bau_external_comm_fault",
    "PCS通讯故障": "pcs_comm_fault",
    "空调通讯故障": "air_conditioning_comm_fault",
    "消防通讯故障": "fire_comm_fault",
    "液冷通讯故障": "liquid_cooling_comm_fault",
    "水浸通讯故障": "water_comm_fault",
    "空调告警": "air_conditioning_alarm",
    "消防告警": "fire_alarm",
    "液冷告警": "liquid_cooling_alarm",
    "水浸告警": "water_alarm",
}
# Fields of sub_ems_bms that are derived by the box itself, not read from the battery.
DERIVED = {
    "running_status",
    "total_alarm_status",
    "total_fault_status",
    "high_voltage_closed_status",
}


@pytest.fixture(scope="module")
def loaded() -> tuple[Profile, Database]:
    """The profile and its database, as the agent reads them."""
    return load_profile(DBC.with_suffix(".toml"))


def test_dbc_is_read_strictly_by_cantools() -> None:
    """The file needs no mending: strict, UTF-8, no warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        database = cantools.database.Database(strict=True)
        database.add_dbc_file(DBC, encoding="utf-8")
    assert len(database.messages) == 16


def test_dbc_loads_without_remarks(loaded: tuple[Profile, Database]) -> None:
    """Nothing is left out and nothing is ambiguous."""
    assert loaded[1].warnings == ()
    assert loaded[1].encoding == "utf-8"


def test_every_message_and_signal_has_a_comment(loaded: tuple[Profile, Database]) -> None:
    """An integrator finds the Chinese meaning beside each message and signal."""
    for message in loaded[1].messages.values():
        assert message.comment, message.name
        assert all(signal.comment for signal in message.signals), message.name


def test_identifiers_tell_the_direction(loaded: tuple[Profile, Database]) -> None:
    """29-bit ids: BAU to EMS ends in E5F4, EMS to BAU in F4E5."""
    for message in loaded[1].messages.values():
        assert message.is_extended_frame
        ending = 0xF4E5 if message.senders == ["EMS"] else 0xE5F4
        assert message.frame_id & 0xFFFF == ending, message.name


def test_cyclic_messages_state_their_period(loaded: tuple[Profile, Database]) -> None:
    """All but the acknowledgement are cyclic, and say how often they come."""
    silent = [name for name, m in loaded[1].messages.items() if not cycle_time_ms(m)]
    assert silent == ["BAU_Ack"]


def test_ranges_fit_into_the_bits(loaded: tuple[Profile, Database]) -> None:
    """Each declared range is not empty and can be sent."""
    for message, signal in loaded[1].signals.values():
        low, high = signal.minimum, signal.maximum
        assert low is not None, (message.name, signal.name)
        assert high is not None, (message.name, signal.name)
        assert low < high, (message.name, signal.name)
        raws = [signal.conversion.numeric_scaled_to_raw(each) for each in (low, high)]
        lowest = -(2 ** (signal.length - 1)) if signal.is_signed else 0
        assert lowest <= min(raws), (message.name, signal.name)
        assert max(raws) < 2**signal.length + lowest, (message.name, signal.name)


@pytest.mark.parametrize(("label", "key"), [*ALARMS.items(), *FAULTS.items()])
def test_each_alarm_of_the_platform_is_there(
    loaded: tuple[Profile, Database], label: str, key: str
) -> None:
    """Every alarm and fault of the platform's page has a signal, and its own label."""
    rules = {rule.key: rule for rule in loaded[0].alarms}
    assert rules[key].label_zh == label
    assert rules[key].label_en.isascii()
    assert loaded[1].signals[rules[key].signal][1].comment == label


def test_no_other_alarm_is_there(loaded: tuple[Profile, Database]) -> None:
    """The profile adds no alarm that the platform does not know."""
    assert {rule.key for rule in loaded[0].alarms} == {*ALARMS.values(), *FAULTS.values()}


def test_three_levels(loaded: tuple[Profile, Database]) -> None:
    """The nineteen alarms carry their level; faults are of the worst one."""
    levels = {rule.key: rule.level for rule in loaded[0].alarms}
    assert all(levels[key] is None for key in ALARMS.values())
    assert levels["machine_fault"] == 3


def test_state_of_charge_does_not_keep_the_contactor_open(
    loaded: tuple[Profile, Database],
) -> None:
    """An empty battery must be closed to be charged."""
    tolerated = {rule.key for rule in loaded[0].alarms if not rule.blocks_close}
    assert tolerated == {
        "soh_low_alarm",
        "soc_low_alarm",
        "soc_high_alarm",
        "charge_prohibited",
        "discharge_prohibited",
    }


def test_telemetry_is_complete(loaded: tuple[Profile, Database]) -> None:
    """Every field of sub_ems_bms that has a unit is read from the battery."""
    names = {field.name for field in loaded[0].telemetry}
    assert set(FIELD_UNITS) <= names
    assert not names & DERIVED


def test_arrays_are_in_natural_order(loaded: tuple[Profile, Database]) -> None:
    """Cell 10 comes after cell 9."""
    fields = {field.name: field for field in loaded[0].telemetry}
    cells = [f"BAU_CellVoltages.cell_voltage_{number}" for number in range(1, 49)]
    assert list(fields["cell_voltage"].signals) == cells
    assert len(fields["cell_temp"].signals) == 16


def test_commands_are_the_bytes_of_the_protocol(loaded: tuple[Profile, Database]) -> None:
    """The three control frames, written here by hand: CRC-8 SAE J1850 over bytes 0 to 6."""
    frames = {code: plan.frames for code, plan in loaded[0].commands.items()}
    assert {len(each) for each in frames.values()} == {16}
    close = frames[CommandCode.CLOSE_CONTACTOR]
    assert [frame.data[:7].hex() for frame in close[:2]] == ["01000000000000", "01000000000001"]
    assert frames[CommandCode.OPEN_CONTACTOR][5].data[:7].hex() == "02000000000005"
    assert frames[CommandCode.FAULT_RESET][15].data[:7].hex() == "0001000000000f"
    for frame in (frame for each in frames.values() for frame in each):
        assert (frame.can_id, frame.extended) == (0x1811F4E5, True)
        assert frame.data[7] == crc8_j1850(frame.data[:7])


def crc8_j1850(data: bytes) -> int:
    """Compute the checksum bit by bit, apart from the driver's own table."""
    rest = 0xFF
    for byte in data:
        rest ^= byte
        for _ in range(8):
            rest = (rest << 1 ^ 0x1D) & 0xFF if rest & 0x80 else rest << 1
    return rest ^ 0xFF


def test_checksum_of_the_test_is_the_standard_one() -> None:
    """CRC-8/SAE-J1850 of "123456789" is 0x4B."""
    assert crc8_j1850(b"123456789") == 0x4B


def test_a_refusal_is_told_from_an_acknowledgement(loaded: tuple[Profile, Database]) -> None:
    """Accepted and refused commands stand in two signals."""
    for plan in loaded[0].commands.values():
        assert plan.acknowledged is not None
        assert plan.refused is not None
        assert plan.acknowledged.signal != plan.refused.signal


def test_only_open_survives_a_foreign_master(loaded: tuple[Profile, Database]) -> None:
    """The guard lets nothing but an open pass after another master was heard."""
    latched = {entry.name: entry.when_latched for entry in loaded[0].guard}
    assert latched == {"close contactor": False, "open contactor": True, "fault reset": False}
