"""The running agent's numbers in Prometheus text exposition format 0.0.4. Pure.

Written by hand: the box needs no library for it, and node_exporter's textfile collector takes it.
A number that is not known is left out, never 0.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

PREFIX = "bms_agent_"
Labels = Mapping[str, str]
Samples = Iterator[tuple[Labels, Any]]
Data = Mapping[str, Any]


class Metric(NamedTuple):
    """One metric: its name without the prefix, its kind, what it means, where it comes from."""

    name: str
    kind: str
    text: str
    samples: Callable[[Data], Samples]


def _of_device(*path: str) -> Callable[[Data], Samples]:
    """Return the number at a path in each device's answer."""

    def samples(answer: Data) -> Samples:
        for uid, device in answer["devices"].items():
            yield {"device": uid}, _at(device, path)

    return samples


def _flag(*path: str) -> Callable[[Data], Samples]:
    """Return 1 where a text is not empty, else 0."""

    def samples(answer: Data) -> Samples:
        for uid, device in answer["devices"].items():
            yield {"device": uid}, int(bool(_at(device, path)))

    return samples


def _by(label: str, *path: str) -> Callable[[Data], Samples]:
    """Return the counts at a path in each device's answer, by what they count."""

    def samples(answer: Data) -> Samples:
        for uid, device in answer["devices"].items():
            for name, count in (_at(device, path) or {}).items():
                yield {"device": uid, label: name}, count

    return samples


def _of_box(*path: str) -> Callable[[Data], Samples]:
    def samples(answer: Data) -> Samples:
        yield {}, _at(answer["box"], path)

    return samples


def _commands(answer: Data) -> Samples:
    for uid, state, reason, count in answer["box"]["commands"] or ():
        yield {"device": uid, "state": state, "reason": reason}, count


def _sending(answer: Data) -> Samples:
    for uid, device in answer["devices"].items():
        if device["heartbeat"] is not None:
            yield {"device": uid}, int(not device["heartbeat"]["why_not"])


def _state(answer: Data) -> Samples:
    for uid, device in answer["devices"].items():
        if (state := device["bus"]["state"]) is not None:
            yield {"device": uid, "state": state}, 1


def _at(data: Any, path: tuple[str, ...]) -> Any:  # noqa: ANN401 - JSON
    for key in path:
        data = None if data is None else data.get(key)
    return data


METRICS = (
    Metric("operating_status", "gauge", "1 powered down, 2 idle, 3 charging, 4 discharging",
           _of_device("operating_status")),
    Metric("alarms", "gauge", "active alarms", _of_device("alarm_status")),
    Metric("disconnected", "gauge", "1: the battery is silent", _of_device("disconnected")),
    Metric("status_age_seconds", "gauge", "age of the oldest message that the status rests on",
           _of_device("age_s")),
    Metric("bus_trouble", "gauge", "1: nothing can be sent or heard, or a node babbles",
           _flag("bus", "trouble")),
    Metric("bus_doubt", "gauge", "1: no close goes out, it could come late",
           _flag("bus", "doubt")),
    Metric("frames_total", "counter", "data frames of the bus", _of_device("bus", "frames")),
    Metric("decoded_frames_total", "counter", "frames whose values were taken",
           _of_device("decoded")),
    Metric("bad_frames_total", "counter", "frames of the battery that changed nothing",
           _by("reason", "bad_frames")),
    Metric("unknown_ids", "gauge", "identifiers that the profile does not use",
           _of_device("unknown_ids")),
    Metric("lost_frames_total", "counter", "frames that the kernel threw away unread",
           _of_device("bus", "lost")),
    Metric("dropped_messages_total", "counter", "messages that are no data frames",
           _by("kind", "bus", "dropped")),
    Metric("error_frames_total", "counter", "error frames by what they report",
           _by("kind", "bus", "errors")),
    Metric("bus_opens_total", "counter", "how often the bus was opened",
           _of_device("bus", "opened")),
    Metric("bus_off_recoveries_total", "counter", "returns from bus-off",
           _of_device("bus", "bus_off_recoveries")),
    Metric("babbling_seconds_total", "counter", "seconds in which a node sent far too much",
           _of_device("bus", "babbling_s")),
    Metric("bus_state", "gauge", "1 at the state that the controller is in",
           _state),
    Metric("foreign_frames_total", "counter", "control frames of another master",
           _of_device("foreign_frames")),
    Metric("tx_unsafe", "gauge", "1: a frame did not come back", _flag("tx_unsafe")),
    Metric("foreign_master", "gauge", "1: another master was heard", _flag("foreign_master")),
    Metric("lockout", "gauge", "1: somebody works on the battery", _flag("lockout")),
    Metric("read_only", "gauge", "1: nothing is sent", _flag("read_only")),
    Metric("journal_trouble", "gauge", "1: the journal cannot be trusted", _flag("journal")),
    Metric("heartbeat_sending", "gauge", "1: the heartbeat goes out", _sending),
    Metric("heartbeats_total", "counter", "heartbeat frames", _of_device("heartbeat", "sent")),
    Metric("reports_total", "counter", "status reports that the platform took",
           _of_device("sync", "done")),
    Metric("failed_reports_total", "counter", "status reports that failed",
           _of_device("sync", "failed")),
    Metric("report_age_seconds", "gauge", "time since the last status report",
           _of_device("sync", "age_s")),
    Metric("refused_total", "counter", "results and changes that the platform will never take",
           _of_device("refused_by_platform")),
    Metric("changes_lost_total", "counter", "changes that were over before the disk took them",
           _of_device("changes_lost")),
    Metric("commands", "gauge", "commands in the journal by state and reason", _commands),
    Metric("outbox_reports", "gauge", "changes that wait for the platform",
           _of_box("outbox", "rows")),
    Metric("outbox_bytes", "gauge", "their size", _of_box("outbox", "bytes")),
    Metric("outbox_dropped_total", "counter", "changes given up because the queue was full",
           _of_box("outbox", "dropped")),
    Metric("recordings_lost_total", "counter", "recordings that the disk did not take",
           _of_box("recorder", "lost")),
    Metric("resident_memory_bytes", "gauge", "memory of the process", _of_box("rss_bytes")),
    Metric("threads", "gauge", "threads of the process", _of_box("threads")),
    Metric("uptime_seconds", "gauge", "since the start of the process", _of_box("uptime_s")),
)  # fmt: skip


def exposition(answer: Data | None) -> Iterator[str]:
    """Yield the lines; `answer` is that of the door to "vitals", None: no agent answers."""
    yield f"# HELP {PREFIX}up 1: an agent answers at its door"
    yield f"# TYPE {PREFIX}up gauge"
    yield f"{PREFIX}up {int(answer is not None)}"
    if answer is None:
        return
    for metric in METRICS:
        samples = [each for each in metric.samples(answer) if each[1] is not None]
        if samples:
            yield f"# HELP {PREFIX}{metric.name} {metric.text}"
            yield f"# TYPE {PREFIX}{metric.name} {metric.kind}"
        for labels, value in samples:
            yield f"{PREFIX}{metric.name}{_labels(labels)} {_number(value)}"


def _labels(labels: Labels) -> str:
    inside = ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items())
    return f"{{{inside}}}" if inside else ""


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: object) -> str:
    return repr(value) if isinstance(value, float) else str(value)
