"""`ems-server`: what it prints, where, and how it fails."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ems.cli import main
from ems.security import key_id_of


@pytest.fixture
def db(tmp_path: Path) -> str:
    """Give a store with one device."""
    path = str(tmp_path / "ems.db")
    assert (
        main(["device", "add", "A", "--name", "电池 A", "--location", "Hall 1", "--db", path]) == 0
    )
    return path


def test_devices_are_listed_as_json(db: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One JSON object a line, in the vendor's shape."""
    assert main(["device", "list", "--db", db]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line) == {
        "uid": "A",
        "license_code": None,
        "name": "电池 A",
        "code": None,
        "location": "Hall 1",
        "affiliation": None,
        "heartbeat_time": None,
        "two_step": False,
    }


def test_two_steps_can_be_switched(db: str, capsys: pytest.CaptureFixture[str]) -> None:
    """`device set` and `device add --two-step` say whether a close must be confirmed."""
    assert main(["device", "set", "A", "--two-step", "on", "--db", db]) == 0
    assert main(["device", "add", "B", "--name", "b", "--two-step", "--db", db]) == 0
    main(["device", "list", "--db", db])
    assert main(["device", "set", "A", "--two-step", "off", "--db", db]) == 0
    main(["device", "list", "--db", db])
    shown = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [item["two_step"] for item in shown] == [True, True, False, True]


def test_a_key_is_alone_on_stdout(db: str, capsys: pytest.CaptureFixture[str]) -> None:
    """`> box.key` gives a file with the key only; the hint goes to stderr, without it."""
    args = ["key", "create", "--role", "device", "--device", "A", "--name", "box", "--db", db]
    assert main(args) == 0
    shown = capsys.readouterr()
    key = shown.out.removesuffix("\n")
    assert key_id_of(key) is not None
    assert "once" in shown.err
    assert key not in shown.err
    assert main([*args, "--quiet"]) == 0
    assert capsys.readouterr().err == ""


def test_keys_are_listed_without_their_secret(db: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The list shows id, role, scope and revocation."""
    main(["key", "create", "--role", "operator", "--name", "ops", "--db", db])
    key = capsys.readouterr().out.strip()
    key_id = key_id_of(key)
    assert key_id is not None
    assert main(["key", "revoke", key_id, "--db", db]) == 0
    assert main(["key", "list", "--db", db]) == 0
    out = capsys.readouterr().out
    listed = json.loads(out)
    assert (listed["id"], listed["role"], listed["devices"]) == (key_id, "operator", "all")
    assert listed["revoked"] is not None
    assert key.rpartition("_")[2] not in out


@pytest.mark.parametrize(
    ("args", "named"),
    [
        (["device", "add", "A", "--name", "again"], "'A'"),
        (["device", "add", "a b", "--name", "x"], "'a b'"),
        (["key", "create", "--role", "device", "--name", "x"], "--device"),
        (["key", "create", "--role", "operator", "--device", "Z", "--name", "x"], "'Z'"),
        (["key", "revoke", "00000000"], "00000000"),
        (["device", "set", "Z", "--two-step", "on"], "'Z'"),
    ],
)
def test_mistakes_exit_78_with_one_line(
    db: str, capsys: pytest.CaptureFixture[str], args: list[str], named: str
) -> None:
    """A wrong set-up is named in one line."""
    assert main([*args, "--db", db]) == 78
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.count("\n") == 1
    assert named in shown.err


def test_a_missing_folder_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A path that cannot be is exit 78, too."""
    assert main(["device", "list", "--db", str(tmp_path / "no" / "x.db")]) == 78
    assert "no/x.db" in capsys.readouterr().err


@pytest.mark.parametrize(
    "args",
    [
        [],
        ["fly"],
        ["run"],
        ["run", "--db", "x", "--port", "70000"],
        ["run", "--db", "x", "--port", "http"],
        ["run", "--db", "x", "--stale-after-s", "0"],
        ["run", "--db", "x", "--stale-after-s", "nan"],
        ["run", "--db", "x", "--limit-concurrency", "0"],
        ["key", "create", "--role", "king", "--name", "x", "--db", "x"],
    ],
)
def test_usage_errors_exit_2(args: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Wrong arguments are argparse's business."""
    with pytest.raises(SystemExit) as caught:
        main(args)
    assert caught.value.code == 2
    assert "usage:" in capsys.readouterr().err


@pytest.mark.parametrize("args", [["--help"], ["run", "--help"], ["key", "create", "--help"]])
def test_help_teaches(args: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Each level explains itself."""
    with pytest.raises(SystemExit) as caught:
        main(args)
    assert caught.value.code == 0
    assert "usage: ems-server" in capsys.readouterr().out


def test_help_imports_nothing_heavy() -> None:
    """Help is quick: no web framework, no database toolkit, and never the agent or the driver."""
    code = (
        "import sys, ems.cli\n"
        "try: ems.cli.main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'fastapi', 'sqlalchemy', 'pydantic', 'uvicorn', 'agent', 'bms_can'}\n"
        "sys.exit(','.join(heavy & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)  # noqa: S603  # our own program
    assert done.returncode == 0, done.stderr


def test_the_platform_imports_neither_agent_nor_driver() -> None:
    """The whole server runs without the other packages."""
    code = (
        "import sys, ems.server\n"
        "others = {'agent', 'bms_can', 'can', 'cantools', 'apscheduler'}\n"
        "sys.exit(','.join(others & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)  # noqa: S603  # our own program
    assert done.returncode == 0, done.stderr
