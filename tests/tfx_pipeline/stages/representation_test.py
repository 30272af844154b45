"""The representation stage among the others: what it reads, and what reaches which part of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.pipelines import components
from tests.helpers.pipelines import custom_config
from tests.helpers.pipelines import read_by
from tests.tfx_pipeline.components.timeline_example_gen.logs import event
from tests.tfx_pipeline.components.timeline_example_gen.logs import write_log
from tfx_pipeline.code_version import reached
from tfx_pipeline.config_file import load_config
from tfx_pipeline.pipeline import create_pipeline
from tfx_pipeline.stages.state import RunState
from tfx_pipeline.stages.state import read_state

REPRESENTATION = {
    "timeline-example-gen",
    "curated-schema-gen",
    "statistics-gen",
    "example-validator",
    "transform",
    "trainer",
}


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_log(tmp_path_factory.mktemp("wiring") / "log", [event("u", "a", 1)])


def test_features_of_images_are_made_before_the_examples_that_carry_them(log: Path) -> None:
    made = components(log, "representation={field: look}")
    own = {f"representation-{name}" for name in REPRESENTATION}
    assert set(made) == set(components(log)) | own | {"image-feature-builder"}
    examples = "representation-transform.transformed_examples"
    assert read_by(made["representation-trainer"])["examples"] == examples
    assert read_by(made["image-feature-builder"]) == {"model": "representation-trainer.model"}
    assert read_by(made["timeline-example-gen"]) == {"features": "image-feature-builder.features"}
    first, second = (
        json.loads(made[f"{prefix}timeline-example-gen"].exec_properties["config"])
        for prefix in ("representation-", "")
    )
    assert first["include_images"] and not second["include_images"]
    assert first["catalogue_fields"] == {"vectors": {}, "tokens": []}
    assert second["catalogue_fields"] == {"vectors": {"look": 64}, "tokens": ["look_cluster"]}
    changed = ("include_images", "catalogue_fields")  # nothing held out is learned from
    assert all(first[key] == second[key] for key in first if key not in changed)
    splits = json.loads(made["representation-trainer"].exec_properties["train_args"])["splits"]
    assert splits == ["train", "catalogue"]
    trainer = json.loads(custom_config(made["representation-trainer"])["config"])
    assert trainer["label"] == json.loads(custom_config(made["ranking-trainer"])["config"])["label"]
    assert trainer["candidate_types"] == ["item"]


def test_an_encoder_that_is_there_is_trained_no_more(log: Path) -> None:
    keys = (f"log_dir={log}", "run_dir=run", "ranking={}", "representation={encoder: encoders/1}")
    config = load_config("shop_demo", keys)

    def made(encoder: str) -> dict[str, Any]:
        found = create_pipeline(config, RunState("log", encoder=encoder), "root")
        return {component.id: component for component in found.components}

    one, other = made("1"), made("2")
    assert set(one) == set(components(log)) | {"image-feature-builder"}
    assert not one["image-feature-builder"].inputs
    changed = {name for name in one if one[name].exec_properties != other[name].exec_properties}
    served = {name for name in one if name.endswith(("latest-blessed", "pusher"))}
    assert changed == {"image-feature-builder"} | served


def test_other_weights_in_the_same_place_train_anew(log: Path, tmp_path: Path) -> None:
    weights = tmp_path / "encoder" / "backbone.weights.h5"
    weights.parent.mkdir()
    backbone = f"{{trainer: {{model: {{backbone: {{weights: {tmp_path}}}}}}}}}"
    keys = (f"log_dir={log}", "run_dir=run", "ranking={}", f"representation={backbone}")
    config, made = load_config("shop_demo", keys), []
    for content in (b"one", b"other"):
        weights.write_bytes(content)
        found = create_pipeline(config, read_state(config), "root").components
        made.append({component.id: component.exec_properties for component in found})
    changed = {name for name in made[0] if made[0][name] != made[1][name]}
    served = {name for name in made[0] if name.endswith(("latest-blessed", "pusher"))}
    assert changed == {"representation-trainer"} | served
    weights.unlink()
    with pytest.raises(ValueError, match="no weights of a backbone"):
        read_state(config)


def test_features_are_made_again_for_no_change_of_a_model() -> None:
    sources, libraries = reached("tfx_pipeline.components.image_feature_builder")
    assert {"tfx_pipeline.image_features.clusters", "serving.index.embedding.embed"} <= set(sources)
    assert {"sklearn", "apache_beam", "tensorflow", "tfx"} <= libraries
    assert not [name for name in sources if name.startswith("models")]


@pytest.mark.parametrize(
    ("override", "others"),
    [
        ("representation.clusters=7", {"image-feature-builder"}),
        ("representation.trainer.epochs=7", {"representation-trainer"}),
        ("ranking.trainer.epochs=7", {"ranking-trainer"}),
        (
            "timeline.catalogue_fields={tokens: [tag]}",
            {"timeline-example-gen", "curated-schema-gen"},
        ),
    ],
)
def test_a_change_reaches_the_part_of_the_stage_that_reads_it(
    log: Path, override: str, others: set[str]
) -> None:
    field = "representation={field: look, clusters: 9}"
    before, after = components(log, field), components(log, field, override)
    changed = {n for n in before if before[n].exec_properties != after[n].exec_properties}
    served = {name for name in before if name.endswith(("latest-blessed", "pusher"))}
    if override.startswith("ranking"):
        served = {name for name in served if name.startswith("ranking")}
    assert changed == others | served
