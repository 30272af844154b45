"""The table of stages says the same as what is declared elsewhere, and names what it should."""

from __future__ import annotations

from typing import get_args

from models.config import TRAINERS
from models.families import Stage
from models.families import Trained
from tfx_pipeline.config import PipelineConfig
from tfx_pipeline.stages.table import STAGES


def test_each_stage_is_a_section_and_has_trainers() -> None:
    assert set(STAGES) == set(get_args(Stage))
    assert set(TRAINERS) == set(get_args(Trained))
    assert set(STAGES) <= set(PipelineConfig.model_fields)


def test_one_stage_has_plain_names_and_the_others_their_own() -> None:
    retrieval, ranking = STAGES["retrieval"], STAGES["ranking"]
    assert [stage for stage in STAGES.values() if stage.plain_names] == [retrieval]
    assert (retrieval.component_id("trainer"), retrieval.model_name("shop")) == ("trainer", "shop")
    assert ranking.component_id("trainer") == "ranking-trainer"
    assert ranking.model_name("shop") == "shop-ranking"
    metrics = {"test": {"hr@10": 0.1}, "ranking": {"test": {"auc": 0.7}}}
    assert retrieval.metrics_in(metrics)["test"] == {"hr@10": 0.1}
    assert ranking.metrics_in(metrics) == {"test": {"auc": 0.7}}
    assert ranking.metrics_in({}) == {}
    assert retrieval.metrics_in({"ranking": {"test": {}}, "representation": {"auc": 0.6}}) == {}
