"""bms-agent inspect: text, JSON, HTML, draft; and the words of all findings."""

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest

from agent.cli import main
from agent.render_html import page
from agent.render_inspect import Report
from agent.render_main import verdict
from agent.render_plot import Curve, nice, plot
from agent.words_inspect import EN, LANGUAGES, ZH, kinds, percent, words_of
from bms_can.database import load
from bms_can.examine import (
    judge_battery,
    judge_bits,
    judge_ids,
    judge_log,
    judge_profile,
    judge_signals,
)
from bms_can.examine.finding import Finding, Weight
from bms_can.frame import Frame
from bms_can.profile_load import load_profile
from tests.bms_can.examine.logs import DBC, LOG, examined, recorded
from tests.bms_can.tiny import DBC as TINY

Words = pytest.CaptureFixture[str]
JUDGES = (judge_battery, judge_bits, judge_ids, judge_log, judge_profile, judge_signals)
EVIL = "<script>alert(1)</script>"


def said_kinds() -> set[str]:
    """Return every kind that a judge can yield, from their sources."""
    text = "".join(Path(str(judge.__file__)).read_text(encoding="utf-8") for judge in JUDGES)
    found = set(re.findall(r'(?:Finding|_seen)\(\s*"([a-z0-9-]+)"', text))
    return found | set(re.findall(r'kind = "([a-z-]+)" if', text)) | {"counter", "bad-lines"}


def test_every_kind_has_words_in_both_languages() -> None:
    """Title, sentence, advice; the two sentences use the same numbers."""
    assert len(said_kinds()) > 25
    assert said_kinds() <= set(kinds())
    for kind, words in kinds().items():
        assert set(words) == set(LANGUAGES), kind
        places = [set(re.findall(r"{(\w+)", words[each].text)) for each in LANGUAGES]
        assert places[0] == places[1], kind
        assert all(
            re.search("[\u4e00-\u9fff]", part) for part in (words[ZH].title, words[ZH].advice)
        )
        assert not re.search("[\u4e00-\u9fff]", "".join(words[EN])), kind


def test_a_share_is_never_rounded_to_all_or_nothing() -> None:
    """One frame of a million is not 0 %, and all but one are not 100 %."""
    assert [percent(share) for share in (0, 1e-6, 0.5, 1 - 1e-6, 1)] == [
        "0 %", "< 0.1 %", "50 %", "> 99.9 %", "100 %",
    ]  # fmt: skip


def test_text_names_place_and_advice(capsys: Words) -> None:
    """Frames, coverage, status, findings with line, time and confidence."""
    assert main(["inspect", str(LOG), "--profile", "ess_bau"]) == 0
    text = capsys.readouterr().out
    for part in (
        "1559 frames", "(100.0 %) have ids of the DBC", "3 charging", "== have a look",
        "21.9 s, line 1267, confidence 0.90", "-> The bus, the battery or the recorder paused",
        "CRC-8, polynomial 0x1D (crc8-sae-j1850) (signal checksum)",
    ):  # fmt: skip
        assert part in text, part


def test_chinese_is_complete(capsys: Words) -> None:
    """With --lang zh no English sentence is left."""
    assert main(["inspect", str(LOG), "--dbc", str(DBC), "--lang", "zh"]) == 0
    text = capsys.readouterr().out
    assert "校验和" in text
    assert "1559 帧" in text
    assert "可信度" in text
    assert not re.search(r"\b(the|frames|never|signal|line|findings)\b", text)


