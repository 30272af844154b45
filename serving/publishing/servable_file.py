"""`servable.json`: what a servable says of itself to those who push, warm up, ask and evaluate it.

It lies beside `saved_model.pb`. A stage may say more in it; these keys all stages have:

    {"stage": "retrieval",
     "signatures": ["recommend", "serving_default", ...],
     "required": ["saved_model.pb", "variables/variables.index", ...]}
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

SERVABLE = "servable.json"


@dataclass(frozen=True)
class ServableFile:
    """Content of `servable.json`, the same for every stage.

    Attributes:
        stage: The stage of the pipeline that made it.
        signatures: Names of the signatures that it answers.
        required: Files without which a version is not whole.
    """

    stage: str
    signatures: tuple[str, ...]
    required: tuple[str, ...]


def read_servable(directory: Path) -> ServableFile:
    """Reads what a servable says of itself.

    Raises:
        FileNotFoundError: There is no `servable.json`.
        ValueError: It does not say what every servable says.
    """
    path = directory / SERVABLE
    if not path.is_file():
        raise FileNotFoundError(
            f"{directory} lacks {SERVABLE}, which the components that make servables write; run "
            "them again."
        )
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        names = tuple(found["signatures"]), tuple(found["required"])
        return ServableFile(str(found["stage"]), *names)
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(
            f"{path} should say `stage`, `signatures` and `required` of the servable; it cannot be "
            f"read so ({error!r}). Run the pipeline again."
        ) from error
