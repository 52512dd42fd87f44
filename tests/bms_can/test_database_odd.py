"""Databases of any make: loaded with every liberty named, or refused with line and reason.

tests/data/databases holds one file with all oddities that makers' files were seen to have, and the
same small cabinet as KCD, SYM and ARXML. All of them were written for this project.
"""

import os
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bms_can.codec import Codec
from bms_can.database import Database, load
from bms_can.errors import BadDatabase, BadFrame
from bms_can.frame import Frame

FOLDER = Path(__file__).parents[1] / "data" / "databases"
ODD = (FOLDER / "odd.dbc").read_text(encoding="utf-8")
LIBERTIES = [
    "no BS_: line; read as if it had one",
    "VAL_ 256 nowhere fits no signal; left out",
    "VAL_ 999 gone fits no signal; left out",
    "SIG_VALTYPE_ 257 missing fits no signal; left out",
    "loaded without layout checks, because: ",
    "Twice: id 0x103 has 2 messages; not decoded",
    "AlsoThere: id 0x103 has 2 messages; not decoded",
    "Floats.stub: a float of 7 bits; not decoded",
    "TooFar.beyond: does not fit into its message; not decoded",
    "TooFar.motorola_beyond: does not fit into its message; not decoded",
    "Infinite.endless: its factor or offset is no usable number; not decoded",
    "Infinite.far: its factor or offset is no usable number; not decoded",
    "Overlap.low: range [5|1] is empty; ignored",
    "Overlap: low and high overlap",
]


def test_every_oddity_is_named_and_the_rest_is_read() -> None:
    """One line for each liberty taken, with the line of the file where there is one."""
    database = load(FOLDER / "odd.dbc")
    bare = [re.sub(r"^line \d+: ", "", line) for line in database.warnings]
    assert len(bare) == len(LIBERTIES)
    for line, liberty in zip(bare, LIBERTIES, strict=True):
        assert line.startswith(liberty)
    number = ODD.splitlines().index('VAL_ 256 nowhere 1 "on" ;') + 1
    assert f"line {number}: {LIBERTIES[1]}" in database.warnings


def test_what_the_odd_file_says() -> None:
    """Nested pages, pages by range, floats, a J1939 identifier: each decodes."""
    codec = Codec(load(FOLDER / "odd.dbc"))

    def values(can_id: int, text: str) -> dict[str, float | None]:
        decoded = codec.decode(Frame(0.0, can_id, can_id > 0x7FF, bytes.fromhex(text)))
        assert decoded is not None
        return {name.split(".")[1]: sample.value for name, sample in decoded[1].items()}

    page_0 = values(0x100, "0000E40C00000000")
    assert page_0 == {"page": 0, "inner": 0, "cell_1": pytest.approx(3.3)}
    assert values(0x100, "0400000007000000") == {"page": 4, "shared": 7}
    with pytest.raises(BadFrame, match="no page 2"):
        values(0x100, "0200000000000000")
    assert values(0x101, "0000C8430000000000002840") == {"voltage": 400.0, "energy": 12.0}
    assert values(0x18FF50FE, "007D000000000000") == {"current": 0.0}


@pytest.mark.parametrize(
    ("kind", "message"), [("kcd", "State"), ("sym", "State"), ("arxml", "StateFrame")]
)
def test_other_formats_decode_alike(kind: str, message: str) -> None:
    """The same cabinet in three formats: identifier, sign, factor and cycle time are the same."""
    database = load(FOLDER / f"cabinet.{kind}")
    assert set(database.signals) == {f"{message}.contactor", f"{message}.current"}
    assert database.messages[message].cycle_time == 100
    decoded = Codec(database).decode(Frame(0.0, 0x180000F4, True, bytes.fromhex("01009CFF")))  # noqa: FBT003 - 29 bits
    assert decoded is not None
    values = {name.split(".")[1]: sample.value for name, sample in decoded[1].items()}
    assert values == {"contactor": 1, "current": pytest.approx(-10.0)}


