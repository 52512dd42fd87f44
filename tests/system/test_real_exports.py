"""Every real log becomes tables that say what the live codec says. Needs BMS_REAL_LOGS."""

import os
from pathlib import Path

import pytest

from bms_can.database import load
from bms_can.errors import BadInput
from tests.bms_can.columnar.exported import compare, export

pytestmark = pytest.mark.shared


def cases() -> list[tuple[Path, Path]]:
    """Return each recorded log with each DBC of its folder."""
    folder = Path(os.environ.get("BMS_REAL_LOGS", "/nowhere")) / "pairs"
    return [
        (log, dbc)
        for pair in sorted(folder.glob("*"))
        for log in sorted(pair.glob("*.log"))
        for dbc in sorted(pair.glob("*.dbc"))
    ]


@pytest.mark.skipif(not cases(), reason="BMS_REAL_LOGS names no folder with pairs/")
def test_every_real_log_is_exported_value_by_value(tmp_path: Path) -> None:
    """All logs, all DBCs that load; a DBC that explains nothing makes no rows."""
    compared = {}
    for number, (log, dbc) in enumerate(cases()):
        try:
            database = load(dbc)
        except BadInput:
            continue
        out = tmp_path / str(number)
        export(log, dbc, out)
        compared[log.name, dbc.name] = compare(log, database, out)
    assert sum(compared.values()) > 100_000, compared
