"""`models.config`, the text that TF Serving itself reads, to typed configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from google.protobuf import text_format

from serving.client import protos
from serving.local_server.config import ModelConfig
from serving.local_server.config import ServerConfig

# "All versions" in a policy that counts the newest ones.
_ALL = 1_000_000


def configured_models(config: ServerConfig) -> tuple[ModelConfig, ...]:
    """Returns the models of a server, read from its files where it names some.

    Raises:
        ValueError: a file cannot be read as `models.config`.
    """
    if config.models_config_file is not None:
        return models_of(_read(config.models_config_file))
    return tuple(_with_labels(model) for model in config.models)


def _read(path: Path) -> Any:
    message = protos.ModelServerConfig()
    try:
        text_format.Parse(path.read_text(encoding="utf-8"), message)
    except (OSError, UnicodeDecodeError, text_format.ParseError) as error:
        raise ValueError(f"Expected a `models.config` at {path}. Received: {error}.") from error
    return message


def _with_labels(model: ModelConfig) -> ModelConfig:
    """Returns a model with the labels that its file gives it."""
    if model.labels_file is None or not model.labels_file.exists():
        return model
    entries = _read(model.labels_file).model_config_list.config
    named = [entry for entry in entries if entry.name == model.name or len(entries) == 1]
    return model.model_copy(update={"labels": dict(named[0].version_labels) if named else {}})


def models_of(message: Any) -> tuple[ModelConfig, ...]:
    """Returns the models of a `ModelServerConfig`.

    Raises:
        ValueError: it lists none, one is incomplete, or a name comes twice.
    """
    listed = message.model_config_list.config
    if not listed:
        raise ValueError("Expected `model_config_list { config { ... } }`. Received: no model.")
    models = tuple(_model(entry) for entry in listed)
    names = [model.name for model in models]
    if len(set(names)) != len(names):
        raise ValueError(f"Expected every model name once. Received: {names}.")
    return models


def _model(entry: Any) -> ModelConfig:
    if not entry.name or not entry.base_path:
        raise ValueError(
            f"Expected a model with `name` and `base_path`. Received: name=`{entry.name}`, "
            f"base_path=`{entry.base_path}`."
        )
    if entry.model_platform not in ("", "tensorflow"):
        raise ValueError(
            f"Expected the platform `tensorflow` for `{entry.name}`. Received: "
            f"`{entry.model_platform}`."
        )
    policy = entry.model_version_policy
    kind = policy.WhichOneof("policy_choice")
    newest = {"all": _ALL, "latest": policy.latest.num_versions or 1}.get(kind or "", 1)
    return ModelConfig(
        name=entry.name,
        base_path=Path(entry.base_path),
        versions=tuple(policy.specific.versions) if kind == "specific" else (),
        newest=newest,
        labels=dict(entry.version_labels),
    )
