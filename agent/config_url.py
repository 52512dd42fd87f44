"""Which platform url is acceptable. Pure."""

import ipaddress
from urllib.parse import urlsplit


def url_mistake(url: str) -> str:
    """Return what is wrong with the platform's url, "" if nothing.

    https is required: the key goes with every request. http is accepted for loopback only.
    """
    try:
        parts = urlsplit(url)
        host, _port = parts.hostname, parts.port
    except ValueError as error:
        return f"is no url: {error}"
    if any(not "!" <= char <= "~" for char in url):
        return "holds a space or a character that no url has"
    if parts.scheme not in {"https", "http"} or not host:
        return "must be https://host/path"
    if parts.username is not None or parts.query or parts.fragment:
        return "must have no user, query or fragment"
    if parts.scheme == "http" and not _is_loopback(host):
        return "must be https: over http anyone on the way can read the key"
    return ""


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
