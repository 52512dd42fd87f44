"""Counters of the platform, in a registry of their own. No device id and no key is a label."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram


class Metrics:
    """What `/metrics` shows."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "ems_http_requests",
            "Answers given",
            ["method", "route", "status"],
            registry=self.registry,
        )
        self.seconds = Histogram(
            "ems_http_request_seconds",
            "Time to the end of the answer, long polls included",
            ["route"],
            buckets=(0.002, 0.005, 0.01, 0.025, 0.1, 0.5, 2, 10, 30),
            registry=self.registry,
        )
        self.refused_keys = Counter(
            "ems_refused_keys", "Requests with a missing or wrong key", registry=self.registry
        )
        self.throttled = Counter(
            "ems_throttled", "Requests answered with 429", ["why"], registry=self.registry
        )
        self.command_events = Counter(
            "ems_command_events",
            "Steps in the lives of commands",
            ["command", "state", "origin"],
            registry=self.registry,
        )
        self.reports = Counter(
            "ems_reports", "Kept reports by outcome", ["outcome"], registry=self.registry
        )
        self.statuses = Counter(
            "ems_status_reports", "Status reports by outcome", ["outcome"], registry=self.registry
        )
        self.waiting = Gauge("ems_waiting_requests", "Open waits", registry=self.registry)
        self.streams = Gauge("ems_event_streams", "Open event streams", registry=self.registry)
        self.devices = Gauge(
            "ems_devices", "Devices by what is known of them", ["status"], registry=self.registry
        )
