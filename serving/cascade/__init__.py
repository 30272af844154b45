"""Retrieve, then rank: one call that asks a retrieval model and a ranker; needs no TensorFlow.

Example:
    >>> from serving.cascade import Cascade
    >>> from serving.client import Event, RecommenderClient
    >>> retriever = RecommenderClient("127.0.0.1:8500", "shop")
    >>> ranker = RecommenderClient("127.0.0.1:8500", "shop-ranking")
    >>> answer = Cascade(retriever, ranker).recommend([Event("item:4", "click", 1700000000000000)])
    >>> answer.ids
    ('item:17', ...)
"""

from serving.cascade.aio import AsyncCascade
from serving.cascade.answer import CascadeAnswer
from serving.cascade.answer import RankedItem
from serving.cascade.cascade import Cascade

__all__ = ["AsyncCascade", "Cascade", "CascadeAnswer", "RankedItem"]
