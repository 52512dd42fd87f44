"""A real `ems-server` process on a free port, and keys for it."""

import itertools
import os
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from ems.clock import SystemClock
from ems.database import open_database
from ems.registry import Registry

#: Start-up must not take longer than this [s].
START_S = 20.0
#: Tests call more often than people and boxes do; those of the limits set their own.
NO_LIMITS = ["--operator-per-s", "100000", "--device-per-s", "100000"]
NO_LIMITS += ["--refused-per-min", "100000"]
#: Loading the certificates of the system takes 50 ms a client, and nobody here speaks TLS.
_NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


@dataclass
class Ems:
    """One platform process on one database. `url` ends with the vendor's prefix."""

    db: Path
    arguments: tuple[str, ...] = ()
    url: str = ""
    operator_key: str = field(default="", repr=False)
    _process: "subprocess.Popen[str] | None" = None
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    @property
    def root(self) -> str:
        """Return the address without the prefix."""
        return self.url.removesuffix("/wad/ems/v1/api")

    @property
    def pid(self) -> int:
        """Return the id of the running process."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start the process and wait until it accepts connections."""
        ready = self.db.with_suffix(".ready")
        ready.unlink(missing_ok=True)
        command = [sys.executable, "-m", "ems", "run", "--db", str(self.db), "--port", "0"]
        command += NO_LIMITS
        log = self.db.with_suffix(".log").open("a", encoding="utf-8")
        with log:
            self._process = subprocess.Popen(  # noqa: S603  # our own program
                [*command, "--ready-file", str(ready), *self.arguments],
                stdout=log,
                stderr=log,
                text=True,
            )
        until_s = time.monotonic() + START_S
        while not ready.exists():
            assert self._process.poll() is None, self.log()
            assert time.monotonic() < until_s, self.log()
            time.sleep(0.02)
        self.url = ready.read_text(encoding="utf-8").split(" on ", 1)[1].strip()

    def restart(self) -> None:
        """Start the process again after `stop`, on the same database and the same port."""
        port = self.root.rsplit(":", 1)[1]
        self.arguments = (*self.arguments, "--port", port)
        self.start()

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and return the exit status."""
        assert self._process is not None
        if self._process.poll() is None:
            os.kill(self._process.pid, how)
        return self._process.wait(timeout=30)

    def log(self) -> str:
        """Return all that the process wrote."""
        return self.db.with_suffix(".log").read_text(encoding="utf-8")

    def new_device(self) -> tuple[str, str]:
        """Add a device; return its uid and a key for it."""
        uid = f"DEV-{next(self._numbers)}"
        with self.registry() as registry:
            registry.add_device(uid, f"Battery {uid}", {})
            return uid, registry.create_key("device", "box-key", [uid]).text

    def new_box(self, *uids: str) -> str:
        """Make a device key for several devices."""
        with self.registry() as registry:
            return registry.create_key("device", "box-key", uids).text

    def new_operator(self, *uids: str) -> str:
        """Make an operator key for the devices; none means all."""
        with self.registry() as registry:
            return registry.create_key("operator", "operator-key", uids).text

    @contextmanager
    def registry(self) -> Iterator[Registry]:
        """Open the store beside the server, as `ems-server device` and `key` do."""
        database = open_database(self.db)
        try:
            yield Registry(database, SystemClock())
        finally:
            database.close()

    def client(self, key: str | None) -> httpx.Client:
        """Return a client that sends this key."""
        headers = {} if key is None else {"X-API-Key": key}
        return httpx.Client(
            base_url=self.url, headers=headers, timeout=40.0, trust_env=False, verify=_NO_TLS
        )


def start_ems(db: Path, *arguments: str) -> Ems:
    """Start a platform on a new database with an operator of all devices."""
    ems = Ems(db, arguments)
    ems.operator_key = ems.new_operator()
    ems.start()
    return ems
