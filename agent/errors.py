"""What can go wrong in the agent. A class exists only where the caller acts differently.

AgentError
|-- BadConfig           agent.toml, environment or credentials  -> show every mistake, exit 78
|-- CloudError          the platform did not take a call, by what the caller does:
|   |-- CloudUnreachable  no connection, time-out, 408, 5xx     -> retry with back-off
|   |-- CloudThrottled    429, or 503 that names a time         -> retry, not before that time
|   |-- CloudNonsense     the answer was not the platform's     -> back-off, raise an alarm
|   |-- CloudUntrusted    its certificate does not hold         -> slow retry, raise an alarm
|   |-- CloudRefusedKey   401 or 403                            -> slow retry, raise an alarm
|   |-- CloudRefused      this body will never be taken         -> never send it again
|   `-- CloudClosed       we closed the client ourselves        -> end the loop
|-- JournalFailed       the journal cannot be written or read   -> fail closed: no command goes out
|-- IllegalTransition   a state that may not follow the last    -> a bug; nothing was written
|-- UnknownCommand      the journal has no such command         -> a bug; nothing was written
`-- OutboxFailed        the report could not be kept            -> count it as lost, go on
"""

from bms_can.errors import BadInput


class AgentError(Exception):
    """Base of every error that this package raises on purpose."""


class BadConfig(AgentError, BadInput):
    """The configuration is wrong. All mistakes found are in `mistakes`, one line each."""


class CloudError(AgentError):
    """A call to the platform brought no result."""


class CloudUnreachable(CloudError):
    """Nobody answered in time, or the platform said that it cannot serve now."""


class CloudThrottled(CloudError):
    """The platform asks for patience.

    Attributes:
        retry_after_s: earliest next try, from now [s]; None where the platform named no time.
    """

    def __init__(self, message: str, retry_after_s: float | None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class CloudNonsense(CloudError):
    """Not the platform's answer: portal page, redirect, truncated or bloated text."""


class CloudUntrusted(CloudError):
    """The TLS certificate is not valid for the platform. The check is never weakened."""


class CloudRefusedKey(CloudError):
    """The platform does not accept the key, or not for this device."""


class CloudRefused(CloudError):
    """The platform will never accept this body.

    Attributes:
        status: HTTP status.
        code: the platform's error code, None where there was none.
    """

    def __init__(self, status: int, code: int | None, message: str) -> None:
        super().__init__(f"HTTP {status}, code {code}: {message}")
        self.status = status
        self.code = code


class CloudClosed(CloudError):
    """The client was closed while the call was under way, or before."""


class JournalFailed(AgentError):
    """The journal's file cannot be used now. Whatever was asked for counts as not done."""


class IllegalTransition(AgentError):
    """The state may not follow the one that the command is in."""


class UnknownCommand(AgentError):
    """The journal holds no command with this id."""


class OutboxFailed(AgentError):
    """The queue's file cannot be used now, or the report is too large to be kept."""
