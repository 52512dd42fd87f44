"""agent.toml, the environment and the key files -> frozen values. Every mistake is told at once.

Format: docs/configuration.md. A scalar can be set by the environment: BMS_AGENT_PLATFORM__URL,
BMS_AGENT_DEVICE__0__CAN__CHANNEL. Keys come from files that only their owner can read, or from
systemd's credentials directory; never from this file and never from the environment.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from agent.config_env import apply_environment
from agent.config_url import url_mistake
from agent.errors import BadConfig
from agent.keys import Secret, read_key_file
from agent.local import path_mistake
from agent.recording import LEAST_BYTES, RecorderRules
from agent.site import SiteRules, read_site
from agent.sqlite_file import MIB
from bms_can.errors import BadInput
from bms_can.toml_table import Table, read_toml

PROFILES = Path(__file__).resolve().parent.parent / "dbc"
LOG_LEVELS = ("debug", "info", "warning", "error")
CREDENTIAL = "api-key"  # name of the key in systemd's credentials directory
MOST_DEVICES = 16  # each has a few threads and a long poll
_UID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_NEARLY = 0.85  # python-can has data_bitrate and fd_bitrate, which are meant as they stand
_KEY_WORDS = ("key", "api_key", "x_api_key", "secret", "token")


@dataclass(frozen=True, slots=True)
class PlatformConfig:
    """[platform]: how to reach it.

    Attributes:
        url: with the prefix, without a slash at the end; https but for loopback.
        ca_file: PEM of a private CA, None for the public ones.
        sync_period_s: between two status reports [s].
        deadline_s: longest time of one call [s].
        poll_wait_s: how long the platform may hold a poll for commands [s].
        key_file, key: the key of this box; it must cover all of its devices.
    """

    url: str
    ca_file: Path | None
    sync_period_s: float
    deadline_s: float
    poll_wait_s: int
    key_file: Path
    key: Secret


@dataclass(frozen=True, slots=True)
class CanConfig:
    """[device.can]: arguments of python-can's Bus; `options` are those that we do not name.

    `filter`: the kernel hands over only what the devices on this bus use, where it can (SocketCAN).
    """

    interface: str
    channel: str
    bitrate: int | None
    fd: bool
    options: Mapping[str, object]
    filter: bool = True


@dataclass(frozen=True, slots=True)
class DeviceConfig:
    """[[device]]: one battery.

    Attributes:
        uid: its device_uid on the platform.
        profile: its profile file.
        can: its bus.
        read_only: no frame ever goes out. The default: sending must be switched on by a person.
        heartbeat: the profile's cyclic frame goes out; must be switched on as well.
    """

    uid: str
    profile: Path
    can: CanConfig
    read_only: bool
    heartbeat: bool = False


@dataclass(frozen=True, slots=True)
class Config:
    """The whole configuration; only wiring sees it whole.

    Attributes:
        path: the file.
        state_dir: where journal.db and queue.db live ([agent]).
        log_level: one of `LOG_LEVELS` ([agent]).
        journal_max_bytes, outbox_max_bytes: quotas ([agent]).
        site: see site.tighten.
        recorder: what the flight recorder keeps ([recorder]).
    """

    path: Path
    platform: PlatformConfig
    devices: tuple[DeviceConfig, ...]
    state_dir: Path
    log_level: str
    journal_max_bytes: int
    outbox_max_bytes: int
    site: SiteRules
    recorder: RecorderRules


def load(path: str | Path, environ: Mapping[str, str]) -> Config:
    """Read the configuration.

    Args:
        path: agent.toml; other paths in it are relative to its folder.
        environ: os.environ, or what a test wants it to be.

    Raises:
        BadConfig: with every mistake in file, environment and key files.
    """
    try:
        top = read_toml(path)
    except BadInput as error:
        raise BadConfig(error.path, error.mistakes) from error
    data = dict(top.items())
    strays = apply_environment(data, environ)
    reader = _Reader(Path(path), Table(data, mistakes=strays), environ)
    config = reader.read()
    mistakes = reader.top.finish()
    if mistakes:
        raise BadConfig(str(path), mistakes)
    return config


class _Reader:
    """One reading; `top` collects the mistakes."""

    def __init__(self, path: Path, top: Table, environ: Mapping[str, str]) -> None:
        self.top = top
        self._path = path
        self._environ = environ

    def read(self) -> Config:
        box = self.top.table("agent")
        return Config(
            path=self._path,
            platform=self._platform(self.top.table("platform", required=True)),
            devices=self._devices(),
            state_dir=self._state_dir(box),
            log_level=box.one_of("log_level", LOG_LEVELS, "info"),
            journal_max_bytes=box.integer("journal_max_mib", 64, minimum=4, maximum=4096) * MIB,
            outbox_max_bytes=box.integer("outbox_max_mib", 16, minimum=1, maximum=1024) * MIB,
            site=read_site(self.top.table("site")),
            recorder=_recorder(self.top.table("recorder")),
        )

    def _state_dir(self, box: Table) -> Path:
        default = self._environ.get("STATE_DIRECTORY", "/var/lib/bms-agent")
        path = self._beside(box.text("state_dir", default))
        if mistake := path_mistake(path):
            box.wrong("state_dir", mistake)
        return path

    def _platform(self, table: Table) -> PlatformConfig:
        url = table.text("url").rstrip("/")
        if url and (mistake := url_mistake(url)):
            table.wrong("url", mistake)
        _refuse_keys(table)
        key_file, key = self._key(table)
        ca_file = table.text("ca_file", None)
        if ca_file is not None and not self._beside(ca_file).is_file():
            table.wrong("ca_file", f"there is no file {ca_file}")
        return PlatformConfig(
            url=url,
            ca_file=None if ca_file is None else self._beside(ca_file),
            sync_period_s=table.number("sync_period_s", 10.0, minimum=1, maximum=3600),
            deadline_s=table.number("deadline_s", 15.0, minimum=1, maximum=120),
            poll_wait_s=table.integer("poll_wait_s", 25, minimum=0, maximum=30),
            key_file=key_file,
            key=key,
        )

    def _devices(self) -> tuple[DeviceConfig, ...]:
        tables = self.top.tables("device", required=True)
        if not tables and "device" in self.top:
            self.top.wrong("device", "needs at least one [[device]]")
        if len(tables) > MOST_DEVICES:
            self.top.wrong("device", f"stands {len(tables)} times; {MOST_DEVICES} are the most")
        devices = tuple(self._device(table) for table in tables)
        seen: set[str] = set()
        for device, table in zip(devices, tables, strict=True):
            if device.uid and device.uid in seen:
                table.wrong("uid", f"{device.uid} stands twice")
            seen.add(device.uid)
        return devices

    def _device(self, table: Table) -> DeviceConfig:
        uid = table.text("uid")
        if uid and not _UID.fullmatch(uid):
            table.wrong("uid", "must be 1 to 64 of A-Z a-z 0-9 _ -")
        _refuse_keys(table)
        read_only = table.boolean("read_only", True)  # noqa: FBT003 - default of a key
        heartbeat = table.boolean("heartbeat", False)  # noqa: FBT003 - default of a key
        if heartbeat and read_only:
            table.wrong("heartbeat", "sends frames: it needs read_only = false")
        return DeviceConfig(
            uid=uid,
            profile=self._profile(table),
            can=_can(table.table("can", required=True)),
            read_only=read_only,
            heartbeat=heartbeat,
        )

    def _profile(self, table: Table) -> Path:
        name = table.text("profile")
        bare = bool(name) and "/" not in name and not name.endswith(".toml")
        path = PROFILES / f"{name}.toml" if bare else self._beside(name)
        if name and not path.is_file():
            shipped = ", ".join(sorted(file.stem for file in PROFILES.glob("*.toml")))
            table.wrong("profile", f"there is no file {path}; shipped profiles: {shipped}")
        return path

    def _key(self, table: Table) -> tuple[Path, Secret]:
        directory = self._environ.get("CREDENTIALS_DIRECTORY")
        name = table.text("key_file", f"{directory}/{CREDENTIAL}" if directory else "")
        if not name:
            table.wrong("key_file", f"is missing, and there is no systemd credential {CREDENTIAL}")
            return Path(), Secret("")
        path = self._beside(name)
        try:
            return path, read_key_file(path, credentials_directory=directory)
        except BadConfig as error:
            for mistake in error.mistakes:
                table.wrong("key_file", f"{path} {mistake}")
            return path, Secret("")

    def _beside(self, name: str) -> Path:
        return self._path.parent / Path(name).expanduser()


def _recorder(table: Table) -> RecorderRules:
    default = RecorderRules()
    longest_s = 300.0
    rules = RecorderRules(
        table.number("seconds_before", default.before_s, minimum=1, maximum=longest_s),
        table.number("seconds_after", default.after_s, minimum=1, maximum=longest_s),
        table.integer("max_bytes", default.max_bytes, minimum=0),
    )
    if 0 < rules.max_bytes < LEAST_BYTES:
        table.wrong("max_bytes", f"must be at least {LEAST_BYTES}, or 0 for no recordings")
    return rules


def _can(table: Table) -> CanConfig:
    named = ("interface", "channel", "bitrate", "fd", "filter")
    options = {key: value for key, value in table.items() if key not in named}
    for key, value in options.items():
        if isinstance(value, dict):
            table.wrong(key, "must not be a table")
        elif meant := get_close_matches(key, named, n=1, cutoff=_NEARLY):
            table.wrong(key, f'is not a known key; did you mean "{meant[0]}"?')
    return CanConfig(
        interface=table.text("interface"),
        channel=table.text("channel"),
        bitrate=table.integer("bitrate", None, minimum=1, maximum=8_000_000),
        fd=table.boolean("fd", False),  # noqa: FBT003 - default of a key
        options=options,
        filter=table.boolean("filter", True),  # noqa: FBT003 - default of a key
    )


def _refuse_keys(table: Table) -> None:
    for word in _KEY_WORDS:
        if word in table:
            table.known(word)
            table.wrong(word, "a key has no place in this file; name its file in key_file")
