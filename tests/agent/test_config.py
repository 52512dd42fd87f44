"""agent.toml, environment and key file: every mistake at once, no secret shown."""

from collections.abc import Callable
from pathlib import Path

import pytest

from agent.config import Config, load
from agent.errors import BadConfig
from agent.sqlite_file import MIB

KEY = "emsk_0123456789abcdef"
GOOD = """
[platform]
url = "https://ems.example/wad/ems/v1/api/"
key_file = "key"

[agent]
state_dir = "state"

[[device]]
uid = "BAT-1"
profile = "ess_bau"
read_only = false
[device.can]
interface = "socketcan"
channel = "can0"
receive_own_messages = true
"""

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write an agent.toml beside a good key file; return its path."""
    key = tmp_path / "key"
    key.write_text(KEY + "\n")
    key.chmod(0o600)

    def write_it(text: str) -> Path:
        path = tmp_path / "agent.toml"
        path.write_text(text)
        return path

    return write_it


def mistakes(path: Path, environ: dict[str, str] | None = None) -> tuple[str, ...]:
    """Return what is told about a wrong configuration."""
    with pytest.raises(BadConfig) as caught:
        load(path, environ or {})
    assert KEY not in str(caught.value)
    return caught.value.mistakes


def test_good_file(write: Write, tmp_path: Path) -> None:
    """A complete file gives frozen values; paths are relative to it."""
    config = load(write(GOOD), {})
    assert config.platform.url == "https://ems.example/wad/ems/v1/api"
    assert (config.platform.sync_period_s, config.platform.deadline_s) == (10.0, 15.0)
    assert config.platform.key.reveal() == KEY
    assert config.state_dir == tmp_path / "state"
    assert config.outbox_max_bytes == 16 * MIB
    (device,) = config.devices
    assert (device.uid, device.read_only) == ("BAT-1", False)
    assert device.profile.name == "ess_bau.toml"
    assert device.profile.is_file()
    assert (device.can.interface, device.can.channel, device.can.bitrate) == (
        "socketcan",
        "can0",
        None,
    )
    assert device.can.options == {"receive_own_messages": True}


def test_nothing_shows_the_key(write: Write) -> None:
    """Printing the configuration shows everything but the key."""
    config = load(write(GOOD), {})
    assert KEY not in repr(config)
    assert "Secret(***)" in repr(config)


def test_sending_is_off_unless_switched_on(write: Write) -> None:
    """A device that says nothing about it is only read."""
    config = load(write(GOOD.replace("read_only = false", "")), {})
    assert config.devices[0].read_only is True


def test_every_mistake_at_once(write: Write) -> None:
    """One reading names all mistakes with their keys."""
    text = """
