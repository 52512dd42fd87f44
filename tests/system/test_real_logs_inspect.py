"""What inspect says about the real logs is true. The facts are those of the folder's README."""

from pathlib import Path

import pytest

from bms_can.columnar.scan import scan
from bms_can.database import load
from bms_can.drafting.draft import draft
from bms_can.drafting.plan import Plan
from bms_can.examine.examination import Examination, examine
from bms_can.profile_load import load_profile
from tests.bms_can.examine.logs import of_kind
from tests.system.test_real_logs import folder_of

pytestmark = pytest.mark.shared
KONA, ORION, TESLA, FOXBMS, UDS = (
    "01-kona-ev-2019", "02-orion2-zero-ev", "03-tesla-s-2015-savvycan", "04-foxbms2",
    "05-uds-isotp-mf4",
)  # fmt: skip


def looked_at(folder: Path, log: str, dbc: str | None) -> Examination:
    """Examine one log."""
    return examine(scan(folder / log), None if dbc is None else load(folder / dbc))


def subjects(seen: Examination, kind: str) -> str:
    """Return the subjects of a kind in one text."""
    return " ".join(finding.subject for finding in of_kind(seen, kind))


def test_kona() -> None:
    """Two buses with shared identifiers, merged out of order; frames shorter than the DBC."""
    seen = looked_at(folder_of(KONA), "candump.log", "pcan.dbc")
    (channels,) = of_kind(seen, "channels")
    assert channels.numbers["frames_by"] == "can0 24263, can1 15283"
    (back,) = of_kind(seen, "time-back")
    assert (back.frames, back.numbers["within"]) == (1845, 0)
    assert back.numbers["worst_ms"] == pytest.approx(22, abs=0.1)
    short = {
        each.subject: (each.numbers["found"], each.numbers["stated"])
        for each in of_kind(seen, "length")
    }
    assert short["can0 0x490 ParkingBrake"] == (7, 8)
    assert short["can1 0x562 UpdateChargeSettings"] == (4, 8)
    assert short["can0 0x5F5 FATC_5F5"] == (8, 64)


def test_orion() -> None:
    """The BMS's DBC on a car's bus: 97 % unknown, yet it is described; Tesla's sums are found."""
    dbc = "ZeroEvDBC_onlyBMS_DU.dbc"
    seen = looked_at(folder_of(ORION), "candump-2025-11-22_161709.log", dbc)
    (unknown,) = of_kind(seen, "unknown-ids")
    assert unknown.share == pytest.approx(0.968, abs=0.001)
    assert of_kind(seen, "not-described") == []
    words = {each.subject: each.numbers["words"] for each in of_kind(seen, "checksum")}
    assert words["0x118"] == "sum of the bytes of the identifier and the other bytes"


def test_tesla() -> None:
    """Whole-second stamps: no word on periods. The bytes still tell their checksum."""
    seen = looked_at(folder_of(TESLA), "candump.log", "tesla_powertrain.dbc")
    assert of_kind(seen, "coarse-time")[0].numbers["stamps"] == 9
    assert not of_kind(seen, "period") + of_kind(seen, "gap") + of_kind(seen, "jitter")
    assert "0x00E" in subjects(seen, "checksum")


def test_foxbms() -> None:
    """Identifiers whose meaning changed between versions: values that no battery has."""
    seen = looked_at(folder_of(FOXBMS), "candump.log", "foxbms-1.11-2026-04.dbc")
    assert "f_StringMinMaxCellVoltage" in subjects(seen, "crossed")
    assert of_kind(seen, "short-log")


@pytest.mark.parametrize(
    ("log", "dbc", "name", "first"),
    [
        (
            "kona_17BD1DB7_00000006_00000170.candump.log",
            "tp_uds.dbc",
            "0x7EC",
            "62 0101 (62 bytes)",
        ),
        (
            "leaf2019_2F6913DB_00000004_00000001.candump.log",
            "tp_uds_nissan.dbc",
            "0x7BB",
            "61 01 (53 bytes)",
        ),
    ],
)
def test_diagnostics(log: str, dbc: str, name: str, first: str) -> None:
    """ISO-TP is told; nothing is claimed of its single frames."""
    seen = looked_at(folder_of(UDS), log, dbc)
    found = {each.subject[:5]: str(each.numbers["messages"]) for each in of_kind(seen, "isotp")}
    assert found[name].startswith(first)
    assert not of_kind(seen, "length") + of_kind(seen, "uncovered") + of_kind(seen, "range")


def test_logs_without_a_dbc() -> None:
    """J1939 is recognised; an Orion's own checksum on a raw serial log; moving bytes."""
    folder = folder_of(KONA).parents[1] / "logs"
    truck = looked_at(folder, "remora-truck-j1939-29bit.candump.log", None)
    assert "EEC1" in str(of_kind(truck, "j1939")[0].numbers["names"])
    assert of_kind(looked_at(folder, "remora-temp-11bit.candump.log", None), "fields")
    raw = looked_at(folder, "we-ev_slcan_raw.txt", None)
    names = {each.subject: each.numbers["name"] for each in of_kind(raw, "checksum")}
    assert names["0x036"] == "sum8-id-len"


@pytest.mark.parametrize(
    ("folder", "log", "dbc", "signals"),
    [
        (KONA, "candump.log", "pcan.dbc", ("BMS_5A3.ContactorClosed", "Batt_HV_Status.IBatt")),
        (
            ORION,
            "candump-2025-11-22_161709.log",
            "ZeroEvDBC_onlyBMS_DU.dbc",
            ("BmsStatus2.BMSFlag_Dischargerelay", "BmsStatus1.HvBatteryCurrent"),
        ),
        (FOXBMS, "candump.log", "foxbms-1.11-2026-04.dbc", ("f_BmsState.BmsState",)),
    ],
)
def test_drafts(folder: str, log: str, dbc: str, signals: tuple[str, ...], tmp_path: Path) -> None:
    """The right signals are proposed, and the draft loads."""
    place = folder_of(folder)
    seen = looked_at(place, log, dbc)
    text = draft(Plan(load(place / dbc), str(place / dbc), "x", seen, log))
    for signal in signals:
        assert f'"{signal}"' in text
    path = tmp_path / "x.toml"
    path.write_text(text, encoding="utf-8")
    profile, _ = load_profile(path)
    assert profile.commands == {}


def test_every_dbc_gives_a_draft_that_loads(tmp_path: Path) -> None:
    """All files of the folder, whatever their state."""
    root = folder_of(KONA).parents[1]
    found = sorted([*(root / "dbc").glob("*.dbc"), *(root / "pairs").glob("*/*.dbc")])
    assert len(found) > 20
    for number, dbc in enumerate(found):
        path = tmp_path / f"{number}.toml"
        path.write_text(draft(Plan(load(dbc), str(dbc), dbc.stem)), encoding="utf-8")
        assert load_profile(path)[0].commands == {}, dbc.name
