"""One pass over a log: gather, then judge. Memory does not grow with the log."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from bms_can.columnar.chunk import Chunk, of_channel
from bms_can.database import Database
from bms_can.examine.dbc_tally import DbcTally
from bms_can.examine.finding import Finding, ranked
from bms_can.examine.judge import Evidence
from bms_can.examine.judge_battery import judge_battery
from bms_can.examine.judge_bits import checksum_bytes, judge_bits
from bms_can.examine.judge_ids import judge_ids
from bms_can.examine.judge_log import judge_log
from bms_can.examine.judge_profile import judge_profile
from bms_can.examine.judge_signals import judge_signals
from bms_can.examine.log_tally import LogTally
from bms_can.profile import Profile

JUDGES: tuple[Callable[[Evidence], Iterator[Finding]], ...] = (
    judge_log,
    judge_ids,
    judge_bits,
    judge_signals,
    judge_battery,
    judge_profile,
)


@dataclass(frozen=True, slots=True)
class Examination:
    """What one log says: the sums, and the findings with the ones first that matter most."""

    evidence: Evidence
    findings: tuple[Finding, ...]


def examine(
    chunks: Iterable[Chunk],
    database: Database | None = None,
    profile: Profile | None = None,
    channel: str | None = None,
) -> Examination:
    """Examine a log.

    Args:
        chunks: of the log, in its order.
        database: the DBC; None: only what needs none.
        profile: of this database; None: only the DBC is judged.
        channel: only frames of this channel count, None: all.
    """
    log = LogTally(_likely(database))
    dbc = None if database is None else DbcTally(database)
    for chunk in chunks:
        ours = of_channel(chunk, channel)
        log.feed(ours)
        if dbc is not None:
            dbc.feed(ours)
    log.finish()
    evidence = Evidence(log, dbc, profile, channel)
    return Examination(evidence, ranked(each for judge in JUDGES for each in judge(evidence)))


def _likely(database: Database | None) -> Callable[[int, bool], tuple[int, ...]]:
    """Return which bytes of an identifier's payload the DBC calls a checksum."""

    def likely(can_id: int, extended: bool) -> tuple[int, ...]:  # noqa: FBT001 - a key of the DBC
        message = None if database is None else database.by_id.get((can_id, extended))
        return () if message is None else checksum_bytes(message)

    return likely
