"""Certificates of the server."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import grpc
from absl import logging

from serving.local_server.config import TlsConfig
from serving.local_server.errors import StartError

Times = tuple[int, ...]


def server_credentials(config: TlsConfig) -> grpc.ServerCredentials:
    """Returns gRPC's credentials; renewed files take effect without a restart.

    With `client_ca` a client must show a certificate that this authority signed
    and that is valid now; others do not get past the handshake.

    Raises:
        StartError: a file cannot be read, or certificate and key do not match.
    """
    files = [config.key, config.certificate] + ([config.client_ca] if config.client_ca else [])
    _check(config)
    loaded = _times(files)

    def renewed() -> Any:
        nonlocal loaded
        try:
            times = _times(files)
            if times == loaded:
                return None
            _check(config)
            fresh = _configuration(config)
        except (OSError, StartError) as error:
            logging.log_every_n_seconds(
                logging.ERROR, "The renewed certificate cannot be used: %s", 60, error
            )
            return None
        loaded = times
        logging.info("The renewed certificate %s is used", config.certificate)
        return fresh

    return grpc.dynamic_ssl_server_credentials(
        _configuration(config),
        renewed,
        require_client_authentication=config.client_ca is not None,
    )


def _configuration(config: TlsConfig) -> Any:
    authority = config.client_ca.read_bytes() if config.client_ca else None
    pair = (config.key.read_bytes(), config.certificate.read_bytes())
    return grpc.ssl_server_certificate_configuration([pair], root_certificates=authority)


def _check(config: TlsConfig) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(config.certificate, config.key)
        if config.client_ca is not None:
            context.load_verify_locations(config.client_ca)
    except OSError as error:  # ssl.SSLError is one
        raise StartError(
            f"Cannot use certificate {config.certificate} with key {config.key} and client "
            f"authority {config.client_ca}: {error}. Expected PEM files, the key that belongs to "
            "the certificate, and no pass phrase."
        ) from error


def _times(files: list[Path]) -> Times:
    return tuple(path.stat().st_mtime_ns for path in files)
