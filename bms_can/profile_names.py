"""Names of a profile against the names of its DBC; every miss is recorded with a suggestion."""

from collections.abc import Iterable
from difflib import get_close_matches

from bms_can.database import Database, find, match, raw_values
from bms_can.errors import BadValue
from bms_can.profile import Condition
from bms_can.toml_table import Table

RawValues = frozenset[int | float]


def _hint(word: str, options: Iterable[str]) -> str:
    close = get_close_matches(word, list(options), n=1)
    return f'; did you mean "{close[0]}"?' if close else ""


class Names:
    """Looks up names in one DBC. A wrong name becomes a mistake of the table it stands in."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._all = match(database, "*")

    def exists(self, signal: str) -> bool:
        """Tell whether "Message.Signal" is in the DBC."""
        return find(self.database, signal) is not None

    def has_message(self, message: str) -> bool:
        """Tell whether the DBC has this message."""
        return message in self.database.messages

    def has_signal(self, message: str, signal: str) -> bool:
        """Tell whether the message has this signal."""
        return self.exists(f"{message}.{signal}")

    def bits(self, message: str, signal: str) -> int:
        """Return the length of a signal that exists [bit]."""
        found = find(self.database, f"{message}.{signal}")
        return 0 if found is None else int(found[1].length)

    def pages(self, message: str) -> int:
        """Return how many multiplexer pages the message has, 1 if it is not multiplexed."""
        ids = {
            each
            for signal in self.database.messages[message].signals
            for each in signal.multiplexer_ids or ()
        }
        return max(1, len(ids))

    def comment(self, signal: str) -> str:
        """Return the DBC's comment on a signal, "" if it has none."""
        found = find(self.database, signal)
        return "" if found is None else (found[1].comment or "").strip()

    def unknown(self, signal: str) -> str:
        """Say that a signal does not exist or cannot be used, with a suggestion."""
        message = self.database.messages.get(signal.partition(".")[0])
        names = () if message is None else tuple(s.name for s in message.signals)
        if message is not None and signal.partition(".")[2] in names:
            return f'"{signal}" is not usable in a message of {message.length} bytes'
        return f'the DBC has no signal "{signal}"{_hint(signal, self._all)}'

    def signal(self, table: Table, key: str) -> str:
        """Read one "Message.Signal"; "" when it is missing or does not exist."""
        name = table.text(key)
        if not name:
            return ""
        if not self.exists(name):
            table.wrong(key, self.unknown(name))
            return ""
        return name

    def signals(self, table: Table, key: str) -> tuple[str, ...]:
        """Read one glob or a list of globs over "Message.Signal"; each must match something."""
        found: dict[str, None] = {}
        if table.raw(key, None) == []:
            table.wrong(key, "must not be empty")
        for pattern in self._patterns(table, key):
            matched = match(self.database, pattern)
            if not matched:
                table.wrong(key, f'"{pattern}" matches no signal{_hint(pattern, self._all)}')
            found.update(dict.fromkeys(matched))
        return tuple(found)

    def messages(self, table: Table, key: str) -> tuple[str, ...]:
        """Read a list of message names; each must exist."""
        names = table.texts(key)
        for name in names:
            if not self.has_message(name):
                hint = _hint(name, self.database.messages)
                table.wrong(key, f'the DBC has no message "{name}"{hint}')
        return tuple(name for name in dict.fromkeys(names) if self.has_message(name))

    def values(
        self, table: Table, key: str, signal: str, default: tuple[str, ...] | None = None
    ) -> RawValues:
        """Read a list of choices or raw values of a signal as raw values."""
        given = table.scalars(key) if default is None else table.scalars(key, default)
        found = find(self.database, signal) if signal else None
        if found is None:
            return frozenset()
        if default is None and key in table and not given:
            table.wrong(key, "must not be empty")
        try:
            return raw_values(found[0], found[1], given)
        except BadValue as error:
            table.wrong(key, str(error))
            return frozenset()

    def condition(self, table: Table) -> Condition:
        """Read { signal, values, name }."""
        signal = self.signal(table, "signal")
        values = self.values(table, "values", signal)
        return Condition(signal, values, table.text("name", signal))

    @staticmethod
    def _patterns(table: Table, key: str) -> tuple[str, ...]:
        if isinstance(table.raw(key, ""), str):
            text = table.text(key)
            return (text,) if text else ()
        return table.texts(key)
