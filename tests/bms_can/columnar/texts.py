"""Candump text as it should not be: the case material for reading logs. A case is a seed."""

import io
from collections.abc import Iterator
from pathlib import Path
from random import Random

from bms_can.candump import candump_frames
from bms_can.errors import BadLogLine
from bms_can.frame import Frame

FD_SIZES = (12, 16, 20, 24, 32, 48, 64)
CHANNELS = (
    "can0",
    "can1",
    "vcan0",
    "c",
    "slcan_with_a_name_of_thirty_five_letters",
    "can#1",
    "总线",
)
ENDS = (b"\n",) * 12 + (b"\r\n", b"\r\n", b"\r", b"\n\r", b" \n", b"\t\r\n", b"\n\n")
ODD_BYTES = b"\r\n\0\t\v\f\x1c\x85\xa0\xef\xbb\xbf\xe2\x80\xa8\xffgGxX#:_.()[]{}' R0fF9"
STRANGE = (
    "",
    " ",
    "# a comment",
    "; a comment",
    "// a comment",
    "(1.000000) can0 123#R",
    "(1.000000) can0 123#r8",
    "(1.000000) can0 20000080#0000000000000000",
    "(1.000000) can0 1FFFFFFF#",
    "(1.000000) can0 3FFFFFFF#00",
    "(1.000000) can0 FFF#00",
    "(1.000000) can0 123#1",
    "(1.000000) can0 123#11223344556677889",
    "(1.000000) can0 123#112233445566778899",
    "(1.000000) can0 123##1",
    "(1.000000) can0 123##",
    "(1.000000) can0 123##1112233445566778899",
    "(1.000000) can0 123#1122_9",
    "(1.000000) can0 123#11.22.33",
    "(1.000000) can0 123#1122 R",
    "(1.000000) can0 123#1122 T",
    "(1.000000) can0 123#1122  t ",
    "(1.000000) can0 123#1122 RT",
    "(1.000000) can0 123#1122 x",
    " (001.000000)  can0  123   [1]  11'.'",
    " (001.000000)  can0  123   [9]  11 22 33 44 55 66 77 88 99",
    "(1.5) can0 45123#81:00:12345678#11223344.556677",
    "can0 123#11",
    "(2025-01-02 03:04:05.678901) can0 123#11",
    "(2025-13-02 03:04:05.678901) can0 123#11",
    " (001.000000)  can0  123   [8]  11 22 33 44 55 66 77 88",
    " (001.000000)  can0  123   [3]  11 22 33   '.\"3'",
    " (001.000000)  can0  123   [3]  11 22",
    " (001.000000)  can0  123  [12]  11 22 33 44 55 66 77 88 99 AA BB CC",
    " (001.000000)  can0  123   [4]  remote request",
    " (001.000000)  can0  20000004   [8]  00 04 00 00 00 00 00 00   ERRORFRAME",
    "  can0  123   [2]  11 22",
    "(9007199254.740993) can0 123#11",
    "(9999999999.999999) can0 123#11",
    "(999999999999.999999999) can0 123#11",
    "(1790000000.123456789) can0 123#11",
    "(000000000.1) can0 123#11",
    "(0000000000.000000) can0 123#11",
    "(1.) can0 123#11",
    "(.1) can0 123#11",
    "(1) can0 123#11",
    "(1.0000000000) can0 123#11",
    "(1.000000)  can0 123#11",
    "(1.000000)can0 123#11",
    "(1.000000)  123#11",
)


def usual(random: Random) -> str:
    """Return a line as `candump -l` writes it."""
    time = f"{random.randrange(2_000_000_000)}.{random.randrange(1_000_000):06}"
    if random.random() < 0.7:
        time = f"{random.randrange(1_500_000_000, 1_800_000_000)}.{random.randrange(1_000_000):06}"
    channel = CHANNELS[min(int(random.expovariate(1)), len(CHANNELS) - 1)]
    can_id = f"{random.randrange(0x800):03X}"
    if random.random() < 0.4:
        can_id = f"{random.randrange(0x20000000):08X}"
    data = random.randbytes(random.choice((8, 8, 8, random.randrange(9)))).hex()
    data = data if random.random() < 0.1 else data.upper()
    if random.random() < 0.05:
        data = f"#{random.randrange(16):X}{random.randbytes(random.choice(FD_SIZES)).hex().upper()}"
    return f"({time}) {channel} {can_id}#{data}{random.choice(('', '', '', ' R', ' T'))}"


def displayed(random: Random) -> str:
    """Return a line as candump shows it, with the bytes as characters behind it or without."""
    time = f"{random.randrange(2000):03}.{random.randrange(1_000_000):06}"
    can_id = random.choice((f"{random.randrange(0x800):03X}", f"{random.randrange(1 << 29):08X}"))
    size = random.choice((8, 8, *range(9), *FD_SIZES))
    data = random.randbytes(size)
    announced = f" [{size}] " if size <= 8 and random.random() < 0.8 else f"[{size:02}] "
    shown = "".join(chr(each) if 32 <= each < 127 else "." for each in data)
    quoted = random.choice(("", "", f"   '{shown}'"))
    gap = random.choice(("  ", " ", "   "))
    head = f" ({time}){gap}{random.choice(CHANNELS)}  {can_id}  {announced} "
    return f"{head}{data.hex(' ').upper()}{quoted}"


def text(seed: int, lines: int, broken: float = 0.4) -> bytes:
    """Return a log of so many lines, a share of them broken or strange."""
    random = Random(seed)  # noqa: S311 - cases, not secrets
    found = [random.choice((b"", b"", b"\xef\xbb\xbf"))]
    for _ in range(lines):
        line = (usual if random.random() < 0.8 else displayed)(random).encode()
        if random.random() < broken:
            line = _broken(random, line)
        found += [line, random.choice(ENDS)]
    if random.random() < 0.5:
        found.pop()  # the last line has no end
    return b"".join(found)


def _broken(random: Random, line: bytes) -> bytes:
    if random.random() < 0.4:
        line = random.choice(STRANGE).encode()
    for _ in range(random.choice((0, 1, 1, 1, 2, 3))):
        at = random.randrange(len(line) + 1)
        kind = random.randrange(5)
        new = bytes([random.choice(ODD_BYTES) if random.random() < 0.8 else random.randrange(256)])
        if kind == 0:
            line = line[:at]
        elif kind == 1:
            line = line[:at] + line[at + random.choice((1, 1, 2, 7)) :]
        elif kind == 2:
            line = line[:at] + line[max(0, at - random.randrange(1, 9)) :]
        else:
            line = line[:at] + new + line[at + kind - 3 :]
    return line


def entries(path: Path) -> Iterator[tuple[int, Frame | BadLogLine]]:
    """Yield number and meaning of each line that has one, by the slow exact parser alone."""
    with path.open("rb") as file:
        mark = file.read(2)
    encoding = "utf-16" if mark in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    with io.open(path, encoding=encoding, errors="replace") as lines:  # noqa: UP020 - as text
        for number, line in enumerate(lines, 1):
            for entry in candump_frames((line,), number):
                yield number, entry
