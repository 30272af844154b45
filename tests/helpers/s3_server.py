"""A real S3 server on loopback: moto's, which can also be told to be busy or to be strict."""

from __future__ import annotations

import threading
import time
import urllib.request
from collections.abc import Callable
from collections.abc import Iterable
from typing import Any

from werkzeug.serving import make_server

KEYS = {
    "AWS_ACCESS_KEY_ID": "key",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",  # where no key is given nobody asks the machine for one
}


class S3Server:
    """An S3 server, while a `with` block lasts.

    Attributes:
        address: Of its loopback port, for `AWS_ENDPOINT_URL`.
        busy: Of how many of the next requests it says `SlowDown`.
        strict: Whether it looks at keys; whoever asks is answered otherwise.
        hold: Part of the paths whose writes wait until it is changed; "" of none.
        held: Is set once a write waits.
        requests: Methods and paths of all requests.
    """

    def __init__(self) -> None:
        from moto.moto_server.werkzeug_app import DomainDispatcherApplication
        from moto.moto_server.werkzeug_app import create_backend_app

        self.busy = 0
        self.strict = False
        self.hold = ""
        self.held = threading.Event()
        self.requests: list[tuple[str, str]] = []
        self._app = DomainDispatcherApplication(create_backend_app)
        self._server = make_server("127.0.0.1", 0, self._answer, threaded=True)
        self._server.RequestHandlerClass.log_request = lambda *_: None  # type: ignore[method-assign]
        self.address = f"http://127.0.0.1:{self._server.port}"

    def __enter__(self) -> S3Server:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def environment(self) -> dict[str, str]:
        """Returns what a process has to have set to be a user of the server."""
        return {**KEYS, "AWS_ENDPOINT_URL": self.address}

    def make_bucket(self, name: str) -> str:
        """Makes a bucket and returns its address."""
        request = urllib.request.Request(f"{self.address}/{name}", method="PUT")
        urllib.request.urlopen(request).close()
        return f"s3://{name}"

    def _answer(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        method = environ["REQUEST_METHOD"]
        self.requests.append((method, environ["PATH_INFO"]))
        while self.hold and self.hold in environ["PATH_INFO"] and method != "GET":
            self.held.set()
            time.sleep(0.01)
        signature = environ.get("HTTP_AUTHORIZATION", "")
        if self.busy > 0:
            self.busy -= 1
            status, code = "503 Slow Down", "SlowDown"
        elif self.strict and f"Credential={KEYS['AWS_ACCESS_KEY_ID']}/" not in signature:
            status, code = "403 Forbidden", "InvalidAccessKeyId" if signature else "AccessDenied"
        else:
            return self._app(environ, start)
        environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        start(status, [("Content-Type", "application/xml")])
        return [f"<?xml version='1.0'?><Error><Code>{code}</Code></Error>".encode()]