def test_json_is_whole(capsys: Words) -> None:
    """All findings, all identifiers; both languages."""
    assert main(["inspect", str(LOG), "--dbc", str(DBC), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["format"] == "bms-agent-inspect-1"
    assert found["channels"]["can0"]["known_percent"] == 100
    assert len(found["ids"]) == 16
    assert found["ids"][0]["period_ms"] == pytest.approx(100, rel=1e-3)
    for finding in found["findings"]:
        assert set(finding["text"]) == set(LANGUAGES)
        assert 0 < finding["confidence"] <= 1
        assert finding["frames"] <= max(finding["of_frames"], finding["frames"])


def test_a_draft_beside_the_report(tmp_path: Path) -> None:
    """--draft-profile writes a profile that loads; an old one is not overwritten."""
    shutil.copy(DBC, tmp_path / "my.dbc")
    words = ["inspect", str(LOG), "--dbc", str(tmp_path / "my.dbc")]
    words += ["--draft-profile", str(tmp_path / "my.toml")]
    assert main(words) == 0
    assert load_profile(tmp_path / "my.toml")[0].integrity
    assert main(words) == 78
    assert main(["inspect", str(LOG), "--draft-profile", str(tmp_path / "b.toml")]) == 78


def test_without_a_dbc_the_bytes_speak(capsys: Words) -> None:
    """Counters, checksums and periods need no DBC."""
    assert main(["inspect", str(LOG)]) == 0
    text = capsys.readouterr().out
    assert "0x1801E5F4: byte [7] is a checksum" in text
    assert "0x180CE5F4" in text  # pages of cell voltages
    assert "goes through 16 values" in text


def test_a_log_without_frames_is_exit_1(tmp_path: Path, capsys: Words) -> None:
    """And says so."""
    log = tmp_path / "x.log"
    log.write_text("nothing here\n", encoding="ascii")
    assert main(["inspect", str(log)]) == 1
    assert "no data frame" in capsys.readouterr().out


class Tags(HTMLParser):
    """Gathers tags, attributes and text."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: dict[str, set[str]] = {}
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag."""
        self.tags.append(tag)
        for name, value in attrs:
            self.attributes.setdefault(name, set()).add(value or "")

    def handle_data(self, data: str) -> None:
        """Note text."""
        self.text += data


def report(tmp_path: Path, name: str, dbc: str) -> Report:
    """Examine some frames with a DBC of this text."""
    path = tmp_path / name
    path.write_text(dbc, encoding="utf-8")
    frames = [
        Frame(n / 10, 256, extended=False, data=bytes([n % 3, 7, n % 250, 0, 1, 200, 0, 0]))
        for n in range(100)
    ]
    return Report(f"{EVIL}.log", examined(frames, load(path)), ())


def test_what_comes_from_files_is_only_text(tmp_path: Path) -> None:
    """Unit, choice, file name: never a tag, never a script; the page asks for nothing."""
    evil = TINY.replace('"A" EMS', f'"{EVIL}" EMS').replace('"closed"', f'"{EVIL}"')
    found = Tags()
    text = page(report(tmp_path, "evil.dbc", evil), EN)
    found.feed(text)
    assert "script" not in found.tags
    assert EVIL in found.text
    assert not {"src", "href", "onload", "onclick"} & set(found.attributes)
    assert "http:" not in text
    assert "https:" not in text
    assert "default-src 'none'" in text


def test_signs_that_turn_text_are_replaced(tmp_path: Path) -> None:
    """A name with a direction mark cannot pass for another."""
    seen = report(tmp_path, "x.dbc", TINY)
    text = page(seen._replace(log="a\u202egol.exe"), EN)
    assert "\u202e" not in text
    assert "\ufffd" in text


@pytest.mark.parametrize("language", LANGUAGES)
def test_both_languages_are_in_the_page(language: str) -> None:
    """The switch needs no script; --lang says which is shown first."""
    loaded = load_profile(DBC.with_suffix(".toml"))
    seen = examined(recorded(), loaded[1], loaded[0])
    text = page(Report("x.log", seen, ()), language)
    assert "Findings" in text
    assert "发现" in text
    assert f'id="{language}" checked' in text
    found = Tags()
    found.feed(text)
    assert found.tags.count("figure") >= 10
    assert not re.search(r"\bnan\b|\binf\b", text)


def test_the_first_sentence_claims_no_more_than_was_seen() -> None:
    """The right DBC; another one; one of which hardly anything is heard."""
    frames = recorded()
    strange = [
        frames[0]._replace(at_s=frames[0].at_s + number / 10, can_id=0x1700, data=bytes(8))
        for number in range(200)
    ]
    little = [frame for frame in frames if frame.can_id == 0x1803E5F4]
    whole = verdict(Report("x", examined(frames), ()))[EN]
    other = verdict(Report("x", examined(frames, load(DBC.with_name("orion2.dbc"))), ()))[EN]
    thin = verdict(Report("x", examined([*little, *strange]), ()))[EN]
    assert "plainly contradicts" in whole
    assert "probably not the one" in other
    assert "too little to say" in thin


@pytest.mark.parametrize("values", [[0.0], [1e-300, 2e-300], [1e300, -1e300], [5.0, 5.0], [-1, 1]])
def test_any_values_make_a_plot(values: list[float]) -> None:
    """One value, a constant, the smallest and largest numbers."""
    curve = Curve([float(n) for n in range(len(values))], values, values, {})
    drawn = plot("x", "V", curve, float(len(values)))
    assert drawn.line.startswith("M")
    assert not re.search("nan|inf", drawn.line + drawn.band)
    assert len(drawn.y_ticks) < 20


def test_ticks_are_round_numbers() -> None:
    """Within the range, a handful."""
    assert nice(0, 30, 6) == [0, 5, 10, 15, 20, 25, 30]
    assert nice(3261, 3337, 4) == [3280, 3300, 3320]


def test_braces_in_names_are_no_places() -> None:
    """A subject with braces is text, not a format."""
    finding = Finding("length", Weight.WRONG, "{x} {0}", 1, 1, 2, None, 1,
                      {"stated": 8, "found": 7, "others": 0})  # fmt: skip
    assert "{x} {0}" in words_of(finding, EN).text
