"""What takes half a minute and waits most of it is started early and read late."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.ems_process import Ems
from tests.system.plant import ROOT
from tests.system.process import Box, new_box

DEMO = [sys.executable, "-m", "agent", "demo", "--once", "--plain"]
FAULTS = ("", "ignore_close")
BATTERY = "pylontech"  # one that can only be read
Started = dict[str, "subprocess.Popen[str]"]


@pytest.fixture(scope="session", autouse=True)
def started_demos(request: pytest.FixtureRequest) -> Iterator[Started]:
    """Start the demonstration on a good and on a bad battery, if a test is going to read it."""
    wanted = any("demos" in getattr(item, "fixturenames", ()) for item in request.session.items)
    started = {fault: _demo(fault) for fault in FAULTS if wanted}
    if wanted:
        started[BATTERY] = _demo("", "--battery", BATTERY)
    yield started
    for process in started.values():
        process.terminate()  # it takes its platform with it
        process.communicate(timeout=30)


def _demo(fault: str, *words: str) -> "subprocess.Popen[str]":
    words = (*words, "--fault", fault) if fault else words
    return subprocess.Popen(  # noqa: S603 - our own program
        [*DEMO, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
    )


@pytest.fixture
def box(tmp_path: Path, ems: Ems) -> Iterator[Box]:
    """Give a box whose bus is a multicast group; skip where the machine has no multicast."""
    with new_box(tmp_path, ems) as found:
        yield found


@pytest.fixture
def operator(box: Box) -> Iterator[httpx.Client]:
    """Give an operator of the box's device alone."""
    with box.ems.client(box.ems.new_operator(box.uid)) as client:
        yield client
