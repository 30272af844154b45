"""`vitrine recommend`: ask a server, print titles."""

from __future__ import annotations

from pathlib import Path

from serving.recommend import format_recommendations
from serving.recommend import recommend_for_user


def recommend_to(
    user: str, k: int, log_dir: Path, base_path: Path, address: str, name: str
) -> str:
    """Asks a server for recommendations for a user of an event log.

    Args:
        user: The user's id in the log.
        k: How many recommendations.
        log_dir: The event log that has the user's history.
        base_path: The pushed versions; the newest one's index has the titles.
        address: `host:port` of the server.
        name: What the server calls the model.

    Returns:
        The user's recent history beside the recommendations.

    Raises:
        ValueError: The log does not know the user.
        ConnectionError: The server cannot be reached or refuses the request.
    """
    return format_recommendations(
        recommend_for_user(user, k, log_dir, base_path, address=address, model=name)
    )
