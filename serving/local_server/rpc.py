"""Shared parts of both gRPC services: parsing, statuses, handlers."""

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
from serving.local_server.wire import parsed_bytes

# Takes a serialised request and its context; returns a serialised answer.
Method = Callable[[bytes, Any], Awaitable[bytes]]
_MAX_DETAILS = 2000  # a status travels in a header of limited size
# Parsing a message below this size takes a fraction of a second, whatever is in it.
SMALL = 1 << 20


def parse(message_class: Any, message: bytes, max_bytes: int = SMALL) -> Any:
    """Parses a request.

    Args:
        message_class: its type.
        message: the bytes.
        max_bytes: memory that it may take when it is larger than `SMALL`.

    Raises:
        RequestError: INVALID_ARGUMENT, the bytes are no such message, or too much.
    """
    if len(message) > SMALL:
        size = parsed_bytes(message, message_class.DESCRIPTOR, max_bytes)
        if size > max_bytes:
            raise invalid(
                f"Expected a {message_class.DESCRIPTOR.name} that takes at most {max_bytes:,} "
                f"bytes of memory. Received: {len(message):,} bytes that take more. Send fewer "
                "rows at once."
            )
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
