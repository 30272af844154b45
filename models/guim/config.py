"""Configuration of GUIM."""

from __future__ import annotations

from typing import ClassVar
from typing import Literal

from pydantic import Field

from models.input.config import CandidateTowerConfig
from models.search_space import Choices
from models.search_space import Space
from models.sequence.config import SequenceConfig
from models.tasks.config import RetrievalLossChoice
from models.tasks.config import SampledSoftmaxConfig
from transforms.base_config import FromLog


class GUIMConfig(SequenceConfig):
    """A transformer that reads from both sides and forwards, with tokens that become a user.

    Attributes:
      loss: InfoNCE by default: the batch's other targets and a queue of earlier ones.
      candidate: The tower of items; what it makes of one is a token of histories, too.
      tie_item_tables: Items are the same in a history and as candidates.
      history_features: As above: the candidate tower reads them.
      interests: K, representation tokens, and so vectors of a user; 1 is no mixture.
      score: How K scores are one. `mixture` is the mixture of softmaxes, log sum_k w_k e^s_k;
        `best` the greatest; `soft_best` learns sum_k softmax_k(s_k) s_k, of which `best` is the
        limit, and is searched by that.
      objective: Events are hidden, and found from both sides.
      forwards: Share of the sequences that are read forwards. None of their events is hidden:
        each position is to find the next event, and the tokens those that follow. Requests are
        read forwards, too; with 0 there are none, and requests are read from both sides. All of
        them by default, with causal attention: masked items cost retrieval more than they bring
        on the log that was measured (README, ablation).
      future: The next events that a user's vectors are to find.
      masked_weight: Weight of an event that a position is to find, hidden or next, beside one
        that the tokens are to find; 0 leaves the encoder to these alone.
      diversity: Weight of the squared cosines of a user's vectors.
    """

    family: Literal["guim"] = "guim"  # type: ignore[assignment]
    loss: FromLog[RetrievalLossChoice] = SampledSoftmaxConfig(negatives=0, queue=4096)
    candidate: CandidateTowerConfig = CandidateTowerConfig(id_dropout=0.2)
    tie_item_tables: Literal[True] = True
    history_features: Literal[False] = False
    interests: int = Field(default=4, ge=1)
    score: Literal["mixture", "soft_best", "best"] = "mixture"
    objective: Literal["masked"] = "masked"
    forwards: float = Field(default=1.0, ge=0.0, le=1.0)
    future: int = Field(default=5, ge=1)
    masked_weight: float = Field(default=1.0, ge=0.0)
    diversity: float = Field(default=0.01, ge=0.0)

    SEARCH: ClassVar[Space] = SequenceConfig.SEARCH | {
        "model.interests": Choices((1, 2, 4, 8)),
        "model.mask_share": Choices((0.1, 0.2, 0.3)),
        "model.future": Choices((1, 5, 10)),
    }
