"""Text of a TOML file with comments. Words from files cannot end a comment or a string."""

import json
import re

WIDTH = 118


def comment(text: str, head: str = "# ") -> list[str]:
    """Return comment lines; whatever could end a line becomes a blank."""
    plain = "".join(each if each.isprintable() else " " for each in text)
    lines: list[str] = []
    line = ""
    for word in plain.split():
        if line and len(head) + len(line) + 1 + len(word) > WIDTH:
            lines.append(head + line)
            line = word
        else:
            line = f"{line} {word}" if line else word
    return [*lines, head + line] if line else lines


def quoted(text: str) -> str:
    """Return a TOML string."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007F")


def listed(names: list[str]) -> str:
    """Return a TOML list of strings, a few on a line."""
    items = [quoted(name) for name in names]
    if sum(map(len, items)) < WIDTH - 20:
        return f"[{', '.join(items)}]"
    lines = "".join(f"  {item},\n" for item in items)
    return f"[\n{lines}]"


def glob(name: str) -> str:
    """Return a pattern that fits this name only."""
    return re.sub(r"([*?\[])", r"[\1]", name)


def off(lines: list[str]) -> list[str]:
    """Return lines commented out."""
    return [f"#{line}" for text in lines for line in text.splitlines()]
