"""Errors of the local server."""

from __future__ import annotations

import grpc


class RequestError(Exception):
    """A request that is answered with a status in place of a result."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class StartError(RuntimeError):
    """The server cannot start: its port is taken, or a file is not there."""


def invalid(message: str) -> RequestError:
    """Returns an INVALID_ARGUMENT error."""
    return RequestError(grpc.StatusCode.INVALID_ARGUMENT, message)


def not_found(message: str) -> RequestError:
    """Returns a NOT_FOUND error."""
    return RequestError(grpc.StatusCode.NOT_FOUND, message)
