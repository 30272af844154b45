"""Looking a file up, and downloading it from a real https server on this machine."""

from __future__ import annotations

import datetime
import hashlib
import ssl
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from http.server import ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from urllib.error import URLError

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tfx_pipeline.datasets.download import SourceFile
from tfx_pipeline.datasets.download import cache_path
from tfx_pipeline.datasets.download import download
from tfx_pipeline.datasets.download import find
from tfx_pipeline.datasets.download import obtain

DATA = b"the data set" * 10_000
SHA256 = hashlib.sha256(DATA).hexdigest()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "http://127.0.0.1:1/file")
            self.end_headers()
            return
        self.send_response(200 if self.path.startswith("/file") else 404)
        self.send_header("Content-Length", str(len(DATA)))
        self.end_headers()
        self.wfile.write(DATA[:-1000] if self.path == "/file-cut" else DATA)

    def log_message(self, format: str, *args: object) -> None:
        pass


def make_certificate(folder: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / "cert.pem").write_bytes(certificate.public_bytes(pem))
    (folder / "key.pem").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return folder / "cert.pem", folder / "key.pem"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, ssl.SSLContext]]:
    certificate, key = make_certificate(tmp_path_factory.mktemp("tls"))
    listener = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    own = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    own.load_cert_chain(certificate, key)
    listener.socket = own.wrap_socket(listener.socket, server_side=True)
    thread = threading.Thread(target=listener.serve_forever, daemon=True)
    thread.start()
    trusting = ssl.create_default_context(cafile=str(certificate))
    yield f"https://127.0.0.1:{listener.server_port}", trusting
    listener.shutdown()
    thread.join()
    listener.server_close()


def test_a_checked_file_appears_under_its_name(
    tmp_path: Path, server: tuple[str, ssl.SSLContext]
) -> None:
    url, context = server
    target = tmp_path / "sub" / "file.zip"
    download(f"{url}/file", target, SHA256, len(DATA), context)
    assert target.read_bytes() == DATA
    assert [p.name for p in target.parent.iterdir()] == ["file.zip"]


@pytest.mark.parametrize(
    ("path", "sha256", "max_bytes", "error", "message"),
    [
        ("/file", "0" * 64, 1 << 30, ValueError, f"SHA-256 {SHA256}; expected 0000"),
        ("/file", SHA256, 1_000, ValueError, "more than the 1,000 bytes"),
        ("/file-cut", SHA256, 1 << 30, ValueError, "SHA-256"),
        ("/missing", SHA256, 1 << 30, URLError, "404"),
        ("/moved", SHA256, 1 << 30, ValueError, "https only; received `http://127"),
    ],
)
def test_a_failed_download_leaves_nothing(
    tmp_path: Path,
    server: tuple[str, ssl.SSLContext],
    path: str,
    sha256: str,
    max_bytes: int,
    error: type[Exception],
    message: str,
) -> None:
    url, context = server
    with pytest.raises(error, match=message):
        download(url + path, tmp_path / "file.zip", sha256, max_bytes, context)
    assert list(tmp_path.iterdir()) == []


def test_a_stranger_and_plain_http_are_refused(
    tmp_path: Path, server: tuple[str, ssl.SSLContext]
) -> None:
    with pytest.raises(URLError, match="certificate"):
        download(f"{server[0]}/file", tmp_path / "file.zip", SHA256, 1 << 30)
    for url in ("http://127.0.0.1/file", "file:///etc/passwd", "ftp://127.0.0.1/file"):
        with pytest.raises(ValueError, match="https only"):
            download(url, tmp_path / "file.zip", SHA256, 1 << 30)


FILE = SourceFile("toy/file.zip", "https://example.org/toy")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VITRINE_DATA_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("VITRINE_CACHE", str(tmp_path / "cache"))
    (tmp_path / "home" / "toy").mkdir(parents=True)
    (tmp_path / "other").mkdir()
    return tmp_path


def test_lookup_goes_home_first_and_then_to_earlier_downloads(home: Path) -> None:
    assert find(FILE) is None
    cached = cache_path(FILE)
    cached.parent.mkdir(parents=True)
    cached.write_bytes(b"x")
    assert find(FILE) == cached == home / "cache" / "toy" / "file.zip"
    (home / "home" / "toy" / "file.zip").write_bytes(b"x")
    assert obtain(FILE) == home / "home" / "toy" / "file.zip"


def test_a_named_source_is_the_only_place_looked_at(home: Path) -> None:
    (home / "home" / "toy" / "file.zip").write_bytes(b"x")
    other = home / "other"
    with pytest.raises(FileNotFoundError, match="has no `file.zip`"):
        obtain(FILE, other)
    (other / "file.zip").write_bytes(b"x")
    assert obtain(FILE, other) == obtain(FILE, other / "file.zip") == other / "file.zip"
    assert obtain(FILE, home / "home") == home / "home" / "toy" / "file.zip"


def test_what_cannot_be_fetched_says_where_to_get_it(home: Path) -> None:
    with pytest.raises(FileNotFoundError, match="by hand, see https://example.org/toy"):
        obtain(FILE)
    with pytest.raises(ValueError, match="no pinned checksum"):
        obtain(replace(FILE, url="https://127.0.0.1:1/file"))
    with pytest.raises(FileNotFoundError, match="does not answer"):
        obtain(replace(FILE, url="https://127.0.0.1:1/file", sha256=SHA256))
