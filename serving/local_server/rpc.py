"""What both gRPC services share: parsing, statuses, handlers."""

from __future__ import annotations

from collections.abc import Awaitable
from collections.abc import Callable
from typing import Any
from typing import NoReturn

import grpc
from google.protobuf.message import DecodeError

from serving.client import protos
from serving.local_server.errors import RequestError
from serving.local_server.errors import invalid

# Takes a serialised request and its context; returns a serialised answer.
Method = Callable[[bytes, Any], Awaitable[bytes]]
_MAX_DETAILS = 2000  # a status travels in a header of limited size


def parse(message_class: Any, message: bytes) -> Any:
    """Parses a request.

    Raises:
        RequestError: INVALID_ARGUMENT, the bytes are no such message.
    """
    try:
        return message_class.FromString(message)
    except DecodeError as error:
        name = message_class.DESCRIPTOR.name
        raise invalid(f"Expected a serialised {name}. Received: other bytes ({error}).") from error


async def abort(context: Any, error: RequestError) -> NoReturn:
    """Ends a call with a status."""
    await context.abort(error.code, error.message[:_MAX_DETAILS])
    raise AssertionError("unreachable: abort raises")


def handler(service: str, methods: dict[str, Method]) -> grpc.GenericRpcHandler:
    """Returns the handler of a service; its other methods say UNIMPLEMENTED.

    Requests arrive as bytes, so that damaged ones can be answered with a text.
    """
    rpcs = {}
    for name in protos.methods(service):
        method = methods.get(name) or _unimplemented(name, sorted(methods))
        rpcs[name] = grpc.unary_unary_rpc_method_handler(method)
    return grpc.method_handlers_generic_handler(service, rpcs)


def _unimplemented(name: str, offered: list[str]) -> Method:
    async def method(message: bytes, context: Any) -> bytes:
        await context.abort(
            grpc.StatusCode.UNIMPLEMENTED,
            f"The local server does not offer `{name}`, only {offered}. TF Serving itself does.",
        )
        return b""

    return method