@pytest.mark.parametrize(
    ("kind", "change", "wrong"),
    [
        ("dbc", ("BO_ 257 Floats: 12", "BO_ 257 Floats: 99999999"), "BO_ 257 Floats: 99999999"),
        ("dbc", ("32|64@1-", "32|4294967295@1-"), "SG_ energy : 32|4294967295@"),
        ("dbc", ("28|8@1+", "99999999999|8@1+"), "SG_ beyond : 99999999999|8@"),
        ("kcd", ('length="16"', 'length="999999999"'), 'length="999999999'),
        ("sym", ("signed 16", "signed 999999999"), 'Sig="contactor"'),
        ("arxml", ("<LENGTH>16", "<LENGTH>999999999"), "<LENGTH>999999999"),
    ],
)
def test_an_absurd_size_is_refused_at_once(
    tmp_path: Path, kind: str, change: tuple[str, str], wrong: str
) -> None:
    """A typing mistake in a size would keep the parser busy for hours; its line is named."""
    name = "odd.dbc" if kind == "dbc" else f"cabinet.{kind}"
    text = (FOLDER / name).read_text(encoding="utf-8")
    assert change[0] in text
    path = tmp_path / f"absurd.{kind}"
    path.write_text(text.replace(*change, 1), encoding="utf-8")
    with pytest.raises(BadDatabase) as caught:
        load(path)
    (mistake,) = caught.value.mistakes
    assert mistake.startswith("line ")
    assert kind == "sym" or wrong in mistake
    assert "more than a message of 4096 bytes" in mistake


def test_a_broken_line_is_named() -> None:
    """The refusal says where the parser stopped, counted in the file as it is on the disk."""
    line = ODD.splitlines().index("BO_ 262 Bare: 0 BMS") + 1
    with pytest.raises(BadDatabase, match=f"line {line}: "):
        loaded(ODD.replace("BO_ 262 Bare: 0 BMS", "BO_ 262 Bare 0 BMS"))


def loaded(text: str, folder: Path = Path("/dev/shm")) -> Database:  # noqa: S108 - see below
    """Load a text. One file for all of them: a fuzzer writes thousands."""
    path = (folder if folder.is_dir() else Path("/tmp")) / f"bms-odd-{os.getpid()}.dbc"  # noqa: S108
    try:
        path.write_text(text, encoding="utf-8")
        return load(path)
    finally:
        path.unlink(missing_ok=True)


def test_a_huge_file_loads() -> None:
    """1000 messages with 8000 signals: seconds, not minutes."""
    signals = "".join(f' SG_ s{i} : {8 * i}|8@1+ (1,0) [0|0] "" X\n' for i in range(8))
    text = "BS_:\nBU_: A\n" + "".join(f"BO_ {i} M{i}: 8 A\n{signals}\n" for i in range(1000))
    assert len(loaded(text).signals) == 8000


TOKENS = [
    "BO_ ", "SG_ ", " M ", " m0 ", " m1M ", "|", "@", "VAL_ ", "SIG_VALTYPE_ ", "SG_MUL_VAL_ ", '"',
    ";", ":", "-", "-1", "0", "64", "4294967296", "3221225472", "1e999", "NaN", "BA_ ", "CM_ ",
    "\n", "\0", "\udcff", "()", "(0,0)", "[9|1]", "BU_:", "EV_ ", "é", "电",
]  # fmt: skip
added_text = st.sampled_from(TOKENS) | st.text(max_size=4)
edit = st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 12), added_text)
edits = st.lists(edit, min_size=1, max_size=6)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(edits)
def test_a_mutated_file_loads_or_is_refused(changes: list[tuple[float, int, str]]) -> None:
    """Whatever a broken disk or a hasty hand made of it: a database or BadDatabase, no more."""
    text = ODD
    for place, removed, added in changes:
        at = int(place * len(text))
        text = text[:at] + added + text[at + removed :]
    try:
        codec = Codec(loaded(text.encode("utf-8", "replace").decode("utf-8")))
    except BadDatabase:
        return
    for can_id in (0x100, 0x101, 0x102, 0x104, 0x105, 0x18FF50FE):
        try:
            codec.decode(Frame(0.0, can_id, can_id > 0x7FF, bytes(range(240, 248))))
        except BadFrame:
            continue
