"""`ems-server`: parse and dispatch. Heavy imports wait for the subcommand that needs them."""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ems.errors import ConfigError, StoreError

if TYPE_CHECKING:
    from ems.registry import Registry

#: sysexits.h: something in the configuration is wrong.
EX_CONFIG = 78

_ABOUT = """\
The platform end of the BMS control interface: it takes commands from operators, hands them to
the boxes, and keeps what the boxes report, in one SQLite file.

A first start:
  ems-server device add SITE-1 --name "Battery 1" --db ems.db
  ems-server key create --role operator --name control-room --db ems.db > operator.key
  ems-server key create --role device --device SITE-1 --name box-1 --db ems.db > box.key
  ems-server run --db ems.db
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand; return the exit status (0, 2 usage, 78 configuration)."""
    args = _parser().parse_args(argv)
    try:
        return int(args.run(args))
    except (ConfigError, StoreError) as error:
        print(f"ems-server: {error}", file=sys.stderr)
        return EX_CONFIG


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ems-server", description=_ABOUT, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    groups = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_run(
        groups.add_parser("run", help="serve the interface", description="Serve until SIGTERM.")
    )
    device = groups.add_parser("device", help="add, set and list devices")
    _add_device(device.add_subparsers(required=True, metavar="ACTION"))
    key = groups.add_parser("key", help="create, list and revoke API keys")
    _add_key(key.add_subparsers(required=True, metavar="ACTION"))
    return parser


def _db(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--db", type=Path, required=True, metavar="PATH", help="the SQLite file")


def _add_run(parser: argparse.ArgumentParser) -> None:
    _db(parser)
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address (default 127.0.0.1: this machine only)",
    )
    parser.add_argument("--port", type=_port, default=8080, help="0: any free one (default 8080)")
    parser.add_argument(
        "--ready-file", type=Path, metavar="FILE", help="write the address here once it listens"
    )
    parser.add_argument(
        "--stale-after-s",
        type=_seconds,
        default=30.0,
        metavar="S",
        help="a status older than this is shown as unknown (default 30)",
    )
    parser.add_argument(
        "--sync-wait-s",
        type=_seconds,
        default=5.0,
        metavar="S",
        help="how long an operator's sync waits for the device (default 5)",
    )
    parser.add_argument(
        "--select-s",
        type=_seconds,
        default=10.0,
        metavar="S",
        help="how long a close of a device with --two-step waits for its confirmation (default 10)",
    )
    _add_limits(parser)
    parser.set_defaults(run=_run)


def _add_limits(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--operator-per-s",
        type=_count,
        default=10,
        metavar="N",
        help="requests a second of each operator key, bursts of twice as many (default 10)",
    )
    parser.add_argument(
        "--device-per-s",
        type=_count,
        default=100,
        metavar="N",
        help="the same for each device of a device key (default 100)",
    )
    parser.add_argument(
        "--refused-per-min",
        type=_count,
        default=20,
        metavar="N",
        help="wrong keys from one address in a minute before the answer is 429 (default 20)",
    )
    parser.add_argument(
        "--limit-concurrency",
        type=_count,
        default=1000,
        metavar="N",
        help="open connections above which the answer is 503 (default 1000)",
    )


