"""Too many requests, too many wrong keys: 429 with Retry-After, and who is spared."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.contract.conftest import Box, Ems
from tests.ems_process import start_ems


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ems]:
    """Give a platform with the limits that it has by itself."""
    db: Path = tmp_path_factory.mktemp("limited") / "ems.db"
    usual = ["--operator-per-s", "10", "--device-per-s", "100", "--refused-per-min", "20"]
    ems = start_ems(db, *usual)
    yield ems
    assert ems.stop() == 0


def check_429(answer: httpx.Response, most_s: int) -> None:
    """Check the refusal: envelope, code, and a time to wait."""
    assert (answer.status_code, answer.json()["code"]) == (429, 429)
    assert answer.json()["message"] == "请求过于频繁"
    assert 1 <= int(answer.headers["retry-after"]) <= most_s


def test_an_operator_that_asks_too_often(limited: Ems) -> None:
    """A burst of 20 passes, a flood is told to wait 1 s; a device is not slowed down by it."""
    uid, key = limited.new_device()
    with limited.client(limited.new_operator(uid)) as client:
        found = [client.get("/test-apikey") for _ in range(60)]
        assert [answer.status_code for answer in found[:20]] == [200] * 20
        refused = [answer for answer in found if answer.status_code != 200]
        assert refused
        check_429(refused[0], 1)
    with limited.client(key) as http:
        box = Box(uid, http)
        assert {box.report(number).status_code for number in range(1, 61)} == {200}


def test_an_address_that_guesses(limited: Ems) -> None:
    """The 21st wrong key in a minute is 429; a good key from the same address still works."""
    with limited.client("emsk_00000000_" + "A" * 43) as client:
        found = [client.get("/test-apikey") for _ in range(22)]
    assert [answer.status_code for answer in found] == [401] * 20 + [429] * 2
    check_429(found[-1], 60)
    with limited.client(None) as client:
        check_429(client.get("/device"), 60)
    with limited.client(limited.operator_key) as client:
        assert client.get("/test-apikey").status_code == 200
    text = httpx.get(f"{limited.root}/metrics", trust_env=False).text
    assert 'ems_throttled_total{why="keys"} 3.0' in text
