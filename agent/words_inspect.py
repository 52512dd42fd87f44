"""Findings in words, English and Chinese. The words themselves are in templates/findings.toml."""

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import NamedTuple

from bms_can.examine.finding import Finding, Value, Weight

EN, ZH = "en", "zh"
LANGUAGES = (EN, ZH)

WEIGHTS: Mapping[str, Mapping[Weight, str]] = {
    EN: {Weight.WRONG: "does not fit", Weight.LOOK: "have a look", Weight.NOTE: "good to know"},
    ZH: {Weight.WRONG: "不符", Weight.LOOK: "请查看", Weight.NOTE: "供参考"},
}
_SIGNAL = {EN: " (signal {signal})", ZH: "（信号 {signal}）"}
_INSIDE = {EN: " (in signal {inside})", ZH: "（在信号 {inside} 内）"}
_NO_SIGNAL = {EN: " (no signal of the DBC is there)", ZH: "（DBC 在此没有信号）"}
_REQUIRED = {EN: ", although it is required", ZH: "，而它是必需的"}
_STILL = {EN: ": it never changed", ZH: "：从未变化"}
_IN_CHECKSUM = {
    EN: ": it is a part of the checksum in byte [{checksum}]",
    ZH: "：它是字节 [{checksum}] 中校验和的一部分",
}
_NAME = {EN: ' Its name in a profile: "{name}".', ZH: " 在 profile 中名为 “{name}”。"}
_CHECKSUM_ZH = (  # what bms_can.examine.checksums says, in Chinese
    ("sum of the bytes of the identifier and the other bytes", "标识符各字节与其余字节之和"),
    ("sum of identifier, length and the other bytes", "标识符、长度与其余字节之和"),
    ("sum of the other bytes", "其余字节之和"),
    ("XOR of the other bytes", "其余字节异或"),
    (", two's complement", "，取补码"),
    (", inverted", "，取反"),
    (", polynomial ", "，多项式 "),
    (", start ", "，初值 "),
    (", final ", "，结果异或 "),
    (", and a constant ", "，另含常数 "),
    (" (a start value or a data id)", "（初值或数据标识）"),
    (" (for every byte alike; the last is the usual place)", "（对每个字节都成立，通常在最后）"),
    (", plus ", "，加 "),
    (", with ", "，再与 "),
)
_RANGE = {EN: ", {modulo} values from {low}", ZH: "，从 {low} 起共 {modulo} 个值"}
_NO_END = {
    EN: ", at least {seen} values (its end was not seen)",
    ZH: "，至少 {seen} 个值（未见其终点）",
}
_NOTHING = {EN: "nothing", ZH: "无"}


class Words(NamedTuple):
    """Title of a kind of finding, the sentence for one finding, and what a person can do."""

    title: str
    text: str
    advice: str


@cache
def kinds() -> Mapping[str, Mapping[str, Words]]:
    """Return the words by kind and language."""
    text = files("agent").joinpath("templates/findings.toml").read_text(encoding="utf-8")
    return {
        kind: {language: Words(**words) for language, words in by_language.items()}
        for kind, by_language in tomllib.loads(text).items()
    }


def words_of(finding: Finding, language: str) -> Words:
    """Return title, sentence and advice of a finding."""
    words = kinds()[finding.kind][language]
    values = _values(finding, language)
    return Words(words.title, words.text.format_map(values), words.advice.format_map(values))


def percent(share: float) -> str:
    """Return a share as a person reads it; small ones are not rounded to nothing."""
    if not share:
        return "0 %"
    if share < 0.001:  # noqa: PLR2004 - 0.1 %
        return "< 0.1 %"
    if 0.999 < share < 1:  # noqa: PLR2004 - all but a few are not all
        return "> 99.9 %"
    return f"{100 * share:.3g} %"


def _values(finding: Finding, language: str) -> dict[str, Value]:
    numbers = dict(finding.numbers)
    values: dict[str, Value] = {
        "subject": finding.subject,
        "frames": finding.frames,
        "of_frames": finding.of_frames,
        "percent": percent(finding.share),
        "first_line": finding.first_line,
        "required_words": _REQUIRED[language] if numbers.get("required") else "",
        "still_words": _still_words(finding, language),
        "signal_words": _signal_words(finding, language),
        "name_words": _NAME[language].format(**numbers) if numbers.get("name") else "",
        "range_words": _range_words(finding, language),
        "unit_words": f" {numbers['unit']}" if numbers.get("unit") else "",
        "said_words": numbers.get("said") or _NOTHING[language],
    }
    words = numbers.get("words")
    if language == ZH and isinstance(words, str):
        for english, chinese in _CHECKSUM_ZH:
            words = words.replace(english, chinese)
        numbers["words"] = words
    return values | {key: _short(value) for key, value in numbers.items()}


class _Short(float):
    """A number that is written short where a sentence gives no format."""

    def __str__(self) -> str:
        return f"{float(self):.6g}"


def _short(value: Value) -> Value:
    return _Short(value) if isinstance(value, float) else value


def _still_words(finding: Finding, language: str) -> str:
    """Say why a signal that is called a counter does not count, where that is known."""
    if finding.numbers.get("still"):
        return _STILL[language]
    text = _IN_CHECKSUM[language] if finding.numbers.get("checksum") is not None else ""
    return text.format(**finding.numbers)


def _range_words(finding: Finding, language: str) -> str:
    """Say how far a counter counts, as far as that was seen."""
    if "modulo" not in finding.numbers:
        return ""
    text = _NO_END[language] if finding.numbers.get("seen") else _RANGE[language]
    return text.format(**finding.numbers)


def _signal_words(finding: Finding, language: str) -> str:
    """Name the signal at a place; say so where a known message has none."""
    numbers = finding.numbers
    if numbers.get("signal"):
        return _SIGNAL[language].format(**numbers)
    if numbers.get("inside"):
        return _INSIDE[language].format(**numbers)
    return _NO_SIGNAL[language] if numbers.get("missing") else ""
