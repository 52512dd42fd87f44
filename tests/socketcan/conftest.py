"""These tests run in a guest kernel only: `make socketcan`. Elsewhere nothing is collected."""

import os
from collections.abc import Iterator

import pytest

collect_ignore_glob = [] if os.environ.get("CAN_GUEST") else ["test_*.py"]

if os.environ.get("CAN_GUEST"):
    from tests.socketcan.stage import TABLE, Stage, stage, table_text

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
