"""These tests run in a guest that systemd has started: `make systemd`. Elsewhere none does."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

WHEELS = os.environ.get("SYSTEMD_GUEST", "")
collect_ignore_glob = [] if WHEELS else ["test_*.py"]

if WHEELS:
    from tests.systemd.box import Box, Seen, installed

    @pytest.fixture(scope="session")
    def _followed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Box, Seen]]:
        with installed(tmp_path_factory.mktemp("box"), Path(WHEELS)) as found:
            yield found

    @pytest.fixture(scope="session")
    def box(_followed: tuple[Box, Seen]) -> Box:
        """Return the box; each test leaves the service as installed, running."""
        return _followed[0]

    @pytest.fixture(scope="session")
    def seen(_followed: tuple[Box, Seen]) -> Seen:
        """Return what there was while the page was being followed."""
        return _followed[1]
