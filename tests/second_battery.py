"""The default battery once more, with identifiers of its own, so that two fit on one bus."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
CONTROL, STATE = "2551313637", "2550261236"  # EMS_Control and BAU_State in the DBC


def second_battery(
    folder: Path, *, control: bool = True, state: bool = True, profile: Path | None = None
) -> Path:
    """Write its profile and DBC; return the profile's file.

    Args:
        folder: where to.
        control: whether its control frame has another identifier than that of the first battery.
        state: whether its message BAU_State has.
        profile: the first battery.
    """
    first = profile or ROOT / "dbc" / "ess_bau.toml"
    dbc = first.with_suffix(".dbc").read_text(encoding="utf-8")
    kept = {CONTROL: not control, STATE: not state}
    for number in re.findall(r"^BO_ (\d+) ", dbc, re.MULTILINE):
        if not kept.get(number):
            dbc = re.sub(rf"\b{number}\b", str(int(number) + 0x10), dbc)
    text = first.read_text(encoding="utf-8").replace("ess_bau.dbc", "second.dbc")
    if control:
        text = text.replace("1811F4E5", "1811F4F5")
    (folder / "second.dbc").write_text(dbc, encoding="utf-8")
    (folder / "second.toml").write_text(text, encoding="utf-8")
    return folder / "second.toml"
