"""TLS and mutual TLS with real certificates."""

from __future__ import annotations

import pytest

from serving.client import RecommenderClient
from serving.client import RetryPolicy
from serving.client import ServingError
from serving.client import TlsError
from serving.client import TlsOptions
from serving.client import UnavailableError
from serving.local_server.config import TlsConfig
from serving.local_server.errors import StartError
from tests.serving.local_server.certificates import Authority


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ours"), "ours")


@pytest.fixture(scope="module")
def foreign(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("foreign"), "foreign")


@pytest.fixture
def secure(saved, serve, tmp_path, authority):
    """Starts a server with TLS; mutual unless told otherwise."""
    saved(tmp_path / "base", 1)

    def start(server_pair=None, mutual=True):
        pair = server_pair or authority.issue("server")
        tls = TlsConfig(
            certificate=pair.certificate,
            key=pair.key,
            client_ca=authority.certificate if mutual else None,
        )
        return serve(tmp_path / "base", tls=tls)

    return start


def options(authority, pair=None) -> TlsOptions:
    if pair is None:
        return TlsOptions(authority.certificate)
    return TlsOptions(authority.certificate, pair.certificate, pair.key)


def ask(server, tls, **settings):
    retry = RetryPolicy(attempts=1)
    with RecommenderClient(server.address, "tiny", tls=tls, retry=retry, **settings) as client:
        return client.recommend()


def test_mutual_tls(secure, authority):
    server = secure()
    assert ask(server, options(authority, authority.issue("client"))).version == 1


def test_tls_without_client_certificates(secure, authority):
    assert ask(secure(mutual=False), options(authority)).version == 1


def test_clients_without_a_good_certificate_are_refused(secure, authority, foreign):
    server = secure()
    refused = {
        "none": options(authority),
        "foreign": options(authority, foreign.issue("stranger")),
        "expired": options(authority, authority.issue("late", -9, -1)),
        "not yet valid": options(authority, authority.issue("early", 2, 9)),
        "in the clear": None,
    }
    for tls in refused.values():
        with pytest.raises((UnavailableError, TlsError)):
            ask(server, tls)
    assert ask(server, options(authority, authority.issue("client"))).version == 1


def test_servers_with_a_bad_certificate_are_refused(secure, authority, foreign):
    good = options(authority, authority.issue("client"))
    for pair in (foreign.issue("server"), authority.issue("expired", -9, -1)):
        with pytest.raises(TlsError, match="CERTIFICATE_VERIFY_FAILED.*valid today"):
            ask(secure(pair), good)


def test_a_certificate_for_another_host_is_refused(secure, authority):
    tls = TlsOptions(authority.certificate, server_name="shop.example")
    with pytest.raises(ServingError, match="shop.example|[Hh]ostname|verification"):
        ask(secure(mutual=False), tls)


def test_renewed_files_are_used_without_a_restart(secure, authority):
    pair = authority.issue("renewed", -9, -1)
    server = secure(pair, mutual=False)
    with pytest.raises(TlsError):
        ask(server, options(authority))
    fresh = authority.issue("fresh")
    pair.key.write_bytes(fresh.key.read_bytes())
    pair.certificate.write_bytes(fresh.certificate.read_bytes())
    assert ask(server, options(authority)).version == 1


def test_files_that_do_not_belong_together(secure, authority, tmp_path):
    one, other = authority.issue("one"), authority.issue("other")
    mixed = type(one)(one.certificate, other.key)
    with pytest.raises(StartError, match="belongs to the certificate"):
        secure(mixed)
    with pytest.raises(StartError, match="Cannot use certificate"):
        secure(type(one)(tmp_path / "none.pem", one.key))


def test_half_a_client_certificate(authority):
    pair = authority.issue("half")
    with pytest.raises(ValueError, match="together"):
        RecommenderClient(tls=TlsOptions(authority.certificate, pair.certificate))
