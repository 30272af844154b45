from __future__ import annotations

from pathlib import Path

import pytest

from serving.local_server.config import ModelConfig
from serving.local_server.config import ServerConfig
from serving.local_server.config import TlsConfig
from serving.local_server.models_config import configured_models

MODELS = (ModelConfig(base_path=Path("pushed")),)
TEXT = """
model_config_list {
  config {
    name: 'movies' base_path: '/models/movies' model_platform: 'tensorflow'
    model_version_policy { specific { versions: 42 versions: 43 } }
    version_labels { key: 'stable' value: 42 }
    version_labels { key: 'canary' value: 43 }
  }
  config { name: 'videos' base_path: '/models/videos'
           model_version_policy { latest { num_versions: 2 } } }
  config { name: 'items' base_path: '/models/items' }
}
"""


def test_the_default_is_for_this_machine_alone():
    config = ServerConfig(models=MODELS)
    assert (config.host, config.port, config.tls, config.reload_root) == (
        "127.0.0.1",
        8500,
        None,
        None,
    )
    assert config.max_message_bytes == 64 << 20


@pytest.mark.parametrize("host", ["0.0.0.0", "10.1.2.3", "[::]", "example.org"])
def test_other_addresses_need_mutual_tls_or_insecure(host):
    one_way = TlsConfig(certificate=Path("c"), key=Path("k"))
    mutual = TlsConfig(certificate=Path("c"), key=Path("k"), client_ca=Path("ca"))
    for tls in (None, one_way):
        with pytest.raises(ValueError, match="mutual TLS"):
            ServerConfig(models=MODELS, host=host, tls=tls)
    ServerConfig(models=MODELS, host=host, tls=mutual)
    ServerConfig(models=MODELS, host=host, insecure=True)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "[::1]", "127.8.8.8"])
def test_loopback_needs_nothing(host):
    ServerConfig(models=MODELS, host=host)


def test_models_come_from_one_place_and_once():
    with pytest.raises(ValueError, match="neither"):
        ServerConfig()
    with pytest.raises(ValueError, match="both"):
        ServerConfig(models=MODELS, models_config_file=Path("m"))
    with pytest.raises(ValueError, match="twice"):
        ServerConfig(models=MODELS + MODELS)


def test_an_unknown_key_names_the_nearest():
    with pytest.raises(ValueError, match="nearest is `poll_seconds`"):
        ServerConfig(models=MODELS, pol_seconds=1)


def test_json_round_trip():
    config = ServerConfig(models=MODELS, port=9000)
    assert ServerConfig.model_validate_json(config.to_json()) == config


def test_models_config_of_tf_serving(tmp_path):
    path = tmp_path / "models.config"
    path.write_text(TEXT)
    movies, videos, items = configured_models(ServerConfig(models_config_file=path))
    assert movies == ModelConfig(
        name="movies",
        base_path=Path("/models/movies"),
        versions=(42, 43),
        labels={"stable": 42, "canary": 43},
    )
    assert (videos.versions, videos.newest) == ((), 2)
    assert (items.versions, items.newest) == ((), 1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model_config_list { config { nme: 'x' } }", "nme"),
        ("", "no model"),
        ("model_config_list { config { name: 'x' } }", "base_path"),
        (
            "model_config_list { config { name: 'x' base_path: 'y' model_platform: 'onnx' } }",
            "onnx",
        ),
        (
            "model_config_list { config { name: 'x' base_path: 'y' }"
            " config { name: 'x' base_path: 'z' } }",
            "once",
        ),
    ],
)
def test_bad_models_config(tmp_path, text, message):
    path = tmp_path / "models.config"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        configured_models(ServerConfig(models_config_file=path))


def test_missing_models_config(tmp_path):
    with pytest.raises(ValueError, match="No such file"):
        configured_models(ServerConfig(models_config_file=tmp_path / "none"))
