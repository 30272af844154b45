"""The base of every configuration: typed, frozen, and unfriendly to typing errors."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from typing import Annotated
from typing import Any
from typing import Optional
from typing import TypeVar
from typing import Union

from pydantic import BaseModel
from pydantic import BeforeValidator
from pydantic import ConfigDict
from pydantic import Field
from pydantic import ValidationError
from pydantic import model_validator

from transforms.nearest import nearest

T = TypeVar("T")
SectionT = TypeVar("SectionT", bound="Config")
if TYPE_CHECKING:
    FromLog = Annotated[T, "None until the log is known"]
else:
    # A value that follows from the log where its key is left out (`models.defaults`): None until
    # then. What trains sees resolved configurations alone, hence the type without None above.
    FromLog = Optional[T]  # noqa: UP007, UP045


def from_log(**bounds: Any) -> Any:
    """Makes the field of a `FromLog` value, with the bounds of a given one, e.g. `ge=1`."""
    return Field(default=None, **bounds)


class Config(BaseModel):
    """A frozen configuration section that rejects unknown keys.

    Subclasses declare typed fields with defaults. A key that no field has
    raises a `ValueError` which names the nearest key that exists, or all of them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    @model_validator(mode="before")
    @classmethod
    def _name_the_nearest_key(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        for key in values:
            if key not in cls.model_fields:
                there = f"; it has {', '.join(cls.model_fields) or 'none'}"
                near = nearest(str(key), cls.model_fields) or there
                raise ValueError(f"`{key}` is not a key of {cls.__name__}{near}.")
        return values

    def to_json(self) -> str:
        """Returns the configuration as JSON with sorted keys, the same for equal values."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True)

    def section(self, part: type[SectionT]) -> SectionT:
        """Returns the fields that one component reads.

        A component's cache then sees a change of its own fields alone.
        """
        return part(**{name: getattr(self, name) for name in part.model_fields})


def chosen_by(key: str, default: str, *kinds: type[Config]) -> Any:
    """Makes the annotation of a section that is one of several kinds.

    The section names its kind in one key and has the keys of that kind alone. The
    name by itself stands for the kind with its defaults, and without a name it is
    the default kind.

        loss: Annotated[LossConfig, chosen_by("name", "full", FullConfig, SampledConfig)]

    Args:
        key: The key that names the kind, a `Literal` field of each.
        default: The kind where the key is absent.
        *kinds: The configurations to choose among.
    """

    def name_the_kind(values: Any) -> Any:
        if isinstance(values, str):
            return {key: values}
        return {key: default} | values if isinstance(values, dict) else values

    kind: Any = kinds[0]
    if len(kinds) > 1:
        kind = Annotated[Union[kinds], Field(discriminator=key)]  # noqa: UP007
    return Annotated[kind, BeforeValidator(name_the_kind)]


def explain(error: ValidationError, what: str) -> str:
    """Turns pydantic's report into one line a problem.

    Args:
        error: What validation raised.
        what: What is not valid, as the head of a sentence: a file, "The options".

    Returns:
        A head line, and an indented line with key and reason for each problem.
    """
    return "\n  ".join([f"{what} is not a valid configuration:", *problems(error)])


def problems(error: ValidationError) -> list[str]:
    """Returns pydantic's report as a line a problem, each with key and reason."""
    lines = []
    for problem in error.errors(include_url=False):
        where = ".".join(str(part) for part in problem["loc"])
        message = problem["msg"].removeprefix("Value error, ")
        lines.append(f"{where + ': ' if where else ''}{message}")
    return lines
