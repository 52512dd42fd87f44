"""Lines of text that do something to a simulated battery: for a demo's console or a script. Pure.

charge 50             the inverter charges with 50 A        discharge 50, idle
alarm KEY [LEVEL]     raise an alarm, level 1 if none       clear KEY
fault KEY             latch a fault; clear KEY ends its cause, a fault reset ends the fault
estop | release       emergency stop button                 local | remote
soc 95                set the state of charge [%]
wrong WORD [WORD..]   misbehave, see misbehaviour.NAMED     repair
"""

from collections.abc import Callable, Mapping, Sequence

from bms_can.errors import BadValue
from bms_can.misbehaviour import misbehaviour
from bms_can.pack import WORST_LEVEL, Pack
from bms_can.pack_cells import FULL_PCT

Action = Callable[[Pack], None]
Reader = Callable[[Sequence[str]], Action]


def action(line: str) -> Action:
    """Return what a line asks for, to be given to `Simulator.tell`.

    Raises:
        BadValue: the line means nothing.
    """
    word, *rest = line.split() or [""]
    reader = WORDS.get(word)
    if reader is None:
        raise BadValue(f'"{word}" is none of {", ".join(WORDS)}')
    try:
        return reader(rest)
    except (ValueError, IndexError) as error:
        raise BadValue(f'"{line}": {error}') from error


def _number(rest: Sequence[str], low: float, high: float) -> float:
    value = float(rest[0])
    if not low <= value <= high:
        raise ValueError(f"must be {low:g} to {high:g}")
    return value


def _current(sign: int) -> Reader:
    def read(rest: Sequence[str]) -> Action:
        current_a = sign * _number(rest, 0, 10_000)
        return lambda pack: pack.request_current(current_a)

    return read


def _alarm(rest: Sequence[str]) -> Action:
    key, level = rest[0], int(_number(rest[1:] or ("1",), 1, WORST_LEVEL))
    return lambda pack: pack.raise_alarm(key, level)


def _fault(rest: Sequence[str]) -> Action:
    key = rest[0]
    return lambda pack: pack.raise_alarm(key, WORST_LEVEL, latched=True)


def _clear(rest: Sequence[str]) -> Action:
    key = rest[0]
    return lambda pack: pack.clear_alarm(key)


def _soc(rest: Sequence[str]) -> Action:
    soc_pct = _number(rest, 0, FULL_PCT)
    return lambda pack: setattr(pack.cells, "soc_pct", soc_pct)


def _wrong(rest: Sequence[str]) -> Action:
    wrong = misbehaviour(rest)
    return lambda pack: pack.misbehave(wrong)


def _plain(act: Action) -> Reader:
    return lambda _: act


WORDS: Mapping[str, Reader] = {
    "charge": _current(1),
    "discharge": _current(-1),
    "idle": _plain(lambda pack: pack.request_current(0.0)),
    "alarm": _alarm,
    "fault": _fault,
    "clear": _clear,
    "estop": _plain(Pack.press_emergency_stop),
    "release": _plain(Pack.release_emergency_stop),
    "local": _plain(lambda pack: setattr(pack, "remote", False)),
    "remote": _plain(lambda pack: setattr(pack, "remote", True)),
    "soc": _soc,
    "wrong": _wrong,
    "repair": _plain(Pack.misbehave),
}
