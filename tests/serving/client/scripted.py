"""gRPC servers that answer as a test wants, and the two clients to ask them with."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc

from serving.client import AsyncRecommenderClient
from serving.client import RecommenderClient
from serving.client import RetryPolicy
from serving.client import protos

Status = tuple[grpc.StatusCode, str]
FAST = RetryPolicy(attempts=3, first_delay=0.001)
SERVICES = (protos.PREDICTION_SERVICE, protos.MODEL_SERVICE)


def nothing(method: str, request: Any) -> Any:
    """An empty answer to `Predict`."""
    return protos.PredictResponse()


class Scripted:
    """A real gRPC server of both services.

    Args:
        *script: statuses that the first calls end with.
        reply: takes the method and the parsed request; returns a message, bytes or
            a status.
    """

    def __init__(
        self,
        *script: Status,
        reply: Callable[[str, Any], Any] = lambda *_: protos.PredictResponse(),
    ) -> None:
        self.script = list(script)
        self.reply = reply
        self.calls = 0
        self.seconds: list[float] = []  # that each call had left
        self.server = grpc.server(ThreadPoolExecutor(4))
        for service in SERVICES:
            methods = {
                name: grpc.unary_unary_rpc_method_handler(self._handler(name, request))
                for name, (request, _) in protos.methods(service).items()
            }
            handler = grpc.method_handlers_generic_handler(service, methods)
            self.server.add_generic_rpc_handlers((handler,))
        self.port = self.server.add_insecure_port("127.0.0.1:0")
        self.address = f"127.0.0.1:{self.port}"

    def _handler(self, name: str, request: Any) -> Callable[[bytes, Any], bytes]:
        def answer(message: bytes, context: grpc.ServicerContext) -> bytes:
            self.calls += 1
            self.seconds.append(context.time_remaining())
            given = self.script.pop(0) if self.script else None
            given = given or self.reply(name, request.FromString(message))
            if isinstance(given, tuple):
                context.abort(*given)
            return given if isinstance(given, bytes) else given.SerializeToString()

        return answer

    def __enter__(self) -> Scripted:
        self.server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.stop(None)


def ask_sync(address: str, call: Callable[[Any], Any], **settings: Any) -> Any:
    """Returns what `call` returns for a synchronous client."""
    with RecommenderClient(address, "m", **{"retry": FAST, **settings}) as client:
        return call(client)


def ask_async(address: str, call: Callable[[Any], Any], **settings: Any) -> Any:
    """Returns what `call` returns for an asynchronous client, awaited."""

    async def main() -> Any:
        async with AsyncRecommenderClient(address, "m", **{"retry": FAST, **settings}) as client:
            return await call(client)

    return asyncio.run(main())


class RawStatus:
    """An HTTP/2 server whose every call ends with a status that gRPC may not know."""

    def __init__(self, status: int) -> None:
        pairs = {b":status": b"200", b"content-type": b"application/grpc"}
        pairs[b"grpc-status"] = str(status).encode()
        self._headers = b"".join(
            bytes([0, len(name)]) + name + bytes([len(value)]) + value
            for name, value in pairs.items()
        )
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._socket.getsockname()[1]}"

    def __enter__(self) -> RawStatus:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rwb") as stream:
            stream.read(24)  # the client's preface
            _write_frame(stream, 4, 0, 0, b"")  # SETTINGS
            while len(head := stream.read(9)) == 9:
                size, kind, flags = int.from_bytes(head[:3], "big"), head[3], head[4]
                number, payload = int.from_bytes(head[5:], "big"), stream.read(size)
                if kind in (4, 6) and not flags & 1:  # SETTINGS or PING: acknowledge
                    _write_frame(stream, kind, 1, 0, payload if kind == 6 else b"")
                elif kind == 0 and flags & 1:  # the end of a request: only trailers
                    _write_frame(stream, 1, 5, number, self._headers)


def _write_frame(stream: Any, kind: int, flags: int, number: int, payload: bytes) -> None:
    head = len(payload).to_bytes(3, "big") + bytes([kind, flags]) + number.to_bytes(4, "big")
    stream.write(head + payload)
    stream.flush()
