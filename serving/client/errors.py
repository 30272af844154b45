"""Errors of calls to a model server, in the caller's words."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from dataclasses import replace

import grpc
from google.protobuf.message import DecodeError


@dataclass(frozen=True)
class Target:
    """Address of a call.

    Attributes:
        address: `host:port` of the server.
        model: name of the model.
        version: number, or `None` for the latest or the labelled one.
        label: version label, or `None`.
        signature: signature or method that was called.
    """

    address: str
    model: str
    version: int | None = None
    label: str | None = None
    signature: str = ""

    def of(self, signature: str) -> Target:
        """Returns the same target with a signature."""
        return replace(self, signature=signature)

    def __str__(self) -> str:
        if self.version is not None:
            which = f"version {self.version}"
        else:
            which = f"label `{self.label}`" if self.label else "latest version"
        what = f"`{self.signature}` of model" if self.signature else "model"
        return f"{what} `{self.model}` ({which}) at {self.address}"


class ServingError(Exception):
    """A call that was not answered, or not with something usable.

    Attributes:
        target: server, model, version or label, and signature.
        code: name of the gRPC status code.
        details: the server's words.
        transient: whether the same call may succeed a moment later.
    """

    advice = "See the server's log."
    transient = False

    def __init__(self, target: Target, code: str, details: str) -> None:
        self.target = target
        self.code = code
        self.details = details
        super().__init__(f"{target}: {code}: {details.rstrip('. ')}. {self.advice}")


class NotFoundError(ServingError):
    """The server has no such model, version, label or signature."""

    advice = (
        "Compare the model's name, version and label with `model_status()`, and the signature "
        "with `metadata()`."
    )


class InvalidRequestError(ServingError):
    """The server rejects the request as such; sending it again is no use."""

    advice = "Compare the inputs with `metadata()`: names, types and shapes."


class ArgumentError(InvalidRequestError, ValueError):
    """The arguments cannot be sent; nothing went out."""

    advice = "Nothing was sent: mend the arguments."


class DeadlineError(ServingError):
    """No answer within the call's timeout, retries included."""

    advice = "Raise `timeout`, send smaller batches, or look at the server's load."


class OverloadedError(ServingError):
    """The server is up but takes no more work, also after retries."""

    advice = "Send less at once, or give the server more threads or replicas."
    transient = True


class TooLargeError(ServingError):
    """The request or its answer is larger than a message may be."""

    advice = (
        "Send smaller batches or shorter histories, or raise `max_message_bytes` on both sides."
    )


class TooManyRowsError(TooLargeError):
    """The request has more rows than the server takes at once.

    Attributes:
        allowed: rows that the server takes.
    """

    advice = (
        "Send smaller batches, or raise `max_batch_size` and set `enable_large_batch_splitting` in "
        "the server's batching parameters."
    )

    def __init__(self, target: Target, code: str, details: str, allowed: int) -> None:
        super().__init__(target, code, details)
        self.allowed = allowed


class StaleCodesError(InvalidRequestError):
    """The servable reads histories by other codes than those that were sent.

    Attributes:
        expected: version of the codes that it reads.
    """

    advice = "Read `HistoryCodes` from the version that answers, or send ids."

    def __init__(self, target: Target, code: str, details: str, expected: str) -> None:
        super().__init__(target, code, details)
        self.expected = expected


class ClosedError(ServingError):
    """The client was closed, before the call or during it."""

    advice = "Close a client after its last call, and use it on one event loop only."


class UnavailableError(ServingError):
    """Nobody answers at the address, also after retries."""

    advice = "Check the address, and that the server is up and has loaded a version."
    transient = True


class TlsError(ServingError):
    """The two sides do not accept each other's certificates."""

    advice = (
        "Check that the certificates are valid today, are signed by the authority that the other "
        "side trusts, and name the host that is called."
    )


class UnsupportedError(ServingError):
    """The server does not offer this call, or has it switched off."""

    advice = "Use a call that it offers, or switch this one on in the server's configuration."


class InvalidAnswerError(ServingError):
    """The server answered with something that cannot be used, or not even read."""

    advice = (
        "The served version is at fault, or what stands at the address: roll back to an earlier "
        "version, or check the address."
    )


_BY_CODE: dict[grpc.StatusCode, type[ServingError]] = {
    grpc.StatusCode.NOT_FOUND: NotFoundError,
    grpc.StatusCode.INVALID_ARGUMENT: InvalidRequestError,
    grpc.StatusCode.OUT_OF_RANGE: InvalidRequestError,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineError,
    grpc.StatusCode.RESOURCE_EXHAUSTED: OverloadedError,
    grpc.StatusCode.UNAVAILABLE: UnavailableError,
    # No call is cancelled here: it is how gRPC ends what a stopping server has not looked at yet.
    grpc.StatusCode.CANCELLED: UnavailableError,
    grpc.StatusCode.UNIMPLEMENTED: UnsupportedError,
    grpc.StatusCode.PERMISSION_DENIED: UnsupportedError,
}
_TLS_WORDS = ("handshake", "certificate", "ssl_error")
# TF Serving says these with INVALID_ARGUMENT, older versions with FAILED_PRECONDITION.
_MISSING_WORDS = ("not found in signature def", "Unrecognized servable version label")
# TF Serving's words, and the local server's.
_TOO_MANY_ROWS = re.compile(
    r"larger than maximum input batch size (\d+)|at most (\d+) rows in a request"
)
# What a servable says (`models.export.history_codes`).
_OTHER_CODES = re.compile(r"Expected history codes of version `(\w+)`")


def from_rpc_error(error: grpc.RpcError, target: Target) -> ServingError:
    """Returns the error of this module for one of gRPC's."""
    code: grpc.StatusCode = error.code()
    details: str = error.details() or "no details"
    too_many = _TOO_MANY_ROWS.search(details)
    if too_many:
        return TooManyRowsError(target, code.name, details, int(too_many[1] or too_many[2]))
    if other := _OTHER_CODES.search(details):
        return StaleCodesError(target, code.name, details, other[1])
    kind = _BY_CODE.get(code, ServingError)
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED and "larger than max" in details:
        kind = TooLargeError
    if any(words in details for words in _MISSING_WORDS):
        kind = NotFoundError
    if code is grpc.StatusCode.UNAVAILABLE and any(w in details.lower() for w in _TLS_WORDS):
        kind = TlsError
    return kind(target, code.name, details)


@contextmanager
def arguments(target: Target) -> Iterator[None]:
    """Turns whatever is wrong with the arguments of a call into an `ArgumentError`."""
    try:
        yield
    except ServingError:
        raise
    except (ValueError, TypeError, AttributeError, OverflowError, OSError, RuntimeError) as error:
        raise ArgumentError(target, "INVALID_ARGUMENT", str(error)) from error


@contextmanager
def answers(target: Target) -> Iterator[None]:
    """Turns whatever is wrong with an answer into an `InvalidAnswerError`."""
    try:
        yield
    except ServingError:
        raise
    except (DecodeError, ValueError, TypeError, AttributeError, OverflowError) as error:
        raise InvalidAnswerError(target, "DATA_LOSS", str(error)) from error
