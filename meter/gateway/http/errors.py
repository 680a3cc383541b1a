"""Say what went wrong with an upstream: before it can have acted on a request, or after.

UpstreamError
    NotSent              no upstream can have seen a whole request
        ConnectTimeout
    BrokenOff            it ended the connection, or spoke no HTTP
    ReadTimeout          it sent nothing for too long
"""


class UpstreamError(Exception):
    """An exchange with an upstream failed. The text holds no header and no body."""


class NotSent(UpstreamError):
    """No upstream can have seen a whole request: it was never sent."""


class ConnectTimeout(NotSent, TimeoutError):
    """The upstream did not take the connection in time."""


class BrokenOff(UpstreamError):
    """The upstream ended the connection before its answer was whole, or spoke no HTTP."""


class ReadTimeout(UpstreamError, TimeoutError):
    """The upstream sent nothing, or took nothing, for too long."""
