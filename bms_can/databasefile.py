"""The text of a CAN database: encoding, parsing by cantools, and what is mended on the way.

The only place that parses a database; cantools' errors become BadDatabase here (traps 17, 18b).
"""

import logging
import re
from collections.abc import Iterator

import cantools
from cantools.database.can import Database as CanDatabase
from cantools.database.errors import UnsupportedDatabaseFormatError

from bms_can.errors import BadDatabase

FORMATS = {".dbc": "dbc", ".kcd": "kcd", ".sym": "sym", ".arxml": "arxml"}
ENCODINGS = ("utf-8", "gb18030", "cp1252")  # strict, in this order; cp1252 alone garbles Chinese
BOMS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
MENDS = 16  # each changes the text or is the last; makers' files need up to five
MOST_BYTES = 4096  # of one message: ISO-TP carries 4095
SIZES = {  # where a file says how long something is, or where it starts [bytes or bits]
    "dbc": r"^[ \t]*(?:BO_\s+\d+\s+\w+\s*:\s*(\d+)|SG_\s[^:\n]*:\s*(\d+)\|(\d+)@)",
    "kcd": r'\b(?:length|offset)\s*=\s*["\'](\d+)',
    "sym": r"\b(?:Len|DLC)\s*=\s*(\d+)|^(?:Sig|Var|Mux|Enum)=[^/\n]*?\s(\d+)(?:\s*,\s*(\d+))?",
    "arxml": r"<(?:FRAME-LENGTH|LENGTH|START-POSITION|BASE-TYPE-SIZE)>\s*(\d+)",
}
UNUSED = re.compile(r"^\s*(VAL_|SIG_VALTYPE_) (\d+) (\S+)$", re.MULTILINE)


logging.getLogger("cantools").addHandler(logging.NullHandler())  # what it says is in our warnings


def decoded(content: bytes, path: str) -> tuple[str, str]:
    """Return the text of a file and the encoding it was read with.

    Raises:
        BadDatabase: none fits, or the file breaks the encoding that its own mark names.
    """
    for bom, encoding in BOMS:
        if content.startswith(bom):
            return _strictly(content, encoding, path), encoding
    for encoding in ENCODINGS:
        try:
            return content.decode(encoding), encoding
        except UnicodeDecodeError:
            continue
    raise BadDatabase(path, [f"the text is none of {', '.join(ENCODINGS)}"])


def _strictly(content: bytes, encoding: str, path: str) -> str:
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise BadDatabase(path, [f"line {line}: not {encoding}, as its mark says"]) from error


def parsed(text: str, kind: str, path: str) -> tuple[CanDatabase, list[str]]:
    """Return the database in a text, and a line for everything that was mended or let pass.

    Args:
        text: the file's content.
        kind: one of the values of `FORMATS`.
        path: named in errors.

    Raises:
        BadDatabase: cantools' reason, with the line where it names one.
    """
    if absurd := list(_absurd(text, kind)):
        raise BadDatabase(path, absurd)
    notes: list[str] = []
    lenient = ""
    for _ in range(MENDS):
        try:
            found = cantools.database.load_string(text, database_format=kind, strict=not lenient)
        except UnsupportedDatabaseFormatError as error:
            reason = _reason(error)
            mended, more = _mended(text, reason) if kind == "dbc" else (text, [])
            notes += more
            if mended == text and lenient:
                raise BadDatabase(path, [_with_line(reason), *notes]) from error
            lenient = lenient or (reason if mended == text else "")
            text = mended
        else:
            if lenient:
                notes.append(f"loaded without layout checks, because: {_with_line(lenient)}")
            return _can_database(found, path), notes
    raise BadDatabase(path, ["cannot be mended", *notes])


def _absurd(text: str, kind: str) -> Iterator[str]:
    """Yield a line for each size that no CAN message has: cantools would count for hours."""
    for found in re.finditer(SIZES[kind], text, re.MULTILINE):
        if sum(int(each or 0) for each in found.groups()) > 8 * MOST_BYTES:
            line = text.count("\n", 0, found.end()) + 1
            yield f"line {line}: {found[0].strip()} is more than a message of {MOST_BYTES} bytes"


def _can_database(found: object, path: str) -> CanDatabase:
    if not isinstance(found, CanDatabase):
        raise BadDatabase(path, ["holds no CAN messages"])
    return found


def _reason(error: UnsupportedDatabaseFormatError) -> str:
    causes = (error.e_dbc, error.e_kcd, error.e_sym, error.e_arxml)
    cause = next((cause for cause in causes if cause is not None), error)
    return str(cause) or type(cause).__name__


def _with_line(reason: str) -> str:
    """Put the line number first, where cantools names one."""
    found = re.search(r"at line (\d+)", reason)
    return f"line {found[1]}: {reason}" if found else reason


def _mended(text: str, reason: str) -> tuple[str, list[str]]:
    """Return the text without the cause of the refusal, or unchanged, and what was done."""
    if reason.startswith("unused "):
        return _without_unused(text, reason)
    if re.search(r"^\s*BS_\s*:", text, re.MULTILINE) is None:
        mended, count = re.subn(
            r"^(?=\s*(?:BU_|BO_)[\s:])", "BS_: ", text, count=1, flags=re.MULTILINE
        )
        return mended, ["no BS_: line; read as if it had one"] * count
    return text, []


def _without_unused(text: str, reason: str) -> tuple[str, list[str]]:
    """Blank out the named entries; line breaks stay, so line numbers stay."""
    notes = []
    for keyword, number, name in UNUSED.findall(reason):
        entry = re.compile(
            rf'^[ \t]*{keyword}\s+{number}\s+{re.escape(name)}\b(?:"(?:[^"\\]|\\.)*"|[^";])*;',
            re.MULTILINE,
        )
        for found in entry.finditer(text):
            line = text.count("\n", 0, found.end(0) - len(found[0].lstrip())) + 1
            notes.append(f"line {line}: {keyword} {number} {name} fits no signal; left out")
        text = entry.sub(lambda found: re.sub(r"[^\n]", " ", found[0]), text)
    return text, notes
