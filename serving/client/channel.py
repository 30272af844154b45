"""Channels to a server: options, TLS and mutual TLS."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import grpc

MAX_MESSAGE_BYTES = 64 << 20


@dataclass(frozen=True)
class TlsOptions:
    """TLS certificates and keys; all files are PEM.

    Attributes:
        root_certificates: authority that signed the server's certificate;
            `None` trusts the system's.
        certificate: the client's own certificate chain, for mutual TLS.
        key: its private key.
        server_name: name to expect in the server's certificate, where it is
            not the one that is called.
    """

    root_certificates: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    server_name: str | None = None

    def credentials(self) -> grpc.ChannelCredentials:
        """Returns gRPC's credentials.

        Raises:
            ValueError: only one of `certificate` and `key` is given.
            OSError: a file cannot be read.
        """
        if (self.certificate is None) != (self.key is None):
            raise ValueError(
                "Expected `certificate` and `key` together (mutual TLS) or neither. Received: "
                f"certificate={self.certificate}, key={self.key}."
            )
        read = [
            Path(path).read_bytes() if path is not None else None
            for path in (self.root_certificates, self.key, self.certificate)
        ]
        return grpc.ssl_channel_credentials(*read)


def channel_options(
    max_message_bytes: int, tls: TlsOptions | None, round_robin: bool
) -> list[tuple[str, int | str]]:
    """Returns the options of a channel.

    Args:
        max_message_bytes: bound of a request and of an answer.
        tls: options of TLS, for the name to expect.
        round_robin: spread the calls over all addresses that the name resolves
            to (a headless Kubernetes service) in place of using the first.
    """
    options: list[tuple[str, int | str]] = [
        ("grpc.max_send_message_length", max_message_bytes),
        ("grpc.max_receive_message_length", max_message_bytes),
        # Come back soon after a restart: by default the first pause is a second.
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 2_000),
    ]
    if tls is not None and tls.server_name:
        options.append(("grpc.ssl_target_name_override", tls.server_name))
    if round_robin:
        options.append(("grpc.lb_policy_name", "round_robin"))
    return options
