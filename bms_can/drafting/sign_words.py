"""What a DBC's comment says about the sign of a current. Pure.

Sentence by sentence, and in it part by part between commas: a sign and a direction beside each
other make a statement ("positive while the battery is discharged", "charging = negative"). A text
that says both, denies, or mixes signs and directions says nothing: a person has to.
"""

import re
from collections.abc import Iterator
from itertools import pairwise

_SENTENCES = re.compile(r"\.(?!\d)|[;!?。；！？]")
_PARTS = re.compile(r"[,，、]")
_THINGS = (
    r"(?!\W*(terminal|pole|contactor|relay|electrode|side|bus|wire|cable|lead|rail|temperature))"
)
_TOKENS = re.compile(
    rf"(?P<positive>\bpositive\b{_THINGS}|>=? ?0(?![.\d])|(?<!\w)\+(ve\b|(?!\w))"
    r"|正(?![极常在确端]))"
    rf"|(?P<negative>\bnegative\b{_THINGS}|<=? ?0(?![.\d])|(?<!\w)[-−]ve\b|\([-−]\)"
    r"|[-−](?= ?[=:])|(?<=[=:] )[-−](?!\w)|负(?![极载责端]))"
    r"|(?P<discharging>\b(dis|de)-?charg\w*|(?<!充)放电)"
    r"|(?P<charging>(?<!state of )(?<![-\w])(re)?charg(e|ed|es|ing)\b(?! (limit|counter|state))"
    r"|充电)",
    re.IGNORECASE,
)
_NEUTRAL = re.compile(  # the name of the signal, not what its sign means
    r"\b(dis)?charg\w* *(/|and|&) *(dis)?charg\w* +current", re.IGNORECASE
)
_DENIED = re.compile(
    r"\b(not|never|non|neither|nor|invert\w*|opposite|reverse[ds]?|unless|except|depend\w*|maybe)\b"
    r"|n't\b|false positive|不|非|未|反",
    re.IGNORECASE,
)
_SIGNS = ("positive", "negative")
_OTHER = {"charging": "discharging", "discharging": "charging"}
_UNCLEAR = ""


def positive_means(comment: str) -> str:
    """Return what a positive current is: "charging", "discharging", or "" if it does not say."""
    text = _NEUTRAL.sub(" current", " ".join(comment.split()))
    said = {found for sentence in _SENTENCES.split(text) for found in _statements(sentence)}
    return said.pop() if len(said) == 1 else _UNCLEAR


def _statements(sentence: str) -> Iterator[str]:
    """Yield what each statement makes of a positive current; "" for one that is not clear."""
    for part in _PARTS.split(sentence):
        kinds = [str(token.lastgroup) for token in _TOKENS.finditer(part)]
        signs = [kind in _SIGNS for kind in kinds]
        if len(set(signs)) < 2:  # noqa: PLR2004 - signs alone or directions alone: no statement
            continue
        mixed = len(signs) % 2 or any(a == b for a, b in pairwise(signs))
        if mixed or _DENIED.search(sentence):
            yield _UNCLEAR
            continue
        for one, other in zip(kinds[::2], kinds[1::2], strict=True):
            sign, direction = (one, other) if one in _SIGNS else (other, one)
            yield direction if sign == "positive" else _OTHER[direction]
