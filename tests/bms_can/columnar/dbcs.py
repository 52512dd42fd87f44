"""Random databases and frames for them: the case material for decoding. A case is a seed."""

from collections.abc import Iterator
from random import Random
from typing import NamedTuple

from bms_can.frame import Frame
from bms_can.layout import FD_LENGTHS, wire_length

FACTORS = (
    *("1", "1", "1", "1.0", "2", "-1", "10", "0.1", "0.5", "0.001", "-0.25", "1e-05", "0"),
    *("3", "7", "12345678901", "0.3333333", "100000", "9007199254740993"),
)
OFFSETS = ("0", "0", "0", "0", "-40", "0.5", "-273.15", "1000", "-1.5", "98765432109876", "1e3")
PATTERNS = (b"\0", b"\xff", b"\x80\0", b"\x7f\xff", b"\0\0\x80\x7f", b"\x7f\xf8\0", b"\xaa")


class Made(NamedTuple):
    """A database and the (id, extended, declared length) of its messages."""

    text: str
    messages: tuple[tuple[int, bool, int], ...]


class _Message:
    """One message under construction: signals that share no bit on one page."""

    def __init__(self, random: Random, number: int, size: int, *, overlap: bool) -> None:
        self.random = random
        self.number, self.size, self.overlap = number, size, overlap
        self.lines: list[str] = []
        self.more: list[str] = []
        self.count = 0

    def signals(self, taken: set[int], most: int, mux: str = "") -> list[str]:
        """Add up to so many signals on bits that are not `taken`; return their names."""
        found = []
        for _ in range(most):
            name = self._signal(taken, mux)
            found += [name] if name else []
        return found

    def _signal(self, taken: set[int], mux: str) -> str:
        random = self.random
        kind = random.choices(("int", "float"), (8, 1))[0]
        length = random.choice(
            (1, 1, 2, 4, 7, 8, 8, 12, 16, 16, 24, 31, 32, 33, 48, 53, 63, 64, 64)
        )
        if kind == "float":
            length = random.choice((16, 32, 64))
        elif random.random() < 0.01:
            length = random.randrange(65, 200)
        little = random.random() < 0.5
        place = self._place(taken, length, little=little)
        if place is None:
            return ""
        self.count += 1
        name = f"s{self.count}"
        factor, offset = ("1", "0") if mux.endswith("M") else self._scale()
        where = f"{place}|{length}@{int(little)}{random.choice('+-')}"
        scale = f"({factor},{offset}) [{self._range()}]"
        self.lines.append(f' SG_ {name} {mux} : {where} {scale} "" X')
        if kind == "float":
            self.more.append(f"SIG_VALTYPE_ {self.number} {name} : {2 if length == 64 else 1};")
        return name

    def _scale(self) -> tuple[str, str]:
        if self.random.random() < 0.4:
            return "1", "0"
        return self.random.choice(FACTORS), self.random.choice(OFFSETS)

    def _range(self) -> str:
        if self.random.random() < 0.6:
            return "0|0"
        low = self.random.randrange(-300, 300)
        return f"{low}|{low + self.random.randrange(-1, 2000)}"

    def _place(self, taken: set[int], length: int, *, little: bool) -> int | None:
        """Return a start bit, and take the bits from it."""
        for _ in range(4):
            if length > 8 * self.size:
                return None
            first = self.random.randrange(8 * self.size - length + 1)
            bits = set(range(first, first + length))
            if not little:
                bits = {8 * (bit // 8) + 7 - bit % 8 for bit in bits}
            if self.overlap or not bits & taken:
                taken |= bits
                return first if little else 8 * (first // 8) + 7 - first % 8
        return None

    def multiplexer(self, taken: set[int], above: str = "", depth: int = 0) -> None:
        """Add a multiplexer on its own bits, with pages, and perhaps another below."""
        length = self.random.choice((1, 2, 4, 8, 8, 16))
        little = self.random.random() < 0.7
        start = self._place(taken, length, little=little)
        if start is None:
            return
        self.count += 1
        name = f"s{self.count}"
        kind = f"{above}M"
        self.lines.append(f' SG_ {name} {kind} : {start}|{length}@{int(little)}+ (1,0) [0|0] "" X')
        values = range(0, min(2**length, 40), 2)
        for page in sorted(self.random.sample(values, min(len(values), 4))):
            used = set(taken)
            ids = f"{page}-{page + self.random.randrange(2)}"
            if self.overlap and length > 8:  # pages that share values share signals
                ids += f", {page + 50}-{page + 60}"
            for child in self.signals(used, 3, f"m{page}"):
                self.more.append(f"SG_MUL_VAL_ {self.number} {child} {name} {ids};")
            if depth < 2 and self.random.random() < 0.3:
                before = self.count
                self.multiplexer(used, f"m{page}", depth + 1)
                if self.count > before:
                    self.more.append(f"SG_MUL_VAL_ {self.number} s{before + 1} {name} {ids};")


def dbc(seed: int, *, overlap: bool = False) -> Made:
    """Return a database; without `overlap` no two signals of a frame share a bit."""
    random = Random(seed)  # noqa: S311 - cases, not secrets
    lines = ['VERSION ""', "NS_ :", "BS_:", "BU_: X"]
    more: list[str] = []
    messages = []
    ids = random.sample(range(0x800), 8)
    for place in range(random.randrange(1, 9)):
        extended = random.random() < 0.4
        can_id = ids[place] if random.random() < 0.5 or not extended else random.randrange(1 << 29)
        size = random.choice((8, 8, 8, 8, 7, 6, 4, 3, 2, 1, 0, 10, 30, *FD_LENGTHS))
        number = can_id | (1 << 31 if extended else 0)
        message = _Message(random, number, size, overlap=overlap)
        taken: set[int] = set()
        for _ in range(random.choice((0, 0, 1, 1, 2))):
            message.multiplexer(taken)
        message.signals(taken, random.randrange(1, 14))
        lines += ["", f"BO_ {number} M{place}: {size} X", *message.lines]
        more += message.more
        messages.append((can_id, extended, size))
    lines += ["", f"BO_ {0x7FF} Always: 1 X", ' SG_ s : 0|8@1+ (1,0) [0|0] "" X', "", *more, ""]
    return Made("\n".join(lines), (*messages, (0x7FF, False, 1)))


def frames(made: Made, seed: int, count: int) -> Iterator[Frame]:
    """Yield frames of a database's messages; a few have a strange length, id, or width."""
    random = Random(seed)  # noqa: S311 - cases, not secrets
    for number in range(count):
        can_id, extended, size = random.choice(made.messages)
        length = wire_length(size)
        if random.random() < 0.05:
            length = random.choice((*range(9), *FD_LENGTHS))
        if random.random() < 0.02:
            extended = not extended
        data = random.randbytes(length)
        if random.random() < 0.1:
            data = (random.choice(PATTERNS) * length)[:length]
        elif random.random() < 0.3 and length:
            data = bytes([random.randrange(4)]) + data[1:]
        yield Frame(number / 1000, can_id, extended, data, "")
