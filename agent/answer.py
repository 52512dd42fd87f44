"""Judges the platform's answer by HTTP status and body code together. Pure.

Success is HTTP 200 *and* code 0. The platform also says code 0 with 401, so neither suffices alone;
and any device between box and platform can answer 200 with a page of its own.
"""

from typing import NamedTuple

from agent.errors import (
    CloudError,
    CloudNonsense,
    CloudRefused,
    CloudRefusedKey,
    CloudThrottled,
    CloudUnreachable,
)
from agent.payload import Envelope, read_envelope

_OK = 200
_REDIRECTS = range(300, 400)
_KEY = {
    401: "the platform does not accept the key; look at [platform] key_file of agent.toml and at"
    " the key in that file",
    403: "the key may not do this; its role must be device and it must cover this device: look at"
    " the key in [platform] key_file of agent.toml",
}
_TOO_MANY = 429
_REQUEST_TIMEOUT = 408
_SERVER = range(500, 600)
_UNAVAILABLE = 503
_CLIENT = range(400, 500)
# Said about the request itself by servers in front of the platform, which know no envelope.
_NEVER = frozenset({405, 411, 413, 414, 415, 431})


class Answer(NamedTuple):
    """What came back.

    Attributes:
        content_type: header, "" if there was none.
        retry_after_s: what the Retry-After header asks for [s]; None if nothing.
        date: the server's clock, as its Date header has it.
    """

    status: int
    content_type: str
    body: bytes
    retry_after_s: float | None = None
    date: str = ""


def judge(answer: Answer) -> Envelope:
    """Return the envelope of a success.

    Raises:
        CloudError: the subclass that says what to do.
    """
    if answer.status != _OK:
        raise failure(answer)
    if answer.content_type.partition(";")[0].strip().lower() != "application/json":
        raise CloudNonsense(f"HTTP 200 with {answer.content_type or 'no content type'}, not JSON")
    return read_envelope(answer.body)


def judge_data(answer: Answer) -> object:
    """Return `data` of a success; the body code must be there and be 0."""
    envelope = judge(answer)
    if envelope.code is None:
        raise CloudNonsense("HTTP 200 without a code")
    if envelope.code != 0:
        raise CloudRefused(answer.status, envelope.code, _said(envelope))
    return envelope.data


def failure(answer: Answer) -> CloudError:
    """Return the error that a status other than 200 means."""
    status = answer.status
    if status == _TOO_MANY or (status == _UNAVAILABLE and answer.retry_after_s is not None):
        return CloudThrottled(f"HTTP {status}", answer.retry_after_s)
    if status == _REQUEST_TIMEOUT or status in _SERVER:
        return CloudUnreachable(f"HTTP {status}")
    if status in _REDIRECTS:
        return CloudNonsense(f"HTTP {status}: a redirect; captive portal or wrong url")
    if status in _KEY:
        return CloudRefusedKey(f"HTTP {status}: {_KEY[status]}")
    if status in _CLIENT:
        return _refusal(answer)
    return CloudNonsense(f"HTTP {status} is no answer of the platform")


def _refusal(answer: Answer) -> CloudError:
    try:
        envelope = read_envelope(answer.body)
    except CloudNonsense as error:
        if answer.status in _NEVER:
            return CloudRefused(answer.status, None, "refused by a server in front")
        return CloudNonsense(f"HTTP {answer.status}: {error}; wrong url?")
    return CloudRefused(answer.status, envelope.code, _said(envelope))


def _said(envelope: Envelope) -> str:
    detail = envelope.data if isinstance(envelope.data, str) and envelope.data else ""
    return f"{envelope.message[:200]}{': ' if detail else ''}{detail[:200]}"
