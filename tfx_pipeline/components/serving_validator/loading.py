"""Waits until a server has loaded a version, or knows that it cannot."""

from __future__ import annotations

import time
from collections.abc import Callable

from serving.client import DeadlineError
from serving.client import NotFoundError
from serving.client import RecommenderClient
from serving.client import ServingError
from serving.client import UnavailableError
from tfx_pipeline.components.serving_validator.release_candidate import ReleaseCandidateError

_PAUSE = 0.1  # seconds between two looks
_LOOK = 5.0  # seconds for one look
_GIVEN_UP = "did not become available"  # TF Serving's last words about a model that it cannot load


def wait_until_loaded(
    client: RecommenderClient, timeout: float, ended: Callable[[], str] = lambda: ""
) -> int:
    """Waits for the version that a client asks for, or any.

    Args:
        client: A client of the server, the model and, with luck, the version.
        timeout: Seconds to wait at most.
        ended: Says how the server's process ended; nothing while it runs, or
            where there is none.

    Returns:
        The newest version that answers.

    Raises:
        ReleaseCandidateError: The server has tried to load it and cannot.
        RuntimeError: The server's process ended for another reason, or it was not
            done in time.
        ServingError: The server cannot be asked, or has no such model or version.
    """
    deadline = time.monotonic() + timeout
    while True:
        failure: ServingError | None = None
        try:
            versions = client.model_status(timeout=_LOOK)
        except (UnavailableError, DeadlineError, NotFoundError) as error:  # it may come yet
            versions, failure = [], error
        for version in versions:
            if version.state == "AVAILABLE":
                return version.version
        for version in versions:
            if version.state == "END" and version.error_message:
                raise ReleaseCandidateError(version.error_message)
        last_words = ended()
        if _GIVEN_UP in last_words:
            (reason, *_) = [line for line in last_words.splitlines() if _GIVEN_UP in line]
            raise ReleaseCandidateError(reason)
        if last_words:
            raise RuntimeError(last_words)
        if time.monotonic() >= deadline:
            if failure is not None:
                raise failure
            raise RuntimeError(_late(client, timeout))
        time.sleep(_PAUSE)


def _late(client: RecommenderClient, timeout: float) -> str:
    target = client.target
    which = "any version" if target.version is None else f"version {target.version}"
    return (
        f"The server at {target.address} had not loaded {which} of `{target.model}` within "
        f"{timeout:g} s (`<stage>.serving_validation.load_timeout_s`), which is no verdict. A "
        "tensorflow_model_server without `--max_num_load_retries=0` tries what it cannot load "
        "again for five minutes, and gives no reason but in its own log."
    )
