"""Families: code of an installed package that makes a battery's frames readable."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bms_can.coverage import Coverage
from bms_can.errors import BadFrame, BadProfile
from bms_can.families import TranslatingIntake, coverage_of, intake_of
from bms_can.frame import Frame
from bms_can.intake import Intake
from bms_can.isotp import IsoTp
from bms_can.profile import Profile
from bms_can.profile_load import load_profile
from bms_can.shipped import profile_path
from bms_can.simulator import Simulator
from bms_can.status import derive_status
from bms_can.timeline import Timeline
from tests.bms_can.tiny import GONE, read

MODULE = '''
from bms_can.errors import BadFrame

class Masked:
    """Every byte is xored with a number; 0x7FF is nonsense."""

    def __init__(self, options):
        self.mask = options.get("mask", 0)
        if not 0 <= self.mask <= 255:
            raise ValueError(f"mask: {self.mask} is no byte")

    def translate(self, frame):
        if frame.can_id == 0x7FF:
            raise BadFrame("nonsense", "7FF")
        if frame.can_id == 0x7FE:
            return None
        return frame._replace(data=bytes(byte ^ self.mask for byte in frame.data))
'''
READ_ONLY: list[tuple[str, object]] = [
    ("commands", GONE), ("guard", GONE), ("interlocks", GONE), ("profile.read_only", "test"),
]  # fmt: skip
IDLE, QUIET = "0100640000000000", "0000000000000000"  # +10 A


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Install a package with a family, as pip would leave it in site-packages."""
    site = tmp_path / "site"
    about = site / "tiny_family-1.0.dist-info"
    about.mkdir(parents=True)
    (site / "tiny_family.py").write_text(MODULE, encoding="utf-8")
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: tiny-family\nVersion: 1.0\n")
    text = "[bms_can.families]\nmasked = tiny_family:Masked\nbroken = tiny_family:Nobody\n"
    (about / "entry_points.txt").write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(str(site))


def masked(folder: Path, **options: object) -> tuple[Profile, Intake]:
    """Load the tiny battery behind the family."""
    changes = [*READ_ONLY, ("profile.family", "masked"), ("family", options)]
    profile, database = read(folder, *changes)
    return profile, intake_of(profile, database)


def frame(can_id: int, text: str, mask: int = 0) -> Frame:
    """Build a frame as the masked battery sends it."""
    return Frame(10.0, can_id, extended=False, data=bytes(b ^ mask for b in bytes.fromhex(text)))


@pytest.mark.usefixtures("installed")
def test_a_family_makes_frames_readable(tmp_path: Path) -> None:
    """What the package turns the frames into is judged as if the bus had carried it."""
    profile, intake = masked(tmp_path, mask=0xA5)
    assert isinstance(intake, TranslatingIntake)
    assert intake.take(frame(0x100, IDLE, 0xA5))
    assert intake.take(frame(0x101, QUIET, 0xA5))
    status = derive_status(intake.table.snapshot(), profile, 10.0, listening_since_s=10.0)
    assert (status.operating, status.current_a) == (3, 10.0)
    assert not intake.take(frame(0x7FE, "00"))
    assert not intake.take(frame(0x7FF, "00"))
    assert not intake.take(frame(0x100, "00", 0xA5))
    assert dict(intake.bad) == {"nonsense": 1, "length": 1}
    assert (intake.frames, intake.decoded) == (5, 2)


@pytest.mark.usefixtures("installed")
def test_a_replay_uses_it_too(tmp_path: Path) -> None:
    """A recorded log goes the same way as the live bus."""
    profile, _ = masked(tmp_path, mask=1)
    _, database = read(tmp_path, *READ_ONLY)
    timeline = Timeline(profile, database)
    frames = [frame(0x100, IDLE, 1), frame(0x101, QUIET, 1)]
    assert [change.status.operating for change in timeline.run(frames)][-1] == 3


@pytest.mark.usefixtures("installed")
def test_coverage_counts_what_the_family_made_of_it(tmp_path: Path) -> None:
    """Frames that were used are explained; those that break its rules are not."""
    profile, _ = masked(tmp_path, mask=1)
    _, database = read(tmp_path, *READ_ONLY)
    coverage = coverage_of(profile, database, None)
    for each in (frame(0x100, IDLE, 1), frame(0x7FE, "00"), frame(0x7FF, "00")):
        coverage.take(each)
    counts = (coverage.frames, coverage.known, coverage.decoded, coverage.unknown.total())
    assert counts == (3, 2, 2, 1)
    assert not coverage.bad
    assert type(coverage_of(None, database, None)) is Coverage


@pytest.mark.usefixtures("installed")
def test_a_family_that_cannot_serve_is_refused_at_load(tmp_path: Path) -> None:
    """Not installed, announced but not there, or not content with its table: one line each."""
    for name, options, wrong in (
        ("nobody", {}, "profile.family: no package has 'nobody'"),
        ("broken", {}, "profile.family: broken: "),
        ("masked", {"mask": 300}, "family: mask: 300 is no byte"),
        ("isotp", {}, 'family: needs ids = ["7BB"], answers = { "6101" = 41 } and nothing else'),
        ("isotp", {"ids": ["7BB"], "answers": {}}, "family: needs ids"),
        ("isotp", {"ids": ["xyz"], "answers": ANSWERS}, "family: ids: "),
        ("isotp", {"ids": ["7BB"], "answers": {"61": True}}, "family: answers: 61 = True"),
        ("isotp", {"ids": ["7BB"], "answers": {"6101": 1}}, "family: answers: 6101 = 1"),
        ("isotp", {"ids": ["7BB"], "answers": {"6": 9}}, "family: "),
    ):
        with pytest.raises(BadProfile) as caught:
            read(tmp_path, *READ_ONLY, ("profile.family", name), ("family", options))
        assert caught.value.mistakes[0].startswith(wrong)


