"""Page examples where they are used: TFX's components, the batches of a ranking model, and DIN."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.helpers.direct import ONE_WORKER
from tests.tfx_pipeline.components.timeline_example_gen.logs import CATALOGUE
from tests.tfx_pipeline.components.timeline_example_gen.logs import DAY
from tests.tfx_pipeline.components.timeline_example_gen.logs import START
from tests.tfx_pipeline.components.timeline_example_gen.logs import event
from tests.tfx_pipeline.components.timeline_example_gen.logs import random_log
from tests.tfx_pipeline.components.timeline_example_gen.logs import run
from tests.tfx_pipeline.components.timeline_example_gen.logs import write_log
from tfx_pipeline.components.timeline_example_gen.config import TimelineConfig

MANY = {"max_dead_letter_fraction": 1, "min_catalogue_match": 0}
LABELS: dict[str, dict[str, Any]] = {
    "impressions": {"events": ["click", "buy"], "max_candidates": 4},
    "values": {"source": "values", "at_least": 3.0},
    "events": {"source": "events", "events": ["click"], "negatives": 2},
}


@pytest.mark.parametrize(
    "source", ["impressions", "events", pytest.param("values", marks=pytest.mark.nightly)]
)
def test_a_held_out_page_is_what_training_would_cut(tmp_path: Path, source: str) -> None:
    import tensorflow as tf
    import tensorflow_transform as tft

    import models  # noqa: F401  (chooses Keras 2)
    from models.input import batch as b
    from models.input.catalogue import load_catalogue
    from models.input.config import CandidateTowerConfig
    from models.input.negatives import Items
    from models.input.page_batches import PageSpec
    from models.input.page_batches import cut_pages
    from models.input.page_batches import evaluation_pages
    from models.input.page_batches import find_pages
    from models.input.timeline_files import parsed_timelines
    from models.input.timeline_files import timeline_records
    from models.input.timelines import known_events
    from models.input.windows import WindowSpec
    from models.training.data import TrainingData
    from tests.helpers.timelines import run_transform
    from transforms import features as f
    from transforms.label_config import LabelConfig

    # The same rows twice: held out by an early cut, and in training timelines by a late one.
    users = [{"user_id": f"u{i}", "attributes": ["a=1", f"name=u{i}"]} for i in range(9)]
    log = write_log(tmp_path / "log", random_log(7, rows=800), CATALOGUE, users)
    options = {"max_events_per_example": 24, "context_events": 8, "buckets": 1, **MANY}
    types = ["item"] if source == "events" else ["*"]
    for name, days in {"held": (3, 4), "trained": (4, 4.5)}.items():
        starts = [START + round(day * DAY) for day in days]
        periods = {"validation_start": starts[0], "test_start": starts[1]}
        options |= {"label": LABELS[source], "candidate_types": types}
        run(log, tmp_path / name, split="time-cut", **periods, **options)
    both = tmp_path / "both"
    both.mkdir()
    for name, split in {
        "held": "validation_pages",
        "trained": "train",
        "trained ": "catalogue",
    }.items():
        (tmp_path / name.strip() / f"Split-{split}").rename(both / f"Split-{split}")
    folders = run_transform(both, tmp_path / "transform")
    output = tft.TFTransformOutput(str(folders["transform_graph"]))
    data = TrainingData(output, [], [], [])

    def files(split: str) -> list[str]:
        folder = folders["transformed_examples"] / f"Split-{split}"
        return [str(path) for path in folder.glob("*.gz")]

    config = LabelConfig(**LABELS[source])
    types = data.event_types(config.events) if source != "impressions" else None
    windows = WindowSpec(window=8, use_time=True, attributes=2, query_tokens=3, use_value=True)
    table = load_catalogue(files("catalogue"), data.spec, data.sizes.entity, CandidateTowerConfig())
    items = Items.of(table.candidates(["item"]), table.available_from)
    spec = PageSpec(windows, config, types, items=items)

    read = (*spec.timeline_features, f.USER_ID)
    (timelines,) = parsed_timelines(timeline_records(files("train")), data.spec, 10**6, read)
    pages = find_pages(timelines, spec, tf.constant([1, 2], tf.int64))
    every = tf.range(tf.size(pages.rows, tf.int64))
    trained = cut_pages(known_events(timelines), pages, every, spec)
    names = tf.gather(timelines[f.USER_ID].flat_values, pages.rows)
    trained[b.USER] = tf.strings.to_hash_bucket_fast(names, 1 << 62)

    (held,) = evaluation_pages(files("validation_pages"), data.spec, spec, batch_size=10**6)
    beyond = config.width - held[b.CANDIDATE_ENTITY].shape[1]
    held[b.CANDIDATE_ENTITY] = tf.pad(held[b.CANDIDATE_ENTITY], [[0, 0], [0, beyond]])
    held[b.LABEL] = tf.pad(held[b.LABEL], [[0, 0], [0, beyond], [0, 0]])
    same = sorted(set(held) & set(trained))
    assert set(trained) - set(same) == {b.CANDIDATE_POSITION} and set(held) == set(same)

    def rows(batch: dict[str, Any]) -> Counter[tuple[bytes, ...]]:
        if source == "events":  # negatives are drawn anew
            batch = batch | {name: batch[name][:, :1] for name in (b.CANDIDATE_ENTITY, b.LABEL)}
        return Counter(
            zip(*([row.tobytes() for row in batch[n].numpy()] for n in same), strict=True)
        )

    assert rows(held).total() > 20
    assert not rows(held) - rows(trained)
    assert held[b.HISTORY_LENGTH].numpy().max() == 8 and held[b.LABEL].numpy().max() == 1
    assert held[b.HISTORY_AGE].numpy().max() > 0 and held[b.QUERY_TOKENS].numpy().max() > 0


def clicks_on_even_items(path: Path) -> Path:
    """A page of four items an hour for each of 40 users, who click the even ones."""
    random = np.random.default_rng(0)
    events = []
    for user in range(40):
        for hour in range(20):
            time, page = START + hour * DAY // 4 + user, f"{user}-{hour}"
            for position, item in enumerate(random.permutation(12)[:4].tolist()):
                on = {"page_id": page, "position": position}
                events.append(event(f"u{user}", f"{item}", time, "impression", **on))
                if item % 2 == 0:
                    events.append(event(f"u{user}", f"{item}", time + 60, "click", **on))
    return write_log(path, events)


@pytest.mark.slow
@pytest.mark.nightly
def test_din_trains_and_is_judged_on_what_tfx_made_of_a_log(tmp_path: Path) -> None:
    import tensorflow_transform as tft
    from tfx import v1 as tfx

    from models.config import RankingTrainerConfig
    from models.trainer import train
    from models.training.data import TrainingData
    from tests.helpers.tfx_runs import artifact
    from tfx_pipeline.components.example_validator import CuratedSchemaGen
    from tfx_pipeline.components.example_validator import TimelineExampleValidator
    from tfx_pipeline.components.example_validator import TimelineStatisticsGen
    from tfx_pipeline.components.timeline_example_gen.component import TimelineExampleGen
    from tfx_pipeline.components.timeline_transform import TimelineTransform

    log = clicks_on_even_items(tmp_path / "log")
    timeline = TimelineConfig(
        split="time-cut", validation_days=1, test_days=1, label={"events": ["click"]}
    )
    generator = TimelineExampleGen(str(log), timeline, "1", "log").with_id("examples")
    schema = CuratedSchemaGen("1").with_id("schema")
    examples, of_schema = generator.outputs["examples"], schema.outputs["schema"]
    statistics = TimelineStatisticsGen(examples, of_schema).with_id("statistics")
    validator = TimelineExampleValidator(statistics.outputs["statistics"], of_schema)
    transform = TimelineTransform(
        examples=examples,
        schema=of_schema,
        preprocessing_fn="transforms.preprocessing.preprocessing_fn",
        splits_config=tfx.proto.SplitsConfig(
            analyze=["train", "catalogue"], transform=timeline.splits
        ),
        disable_statistics=True,
    ).with_id("transform")
    tfx.orchestration.LocalDagRunner().run(
        tfx.dsl.Pipeline(
            pipeline_name="pages",
            pipeline_root=str(tmp_path),
            components=[generator, schema, statistics, validator.with_id("validator"), transform],
            metadata_connection_config=tfx.orchestration.metadata.sqlite_metadata_connection_config(
                str(tmp_path / "metadata.sqlite")
            ),
            beam_pipeline_args=list(ONE_WORKER),
        )
    )

    anomalies = artifact(tmp_path, "validator", "anomalies")
    assert {path.name for path in anomalies.iterdir()} == {f"Split-{s}" for s in timeline.splits}
    graph = tft.TFTransformOutput(str(artifact(tmp_path, "transform", "transform_graph")))
    transformed = artifact(tmp_path, "transform", "transformed_examples")
    files = {
        split: [str(path) for path in (transformed / f"Split-{split}").iterdir()]
        for split in timeline.splits
    }
    data = TrainingData(graph, files["train"], files["catalogue"], files["validation_pages"])
    config = RankingTrainerConfig.model_validate(
        {
            "model": {"dim": 8, "window": 4, "hidden_units": [16], "attention_hidden": [8]},
            "label": {"events": ["click"]},
            "input": {"batch_size": 32},
            "optimizer": {"learning_rate": 0.02},
            "epochs": 4,
        }
    )
    _, report = train(config, data)
    assert report["best"]["candidates"] == 40 * 4 * 4
    assert report["best"]["auc"] > 0.95 and report["best"]["gauc"] > 0.95
