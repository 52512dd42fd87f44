"""What the box says about itself, and what keeps it from sending, as texts. "" means nothing."""

from collections.abc import Callable, Mapping
from functools import cache
from importlib.metadata import version

from agent.clock import Clock
from agent.device import Device
from agent.journal import Journal

DISTRIBUTION = "bms-can-agent"


@cache
def own_version() -> str:
    """Return the version of this program.

    Looked up once: that reads folders and a file, and importlib keeps a table of each folder for
    ever, a new one whenever the folder has changed.
    """
    return version(DISTRIBUTION)


def lockout_text(journal: Journal) -> str:
    """Return the local lock-out for people."""
    lockout = journal.lockout()
    return "" if lockout is None else f"{lockout.reason} ({lockout.who}, {lockout.since})"


def doubt_text(journal: Journal, clock: Clock) -> str:
    """Return why the journal's memory cannot be trusted."""
    if journal.forgetful(clock.monotonic_s(), clock.boot_id()):
        return "the journal was lost; commands that it knew may come back"
    return ""


def box_facts(
    journal: Journal, device: Device, request: Callable[[], Mapping[str, object]] | None = None
) -> Mapping[str, object]:
    """Return the facts about the box that go out with each report.

    The head of the journal's chain is among them: a journal that was written anew shows there.
    """
    sequence, head = journal.head()
    bus = device.bus_facts()
    held = {} if request is None else {"request": request()}
    return {
        **held,
        "version": own_version(),
        "lockout": lockout_text(journal),
        "read_only": device.read_only or bool(device.profile.read_only_reason),
        "tx_unsafe": device.control.unsafe,
        "foreign_master": device.control.foreign,
        "battery": device.profile.name,
        "bus": bus,
        "bus_trouble": bus.get("trouble") or bus.get("doubt") or "",
        "journal_head": {"seq": sequence, "hash": head},
    }