def test_without_a_family_nothing_is_in_the_way(tmp_path: Path) -> None:
    """The usual intake, not a wrapped one."""
    assert type(intake_of(*read(tmp_path))) is Intake


ANSWERS = {"6101": 10, "6102": 16, "62F190": 3, "62": 5}


def answers(*texts: str, gap_s: float = 0.01) -> list[bytes | str | None]:
    """Return what ISO-TP makes of the frames of one identifier."""
    family = IsoTp({"ids": ["7BB"], "answers": ANSWERS})
    found: list[bytes | str | None] = []
    for number, text in enumerate(texts):
        one = Frame(number * gap_s, 0x7BB, extended=False, data=bytes.fromhex(text))
        try:
            whole = family.translate(one)
        except Exception as error:  # noqa: BLE001 - the kind is what is compared
            found.append(type(error).__name__)
        else:
            found.append(None if whole is None else whole.data.rstrip(b"\0"))
    return found


def test_isotp_puts_an_answer_together() -> None:
    """First, consecutive and single frames; the length byte leads, the filling is cut off."""
    assert answers("100A610102030405", "2106070801FFFFFF") == [
        None, bytes.fromhex("0A610102030405060708 01".replace(" ", "")),
    ]  # fmt: skip
    assert answers("0362F190AAAAAAAA") == [bytes.fromhex("0362F190")]
    assert answers("0562F191AABBFFFF") == [bytes.fromhex("0562F191AABB")]


@pytest.mark.parametrize(
    ("frame", "made"),
    [
        ("037F2278AAAAAAAA", None),  # "response pending": comes before each slow answer
        ("037F2212AAAAAAAA", None),
        ("036103", None),  # somebody else's question
        ("00", None),
        ("0362F1", "BadFrame"),  # fewer bytes than it says
        ("0261010000000000", "BadFrame"),  # the battery says less than the profile counts on
        ("0462F19001AAAAAA", "BadFrame"),
    ],
)
def test_isotp_takes_no_filling_for_a_value(frame: str, made: str | None) -> None:
    """A short or a negative answer, filled up, would be zeros as fresh as real ones."""
    assert answers(frame) == [made]


def test_isotp_uses_no_answer_with_a_hole() -> None:
    """A lost frame, a pause, a start in the middle: no answer rather than a wrong one."""
    first, second, third = "1010610202030405", "2106070809101112", "2213141516171819"
    assert answers(first, third) == [None, "BadFrame"]
    assert answers(first, third, second) == [None, "BadFrame", None]
    assert answers(first, second, third, gap_s=2.0) == [None, "BadFrame", None]
    assert answers(second, third) == [None, None]
    assert answers(first, first, second, third)[-1] is not None
    assert answers("", "30", "10") == [b"", None, None]


@given(
    data=st.binary(min_size=0, max_size=300), shape=st.sampled_from(["6101", "62F190", "6102AABB"])
)
def test_isotp_turns_round_what_it_puts_together(data: bytes, shape: str) -> None:
    """The frames of a simulated battery give back the answer, byte for byte, each 8 bytes long."""
    answer = bytes.fromhex(shape) + data
    family = IsoTp({"ids": ["7BB"], "answers": {shape: len(answer)}})
    payload = bytes([len(answer) & 0xFF]) + answer
    sent = family.as_sent(Frame(1.0, 0x7BB, extended=False, data=payload))
    assert {len(frame.data) for frame in sent} == {8}
    *under_way, whole = [family.translate(frame) for frame in sent]
    assert set(under_way) <= {None}
    assert whole is not None
    assert whole.data[: len(payload)] == payload
    assert not whole.data[len(payload) :].strip(b"\0")


def test_isotp_sends_only_stated_answers() -> None:
    """A simulated battery that would answer something else is refused; others pass."""
    family = IsoTp({"ids": ["7BB"], "answers": ANSWERS})
    with pytest.raises(BadFrame, match="no stated answer begins with 6109"):
        family.as_sent(Frame(1.0, 0x7BB, extended=False, data=bytes.fromhex("0A6109")))
    other = Frame(1.0, 0x7BC, extended=False, data=b"\x10\x20")
    assert family.as_sent(other) == [other]


@pytest.mark.usefixtures("installed")
def test_a_family_that_only_hears_is_not_simulated(tmp_path: Path) -> None:
    """Frames as the DBC has them would be another battery's: refused, with the method to add."""
    profile, database = read(tmp_path, *READ_ONLY, ("profile.family", "masked"))
    with pytest.raises(BadProfile, match="masked cannot be simulated: it has no method as_sent"):
        Simulator(profile, database)


def test_a_simulated_answer_must_be_a_stated_one() -> None:
    """Without its first bytes an answer is none: said when the battery is made, not on the bus."""
    profile, database = load_profile(profile_path("kona_ev_uds"))
    with pytest.raises(BadProfile, match=r"simulator: BMS_Answer: .* begins with 000000"):
        Simulator(replace(profile, simulator={}), database)


def test_isotp_lets_others_pass() -> None:
    """Frames with other identifiers are returned as they are."""
    other = Frame(1.0, 0x7BC, extended=False, data=b"\x10\x20")
    assert IsoTp({"ids": ["7BB"], "answers": ANSWERS}).translate(other) is other
