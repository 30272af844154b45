"""Benchmarks of SEMINAR: rows differ in what they say they differ in, and the slice by hand."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from benchmarks.ranking_run import rare_candidates
from benchmarks.results import Results
from benchmarks.results_table import render
from benchmarks.seminar import CONTROLS
from benchmarks.seminar import LONGER
from benchmarks.seminar import LOSSES
from benchmarks.seminar import NORMALISED
from benchmarks.seminar import PRETRAINED
from benchmarks.seminar import ROWS
from benchmarks.seminar import columns_of
from benchmarks.seminar import is_same_run
from benchmarks.seminar_movielens_1m import BENCHMARK as MOVIELENS
from benchmarks.seminar_movielens_1m import thumbnail
from benchmarks.seminar_shop import BENCHMARK as SHOP
from benchmarks.seminar_trivago import BENCHMARK as TRIVAGO
from models.input import batch as b
from models.input import page_batches
from models.seminar.config import SeminarPretrainingConfig
from tfx_pipeline.stages.config import RankingConfig

ALL = [MOVIELENS, TRIVAGO, SHOP]


@pytest.mark.parametrize("benchmark", ALL, ids=lambda one: one.ranking.name)
def test_rows_are_trained_alike_and_read_as_much_as_they_say(benchmark: Any) -> None:
    plain = {row: benchmark.trainer_config(row, 200, longer=3) for row in benchmark.rows}
    for row, config in plain.items():
        assert config.model.window == (50 if row == "sequence_encoder" else 200)
        assert config.model.family == ROWS[row]["family"]
        common = config.model_copy(update={"model": plain["seminar"].model})
        if row in LONGER:
            assert config.model == plain[row.removesuffix("_longer")].model
            assert config.epochs == plain["seminar"].epochs + 3
            assert config.validation.patience == config.epochs  # none is left out
        else:
            assert common == plain["seminar"]
    for row in PRETRAINED.keys() & plain.keys():
        assert plain[row] == plain["seminar"]
    for row in CONTROLS:
        assert plain[row] == plain[row.removesuffix("_other_histories")]
    for row in NORMALISED:
        base = plain[row.partition("_")[0]]
        other = base.model.model_copy(update={"normalise": not base.model.normalise})
        assert plain[row] == base.model_copy(update={"model": other})
        assert other.normalise == row.endswith("_normalised")
    assert set(benchmark.rows) <= set(ROWS)


@pytest.mark.parametrize("benchmark", ALL, ids=lambda one: one.ranking.name)
def test_a_pretraining_fits_its_ranker_and_uses_its_losses(benchmark: Any) -> None:
    for row in benchmark.rows:
        config = benchmark.trainer_config(row, 100)
        before = benchmark.pretraining_config(row, config)
        assert (before is not None) == (row in PRETRAINED)
        if before is None:
            continue
        RankingConfig(pretraining=before, trainer=config)  # refuses what does not fit
        for key in SeminarPretrainingConfig.COMMON:
            assert getattr(before.model, key) == getattr(config.model, key)
        used = [name for name in LOSSES if getattr(before.model.losses, name).use]
        assert used == list(PRETRAINED[row])
        kept = {"trainer": config.model_dump(), "pretraining": before.model_dump()}
        assert is_same_run(kept, kept)
        other = kept | {"pretraining": before.model_dump() | {"epochs": 9}}
        assert not is_same_run(other, kept) and not is_same_run({"trainer": {}}, kept)


def test_one_division_has_whole_histories_for_all_rows() -> None:
    timeline = SHOP.divided([50]).timeline
    assert timeline["context_events"] == timeline["label"]["max_history"] == 10_000
    assert timeline["max_events_per_example"] == 20_000
    assert SHOP.divided([50]) == SHOP.divided([200, 1_000])
    assert SHOP.divided([20_000]).timeline["max_events_per_example"] == 40_000
    assert TRIVAGO.divided([50]).timeline["max_events_per_example"] == 4_096


def test_a_thumbnail_is_the_mean_colour_of_each_part() -> None:
    colours = np.arange(72, dtype=np.uint8).reshape(6, 4, 3) * 3
    poster = Image.fromarray(np.kron(colours, np.ones([16, 16, 1], np.uint8)))
    file = io.BytesIO()
    poster.save(file, "JPEG", quality=100, subsampling=0)
    np.testing.assert_allclose(thumbnail(file.getvalue()), colours.ravel() / 255.0, atol=0.02)
    assert not thumbnail(None).any() and thumbnail(None).shape == (72,)


def test_rare_candidates_are_those_that_training_hardly_has(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    counts = np.array([0, 10, 11, 0])
    monkeypatch.setattr(page_batches, "count_items", lambda *given: counts)
    batch = {
        b.CANDIDATE_ENTITY: tf.constant([[1, 2, 3], [2, 1, 0]], tf.int64),
        b.CANDIDATE_LENGTH: tf.constant([3, 1], tf.int64),
    }
    data = SimpleNamespace(train_files=[], spec={}, sizes=SimpleNamespace(entity=4))
    found = rare_candidates([batch, batch], data, 10)  # type: ignore[arg-type]
    assert found.tolist() == [True, False, True, False] * 2


def test_a_table_of_exact_searches_alone_has_no_column_of_what_others_lose(tmp_path: Path) -> None:
    results = Results("rows", "a command", False, tmp_path)
    values = dict.fromkeys(("auc", "gauc", "auc_rare", "calibration", "best_epoch"), 0.5)
    for model in ("din", "seminar_quantised"):
        lost = {"auc_lost": 0.001} if model == "seminar_quantised" else {}
        results.measure({"model": model, "length": 50}, 0, lambda lost=lost: values | lost, {})
        header = render(results.path, columns_of(results)).splitlines()[0]
        assert ("auc_lost" in header) == bool(lost)
