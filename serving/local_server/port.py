"""Check for a free port, before anything slow begins."""

from __future__ import annotations

import errno
import socket


def is_taken(host: str, port: int) -> bool:
    """Returns whether another process listens on a port.

    Args:
        host: name or address, IPv6 also in brackets.
        port: 0 is never taken: it stands for any free one.

    Returns:
        False as well where the address cannot be had for another reason, which
        listening on it says better.
    """
    if port == 0:
        return False
    try:
        addresses = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
    except OSError:
        return False
    return any(_in_use(family, address) for family, _, _, _, address in addresses)


def _in_use(family: int, address: tuple[object, ...]) -> bool:
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            # A port whose last connections are still closing is free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        return error.errno == errno.EADDRINUSE
    return False
