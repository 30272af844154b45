"""Waiting for a server that is still starting or loading."""

from __future__ import annotations

import time
from collections.abc import Callable

from serving.client.client import RecommenderClient
from serving.client.errors import DeadlineError
from serving.client.errors import NotFoundError
from serving.client.errors import UnavailableError
from serving.client.errors import UnsupportedError
from serving.client.types import VersionStatus

_PAUSE = 0.25  # seconds between two looks
_LOOK = 2.0  # seconds for one look: a server that loads may be slow to answer


def wait_until_ready(
    client: RecommenderClient, timeout: float, say: Callable[[str], None] | None = None
) -> None:
    """Waits until the version that the client asks for, or any, answers.

    Asks `GetModelStatus`, which TF Serving and the local server both have. A label
    that is not there is waited for: it may come with the version that it names.

    Args:
        client: a client of the server and the model.
        timeout: seconds to wait at most.
        say: takes what is waited for, once and whenever it changes.

    Raises:
        UnavailableError: the model is not ready in time; the message says what
            was waited for last.
        NotFoundError: the server is there and has no such model (without a label).
        ServingError: the server cannot be asked at all, e.g. for its certificate.
    """
    end = time.monotonic() + timeout
    said = ""
    while True:
        reason = _why_not_ready(client, max(0.1, min(_LOOK, end - time.monotonic())))
        if not reason:
            return
        if time.monotonic() + _PAUSE >= end:
            raise UnavailableError(client.target, "UNAVAILABLE", f"{reason} after {timeout:g} s")
        if say is not None and reason != said:
            say(f"Waiting up to {timeout:g} s: {reason}")
            said = reason
        time.sleep(_PAUSE)


def _why_not_ready(client: RecommenderClient, timeout: float) -> str:
    """Returns what is still missing, and nothing when the model answers."""
    try:
        versions = client.model_status(timeout=timeout)
    except UnavailableError:
        return f"nobody answers at {client.target.address}"
    except DeadlineError:
        return f"the server at {client.target.address} is too busy to answer"
    except UnsupportedError:  # it does not tell; the request itself will
        return ""
    except NotFoundError as error:
        if not client.target.label:
            raise
        return f"label `{client.target.label}` is not served yet ({error.details.rstrip('. ')})"
    if any(version.state == "AVAILABLE" for version in versions):
        return ""
    return f"model `{client.target.model}` {_progress(versions)}"


def _progress(versions: list[VersionStatus]) -> str:
    faults = [f"{v.version} ({v.error_message})" for v in versions if v.error_message]
    if any(version.state == "LOADING" for version in versions):
        return "is loading"
    if faults:
        return f"has no version that can be served: {', '.join(faults)}"
    return "has no version yet"
