"""What can go wrong on the platform. A class exists only where the caller acts differently.

EmsError
|-- ConfigError      the set-up is wrong: a file, an argument  -> one clear line, exit 78
|-- StoreError       the database did not do it                -> nothing was done, HTTP 503
|-- BodyError        the request body is not what we read      -> 100001, `data` says why
`-- ApiError         the caller gets this answer, whole
    |-- Unauthorized 401, code 0 (the vendor's trap: body code 0 is also success)
    |-- BadParameter 100001 (HTTP 400, 409, 422, 429)
    |-- OnlyArmed 428    a close that needs a second step: nothing was sent
    |-- TooMany 429      too many requests, or too many wrong keys
    |-- NoRecord     100007
    |-- DeviceTimeout 140002
    |-- NotOwner     140003
    `-- NoDevice     140008
"""


class EmsError(Exception):
    """Base of every error this package raises on purpose."""


class ConfigError(EmsError):
    """The set-up is wrong. The text names the file or the argument."""


class StoreError(EmsError):
    """The database refused or failed. The operation was not done."""


class BodyError(EmsError):
    """A request body could not be read as strict JSON. The text says why."""


class ApiError(EmsError):
    """An answer other than success.

    Args:
        status: HTTP status.
        code: the vendor's error code in the body.
        message: the vendor's text.
        data: which field, or what is wrong; None leaves it null.
    """

    def __init__(
        self, status: int, code: int, message: str, data: str | dict[str, object] | None = None
    ) -> None:
        super().__init__(f"{status}/{code} {message}: {data}")
        self.status = status
        self.code = code
        self.message = message
        self.data = data


class Unauthorized(ApiError):
    """No key, or a key that is unknown, revoked or malformed: one answer for the last three."""

    def __init__(self, message: str = "API Key无效") -> None:
        super().__init__(401, 0, message)


class BadParameter(ApiError):
    """The request does not have the agreed form; `data` names the field."""

    def __init__(self, data: str, status: int = 400) -> None:
        super().__init__(status, 100001, "参数格式错误", data)


class OnlyArmed(ApiError):
    """A close on a device with two steps: the first step is done, nothing was queued or sent.

    No success on purpose: a client that knows nothing of two steps must not believe that the
    contactor will close.
    """

    def __init__(self, data: dict[str, object]) -> None:
        super().__init__(428, 428, "仅预置，未下发任何命令 (armed only, nothing was sent)", data)


class TooMany(ApiError):
    """The caller must slow down. `retry_after_s` goes into the header of that name."""

    def __init__(self, data: str, retry_after_s: int) -> None:
        super().__init__(429, 429, "请求过于频繁", data)
        self.retry_after_s = retry_after_s


class NoRecord(ApiError):
    """There is no such record, or none that the caller may see."""

    def __init__(self, data: str, status: int = 400) -> None:
        super().__init__(status, 100007, "该记录未找到", data)


class DeviceTimeout(ApiError):
    """The device gave no newer status in time."""

    def __init__(self, data: str) -> None:
        super().__init__(400, 140002, "设备超时", data)


class NotOwner(ApiError):
    """The key has the wrong role for this call."""

    def __init__(self, data: str) -> None:
        super().__init__(400, 140003, "不是设备的拥有者，操作权限不足", data)


class NoDevice(ApiError):
    """Unknown device, or one outside the key's scope: the same answer for both."""

    def __init__(self, device_uid: str) -> None:
        super().__init__(400, 140008, "该设备ID对应的ems设备未找到", device_uid)
