"""What a C programmer would write: cantools' generated decoder behind a small candump parser."""

import subprocess
from pathlib import Path

from cantools.database import load_file
from cantools.database.can import Database, Message
from cantools.database.can.c_source import camel_to_snake_case, generate

from bms_can.layout import Page, page_of

PREFIX = "site"
PARSER = """\
#include <stdio.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "site.h"

static double sum;
static long frames, values;
#define VALUE(x) do { sum += (x); values++; } while (0)

static void decode(uint32_t id, const uint8_t *data, size_t size)
{
    switch (id) {
@CASES@
    default: break;
    }
}

static uint8_t nibble[256]; /* a branch on random digits would be guessed wrong */

static void fill(void)
{
    for (int value = 0; value < 16; value++)
        nibble[(int)"0123456789ABCDEF"[value]] = nibble[(int)"0123456789abcdef"[value]] =
            (uint8_t)value;
}

static void line(const char *p, double *now)
{
    uint64_t us = 0;
    uint32_t id = 0;
    uint8_t data[8];
    size_t size = 0;
    for (p++; *p != ')'; p++)
        if (*p != '.') us = us * 10 + (uint64_t)(*p - '0');
    *now = (double)us / 1e6;
    for (p += 2; *p != ' '; p++) {}
    for (p++; *p != '#'; p++) id = id << 4 | nibble[(uint8_t)*p];
    for (p++; *p > ' ' && size < 8; p += 2)
        data[size++] = (uint8_t)(nibble[(uint8_t)p[0]] << 4 | nibble[(uint8_t)p[1]]);
    frames++;
    decode(id, data, size);
}

int main(int argc, char **argv)
{
    enum { ROOM = 1 << 20 };
    char *text = malloc(ROOM + 1);
    size_t left = 0, got;
    double now = 0;
    FILE *log = argc > 1 ? fopen(argv[1], "rb") : NULL;
    if (!log || !text) return 1;
    fill();
    while ((got = fread(text + left, 1, ROOM - left, log)) > 0) {
        char *at = text, *end = text + left + got, *stop;
        while ((stop = memchr(at, '\\n', (size_t)(end - at)))) {
            line(at, &now);
            at = stop + 1;
        }
        left = (size_t)(end - at);
        memmove(text, at, left);
    }
    printf("frames=%ld values=%ld\\n", frames, values);
    fprintf(stderr, "%f %f\\n", sum, now);
    return 0;
}
"""


def build(dbc: Path, folder: Path) -> Path:
    """Generate, compile and return the program.

    Raises:
        OSError: there is no C compiler.
        subprocess.CalledProcessError: it refused.
    """
    folder.mkdir(parents=True, exist_ok=True)
    database = load_file(str(dbc))
    if not isinstance(database, Database):
        raise TypeError(f"{dbc}: not a CAN database")
    header, source, *_ = generate(database, PREFIX, "site.h", "site.c", "fuzz.c")
    cases = "\n".join(_case(message) for message in database.messages)
    for name, text in (
        ("site.h", header),
        ("site.c", source),
        ("main.c", PARSER.replace("@CASES@", cases)),
    ):
        (folder / name).write_text(text)
    program = folder / "replay"
    files = [str(folder / name) for name in ("main.c", "site.c")]
    subprocess.run(["cc", "-O2", "-o", str(program), *files], check=True)  # noqa: S603, S607 - the compiler
    return program


def _case(message: Message) -> str:
    name = f"{PREFIX}_{camel_to_snake_case(message.name)}"
    return f"""\
    case 0x{message.frame_id:X}u: {{
        struct {name}_t m;
        if ({name}_unpack(&m, data, size) == 0) {{
{_page(name, page_of(message))}
        }}
        break;
    }}"""


def _page(name: str, page: Page) -> str:
    fields = [camel_to_snake_case(each) for each in page.names]
    lines = [f"            VALUE({name}_{field}_decode(m.{field}));" for field in fields]
    for mux, pages in page.muxes.items():
        lines.append(f"            switch (m.{camel_to_snake_case(mux)}) {{")
        for value, child in pages.items():
            lines += [f"            case {value}:", _page(name, child), "            break;"]
        lines.append("            default: break; }")
    return "\n".join(lines)
