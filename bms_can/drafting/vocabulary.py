"""Words that point to what a signal means. The words themselves are in roles.toml."""

import re
import tomllib
from collections.abc import Mapping
from importlib.resources import files
from typing import NamedTuple

SPLIT = re.compile(r"So[CH](?![a-z])|[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+|[\u4e00-\u9fff]+")
EVERYTHING = re.compile("")


class Role(NamedTuple):
    """What makes a signal a candidate.

    Attributes:
        wanted: in name or comment: needed. strong: makes it more likely.
        against: in name or comment: excluded.
        units: one of these, lower case; empty: any.
        also: in name or comment, or in the name of the message: needed, too.
    """

    wanted: re.Pattern[str]
    strong: re.Pattern[str]
    against: re.Pattern[str]
    units: tuple[str, ...] = ()
    also: re.Pattern[str] = EVERYTHING


def words_of(name: str) -> str:
    """Return the words of a name, lower case, with blanks between them."""
    return " ".join(part.lower() for part in SPLIT.findall(name))


_FILE = tomllib.loads(files("bms_can.drafting").joinpath("roles.toml").read_text(encoding="utf-8"))


def _pattern(text: str) -> re.Pattern[str]:
    """Return a pattern that finds any of the words: a Chinese one anywhere, others as words."""
    words: list[str] = []
    for word in text.split():
        words += _FILE["groups"][word[1:]].split() if word.startswith("@") else [word]
    chinese = [word for word in words if not word.isascii()]
    latin = [word.replace("~", r"\w*") for word in words if word.isascii()]
    return re.compile("|".join([*chinese, rf"\b(?:{'|'.join(latin)})\b"]), re.IGNORECASE)


def _role(given: Mapping[str, object]) -> Role:
    wanted, strong, against = (_pattern(str(given[key])) for key in ("wanted", "strong", "against"))
    units = given.get("units", ())
    also = _pattern(str(given["also"])) if "also" in given else EVERYTHING
    return Role(wanted, strong, against, tuple(units) if isinstance(units, list) else (), also)


ROLES: Mapping[str, Role] = {name: _role(given) for name, given in _FILE["roles"].items()}
MUST_BE_STRONG = frozenset(name for name in ROLES if name.startswith(("highest_", "lowest_")))
MESSAGE_FOR = _pattern(_FILE["messages"]["for"])
MESSAGE_AGAINST = _pattern(_FILE["messages"]["against"])
COMMAND = _pattern(_FILE["messages"]["command"])

MAY_TELL = _pattern("@tells")
COUNTED = _pattern(
    "count~ cnt num~ time~ counter index @current @volt @temp soc soh balanc~ @limit"
)

CLOSED_WORDS = re.compile(
    r"^(close[d]?|on|engaged|energi[sz]ed|connected|闭合|吸合|合)$", re.IGNORECASE
)
OPEN_WORDS = re.compile(r"^(open(ed)?|off|disengaged|disconnected|断开|分|打开)$", re.IGNORECASE)
STATE_WORDS: Mapping[int, re.Pattern[str]] = {
    1: re.compile(
        r"^(\w+ )?(off|sleep(ing)?|shut ?down|power(ed)? ?(off|down)|下电|断电|休眠|关机)$",
        re.IGNORECASE,
    ),
    3: re.compile(r"^(\w+ )?(charg(e|ing)|充电)$", re.IGNORECASE),
    4: re.compile(r"^(\w+ )?(discharg(e|ing)|放电)$", re.IGNORECASE),
}
NOT_STATE = re.compile(
    r"(not|no|end|stop|finish|complete|ready|fault|error|pre|禁|完成)", re.IGNORECASE
)
NO_VALUE = re.compile(
    r"\b(not (available|supported|valid)|n a|sna|snv|invalid|reserved|unknown)\b|无效|保留",
    re.IGNORECASE,
)
