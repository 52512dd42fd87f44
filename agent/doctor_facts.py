"""What `bms-agent doctor` looks at, as values. None everywhere: it could not be looked at."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from bms_can.link import VIRTUAL, LinkState


@dataclass(frozen=True, slots=True)
class BusFacts:
    """One bus.

    Attributes:
        interface, channel: as configured.
        kernel_can: this kernel knows CAN sockets.
        asked: the kernel could be asked about the interface.
        link: what it says; None: there is no such interface.
        wanted_bitrate: of configuration or DBC [bit/s], None: neither says one.
        commands: a device on this bus may command; fd: CAN FD frames are wanted.
        rmem_max: net.core.rmem_max [byte].
        rmem_wanted: receive buffer that a second of a full bus needs [byte].
        backlog_lost: packets of all interfaces that the kernel lost before any socket, since boot.
        agent_may: the running agent has the right to restart it after bus-off; None: none answers.
    """

    interface: str
    channel: str
    kernel_can: bool | None = None
    asked: bool = False
    link: LinkState | None = None
    wanted_bitrate: int | None = None
    commands: bool = False
    fd: bool = False
    rmem_max: int | None = None
    rmem_wanted: int = 0
    backlog_lost: int | None = None
    agent_may: bool | None = None

    @property
    def there(self) -> bool:
        """Whether there is an interface to judge."""
        return self.link is not None

    @property
    def controller(self) -> bool:
        """Whether it is, or may be, a real controller: a virtual one has no bit rate or state."""
        return self.link is not None and self.link.kind not in VIRTUAL


@dataclass(frozen=True, slots=True)
class PeriodFacts:
    """One message of the DBC: how often it should come, and came [s]; deadline of the profile."""

    message: str
    wanted_s: float
    mean_s: float | None
    deadline_s: float | None


@dataclass(frozen=True, slots=True)
class HeardFacts:
    """What was heard on a bus in a few seconds, against DBC and profile.

    Attributes:
        command: what shows the raw frames.
        seconds: how long was listened.
        trouble: why the bus could not be opened or failed, "" if it worked.
        frames: data frames; error_frames beside them.
        percent_known: share of frames whose identifier the DBC has [%]; None without a DBC.
        unknown: identifiers that it has not, as text.
        missing: required messages of the profile that did not come; None without a profile.
        doubts: messages that do not look like the DBC says, with the reason.
        bad: frames that changed nothing, by reason; None: none came that could be checked.
        periods: of messages with a cycle time.
        babbling: which identifiers came far too often, "" if none did; None: too short to tell.
        control: our own control identifiers that somebody used; ours: an agent runs here.
        status: what the profile makes of it, for people.
    """

    command: str
    seconds: float
    trouble: str = ""
    frames: int = 0
    error_frames: int = 0
    percent_known: float | None = None
    unknown: tuple[str, ...] = ()
    missing: tuple[str, ...] | None = None
    doubts: Mapping[str, str] = field(default_factory=dict)
    bad: Mapping[str, int] | None = field(default_factory=dict)
    periods: tuple[PeriodFacts, ...] = ()
    babbling: str | None = None
    control: tuple[str, ...] = ()
    ours: bool = False
    status: str | None = None


@dataclass(frozen=True, slots=True)
class PlatformFacts:
    """The platform.

    Attributes:
        url: of the platform; key_file and ca_file as configured.
        trouble: kind of error of the call that asked for the key, "" for none; words: its text.
        uids: devices of this box; refused: those for which the key may not report, and why;
            None: not asked.
        took_s: how long the call took [s].
        date: the platform's clock; here: ours at the same moment.
    """

    url: str
    key_file: str
    ca_file: str
    trouble: str = ""
    words: str = ""
    uids: tuple[str, ...] = ()
    refused: tuple[str, ...] | None = None
    took_s: float | None = None
    date: datetime | None = None
    here: datetime | None = None

    @property
    def skew_s(self) -> float | None:
        """How far our clock is ahead of the platform's [s]."""
        if self.date is None or self.here is None:
            return None
        return (self.here - self.date).total_seconds()


@dataclass(frozen=True, slots=True)
class DiskFacts:
    """The state directory.

    Attributes:
        path: of it; there: it exists; mode: its permission bits.
        trouble: why it cannot be written, or be a directory, "" if it can; None: not tried.
        free_bytes: for us; wanted_bytes: sum of the quotas.
        fsync_s: slowest of a few durable writes [s].
    """

    path: str
    there: bool
    mode: int | None = None
    trouble: str | None = None
    free_bytes: int | None = None
    wanted_bytes: int = 0
    fsync_s: float | None = None


@dataclass(frozen=True, slots=True)
class AgentFacts:
    """The running agent, as it answers at its door.

    Attributes:
        config: path of agent.toml, for the mending commands.
        held: somebody holds the state directory; None: it cannot be told.
        answers: it answered at its door.
        devices: its answer, by device_uid.
        words: why it did not answer.
        net_admin: it may set interfaces up and down (CAP_NET_ADMIN); None: it does not say.
    """

    config: str
    held: bool | None
    answers: bool = False
    devices: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    words: str = ""
    net_admin: bool | None = None


@dataclass(frozen=True, slots=True)
class BoxFacts:
    """The machine.

    Attributes:
        now: its wall clock.
        packages: name to (version, what is wanted, whether it fits); None: not installed.
        python: version; program: its path.
        systemd: systemd runs here.
        unit: properties of bms-agent.service, None: not asked.
    """

    now: datetime
    python: str
    packages: Mapping[str, tuple[str, str, bool] | None] = field(default_factory=dict)
    systemd: bool = False
    unit: Mapping[str, str] | None = None
    program: str = "python3"
