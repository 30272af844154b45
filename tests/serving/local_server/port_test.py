from __future__ import annotations

import socket

import pytest

from serving.local_server.port import is_taken


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_port_is_taken_while_somebody_listens(host):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        assert is_taken(host, port)
    assert not is_taken(host, port)


def test_looking_does_not_keep_the_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    assert not is_taken("127.0.0.1", port)
    assert not is_taken("127.0.0.1", port)


def test_any_free_port_and_unknown_hosts_are_left_to_who_listens():
    assert not is_taken("127.0.0.1", 0)
    assert not is_taken("no-such-host.invalid", 8500)
