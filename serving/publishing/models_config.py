"""TF Serving's `models.config`: reads it, and finds the versions that it names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from google.protobuf import text_format

from serving.client import protos
from transforms.storage import place

# Below the push directory, whose own time of change says when versions came or went.
SERVING = "serving"
# In two parts: the code version takes "models.config" for the module of that name.
MODELS_CONFIG = Path(SERVING, "models").with_suffix(".config")


def parse_models_config(path: str | Path) -> Any:
    """Returns the `ModelServerConfig` of a text file.

    Raises:
        ValueError: The file cannot be read as such a configuration.
    """
    message = protos.ModelServerConfig()
    try:
        text_format.Parse(place(path).read_text(encoding="utf-8"), message)
    except (OSError, UnicodeDecodeError, text_format.ParseError) as error:
        raise ValueError(
            f"`models_config` should name TF Serving's model configuration (text of a "
            f"ModelServerConfig); {path} is not one: {error}"
        ) from error
    return message


def named_versions(
    models_config: str | Path, name: str, push_dir: str | Path, seen_as: str = ""
) -> set[int]:
    """Returns the versions that TF Serving's configuration holds on to.

    Args:
        models_config: A text file with a `ModelServerConfig`.
        name: What requests call the model.
        push_dir: The base path of the model.
        seen_as: The same directory as servers see it (`serving_path` of the push).

    Returns:
        Versions with a label and versions of a `specific` policy, of the
        models of that name and of those whose base path is `push_dir` or `seen_as`.

    Raises:
        ValueError: The file cannot be read as such a configuration.
    """
    paths = {place(path) for path in (push_dir, seen_as) if path}
    found: set[int] = set()
    for model in parse_models_config(models_config).model_config_list.config:
        if model.name == name or place(model.base_path) in paths:
            found |= set(model.version_labels.values())
            found |= set(model.model_version_policy.specific.versions)
    return found
