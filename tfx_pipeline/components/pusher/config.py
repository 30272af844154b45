"""How versions are pushed. Free of TensorFlow, for the command line reads it."""

from __future__ import annotations

from pydantic import Field

from transforms.base_config import Config


class PusherConfig(Config):
    """The section `push` of a pipeline's configuration.

    Attributes:
        keep_versions: How many of the newest versions stay in the push
            directory; 0 keeps all. The newest one is never deleted.
        protected_versions: Versions that are never deleted.
        models_config: TF Serving's model configuration file. Versions that it
            names (labels, `specific` policies) are never deleted.
        warmup_requests: Test timelines from which warm-up requests are made;
            0 writes none. They hold histories of real users, without user ids.
    """

    keep_versions: int = Field(default=3, ge=0)
    protected_versions: tuple[int, ...] = ()
    models_config: str = ""
    warmup_requests: int = Field(default=8, ge=0)
