"""The documents say nothing that is not so: links, commands and keys exist."""

import argparse
import os
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.cli import build_parser
from agent.config import load
from agent.config_env import _KINDS
from agent.site import SITE_NUMBERS
from bms_can.toml_table import Table
from ems.cli import _parser as ems_parser

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
PROGRAMS = {"bms-agent": build_parser, "ems-server": ems_parser}
CONFIGURATION = ROOT / "docs" / "configuration.md"
EXAMPLE = ROOT / "deploy" / "agent.toml"


def ids(path: Path) -> str:
    """Name a page in a test's id."""
    return str(path.relative_to(ROOT))


def prose(path: Path) -> str:
    """Return a page without its code blocks."""
    return FENCE.sub("", path.read_text(encoding="utf-8"))


def anchors(path: Path) -> set[str]:
    """Return the anchors that the headings of a page make."""
    heads = re.findall(r"^#+ (.*)$", prose(path), re.MULTILINE)
    kept = [re.sub(r"[^\w\- ]", "", head.lower()) for head in heads]
    return {head.replace(" ", "-") for head in kept}


def lines(path: Path) -> Iterator[str]:
    """Yield the lines of all code blocks, without prompt, path and sudo."""
    for _, block in FENCE.findall(path.read_text(encoding="utf-8")):
        for line in block.splitlines():
            yield re.sub(r"^\s*(\$ )?(sudo )?(\S*/bin/)?", "", line)


def command_lines(path: Path) -> Iterator[list[str]]:
    """Yield the words of each line that starts one of our programs."""
    for line in lines(path):
        if line.startswith(tuple(f"{program} " for program in PROGRAMS)):
            shown = re.split(r"\s{3,}|\s[|>&;]", line)[0]  # then comes an explanation or a pipe
            yield shlex.split(shown, comments=True)


def test_pages_are_found() -> None:
    """The lists below are not empty by mistake."""
    assert {"README.md", "docs/profile.md", "docs/operations.md"} <= {ids(page) for page in PAGES}
    assert sum(len(list(command_lines(page))) for page in PAGES) > 20


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_every_link_leads_somewhere(page: Path) -> None:
    """A relative link names a file that is there, and a heading that is in it."""
    for link in LINK.findall(prose(page)):
        if re.match(r"https?:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_every_module_named_exists(page: Path) -> None:
    """`agent/journal.py` between backticks is a file; a moved module moves in the documents too."""
    named = re.findall(r"`((?:agent|bms_can|ems|tests)/[\w/]+\.py)`", prose(page))
    assert [name for name in named if not (ROOT / name).is_file()] == []


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_every_command_line_would_be_understood(page: Path) -> None:
    """Each printed line of ours passes the real parser: command, options and arguments exist."""
    for words in command_lines(page):
        try:
            PROGRAMS[words[0]]().parse_args(words[1:])
        except SystemExit:
            pytest.fail(f"{page.name}: {shlex.join(words)}")


def subcommands(parser: argparse.ArgumentParser) -> set[str]:
    """Return the commands of a program."""
    found: set[str] = set()
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            found |= set(action.choices)
    return found


@pytest.mark.parametrize("page", PAGES, ids=ids)
@pytest.mark.parametrize("program", PROGRAMS)
def test_every_command_named_in_a_sentence_exists(page: Path, program: str) -> None:
    """`bms-agent X` between backticks."""
    known = subcommands(PROGRAMS[program]())
    named = re.findall(rf"`(?:\S*/)?{program} ([a-z]\w*)", prose(page))
    assert set(named) <= known


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_every_make_target_exists(page: Path) -> None:
    """`make X` or `make X-Y N=1`, in a sentence or a code block."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([\w-]+):", makefile, re.MULTILINE))
    assert {"demo", "real-logs", "bench-replay"} <= targets
    named = re.findall(r"`make\s+([\w-]+)[^`]*`", prose(page))
    named += [line.split()[1] for line in lines(page) if re.match(r"make \w", line)]
    assert set(named) <= targets


def documented() -> set[str]:
    """Return "section.key" for each key in the first column of the tables of configuration.md."""
    found = set()
    section = ""
    for line in CONFIGURATION.read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            name = re.match(r"## `\[+(.+?)\]+`", line)
            section = name[1] if name else ""
        elif line.startswith("| `"):
            found |= {f"{section}.{key}" for key in re.findall(r"`(\w+)`", line.split("|")[1])}
    return found


def example(folder: Path, *, all_keys: bool = False) -> Path:
    """Write deploy/agent.toml with files that are there; `all_keys`: with its comments as keys."""
    (folder / "api-key").write_text("not-a-real-key\n", encoding="ascii")
    os.chmod(folder / "api-key", 0o600)  # noqa: PTH101 - the same call that a person makes
    (folder / "ca.pem").touch()
    text = EXAMPLE.read_text(encoding="utf-8").replace("/etc/bms-agent/", f"{folder}/")
    if all_keys:
        text = re.sub(r"^#(\w+ = )", r"\1", text, flags=re.MULTILINE)
    path = folder / "agent.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def read_by_the_agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Return "section.key" for each key that the real reader asks for."""
    asked: set[str] = set()
    look = Table._look

    def note(table: Table, key: str) -> object:
        asked.add(re.sub(r"\[\d+\]", "", table._where(key)))
        return look(table, key)

    monkeypatch.setattr(Table, "_look", note)
    load(example(tmp_path), {})
    sections = {name.rpartition(".")[0] for name in asked}
    return asked - sections


def test_every_key_is_documented_and_every_documented_key_is_read(
    read_by_the_agent: set[str],
) -> None:
    """docs/configuration.md has the keys of the reader: all of them, and no others."""
    assert len(read_by_the_agent) > 20
    assert documented() == read_by_the_agent


def test_every_variable_is_a_documented_key() -> None:
    """A variable of the environment sets something that the page explains."""
    names = {kind.lower().replace("__n__", "__").replace("__", ".") for kind in _KINDS}
    assert names <= documented()


def test_every_key_of_the_site_is_one_of_the_profile() -> None:
    """[site] says "as in [interlocks]": the profile's page explains each of its numbers."""
    page = (ROOT / "docs" / "profile.md").read_text(encoding="utf-8")
    assert [key for key in SITE_NUMBERS if f"`{key}`" not in page] == []


@pytest.mark.parametrize("all_keys", [False, True])
def test_the_example_configuration_is_accepted(tmp_path: Path, all_keys: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """deploy/agent.toml as it is, and with every commented key switched on."""
    config = load(example(tmp_path, all_keys=all_keys), {})
    assert config.devices[0].read_only


def test_the_example_shows_every_key_with_its_default(tmp_path: Path) -> None:
    """Nobody needs the page to know what there is."""
    shown = tomllib.loads(example(tmp_path, all_keys=True).read_text(encoding="utf-8"))
    found = {
        f"{section}.{key}"
        for section, table in (*shown.items(), ("device", shown["device"][0]))
        if isinstance(table, dict)
        for key in table
    }
    found |= {f"device.can.{key}" for key in shown["device"][0]["can"]}
    assert found - {"device.can"} == documented()
    bare = load(example(tmp_path), {})
    for name in ("sync_period_s", "deadline_s", "poll_wait_s"):
        assert shown["platform"][name] == getattr(bare.platform, name)
    assert shown["agent"]["log_level"] == bare.log_level