[platform]
url = "http://ems.example/api"
key = "emsk_0123456789abcdef"
sync_period_s = 0
[agent]
log_level = "loud"
statedir = "x"
[[device]]
uid = "a b"
profile = "nosuch"
[device.can]
interface = "socketcan"
bitrate = "fast"
[[device]]
uid = "ok"
profile = "ess_bau"
[device.can]
interface = "virtual"
channel = "x"
options = { deep = 1 }
[[device]]
uid = "ok"
profile = "ess_bau"
"""
    told = "\n".join(mistakes(write(text)))
    for line in (
        "platform.url: must be https",
        "platform.key: a key has no place in this file",
        "platform.key_file: is missing",
        "platform.sync_period_s: must be at least 1, not 0",
        'agent.log_level: must be one of "debug"',
        'agent.statedir: is not a known key; did you mean "state_dir"?',
        "device[0].uid: must be 1 to 64 of",
        "device[0].profile: there is no file",
        "device[0].can.channel: is missing",
        "device[0].can.bitrate: must be an integer, not a text",
        "device[1].can.options: must not be a table",
        "device[2].uid: ok stands twice",
        "device[2].can: is missing",
    ):
        assert line in told


def test_no_device_is_a_mistake(write: Write) -> None:
    """An agent without a battery has nothing to do."""
    head = GOOD[: GOOD.index("[[device]]")]
    assert mistakes(write(head)) == ("device: is missing",)
    assert mistakes(write("device = []\n" + head)) == ("device: needs at least one [[device]]",)


def test_broken_toml(write: Write) -> None:
    """A syntax error is told with its line."""
    (told,) = mistakes(write("[platform\n"))
    assert "line 1" in told


@pytest.mark.parametrize(
    ("url", "good"),
    [
        ("https://a.example/x", True),
        ("http://127.0.0.1:8080/x", True),
        ("http://localhost/x", True),
        ("http://[::1]:80/x", True),
        ("http://10.0.0.1/x", False),
        ("http://localhost.example/x", False),
        ("ftp://a.example", False),
        ("https://", False),
        ("https://a.example:99999/", False),
        ("https://u:p@a.example/", False),
        ("https://a.example/?key=1", False),
        ("https://a.example/a b", False),
        ("https://[::1", False),
    ],
)
def test_urls(write: Write, url: str, *, good: bool) -> None:
    """Only https goes out to the world; http is for loopback."""
    path = write(GOOD.replace("https://ems.example/wad/ems/v1/api/", url))
    if good:
        load(path, {})
    else:
        assert mistakes(path)[0].startswith("platform.url: ")


def test_key_from_systemd(write: Write, tmp_path: Path) -> None:
    """Without key_file the key comes from the credentials directory, where ACLs show as g+r."""
    directory = tmp_path / "creds"
    directory.mkdir()
    (directory / "api-key").write_text(KEY)
    (directory / "api-key").chmod(0o440)
    path = write(GOOD.replace('key_file = "key"', ""))
    config = load(path, {"CREDENTIALS_DIRECTORY": str(directory)})
    assert config.platform.key.reveal() == KEY


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601])
def test_key_that_others_can_touch(write: Write, tmp_path: Path, mode: int) -> None:
    """A key file that anyone else can use is refused, with the cure."""
    path = write(GOOD)
    (tmp_path / "key").chmod(mode)
    (told,) = mistakes(path)
    assert told.startswith("platform.key_file: ")
    assert "chmod 600" in told


def test_missing_ca_file(write: Write) -> None:
    """A CA file that is not there is found at the start, not at the first call."""
    path = write(GOOD.replace("[platform]", '[platform]\nca_file = "none.pem"'))
    assert mistakes(path) == ("platform.ca_file: there is no file none.pem",)


def with_environ(path: Path, **environ: str) -> Config:
    """Load with overrides, named without their prefix."""
    return load(path, {f"BMS_AGENT_{key}": value for key, value in environ.items()})


def test_environment_overrides(write: Write) -> None:
    """A variable wins over the file, keeps its type, and reaches into the devices."""
    config = with_environ(
        write(GOOD),
        PLATFORM__URL="http://127.0.0.1:1/x",
        PLATFORM__SYNC_PERIOD_S="2.5",
        AGENT__LOG_LEVEL="debug",
        DEVICE__0__UID="123",
        DEVICE__0__READ_ONLY="true",
        DEVICE__0__CAN__BITRATE="250000",
        CONFIG="/etc/elsewhere.toml",
    )
    assert config.platform.url == "http://127.0.0.1:1/x"
    assert config.platform.sync_period_s == 2.5
    assert config.log_level == "debug"
    assert config.devices[0].uid == "123"
    assert config.devices[0].read_only is True
    assert config.devices[0].can.bitrate == 250_000


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("PLATFORM__URI", "x", "sets nothing; did you mean BMS_AGENT_PLATFORM__URL?"),
        ("PLATFORM__KEY", "emsk_secret_key", "sets nothing"),
        ("PLATFORM__SYNC_PERIOD_S", "often", "must be a number"),
        ("PLATFORM__POLL_WAIT_S", "2.5", "must be an integer"),
        ("DEVICE__0__READ_ONLY", "1", "must be true or false"),
        ("DEVICE__7__UID", "x", "there is no [[device]] number 7"),
        ("PLATFORM__SYNC_PERIOD_S", "nan", "must be a finite number"),
    ],
)
def test_bad_environment(write: Write, name: str, value: str, why: str) -> None:
    """A variable that cannot be applied is a mistake, never ignored."""
    told = "\n".join(mistakes(write(GOOD), {f"BMS_AGENT_{name}": value}))
    assert why in told
    assert "emsk_secret_key" not in told


def test_environment_against_a_wrong_shape(write: Write) -> None:
    """An override of something that is no table in the file is told."""
    path = write("platform = 1\n")
    told = "\n".join(mistakes(path, {"BMS_AGENT_PLATFORM__URL": "https://a.example"}))
    assert "names something that is no table in the file" in told


def test_recorder(write: Write) -> None:
    """The flight recorder keeps half a minute on each side unless told otherwise."""
    recorder = load(write(GOOD), {}).recorder
    assert (recorder.before_s, recorder.after_s, recorder.max_bytes) == (30.0, 30.0, 128 * MIB)
    text = f"{GOOD}\n[recorder]\nseconds_before = 5\nseconds_after = 2.5\nmax_bytes = 0\n"
    recorder = load(write(text), {}).recorder
    assert (recorder.before_s, recorder.after_s, recorder.max_bytes) == (5.0, 2.5, 0)


@pytest.mark.parametrize(
    "line",
    [
        "seconds_before = 0",
        "seconds_after = 301",
        "max_bytes = -1",
        f"max_bytes = {16 * MIB - 1}",
        "max_bytes = 1e9",
        "seconds = 5",
    ],
)
def test_bad_recorder(write: Write, line: str) -> None:
    """Times have limits, and a quota too small to hold a recording is none."""
    (told,) = mistakes(write(f"{GOOD}\n[recorder]\n{line}\n"))
    assert told.startswith(f"recorder.{line.split(' ', maxsplit=1)[0]}: ")


def test_long_state_dir(write: Write) -> None:
    """A state directory in which no socket can be is told before anything runs."""
    (told,) = mistakes(write(GOOD.replace('"state"', f'"{200 * "x"}"')))
    assert told.startswith("agent.state_dir: is too long")


def test_a_box_has_room_for_sixteen_batteries(write: Write) -> None:
    """One more is a mistake."""
    device = '[[device]]\nuid = "N-{}"\nprofile = "ess_bau"\n[device.can]\n'
    device += 'interface = "virtual"\nchannel = "{}"\n'
    more = "".join(device.format(number, number) for number in range(15))
    assert len(load(write(GOOD + more), {}).devices) == 16
    found = mistakes(write(GOOD + more + device.format("x", "x")))
    assert found == ("device: stands 17 times; 16 are the most",)


def test_a_heartbeat_contradicts_read_only(write: Write) -> None:
    """Off by default; on only for a device that may send."""
    assert load(write(GOOD), {}).devices[0].heartbeat is False
    switched_on = GOOD.replace("read_only = false", "read_only = false\nheartbeat = true")
    assert load(write(switched_on), {}).devices[0].heartbeat is True
    (found,) = mistakes(write(GOOD.replace("read_only = false", "heartbeat = true")))
    assert "heartbeat: sends frames: it needs read_only = false" in found


def test_a_slip_in_a_bus_s_key_is_no_option_of_python_can(write: Write) -> None:
    """python-can takes any word and ignores it: the bit rate would be none."""
    can = 'interface = "slcan"\nchannel = "/dev/ttyACM0"\n'
    slips = can + "bitrat = 250000\nfiltr = false\ndata_bitrate = 2000000\n"
    device = '[[device]]\nuid = "a"\nprofile = "ess_bau"\n[device.can]\n'
    told = "\n".join(mistakes(write(device + slips)))
    assert 'can.bitrat: is not a known key; did you mean "bitrate"?' in told
    assert 'can.filtr: is not a known key; did you mean "filter"?' in told
    assert "data_bitrate" not in told
