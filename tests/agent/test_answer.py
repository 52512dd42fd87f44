"""Status and body code are judged together."""

import pytest

from agent.answer import Answer, failure, judge, judge_data
from agent.errors import CloudError, CloudNonsense, CloudRefused, CloudRefusedKey

JSON = "application/json; charset=utf-8"


def test_success_needs_both() -> None:
    """HTTP 200 and code 0 give the data."""
    body = b'{"code":0,"message":"","data":{"a":[1]}}'
    assert judge_data(Answer(200, JSON, body)) == {"a": [1]}


def test_code_zero_with_401_is_no_success() -> None:
    """The platform says code 0 with a refused key too."""
    with pytest.raises(CloudRefusedKey):
        judge(Answer(401, JSON, '{"code":0,"message":"API Key无效"}'.encode()))


@pytest.mark.parametrize(("status", "words"), [(401, "does not accept the key"), (403, "role")])
def test_a_refused_key_says_where_to_look(status: int, words: str) -> None:
    """The text stands behind "cannot report": a person must find the file from it."""
    said = str(failure(Answer(status, JSON, b"")))
    assert said.startswith(f"HTTP {status}: ")
    assert words in said
    assert "[platform] key_file" in said


def test_refusals_keep_the_platform_s_words() -> None:
    """Code, message and data reach the log."""
    body = '{"code":140008,"message":"该设备ID对应的ems设备未找到","data":"BAT"}'.encode()
    error = failure(Answer(400, JSON, body))
    assert isinstance(error, CloudRefused)
    assert (error.status, error.code) == (400, 140008)
    assert str(error).endswith("该设备ID对应的ems设备未找到: BAT")


@pytest.mark.parametrize("status", [*range(100, 200), *range(201, 600), 999])
def test_every_other_status_is_an_error(status: int) -> None:
    """No status but 200 is a success, even with a good body."""
    error = failure(Answer(status, JSON, b'{"code":0,"message":""}'))
    assert isinstance(error, CloudError)
    with pytest.raises(type(error)):
        judge(Answer(status, JSON, b'{"code":0,"message":""}'))


@pytest.mark.parametrize("content_type", ["", "text/html", "text/json", "application/jsonp"])
def test_other_content(content_type: str) -> None:
    """A page of something in between is not the platform's answer."""
    with pytest.raises(CloudNonsense):
        judge(Answer(200, content_type, b'{"code":0,"message":""}'))
