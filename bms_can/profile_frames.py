"""Section [frames] of a profile: corrections to the frames of the DBC."""

from fnmatch import fnmatchcase

from bms_can.database import Database
from bms_can.restated import LENGTHS, Stated, clashes, restated
from bms_can.toml_table import Table

LAST_SOURCE = 0xFD  # J1939-81: FE is "no address", FF is everybody


def read_frames(table: Table, database: Database) -> Database:
    """Return the database as the bus has it: with the lengths and senders that are stated."""
    stated: dict[str, Stated] = {}
    for pattern in dict(table.items()):
        one = table.table(pattern)
        names = [name for name in database.messages if fnmatchcase(name, pattern)]
        if not names:
            table.wrong(pattern, "the DBC has no such message")
        lengths, source = _lengths(one), one.integer("source", None, minimum=0, maximum=LAST_SOURCE)
        if not lengths and source is None:
            one.wrong("", "needs length or source")
        for name in names:
            if source is not None and not database.messages[name].is_extended_frame:
                one.wrong("source", f"{name} has an 11-bit identifier: no J1939 address in it")
            before = stated.get(name, Stated())
            stated[name] = Stated(
                lengths or before.lengths, before.source if source is None else source
            )
    for name in clashes(database, stated):
        table.wrong("", f"{name} would have the identifier of another message")
    return database if table.mistakes else restated(database, stated)


def _lengths(table: Table) -> tuple[int, ...]:
    if isinstance(table.raw("length", None), int):
        found: tuple[object, ...] = (table.integer("length"),)
    else:
        found = tuple(table.scalars("length", ()))
    good = sorted({each for each in found if isinstance(each, int) and each in LENGTHS})
    if len(good) != len(found):
        table.wrong("length", f"must be of {', '.join(map(str, LENGTHS))}, each once")
    return tuple(good)
