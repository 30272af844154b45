"""HTTP against clients that are wrong, slow or not ours."""

from __future__ import annotations

import json
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from serving.local_server.byte_budget import ByteBudget
from serving.local_server.errors import StartError
from serving.local_server.http_server import HttpServer
from serving.local_server.http_server import Page

PLENTY = ByteBudget(1 << 20, "The bodies")


@pytest.fixture(scope="module")
def server() -> Iterator[HttpServer]:
    """Answers with what it was asked."""

    def answer(method: str, path: str, body: bytes) -> Page:
        return Page(200, f"{method} {path} ".encode() + body, "text/plain")

    running = HttpServer("127.0.0.1", 0, answer, 1000, ByteBudget(1000, "The bodies"))
    yield running
    running.close()


def say(server: HttpServer, *lines: str, body: bytes = b"") -> tuple[int, bytes]:
    """Sends lines as they are; returns status and body, once the server closes."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        head = "\r\n".join([*lines, "Connection: close", "", ""])
        connection.sendall(head.encode() + body)
        received = b""
        while part := connection.recv(1 << 16):
            received += part
    head_, _, content = received.partition(b"\r\n\r\n")
    return int(head_.split()[1]), content


def test_get_and_post(server):
    root = f"http://127.0.0.1:{server.port}"
    with urllib.request.urlopen(f"{root}/a?b=c") as answer:
        assert answer.read() == b"GET /a?b=c "
    with urllib.request.urlopen(f"{root}/x", data=b"\x00\xff" * 500) as answer:
        assert answer.read() == b"POST /x " + b"\x00\xff" * 500


def test_several_requests_on_one_connection(server):
    import http.client

    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    for number in range(3):
        connection.request("POST", f"/{number}", body=b"abc")
        assert connection.getresponse().read() == f"POST /{number} abc".encode()
    connection.close()


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        (["POST / HTTP/1.1", "Content-Length: 1001"], 413),
        (["POST / HTTP/1.1", f"Content-Length: {10**18}"], 413),
        (["POST / HTTP/1.1", f"Content-Length: {'9' * 50}"], 400),
        (["POST / HTTP/1.1", "Content-Length: -1"], 400),
        (["POST / HTTP/1.1", "Content-Length: 1_0"], 400),
        (["POST / HTTP/1.1"], 411),
        (["POST / HTTP/1.1", "Transfer-Encoding: chunked", "Content-Length: 3"], 411),
        (["DELETE / HTTP/1.1"], 501),
        (["GET / HTTP/9.9"], 505),
        (["GET"], 400),
        (["GET /" + "x" * 70_000 + " HTTP/1.1"], 414),
        (["GET / HTTP/1.1", *(f"X-{n}: 1" for n in range(200))], 431),
    ],
)
def test_what_is_wrong_is_answered_in_json(server, lines, status):
    answered, content = say(server, *lines)
    assert answered == status
    assert list(json.loads(content)) == ["error"]


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:1", 200),
        ("localhost", 200),
        ("[::1]:8501", 200),
        ("evil.example:8501", 403),
        ("[::1", 403),
        ("", 403),
    ],
)
def test_names_of_others_that_resolve_to_this_machine_are_refused(server, host, status):
    assert say(server, "GET / HTTP/1.1", f"Host: {host}")[0] == status
    lines = ("POST / HTTP/1.1", f"Host: {host}", "Content-Length: 2")
    assert say(server, *lines, body=b"ab")[0] == status


def test_beyond_the_most_connections_the_next_is_closed():
    running = HttpServer("127.0.0.1", 0, lambda *_: Page(200, b""), 10, PLENTY, max_connections=2)
    address = ("127.0.0.1", running.port)
    try:
        idle = [socket.create_connection(address, timeout=60) for _ in range(2)]
        for connection in idle:
            connection.sendall(b"GET / HTTP/1.1\r\n")  # and no end
        with socket.create_connection(address, timeout=60) as third:
            assert third.recv(10) == b""
        for connection in idle:
            connection.sendall(b"\r\n")
            assert connection.recv(12) == b"HTTP/1.1 200"
            connection.close()
    finally:
        running.close()


def test_bodies_are_bounded_in_sum_before_they_are_read(server):
    address = ("127.0.0.1", server.port)
    with socket.create_connection(address, timeout=60) as slow:
        slow.sendall(b"POST /slow HTTP/1.1\r\nContent-Length: 900\r\n\r\n" + b"a" * 899)
        lines = ("POST /more HTTP/1.1", "Content-Length: 101")
        refused = 0
        while refused != 429:  # the slow one's head may not have been read yet
            refused, content = say(server, *lines, body=b"b" * 101)
        assert "The bodies take 900 bytes already" in json.loads(content)["error"]
        assert say(server, "POST /x HTTP/1.1", "Content-Length: 100", body=b"b" * 100)[0] == 200
        assert say(server, "GET / HTTP/1.1")[0] == 200
        slow.sendall(b"a")
        assert slow.recv(12) == b"HTTP/1.1 200"
        slow.recv(1 << 16)
    answered = 429
    while answered == 429:  # until the slow one's thread has ended
        answered, _ = say(server, *lines, body=b"b" * 101)
    assert answered == 200


def test_a_taken_port_is_named(server):
    with pytest.raises(StartError, match="--rest-port"):
        HttpServer("127.0.0.1", server.port, lambda *_: Page(200, b""), 10, PLENTY)


def test_ipv6():
    running = HttpServer("[::1]", 0, lambda *_: Page(200, b"six"), 10, PLENTY)
    try:
        with urllib.request.urlopen(f"http://[::1]:{running.port}/") as answer:
            assert answer.read() == b"six"
    finally:
        running.close()
