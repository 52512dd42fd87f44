"""Read a profile file (TOML) and check it against its DBC. Every mistake is reported at once.

The format is docs/profile.md. Nothing of a profile is evaluated: it is data only.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from bms_can import families
from bms_can.database import Database, cycle_time_ms, load
from bms_can.errors import BadProfile
from bms_can.integrity import ALGORITHMS, rule_mistakes
from bms_can.profile import (
    AlarmRule,
    CommandCode,
    CommandPlan,
    Condition,
    IntegrityRule,
    Profile,
    SignalLimits,
    StatusRule,
    TelemetryField,
)
from bms_can.profile_alarms import read_alarms
from bms_can.profile_commands import (
    conditions_of,
    read_commands,
    read_guard,
    read_interlocks,
)
from bms_can.profile_frames import read_frames
from bms_can.profile_heartbeat import check_heartbeat, read_heartbeat
from bms_can.profile_held import check_held, read_held
from bms_can.profile_names import Names
from bms_can.profile_status import read_status, unprovable_open
from bms_can.profile_telemetry import read_telemetry
from bms_can.toml_table import Table, read_toml

LEAST_DEADLINE_S = 0.5  # reliability rule 26
MOST_DEADLINE_MS = 600_000  # a typing mistake must not make silence look like a state for years
PERIODS_OF_GRACE = 3


def load_profile(path: str | Path, dbc: str | Path | None = None) -> tuple[Profile, Database]:
    """Read a profile and its DBC.

    Args:
        path: the TOML file.
        dbc: another DBC than the one that the profile names.

    Raises:
        BadInput: the TOML cannot be read.
        BadDatabase: the DBC cannot be read.
        BadProfile: the profile is wrong; all mistakes are listed.
    """
    top = read_toml(path)
    head = top.table("profile", required=True)
    named = head.text("dbc") if dbc is None else head.text("dbc", "")
    if "\0" in named:
        head.wrong("dbc", "is no file name")
    if top.mistakes:
        raise BadProfile(str(path), top.mistakes)
    database = load(Path(path).parent / named if dbc is None else dbc)
    database = read_frames(top.table("frames"), database)
    profile = _Reader(top, str(path), database).read()
    mistakes = top.finish()
    if mistakes:
        raise BadProfile(str(path), mistakes)
    families.made(profile)
    return profile, database


class _Reader:
    """Reads the sections in order; mistakes gather in the tables."""

    def __init__(self, top: Table, path: str, database: Database) -> None:
        self._top = top
        self._path = path
        self._database = database
        self._names = Names(database)

    def read(self) -> Profile:
        """Return the profile; not to be used when the tables hold mistakes."""
        top, head = self._top, self._top.table("profile")
        self._check_pin(head)
        status = read_status(top.table("operating_status", required=True), self._names)
        alarms = read_alarms(top.tables("alarms"), self._names)
        telemetry = read_telemetry(top.table("telemetry"), self._names)
        integrity = self._integrity(top.tables("integrity"))
        interlocks = read_interlocks(top.table("interlocks"), self._names, alarms)
        commands = read_commands(top.table("commands"), self._names, integrity, alarms)
        guard = read_guard(top, commands)
        heartbeat = read_heartbeat(top, self._names, integrity)
        held = read_held(top, self._names, integrity, interlocks)
        reason = self._read_only_reason(head, commands)
        limits = self._limits(top.table("signals"))
        conditions = conditions_of(interlocks, commands.values())
        wanted = self._wanted(status, alarms, telemetry, conditions)
        required, deadlines_s = self._freshness(top.table("freshness"), status, wanted)
        wanted = dict.fromkeys(required, ()) | wanted
        self._check_echo(commands, wanted)
        self._check_open(commands, status)
        check_heartbeat(top, heartbeat, commands, guard, wanted)
        check_held(top, held, commands, guard, self._database)
        return Profile(
            name=head.text("name"),
            path=self._path,
            dbc_path=self._database.path,
            dbc_sha256=self._database.sha256,
            description=head.text("description", ""),
            maker=head.text("maker", ""),
            channel=head.text("channel", None),
            required=required,
            deadlines_s=deadlines_s,
            status=status,
            alarms=alarms,
            telemetry=telemetry,
            integrity=integrity,
            limits=limits,
            commands=commands,
            interlocks=interlocks,
            guard=guard,
            heartbeat=heartbeat,
            held=held,
            wanted=wanted,
            read_only_reason=reason,
            source=head.text("source", ""),
            verified=head.text("verified", ""),
            family=head.text("family", ""),
            family_options=dict(top.table("family").items()),
            simulator=dict(top.table("simulator").items()),
        )

    def _check_pin(self, head: Table) -> None:
        pin = head.text("dbc_sha256", None)
        if pin is not None and pin.lower() != self._database.sha256:
            head.wrong("dbc_sha256", f"the DBC has {self._database.sha256}: it is another file")

    @staticmethod
    def _read_only_reason(head: Table, commands: Mapping[CommandCode, CommandPlan]) -> str:
        reason = head.text("read_only", "")
        if not commands and not reason:
            head.wrong("read_only", "say why there are no commands, or add [commands]")
        if commands and reason:
            head.wrong("read_only", "is set although there are [commands]")
        return reason

    def _check_echo(
        self, commands: Mapping[CommandCode, CommandPlan], wanted: Mapping[str, Sequence[str]]
    ) -> None:
        """Refuse a control message whose signals are also read as the battery's word."""
        for plan in commands.values():
            if plan.message in wanted:
                table = self._top.table("commands").table(plan.code.name.lower())
                table.wrong("message", f"{plan.message} is read too: our own echo would prove it")

    def _check_open(self, commands: Mapping[CommandCode, CommandPlan], status: StatusRule) -> None:
        if self._top.mistakes:
            return  # of which this may be a mere consequence
        for plan in commands.values():
            if unprovable_open(status, plan):
                table = self._top.table("commands").table("open_contactor")
                table.wrong("confirmed", "operating_status 1 never comes: no value means open")

    def _integrity(self, tables: Iterable[Table]) -> dict[str, IntegrityRule]:
        rules: dict[str, IntegrityRule] = {}
        for table in tables:
            counter = table.text("counter", None)
            checksum = table.text("checksum", None)
            algorithm = table.one_of("algorithm", tuple(ALGORITHMS), None)
            if counter is None and checksum is None:
                table.wrong("", "needs counter or checksum")
            if (checksum is None) != (algorithm is None):
                table.wrong("algorithm", "checksum and algorithm belong together")
            asked = table.integer("modulo", None, minimum=2)
            for message in self._names.messages(table, "messages"):
                modulo = asked or 2 ** self._names.bits(message, counter or "")
                rule = IntegrityRule(message, counter, modulo, checksum, algorithm)
                self._check_integrity(table, rule)
                if message in rules:
                    table.wrong("messages", f"{message} has two integrity rules")
                rules[message] = rule
        return rules

    def _check_integrity(self, table: Table, rule: IntegrityRule) -> None:
        named = {"counter": rule.counter, "checksum": rule.checksum}
        missing = {
            key: name
            for key, name in named.items()
            if name is not None and not self._names.has_signal(rule.message, name)
        }
        for key, name in missing.items():
            table.wrong(key, f"{rule.message} has no signal {name}")
        belong = (rule.checksum is None) == (rule.algorithm is None)
        if belong and not missing and rule.algorithm in (None, *ALGORITHMS):
            for mistake in rule_mistakes(self._database, rule):
                table.wrong("", mistake)

    def _limits(self, table: Table) -> dict[str, SignalLimits]:
        limits: dict[str, SignalLimits] = {}
        for signal in dict(table.items()):
            one = table.table(signal)
            if not self._names.exists(signal):
                table.wrong(signal, self._names.unknown(signal))
            sentinels = self._names.values(one, "sentinels", signal, ())
            least, most = one.number("minimum", None), one.number("maximum", None)
            if least is not None and most is not None and least > most:
                one.wrong("maximum", f"must be at least the minimum, {least:g}")
            limits[signal] = SignalLimits(sentinels, least, most)
        return limits

    def _wanted(
        self,
        status: StatusRule,
        alarms: Sequence[AlarmRule],
        telemetry: Sequence[TelemetryField],
        conditions: Iterable[Condition],
    ) -> dict[str, tuple[str, ...]]:
        """Return the signals to decode, by message, each once and in order of use."""
        names = [
            *status.signals(),
            *(alarm.signal for alarm in alarms),
            *(signal for each in telemetry for signal in each.signals),
            *(condition.signal for condition in conditions),
        ]
        wanted: dict[str, list[str]] = {}
        for name in dict.fromkeys(name for name in names if name):
            message, signal = name.split(".", 1)
            wanted.setdefault(message, []).append(signal)
        return {message: tuple(signals) for message, signals in wanted.items()}

    def _freshness(
        self, table: Table, status: StatusRule, wanted: Mapping[str, Sequence[str]]
    ) -> tuple[tuple[str, ...], dict[str, float]]:
        """Return the required messages and the deadline of every message in use [s]."""
        required = self._names.messages(table, "required")
        if table.raw("required", None) == []:
            table.wrong("required", "must not be empty: nobody would notice a silent battery")
        for signal in status.signals():
            message = signal.split(".", 1)[0]
            if signal and message not in required:
                table.wrong("required", f"lacks {message}: operating_status rests on it")
        own = table.table("deadline_ms")
        for message in dict(own.items()):
            if not self._names.has_message(message):
                own.wrong(message, "the DBC has no such message")
        deadlines_s: dict[str, float] = {}
        for message in dict.fromkeys((*required, *wanted)):
            given_ms = own.integer(message, None, minimum=1, maximum=MOST_DEADLINE_MS)
            deadlines_s[message] = self._deadline_s(own, message, given_ms)
            pages = self._names.pages(message)
            for signal in wanted.get(message, ()) if pages > 1 else ():
                deadlines_s[f"{message}.{signal}"] = deadlines_s[message] * pages
        return required, deadlines_s

    def _deadline_s(self, table: Table, message: str, given_ms: int | None) -> float:
        if given_ms is not None:
            return given_ms / 1000
        cycle_ms = cycle_time_ms(self._database.messages[message])
        if not cycle_ms:
            table.wrong(message, "the DBC gives no cycle time for it; give its deadline here")
            return LEAST_DEADLINE_S
        grace_ms = min(PERIODS_OF_GRACE * cycle_ms, MOST_DEADLINE_MS)
        return max(grace_ms / 1000, LEAST_DEADLINE_S)
