"""Client of TF Serving and of the local server; needs NumPy, gRPC and protobuf only.

Example:
    >>> from serving.client import Event, RecommenderClient
    >>> with RecommenderClient("127.0.0.1:8500", model="recommender") as client:
    ...     answer = client.recommend([Event("movie:1193", "watch", 978300760000000)], k=10)
    >>> answer.ids
    ('movie:1198', ...)
"""

from serving.client.aio import AsyncRecommenderClient
from serving.client.calls import query_inputs
from serving.client.channel import TlsOptions
from serving.client.client import RecommenderClient
from serving.client.errors import ArgumentError
from serving.client.errors import ClosedError
from serving.client.errors import DeadlineError
from serving.client.errors import InvalidAnswerError
from serving.client.errors import InvalidRequestError
from serving.client.errors import NotFoundError
from serving.client.errors import OverloadedError
from serving.client.errors import ServingError
from serving.client.errors import StaleCodesError
from serving.client.errors import TlsError
from serving.client.errors import TooLargeError
from serving.client.errors import TooManyRowsError
from serving.client.errors import UnavailableError
from serving.client.errors import UnsupportedError
from serving.client.history_codes import HistoryCodes
from serving.client.readiness import wait_until_ready
from serving.client.retry import RetryPolicy
from serving.client.types import Candidate
from serving.client.types import CatalogueRow
from serving.client.types import Event
from serving.client.types import ModelMetadata
from serving.client.types import Prediction
from serving.client.types import Ranking
from serving.client.types import RankRequest
from serving.client.types import Recommendation
from serving.client.types import Request
from serving.client.types import Signature
from serving.client.types import TensorInfo
from serving.client.types import VersionStatus

__all__ = [
    "ArgumentError",
    "ClosedError",
    "TooManyRowsError",
    "AsyncRecommenderClient",
    "Candidate",
    "CatalogueRow",
    "DeadlineError",
    "Event",
    "HistoryCodes",
    "InvalidAnswerError",
    "InvalidRequestError",
    "ModelMetadata",
    "NotFoundError",
    "OverloadedError",
    "Prediction",
    "RankRequest",
    "Ranking",
    "Recommendation",
    "RecommenderClient",
    "Request",
    "RetryPolicy",
    "ServingError",
    "Signature",
    "StaleCodesError",
    "TensorInfo",
    "TlsError",
    "TlsOptions",
    "TooLargeError",
    "UnavailableError",
    "UnsupportedError",
    "VersionStatus",
    "query_inputs",
    "wait_until_ready",
]