def _add_device(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    add = actions.add_parser("add", help="add a device")
    add.add_argument("uid", metavar="UID", help="1 to 64 of letters, digits, _ and -")
    add.add_argument("--name", required=True, help="what people call it")
    for name in ("code", "license-code", "location", "affiliation"):
        add.add_argument(f"--{name}", help="shown in GET /device")
    add.add_argument("--two-step", action="store_true", help="a close is armed, then confirmed")
    _db(add)
    add.set_defaults(run=_device_add)
    change = actions.add_parser("set", help="change a device; a running server notices")
    change.add_argument("uid", metavar="UID")
    change.add_argument(
        "--two-step",
        required=True,
        choices=("on", "off"),
        help="a close is only armed by the first request and must be confirmed by a second one",
    )
    _db(change)
    change.set_defaults(run=_device_set)
    listing = actions.add_parser("list", help="list devices as JSON lines")
    _db(listing)
    listing.set_defaults(run=_device_list)


def _add_key(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    create = actions.add_parser(
        "create", help="make a key and print it, once", description="The key alone goes to stdout."
    )
    create.add_argument("--role", required=True, choices=("operator", "device"))
    create.add_argument("--name", required=True, help="who holds it; recorded with commands")
    create.add_argument(
        "--device",
        action="append",
        default=[],
        metavar="UID",
        help="may be repeated; device role: the batteries of one box; operator role: none is all",
    )
    create.add_argument("--quiet", action="store_true", help="no hints on stderr")
    _db(create)
    create.set_defaults(run=_key_create)
    listing = actions.add_parser("list", help="list keys (never their text) as JSON lines")
    _db(listing)
    listing.set_defaults(run=_key_list)
    revoke = actions.add_parser("revoke", help="revoke a key at once; a running server notices")
    revoke.add_argument("key_id", metavar="ID", help="the 8 characters after emsk_")
    _db(revoke)
    revoke.set_defaults(run=_key_revoke)


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= 65535:  # noqa: PLR2004  # TCP
        raise argparse.ArgumentTypeError(f"{text} is not in 0..65535")
    return port


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 < value <= 86_400:  # noqa: PLR2004  # one day
        raise argparse.ArgumentTypeError(f"{text} is not in 0..86400")
    return value


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not positive")
    return value


def _run(args: argparse.Namespace) -> int:
    from ems.rates import Limits  # noqa: PLC0415  # heavy
    from ems.server import Options, serve  # noqa: PLC0415  # heavy
    from ems.services import Settings  # noqa: PLC0415  # heavy

    settings = Settings(
        stale_after_s=args.stale_after_s,
        sync_wait_s=args.sync_wait_s,
        select_s=args.select_s,
        limits=Limits(args.operator_per_s, args.device_per_s, args.refused_per_min),
    )
    if args.host not in {"127.0.0.1", "::1", "localhost"}:
        hint = "keys travel in clear text; put a TLS proxy in front of it"
        print(f"ems-server: --host {args.host}: {hint}", file=sys.stderr)
    serve(Options(args.db, args.host, args.port, args.ready_file, settings, args.limit_concurrency))
    return 0


@contextmanager
def _registry(path: Path) -> "Iterator[Registry]":
    from ems.clock import SystemClock  # noqa: PLC0415  # heavy
    from ems.database import open_database  # noqa: PLC0415  # heavy
    from ems.registry import Registry  # noqa: PLC0415  # heavy

    database = open_database(path)
    try:
        yield Registry(database, SystemClock())
    finally:
        database.close()


def _device_add(args: argparse.Namespace) -> int:
    names = ("code", "license_code", "location", "affiliation")
    facts = {name: getattr(args, name) for name in names}
    with _registry(args.db) as registry:
        registry.add_device(args.uid, args.name, facts)
        if args.two_step:
            registry.set_two_step(args.uid, on=True)
    return 0


def _device_set(args: argparse.Namespace) -> int:
    with _registry(args.db) as registry:
        registry.set_two_step(args.uid, on=args.two_step == "on")
    return 0


def _device_list(args: argparse.Namespace) -> int:
    with _registry(args.db) as registry:
        _, found = registry.list_devices(None, 0, 1_000_000)
        two_step = registry.two_step_devices()
    for item in found:
        shown = item | {"two_step": item["uid"] in two_step}
        print(json.dumps(shown, ensure_ascii=False))
    return 0


def _key_create(args: argparse.Namespace) -> int:
    with _registry(args.db) as registry:
        key = registry.create_key(args.role, args.name, args.device)
    if not args.quiet:
        scope = ", ".join(args.device) or "all devices"
        print(
            f"ems-server: key {key.key_id} ({args.role}, {scope}). It is shown once; "
            "keep it in a file that only its user can read.",
            file=sys.stderr,
        )
    print(key.text)
    return 0


def _key_list(args: argparse.Namespace) -> int:
    with _registry(args.db) as registry:
        found = registry.list_keys()
    for item in found:
        print(json.dumps(item, ensure_ascii=False))
    return 0


def _key_revoke(args: argparse.Namespace) -> int:
    with _registry(args.db) as registry:
        registry.revoke_key(args.key_id)
    return 0
