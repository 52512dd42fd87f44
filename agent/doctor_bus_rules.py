"""What `bms-agent doctor` holds to be right about an interface, and what mends it. Pure.

Sources: docs/operations.md (bringing up can0), reliability rules 21 to 23, traps 1 to 8.
"""

from collections.abc import Callable, Sequence
from typing import Any

from agent.doctor import FAIL, OK, UNKNOWN, WARN, Rule, Verdict
from agent.doctor_facts import BusFacts
from bms_can.can_frame import FD
from bms_can.link import LinkState

BACKLOG = 10_000  # packets; a second of a full 1 Mbit/s bus. The kernel's own limit is 1,000
MOST_QUEUED = 10  # control frames that wait go out late (reliability rule 21b)
DATA_GUESS = 2_000_000  # bit/s
GUESS = 500_000  # bit/s, of most batteries
WARNING_LIMIT = 96  # error counters, ISO 11898-1: the controller is in error-warning


def wrong_if(wrong: object, verdict: Verdict = FAIL) -> Verdict:
    """Return a verdict if something is wrong, else OK."""
    return verdict if wrong else OK


def _link(name: str) -> Callable[[BusFacts], Any]:
    return lambda facts: getattr(facts.link, name)


def _again(facts: BusFacts, setting: str) -> str:
    change = f"ip link set {facts.channel}"
    return f"{change} down && {change} type can {setting} && {change} up"


def _restart(facts: BusFacts) -> str:
    """Down and up throws away what waits to be sent; `restart` does not, and some lack it."""
    return f"ip link set {facts.channel} down && ip link set {facts.channel} up  # after {_CAUSES}"


def _bring_up(facts: BusFacts) -> str:
    if not facts.controller or facts.link is None or facts.link.bitrate is not None:
        return f"ip link set {facts.channel} up"
    if facts.wanted_bitrate is not None:
        return _again(facts, f"bitrate {facts.wanted_bitrate}")
    return _again(facts, f"bitrate {GUESS} listen-only on") + (
        f"  # {GUESS} is a guess: ask for the battery's; listen-only disturbs nobody"
    )


def _let_fd_pass(facts: BusFacts) -> str:
    change, link = f"ip link set {facts.channel}", facts.link
    if not facts.controller:
        return f"{change} down && {change} mtu {FD} && {change} up"
    rate = (None if link is None else link.bitrate) or facts.wanted_bitrate or GUESS
    setting = f"bitrate {rate} dbitrate {DATA_GUESS} fd on listen-only on"
    guess = "dbitrate is a guess: ask for the battery's; listen-only disturbs nobody"
    return f"{_again(facts, setting)}  # {guess}"


def _judge_rate(rate: int, facts: BusFacts) -> Verdict:
    if facts.wanted_bitrate is None:
        return UNKNOWN
    return wrong_if(facts.wanted_bitrate != rate)


def _says_rate(rate: int, facts: BusFacts) -> str:
    if facts.wanted_bitrate is None:
        return f"{rate} bit/s; neither agent.toml nor a DBC says which one is right"
    return f"{rate} bit/s" + (
        f", {facts.wanted_bitrate} wanted" if rate != facts.wanted_bitrate else ""
    )


_KERNEL_CAN = (
    "modprobe can_raw  # if that fails, this kernel was built without CAN: install another"
)
_NO_INTERFACE = (
    "ip -details link show type can  # plug the adapter in; set it up: docs/operations.md"
)
_CAUSES = "a look at wiring, termination (60 ohm between CAN_H and CAN_L) and bit rate"


_DROP_IN = "bms-agent.service.d/bus-off.conf"
_RIGHT = (
    f"install -Dm 644 deploy/{_DROP_IN} /etc/systemd/system/{_DROP_IN};"
    " systemctl daemon-reload; systemctl restart bms-agent"
)
_OR_KERNEL = "  # or, as nothing is commanded here, RestartSec=1 in [CAN] of 80-can0.network"
_FOR_GOOD = "for good: a line in /etc/sysctl.d/80-can.conf"


def _there(facts: BusFacts) -> bool:
    return facts.there


def _up(facts: BusFacts) -> bool:
    """An interface that is down has no carrier and a stopped controller: that is no fault more."""
    return facts.link is not None and facts.link.up


def _real(facts: BusFacts) -> bool:
    return facts.controller


def _running(facts: BusFacts) -> bool:
    return _real(facts) and _up(facts)


def _judge_state(state: str, _facts: BusFacts) -> Verdict:
    return {"ERROR-ACTIVE": OK, "ERROR-WARNING": WARN}.get(state, FAIL)


def _judge_counter(count: int, _facts: BusFacts) -> Verdict:
    return OK if count == 0 else WARN if count < WARNING_LIMIT else FAIL


def _listens(facts: BusFacts) -> bool | None:
    if facts.link is None or facts.link.state is None:
        return None
    return "LISTEN-ONLY" in facts.link.modes


