"""The HTTP page of the metrics, on loopback."""

from __future__ import annotations

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from http.server import ThreadingHTTPServer

from serving.local_server.errors import StartError

METRICS_PATH = "/monitoring/prometheus/metrics"


class MetricsPage:
    """Serves `http://127.0.0.1:<port>/monitoring/prometheus/metrics`.

    Args:
        port: 0 takes a free one.
        text: returns the page.

    Raises:
        StartError: the port is taken.
    """

    def __init__(self, port: int, text: Callable[[], str]) -> None:
        class Handler(BaseHTTPRequestHandler):
            timeout = 10  # seconds; an idle connection must not keep a thread

            def do_GET(self) -> None:
                if self.path.split("?")[0] != METRICS_PATH:
                    self.send_error(404, f"Only {METRICS_PATH} is served here")
                    return
                body = text().encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                """Says nothing: a scrape every few seconds is no news."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            allow_reuse_port = False

        try:
            self._server = Server(("127.0.0.1", port), Handler)
        except OSError as error:
            raise StartError(
                f"Cannot serve metrics on 127.0.0.1:{port}: {error.strerror}. Set `metrics_port` "
                "to another port, to 0 for a free one, or to none (`--set metrics_port=0`)."
            ) from error
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.5,), name="metrics", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Stops serving and frees the port."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
