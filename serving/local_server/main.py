"""Entry point of the local server."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from typing import Any

from absl import logging

from serving.local_server.config import ServerConfig
from serving.local_server.config import is_loopback


def serve(config: ServerConfig, say: Callable[[str], None] = logging.info) -> None:
    """Serves until SIGTERM or SIGINT; then ends what is under way and returns.

    Imports TensorFlow only here, so that a wrong configuration fails fast. Call
    it from the main thread.

    Args:
        config: what to serve, and where.
        say: takes the lines for whoever started the server: loading, ready, waiting.

    Raises:
        StartError: the server cannot start; the message says why.
        ValueError: `models_config_file` cannot be read.
    """
    from serving.local_server.server import LocalServer

    if not is_loopback(config.host) and config.insecure:
        logging.warning(
            "Listening on %s without mutual TLS, as `insecure` says: everybody who reaches this "
            "address can ask the model",
            config.host,
        )
    stop = threading.Event()
    handlers: dict[int, Any] = {}

    def end(*_: object) -> None:
        stop.set()
        for number, handler in handlers.items():
            signal.signal(number, handler)  # a second signal does not wait

    for number in (signal.SIGTERM, signal.SIGINT):
        handlers[number] = signal.signal(number, end)
    server = LocalServer(config, say)
    try:
        server.start()
        stop.wait()
    finally:
        server.stop()
        end()
