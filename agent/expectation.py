"""What a log is expected to say, as a file; and how what it says differs from that.

The format is docs/profile.md, "Test a profile". Unknown keys are refused: a misspelt expectation
must not pass.
"""

import bisect
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bms_can.errors import BadInput
from bms_can.status import BmsStatus
from bms_can.timeline import Change

FORMAT = "bms-agent-expect-1"
TOLERANCE_S = 0.001
KEYS = ("operating_status", "alarm_status", "disconnected", "alarms")
SHOWN = 20

Said = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Expected:
    """What is expected from `rel_s` on (a change) or at `rel_s` (an instant) [s since the start].

    `said` holds those of `KEYS` that the file names; the others do not matter.
    """

    rel_s: float
    said: Said


@dataclass(frozen=True, slots=True)
class Expectation:
    """A whole expectation. `changes` None: the list of changes does not matter."""

    changes: tuple[Expected, ...] | None
    instants: tuple[Expected, ...]
    tolerance_s: float


def said_of(status: BmsStatus) -> dict[str, object]:
    """Return what a status says, with the keys of the file."""
    return {
        "operating_status": None if status.operating is None else int(status.operating),
        "alarm_status": status.alarm_count,
        "disconnected": int(status.disconnected),
        "alarms": sorted(alarm.key for alarm in status.alarms),
    }


def visible(changes: Sequence[Change]) -> list[Expected]:
    """Return the changes that the platform would see: those of `KEYS`, not of the reason."""
    found: list[Expected] = []
    for change in changes:
        said = said_of(change.status)
        if not found or said != found[-1].said:
            found.append(Expected(change.rel_s, said))
    return found


def document(log: str, profile: str, changes: Sequence[Change]) -> str:
    """Return an expectation that fits these changes, as JSON with a change a line."""
    rows = [{"rel_s": round(each.rel_s, 6), **each.said} for each in visible(changes)]
    lines = ",\n".join(f"  {json.dumps(row, ensure_ascii=False)}" for row in rows)
    head = {"format": FORMAT, "log": log, "profile": profile, "tolerance_s": TOLERANCE_S}
    top = json.dumps(head, ensure_ascii=False, indent=1)[:-2]
    return f'{top},\n "changes": [\n{lines}\n ]\n}}\n'


def read_expectation(path: Path) -> Expectation:
    """Read the file.

    Raises:
        BadInput: it cannot be read, or is not of the format; with every mistake.
    """
    try:
        found: object = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise BadInput(str(path), [error.strerror or str(error)]) from error
    except (ValueError, RecursionError) as error:
        raise BadInput(str(path), [f"is not JSON: {error}"]) from error
    reader = _Reader()
    expectation = reader.read(found)
    if reader.mistakes:
        raise BadInput(str(path), reader.mistakes)
    return expectation


class _Reader:
    """Reads the parsed document; mistakes gather in `mistakes`."""

    def __init__(self) -> None:
        self.mistakes: list[str] = []

    def read(self, found: object) -> Expectation:
        top = found if isinstance(found, dict) else {}
        if top.get("format") != FORMAT:
            self.mistakes.append(f'format: must be "{FORMAT}"')
        known = {"format", "log", "profile", "tolerance_s", "changes", "instants"}
        self.mistakes += [f"{key}: is not a known key" for key in top if key not in known]
        if "changes" not in top and "instants" not in top:
            self.mistakes.append("needs changes, instants or both")
        changes = self._list(top, "changes") if "changes" in top else None
        tolerance = top.get("tolerance_s", TOLERANCE_S)
        if type(tolerance) not in (int, float) or tolerance < 0:
            self.mistakes.append("tolerance_s: must be a number that is not negative")
            tolerance = TOLERANCE_S
        return Expectation(changes, self._list(top, "instants"), float(tolerance))

    def _list(self, top: Mapping[str, object], key: str) -> tuple[Expected, ...]:
        rows = top.get(key, [])
        if not isinstance(rows, list):
            self.mistakes.append(f"{key}: must be a list")
            return ()
        return tuple(self._row(f"{key}[{number}]", row) for number, row in enumerate(rows))

    def _row(self, where: str, row: object) -> Expected:
        values = row if isinstance(row, dict) else {}
        rel_s = values.get("rel_s")
        if type(rel_s) not in (int, float):
            self.mistakes.append(f"{where}.rel_s: must be a number of seconds")
            rel_s = 0.0
        said = {key: value for key, value in values.items() if key != "rel_s"}
        for key, value in said.items():
            if why := _mistake(key, value):
                self.mistakes.append(f"{where}.{key}: {why}")
        if not said:
            self.mistakes.append(f"{where}: expects nothing; name one of {', '.join(KEYS)}")
        alarms = said.get("alarms")
        if isinstance(alarms, list):
            said["alarms"] = sorted(str(alarm) for alarm in alarms)
        return Expected(float(rel_s or 0.0), said)


def _mistake(key: str, value: object) -> str:
    if key not in KEYS:
        return f"is not a known key; they are {', '.join(KEYS)}"
    if key == "alarms":
        texts = isinstance(value, list) and all(isinstance(each, str) for each in value)
        return "" if texts else "must be a list of alarm keys"
    if key == "disconnected":
        return "" if value in (0, 1) else "must be 0 or 1"
    if key == "operating_status":
        return "" if value is None or value in (1, 2, 3, 4) else "must be 1 to 4, or null"
    whole = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    return "" if value is None or whole else "must be a number of alarms, or null"


def differences(expectation: Expectation, changes: Sequence[Change]) -> Iterator[str]:
    """Yield how what a log says differs from what is expected, one line each."""
    found = visible(changes)
    if expectation.changes is not None:
        yield from _change_differences(expectation.changes, found, expectation.tolerance_s)
    times = [each.rel_s for each in found]
    for instant in expectation.instants:
        index = bisect.bisect_right(times, instant.rel_s) - 1
        got = found[index].said if index >= 0 else dict.fromkeys(KEYS)
        for key, value in instant.said.items():
            if got[key] != value:
                is_now = f"{key} is {_text(got[key])}"
                yield f"at {instant.rel_s:.6f} s: {is_now}, expected {_text(value)}"


def _change_differences(
    wanted: Sequence[Expected], found: Sequence[Expected], tolerance_s: float
) -> Iterator[str]:
    """Pair the lists in order; a missing or surplus change costs one line, not all behind it."""
    one, other = 0, 0
    while one < len(wanted) and other < len(found):
        want, got = wanted[one], found[other]
        if abs(want.rel_s - got.rel_s) <= tolerance_s:
            wrong = {key: value for key, value in want.said.items() if got.said[key] != value}
            if wrong:
                yield f"! {want.rel_s:12.6f} s  expected {_all(wrong)}"
                instead = {key: got.said[key] for key in wrong}
                yield f"  {got.rel_s:12.6f} s  found    {_all(instead)}"
            one, other = one + 1, other + 1
        elif want.rel_s < got.rel_s:
            yield f"- {want.rel_s:12.6f} s  expected {_all(want.said)}, no change there"
            one += 1
        else:
            yield f"+ {got.rel_s:12.6f} s  found    {_all(got.said)}, not expected"
            other += 1
    for want in wanted[one:]:
        yield f"- {want.rel_s:12.6f} s  expected {_all(want.said)}, no change there"
    for got in found[other:]:
        yield f"+ {got.rel_s:12.6f} s  found    {_all(got.said)}, not expected"


def _all(said: Said) -> str:
    return ", ".join(f"{key} {_text(value)}" for key, value in said.items())


def _text(value: object) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(str, value))}]"
    return "unknown" if value is None else str(value)
