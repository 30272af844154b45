"""HTTP for whoever asks without gRPC: bounded bodies, bounded connections, JSON errors."""

from __future__ import annotations

import json
import socket
import sys
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from http.server import ThreadingHTTPServer
from typing import Any
from typing import NamedTuple
from urllib.parse import urlsplit

from absl import logging

from serving.local_server.byte_budget import ByteBudget
from serving.local_server.config import is_loopback
from serving.local_server.errors import RequestError
from serving.local_server.errors import StartError

JSON = "application/json"
_IDLE_SECONDS = 10  # until a connection that says nothing is closed


class Page(NamedTuple):
    """An HTTP response."""

    status: int
    body: bytes
    kind: str = JSON


# Takes method, path and body; raises nothing.
Answer = Callable[[str, str, bytes], Page]


def error_page(status: int, message: str) -> Page:
    """Returns an error as TF Serving words it."""
    return Page(status, json.dumps({"error": message}).encode() + b"\n")


class HttpServer:
    """Serves pages from a thread for each connection.

    Args:
        host: address to listen on. On loopback requests for another host are refused:
            a web page may have its own name resolve to 127.0.0.1.
        port: 0 takes a free one.
        answer: makes the pages.
        max_body_bytes: bound of a request's body.
        bodies: bounds the sum of bodies, from before one is read until it is answered.
        max_connections: connections at once; one more is closed.

    Raises:
        StartError: the port is taken.
    """

    def __init__(
        self,
        host: str,
        port: int,
        answer: Answer,
        max_body_bytes: int,
        bodies: ByteBudget,
        max_connections: int = 256,
    ) -> None:
        settings = {
            "max_body_bytes": max_body_bytes,
            "bodies": bodies,
            "own_hosts_only": is_loopback(host),
        }
        handler = type("Handler", (_Handler,), {"answer": staticmethod(answer), **settings})
        address = host.strip("[]")
        try:
            self._server = _Server((address, port), handler, max_connections)
        except OSError as error:
            raise StartError(
                f"Cannot serve REST on {host}:{port}: {error.strerror}. Set `rest_port` "
                "(`--rest-port`) to another port, to 0 for a free one, or to none."
            ) from error
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.5,), name="http", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Stops listening and frees the port."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_port = False
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], handler: Any, max_connections: int) -> None:
        self._free = threading.BoundedSemaphore(max_connections)
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._free.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], OSError):  # a client that hung up is no news
            logging.exception("An HTTP connection failed")


class _Handler(BaseHTTPRequestHandler):
    answer: Answer
    max_body_bytes: int
    bodies: ByteBudget
    own_hosts_only: bool
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "vitrine", ""
    timeout = _IDLE_SECONDS

    def do_GET(self) -> None:
        self._send(self._check_host() or self.answer("GET", self.path, b""))

    def do_POST(self) -> None:
        refused = self._check_host() or self._check_body()
        if refused is not None:
            self._send_unread(refused)
            return
        size = int(self.headers["Content-Length"])
        try:
            with self.bodies.hold(size):
                body = self.rfile.read(size)
                if len(body) == size:  # or else the client hung up
                    self._send(self.answer("POST", self.path, body))
        except RequestError as error:
            self._send_unread(error_page(429, error.message))

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answers what is no HTTP, or another method."""
        self.close_connection = True
        self.request_version = self.protocol_version  # else the answer would have no head
        self._send(error_page(code, message or HTTPStatus(code).phrase))

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing: a scrape every few seconds is no news."""

    def _check_host(self) -> Page | None:
        host = self.headers.get("Host")
        if not self.own_hosts_only or host is None:
            return None
        try:
            name = urlsplit(f"//{host}").hostname
        except ValueError:
            name = None
        if name is not None and is_loopback(name):
            return None
        return error_page(403, f"This server is for this machine alone. Received: host `{host}`.")

    def _check_body(self) -> Page | None:
        size = self.headers.get("Content-Length", "")
        if "Transfer-Encoding" in self.headers or not size:
            return error_page(411, "Expected a `Content-Length`.")
        if not (size.isascii() and size.isdigit() and len(size) < 20):
            return error_page(400, f"Expected a number for `Content-Length`. Received: `{size}`.")
        if int(size) > self.max_body_bytes:
            return error_page(
                413,
                f"Expected at most {self.max_body_bytes:,} bytes (`max_message_bytes`). Received: "
                f"{int(size):,}.",
            )
        return None

    def _send_unread(self, page: Page) -> None:
        """Answers without the body having been read, which ends the connection."""
        self.close_connection = True
        self._send(page)

    def _send(self, page: Page) -> None:
        self.send_response(page.status)
        self.send_header("Content-Type", page.kind)
        self.send_header("Content-Length", str(len(page.body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(page.body)