def _needs_us(link: LinkState | None) -> bool:
    """Tell whether nobody but the agent ends a bus-off; who only listens never gets into it."""
    return link is not None and link.restart_ms == 0 and "LISTEN-ONLY" not in link.modes


def _counter(way: str) -> Rule[BusFacts]:
    return Rule(
        f"{way} errors",
        _link(f"{way}_errors"),
        _judge_counter,
        lambda count, _: f"counter at {count}",
        lambda facts: f"ip -details -statistics link show {facts.channel}  # after {_CAUSES}",
        unseen="the driver does not tell",
        applies=_running,
    )


BUS_RULES: Sequence[Rule[BusFacts]] = (
    Rule(
        "kernel",
        lambda facts: facts.kernel_can,
        lambda known, _: wrong_if(not known),
        lambda known, _: "knows CAN" if known else "does not know CAN sockets",
        lambda _: _KERNEL_CAN,
    ),
    Rule(
        "interface",
        lambda facts: facts.there if facts.asked else None,
        lambda there, _: wrong_if(not there),
        lambda _, facts: f"of kind {facts.link.kind or 'other'}" if facts.link else "missing",
        lambda _: _NO_INTERFACE,
    ),
    Rule(
        "up",
        _link("up"),
        lambda up, _: wrong_if(not up),
        lambda up, _: "set up" if up else "down",
        _bring_up,
        applies=_there,
    ),
    Rule(
        "carrier",
        _link("carrier"),
        lambda carrier, _: wrong_if(not carrier),
        lambda carrier, _: "frames can pass" if carrier else "no frame can pass",
        _restart,
        applies=_up,
    ),
    Rule(
        "bit rate",
        _link("bitrate"),
        _judge_rate,
        _says_rate,
        lambda facts: _again(facts, f"bitrate {facts.wanted_bitrate}"),
        applies=_real,
    ),
    Rule(
        "CAN FD",
        _link("mtu"),
        lambda mtu, _: wrong_if(mtu < FD),
        lambda mtu, _: "frames can pass" if mtu >= FD else f"no frame can pass (MTU {mtu})",
        _let_fd_pass,
        applies=lambda facts: facts.fd and facts.there,
    ),
    Rule(
        "state",
        _link("state"),
        _judge_state,
        lambda state, _: state.lower(),
        _restart,
        applies=_running,
    ),
    _counter("tx"),
    _counter("rx"),
    Rule(
        "transmit queue",
        _link("tx_queue"),
        lambda size, facts: wrong_if(facts.commands and size > MOST_QUEUED, WARN),
        lambda size, facts: (
            f"{size} frames" + ("" if facts.commands else "; nothing is sent on this bus")
        ),
        lambda facts: f"ip link set {facts.channel} txqueuelen {MOST_QUEUED}",
        applies=_there,
    ),
    Rule(
        "restart after bus-off",
        _link("restart_ms"),
        lambda ms, facts: wrong_if(facts.commands and ms != 0, WARN),
        lambda ms, _: f"by the kernel, after {ms} ms" if ms else "not by the kernel (restart-ms 0)",
        lambda facts: _again(facts, "restart-ms 0"),
        applies=_real,
    ),
    Rule(
        "restart by the agent",
        lambda facts: facts.agent_may,
        lambda may, _: wrong_if(not may, WARN),
        lambda may, _: (
            "yes, after a rest"
            if may
            else "no: it has no CAP_NET_ADMIN, so a bus-off lasts until a person ends it"
        ),
        lambda facts: _RIGHT + ("" if facts.commands else _OR_KERNEL),
        "no agent answers that could say whether it may",
        lambda facts: _real(facts) and _needs_us(facts.link),
    ),
    Rule(
        "transmitter",
        _listens,
        lambda listens, facts: wrong_if(listens and facts.commands),
        lambda listens, _: "off (listen-only)" if listens else "on",
        lambda facts: _again(facts, "listen-only off"),
        applies=_real,
    ),
    Rule(
        "echo",
        _link("echo"),
        lambda echo, facts: wrong_if(facts.commands and not echo, WARN),
        lambda echo, _: (
            "a frame comes back when it was sent"
            if echo
            else "a frame comes back when it was queued: that proves nothing"
        ),
        lambda _: 'another adapter; with this one "sent" means no more than queued',
        applies=_real,
    ),
    Rule(
        "kernel backlog",
        lambda facts: facts.backlog_lost,
        lambda lost, _: wrong_if(lost, WARN),
        lambda lost, _: f"{lost} packets were thrown away before any socket, on all interfaces",
        lambda _: (
            f"sysctl -w net.core.netdev_max_backlog={BACKLOG}"
            f"  # {_FOR_GOOD}; the count goes on until a reboot"
        ),
    ),
    Rule(
        "receive buffer",
        lambda facts: facts.rmem_max,
        lambda size, facts: wrong_if(size < facts.rmem_wanted, WARN),
        lambda size, facts: f"net.core.rmem_max {size}, {facts.rmem_wanted} wanted",
        lambda facts: f"sysctl -w net.core.rmem_max={facts.rmem_wanted}  # {_FOR_GOOD}",
    ),
)
