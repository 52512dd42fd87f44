"""The page: served with its policy, whole, and unable to make markup of what it is told."""

import re
from collections.abc import Iterator
from importlib import resources

import httpx
import pytest

from tests.contract.conftest import Ems

FOLDER = resources.files("ems").joinpath("web")
SCRIPTS = sorted(item.name for item in FOLDER.iterdir() if item.name.endswith(".js"))


def source(name: str) -> str:
    """Read a file of the page as it stands in the package."""
    return FOLDER.joinpath(name).read_text(encoding="utf-8")


def code(name: str) -> str:
    """Read a script without its comments."""
    return "\n".join(
        line for line in source(name).splitlines() if not line.lstrip().startswith("//")
    )


@pytest.fixture(scope="module")
def web(ems: Ems) -> Iterator[httpx.Client]:
    """Give a browser's client, without a key."""
    with httpx.Client(base_url=ems.root, trust_env=False) as client:
        yield client


def test_the_page_and_all_that_it_asks_for(web: httpx.Client) -> None:
    """Everything named in the page and in the imports is served, with the right type and policy."""
    page = web.get("/")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    wanted = re.findall(r'(?:src|href)="(web/[^"]+)"', page.text)
    assert wanted
    seen: set[str] = set()
    while wanted:
        path = wanted.pop()
        if path in seen:
            continue
        seen.add(path)
        answer = web.get("/" + path)
        kind = "text/javascript" if path.endswith(".js") else "text/css"
        assert (answer.status_code, answer.headers["content-type"].split(";")[0]) == (200, kind)
        assert answer.text == source(path.removeprefix("web/"))
        wanted += ["web/" + name for name in re.findall(r'from "\./([^"]+)"', answer.text)]
        check_policy(answer)
    check_policy(page)
    assert {name.removeprefix("web/") for name in seen if name.endswith(".js")} == set(SCRIPTS)


def check_policy(answer: httpx.Response) -> None:
    """Check the headers that keep everything else out."""
    policy = dict(
        part.strip().partition(" ")[::2]
        for part in answer.headers["content-security-policy"].split(";")
    )
    assert policy == {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "connect-src": "'self'",
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
        "require-trusted-types-for": "'script'",
        "trusted-types": "'none'",
    }
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    "path", ["/web/", "/web/none.js", "/web/docs.html", "/web/../cli.py", "/web/%2e%2e%2fcli.py"]
)
def test_nothing_else_is_served(web: httpx.Client, path: str) -> None:
    """Only the files of the page have an address."""
    answer = web.get(path)
    assert (answer.status_code, answer.json()["code"]) == (404, 100007)


@pytest.mark.parametrize("name", ["fleet.html", "fleet.css", *SCRIPTS])
def test_no_address_of_another_host(name: str) -> None:
    """The page works on a site without internet: no file names any other place."""
    text = source(name) if not name.endswith(".js") else code(name)
    assert not re.search(r"(?:https?|wss?|ftp):|[\"'(]//|@import|url\(", text)


@pytest.mark.parametrize("name", SCRIPTS)
def test_text_stays_text(name: str) -> None:
    """No script can turn a string into markup or code: strings become text nodes, in one place."""
    text = code(name)
    sinks = (
        r"innerHTML|outerHTML|insertAdjacentHTML|setHTML|srcdoc|document\.write|DOMParser|"
        r"createContextualFragment|\beval\b|\bFunction\(|\bimport\(|javascript:|\.on[a-z]+\s*=|"
        r"setTimeout\([\"'`]|setInterval\([\"'`]|localStorage|document\.cookie|window\.open"
    )
    assert re.findall(sinks, text) == []
    if name != "dom.js":
        assert re.findall(r"createElement|createTextNode|cloneNode|<[a-zA-Z/!]", text) == []
    for attribute in re.findall(r"setAttribute\(([^,)]*)", text):
        assert attribute in {'"aria-label"', '"role"'}
    for target in re.findall(r"\.(?:href|src|action)\s*=\s*([^;]*)", text):
        assert target.startswith(('"docs"', '"#/')), target


def test_inline_scripts_and_styles_are_not_needed() -> None:
    """The policy forbids them, so there are none."""
    page = source("fleet.html")
    assert re.findall(r"<script(?![^>]*src=)", page) == []
    assert "<style" not in page
    assert not re.search(r"\s(on[a-z]+|style)=", page)


def test_every_text_is_there_in_both_languages() -> None:
    """Each word that a script asks for exists, in Chinese and in English."""
    table = source("texts.js").partition("// Telemetry")[0]
    entries = re.findall(r'(?:^|[\s{,])"?([A-Za-z0-9_-]+)"?: \["([^"]*)", "([^"]*)"\]', table)
    known = {name for name, _, _ in entries}
    assert len(known) == len(entries) > 100
    assert all(chinese and english for _, chinese, english in entries)
    for script in SCRIPTS:
        for name in re.findall(r'\bt\("([A-Za-z0-9_-]+)"\)', code(script)):
            assert name in known, (script, name)
    states = re.search(r"const RUNGS = \[([^\]]*)\]", source("life.js"))
    assert states is not None
    assert {f"state-{name}" for name in re.findall(r'"(\w+)"', states.group(1))} <= known


def test_unknown_never_looks_like_powered_down() -> None:
    """The two have different words, signs and style rules in both languages."""
    table = source("texts.js")
    words = {
        name: re.search(rf'\b{name}: \["([^"]*)", "([^"]*)"\]', table) for name in ("s1", "unknown")
    }
    down, unknown = words["s1"], words["unknown"]
    assert down is not None
    assert unknown is not None
    assert down.group(1)[0] != unknown.group(1)[0]
    assert unknown.groups() == ("? 未知", "? UNKNOWN")
    css = source("fleet.css")
    assert "repeating-linear-gradient" in css.partition(".status.unknown {")[2].partition("}")[0]
    assert "gradient" not in css.partition(".status.s1 {")[2].partition("}")[0]


def test_a_rung_of_the_ladder_breaks_inside_no_word() -> None:
    """It is as wide as its text and goes to the next row as a whole."""
    rung = source("fleet.css").split(".ladder li {", 1)[1].partition("}")[0]
    assert "min-width: max-content" in rung
    assert "white-space: nowrap" in rung
    assert "overflow-wrap" not in rung
