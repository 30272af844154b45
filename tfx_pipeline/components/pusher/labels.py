"""Versions that TF Serving's configuration holds on to."""

from __future__ import annotations

from pathlib import Path

from google.protobuf import text_format

from serving.client import protos


def named_versions(models_config: str | Path, push_dir: str | Path) -> set[int]:
    """Returns the versions that TF Serving's configuration holds on to.

    Args:
        models_config: A text file with a `ModelServerConfig`.
        push_dir: The base path of the model.

    Returns:
        Versions with a label and versions of a `specific` policy, of the
        models whose base path ends in the same directory name (a container
        sees it under another path).

    Raises:
        ValueError: The file cannot be read as such a configuration.
    """
    message = protos.ModelServerConfig()
    try:
        text_format.Parse(Path(models_config).read_text(encoding="utf-8"), message)
    except (OSError, UnicodeDecodeError, text_format.ParseError) as error:
        raise ValueError(
            f"`models_config` should name TF Serving's model configuration (text of a "
            f"ModelServerConfig); {models_config} is not one: {error}"
        ) from error
    found: set[int] = set()
    for model in message.model_config_list.config:
        if Path(model.base_path).name == Path(push_dir).name:
            found |= set(model.version_labels.values())
            found |= set(model.model_version_policy.specific.versions)
    return found
