"""Finds a source's file at hand, or fetches it from its official address."""

from __future__ import annotations

import hashlib
import os
import ssl
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from http.client import HTTPMessage
from http.client import HTTPResponse
from pathlib import Path
from typing import IO

from absl import logging

DATA_HOME = "VITRINE_DATA_HOME"
CACHE_HOME = "VITRINE_CACHE"
_BLOCK = 1 << 20
_TIMEOUT_SECONDS = 60


@dataclass(frozen=True)
class SourceFile:
    """A file of a public data set.

    Attributes:
        name: Its path below `$VITRINE_DATA_HOME`.
        homepage: Where a person reads about it and its licence.
        url: Its official address, `https`; None when a person has to fetch it.
        sha256: Checksum of the official file; required for a download.
        max_bytes: A longer answer is refused.
    """

    name: str
    homepage: str
    url: str | None = None
    sha256: str | None = None
    max_bytes: int = 1 << 30


def find(file: SourceFile, source: str | Path | None = None) -> Path | None:
    """Looks for a file, without the network.

    Args:
        file: What to look for.
        source: A file or directory to look at and nowhere else. By default
            `$VITRINE_DATA_HOME` and then what was downloaded before.

    Returns:
        Its path, or None.
    """
    base = Path(file.name).name
    if source is not None:
        source = Path(source)
        if source.is_file():
            candidates = [source] if source.name == base else [source.parent / base]
        else:
            candidates = [source / file.name, source / base]
    else:
        home = os.environ.get(DATA_HOME)
        candidates = [Path(home, file.name)] if home else []
        candidates.append(cache_path(file))
    return next((path for path in candidates if path.is_file()), None)


def obtain(file: SourceFile, source: str | Path | None = None) -> Path:
    """Finds a file, or downloads it when no source was named.

    Args:
        file: What to look for.
        source: A file or directory to look at and nowhere else.

    Returns:
        Its path.

    Raises:
        FileNotFoundError: If it is nowhere and cannot be downloaded.
        ValueError: If what was downloaded is not the official file.
    """
    path = find(file, source)
    if path is not None:
        return path
    if source is not None:
        raise FileNotFoundError(
            f"`{source}` has no `{Path(file.name).name}`. Name the file or its directory, or name "
            f"nothing to look under ${DATA_HOME}."
        )
    if file.url is None:
        raise FileNotFoundError(
            f"`{file.name}` is not under ${DATA_HOME} ({os.environ.get(DATA_HOME)}), and it has "
            f"no address to fetch it from. Get it by hand, see {file.homepage}, and name its "
            f"place by `--from`."
        )
    if file.sha256 is None:
        raise ValueError(f"`{file.name}` has an address but no pinned checksum: not downloaded.")
    target = cache_path(file)
    try:
        download(file.url, target, file.sha256, file.max_bytes)
    except urllib.error.URLError as error:
        raise FileNotFoundError(
            f"`{file.name}` is not under ${DATA_HOME} ({os.environ.get(DATA_HOME)}), and "
            f"{file.url} does not answer: {error}. Get it by hand, see {file.homepage}, and name "
            f"its place by `--from`."
        ) from error
    return target


def cache_path(file: SourceFile) -> Path:
    """Returns where a downloaded file is kept: below `$VITRINE_CACHE` or `~/.cache/vitrine`."""
    default = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "vitrine")
    return Path(os.environ.get(CACHE_HOME) or default).expanduser() / file.name


def sha256_of(path: str | Path) -> str:
    """Returns the SHA-256 of a file as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def download(
    url: str,
    target: Path,
    sha256: str,
    max_bytes: int,
    context: ssl.SSLContext | None = None,
) -> None:
    """Downloads a file over https; it appears under its name checked and complete.

    Args:
        url: An `https` address; redirections have to stay on https.
        target: Where it goes. Its directory is made.
        sha256: Expected checksum.
        max_bytes: A longer answer is refused.
        context: TLS settings; the system's by default.

    Raises:
        ValueError: If the address is not https, or the answer is too long or
            has another checksum.
        urllib.error.URLError: If the address does not answer.
    """
    _require_https(url)
    opener = urllib.request.build_opener(
        urllib.request.HTTPSHandler(context=context), _StayOnHttps()
    )
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(handle, "wb") as sink:
            with opener.open(url, timeout=_TIMEOUT_SECONDS) as answer:
                received = _receive(answer, sink, url, max_bytes)
        if received != sha256:
            raise ValueError(
                f"{url} answered a file with SHA-256 {received}; expected {sha256}. It was "
                f"thrown away. Try again, or see whether the publisher replaced the file."
            )
        Path(name).chmod(0o644)
        os.replace(name, target)
    finally:
        Path(name).unlink(missing_ok=True)


def _receive(answer: HTTPResponse, sink: IO[bytes], url: str, max_bytes: int) -> str:
    """Copies an answer and returns its SHA-256."""
    digest, size, told = hashlib.sha256(), 0, 0
    expected = int(answer.headers.get("Content-Length") or 0)
    while block := answer.read(_BLOCK):
        size += len(block)
        if size > max_bytes:
            raise ValueError(f"{url} answered more than the {max_bytes:,} bytes allowed for it.")
        digest.update(block)
        sink.write(block)
        if size - told >= 16 * _BLOCK:
            logging.info("%s: %s of %s bytes", url, f"{size:,}", f"{expected:,}" or "unknown")
            told = size
    return digest.hexdigest()


def _require_https(url: str) -> None:
    if urllib.parse.urlsplit(url).scheme != "https":
        raise ValueError(f"Downloads are https only; received `{url}`.")


class _StayOnHttps(urllib.request.HTTPRedirectHandler):
    """Refuses redirections to anything but https."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        _require_https(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)
