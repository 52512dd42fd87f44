"""These tests run in a guest kernel only: `make socketcan`. Elsewhere nothing is collected.

They measure how soon the agent notices what happens on a bus that this process plays. Where the
machine stops the process for long, nothing was measured: a test that fails then is run again, twice
at most, and the summary says so, and what had failed. One that fails without a stall has
failed, and so has one in which a control frame went out that nobody had asked for.
"""

import os
import time
from collections.abc import Iterator, Sequence

import pytest
from _pytest.runner import runtestprotocol

collect_ignore_glob = [] if os.environ.get("CAN_GUEST") else ["test_*.py"]

if os.environ.get("CAN_GUEST"):
    from tests.socketcan.stage import TABLE, Stage, stage, table_text
    from tests.socketcan.stalls import Stalls

    MOST_RUNS = 3
    AGAIN: list[str] = []
    STALLS = Stalls()
    STALLS.start()

    def failures(reports: Sequence[pytest.TestReport]) -> Iterator[str]:
        """Yield what failed, in one line each: a person must see what a stall was blamed for."""
        for each in reports:
            if each.failed:
                lines = each.longreprtext.strip().splitlines() or ["no word"]
                said = [line for line in lines if line.lstrip().startswith("E  ")]
                yield f"{each.when}: {(said or lines[-1:])[0].strip()}"

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool:
        """Run a test; again, if it failed and the machine stood still meanwhile."""
        item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        runs = 0
        while True:
            runs, began_s, rows = runs + 1, time.monotonic(), len(TABLE)
            reports = runtestprotocol(item, log=False, nextitem=nextitem)
            stalled_s = STALLS.longest_s(began_s)
            if runs == MOST_RUNS or not stalled_s or not any(each.failed for each in reports):
                break
            if any(row.late_frames for row in TABLE[rows:]):  # no stall of ours makes it send
                break
            AGAIN.append(f"{item.name}: run again, this process stood still for {stalled_s:.2f} s")
            AGAIN.extend(f"  before: {line}" for line in failures(reports))
            del TABLE[rows:]
        for each in reports:
            item.ihook.pytest_runtest_logreport(report=each)
        item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        return True

    @pytest.fixture(scope="session")
    def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
        """Return one agent for all tests: what a fault leaves behind shows in the next one."""
        with stage(tmp_path_factory.mktemp("stage")) as found:
            yield found

    def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
        """Print what was measured."""
        if TABLE:
            terminalreporter.section("faults on a real Linux CAN stack, one agent process")
            terminalreporter.write_line(table_text())
        for line in AGAIN:
            terminalreporter.write_line(line)
