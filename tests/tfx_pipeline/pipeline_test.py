"""The wiring of the pipeline: who reads what of whom, and what the cache sees."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from models.families import FAMILIES
from models.families import find_family
from serving.publishing.origin import PushState
from tests.helpers.pipelines import components
from tests.helpers.pipelines import custom_config
from tests.helpers.pipelines import read_by
from tests.tfx_pipeline.components.timeline_example_gen.logs import event
from tests.tfx_pipeline.components.timeline_example_gen.logs import write_log
from tfx_pipeline.code_version import PACKAGES
from tfx_pipeline.code_version import reached
from tfx_pipeline.config_file import load_config
from tfx_pipeline.pipeline import create_pipeline
from tfx_pipeline.stages import data
from tfx_pipeline.stages import release
from tfx_pipeline.stages import retrieval
from tfx_pipeline.stages import training
from tfx_pipeline.stages.state import RunState
from tfx_pipeline.stages.state import read_state

RAW = "timeline-example-gen.examples"
SCHEMA = "curated-schema-gen.schema"
TOWERS = "trainer.model"
INDEX = "index-builder.index"
SERVABLE = "servable-builder.servable"
RANKER = "ranking-trainer.model"
# Component -> what it reads, as `component.output`.
INPUTS: dict[str, dict[str, str]] = {
    "timeline-example-gen": {},
    "curated-schema-gen": {},
    "statistics-gen": {"examples": RAW, "schema": SCHEMA},
    "example-validator": {"statistics": "statistics-gen.statistics", "schema": SCHEMA},
    "transform": {"examples": RAW, "schema": SCHEMA},
    "latest-blessed": {"examples": RAW},
    "trainer": {
        "examples": "transform.transformed_examples",
        "transform_graph": "transform.transform_graph",
        "schema": SCHEMA,
        "base_model": "latest-blessed.model",
    },
    "neighbour-builder": {"examples": RAW},
    "index-builder": {"model": TOWERS, "examples": RAW},
    "index-validator": {"index": INDEX, "model": TOWERS, "examples": RAW},
    "neighbour-validator": {"neighbours": "neighbour-builder.neighbours", "examples": RAW},
    "source-combiner": {
        "model": TOWERS,
        "index": INDEX,
        "neighbours": "neighbour-builder.neighbours",
        "examples": RAW,
    },
    "servable-builder": {
        "model": TOWERS,
        "index": INDEX,
        "neighbours": "neighbour-builder.neighbours",
        "combination": "source-combiner.combination",
    },
    "evaluator": {
        "examples": RAW,
        "model": SERVABLE,
        "baseline_model": "latest-blessed.model",
        "neighbours": "neighbour-builder.neighbours",
    },
    "serving-validator": {"servable": SERVABLE, "model": TOWERS, "examples": RAW},
    "pusher": {
        "servable": SERVABLE,
        "index_blessing": "index-validator.blessing",
        "neighbours_blessing": "neighbour-validator.blessing",
        "serving_blessing": "serving-validator.blessing",
        "model_blessing": "evaluator.blessing",
        "evaluation": "evaluator.evaluation",
        "examples": RAW,
    },
}
INPUTS |= {
    "ranking-latest-blessed": {"examples": RAW},
    "ranking-trainer": INPUTS["trainer"] | {"base_model": "ranking-latest-blessed.model"},
    "ranking-evaluator": {
        "examples": RAW,
        "model": RANKER,
        "baseline_model": "ranking-latest-blessed.model",
    },
    "ranking-serving-validator": {"servable": RANKER, "model": RANKER, "examples": RAW},
    "ranking-pusher": {
        "servable": RANKER,
        "serving_blessing": "ranking-serving-validator.blessing",
        "model_blessing": "ranking-evaluator.blessing",
        "evaluation": "ranking-evaluator.evaluation",
        "examples": RAW,
    },
}
# Component -> some of the modules and libraries that it runs, besides its own executor.
RUNS: dict[str, set[str]] = {
    "timeline-example-gen": {"transforms.features", "apache_beam", "pyarrow"},
    "curated-schema-gen": {"transforms/schema.pbtxt", "tfx"},
    "statistics-gen": {"tensorflow_data_validation", "tfx"},
    "example-validator": {"transforms.schema", "tensorflow_data_validation"},
    "transform": {"transforms.preprocessing", "transforms.counting", "tensorflow_transform", "tfx"},
    "latest-blessed": {"serving.publishing.labels"},
    "trainer": {
        "models.trainer",
        "models.two_tower.model",
        "models.two_tower.config",
        "transforms.vocabulary",
        "tensorflow",
        "tensorflow_recommenders",
        "tfx",
    },
    "neighbour-builder": {"serving.sources.neighbours", "transforms.features", "apache_beam"},
    "index-builder": {"serving.index.building.build", "transforms.features", "scann"},
    "index-validator": {"serving.index.checking.validate", "scann"},
    "neighbour-validator": {
        "tfx_pipeline.components.neighbour_validator.recount",
        "serving.sources.neighbours",
        "scipy",
    },
    "source-combiner": {"serving.sources.learning", "models.retrieval.catalogue_ranking"},
    "servable-builder": {"serving.index.searching.servable", "tensorflow"},
    "evaluator": {
        "tfx_pipeline.evaluation.extraction",
        "tfx_pipeline.evaluation.metrics.ranked",
        "tensorflow_model_analysis",
    },
    "serving-validator": {"serving.local_server.server", "serving.client.client"},
    "pusher": {"serving.publishing.warmup", "serving.client.protos"},
}

ON_BEAM = {
    "timeline-example-gen",
    "statistics-gen",
    "transform",
    "neighbour-builder",
    "index-builder",
    "evaluator",
    "ranking-evaluator",
}


WIRING = (data, training, retrieval, release)  # modules that give components their code versions


RUNS |= {
    "ranking-latest-blessed": RUNS["latest-blessed"],
    "ranking-trainer": {"models.trainer", "models.din.model", "tensorflow_recommenders", "tfx"},
    "ranking-evaluator": {"tfx_pipeline.evaluation.page_extraction", "tensorflow_model_analysis"},
    "ranking-serving-validator": RUNS["serving-validator"],
    "ranking-pusher": RUNS["pusher"],
}


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_log(tmp_path_factory.mktemp("wiring") / "log", [event("u", "a", 1)])


def patch_code_versions(patch: pytest.MonkeyPatch, version: Callable[..., str]) -> None:
    for module in WIRING:
        patch.setattr(module, "code_version", version)


@pytest.fixture(scope="module")
def pipeline(log: Path) -> dict[str, Any]:
    """The components of a pipeline whose code versions say what they are made of."""
    with pytest.MonkeyPatch.context() as patch:
        patch_code_versions(patch, lambda *modules, **_: "+".join(modules))
        warm = ("retrieval.trainer.warm_start=true", "ranking.trainer.warm_start=true")
        return components(log, *warm)


def code_version_of(component: Any) -> str:
    found = component.exec_properties.get("code_version")
    return found or custom_config(component)["code_version"]


def test_each_component_reads_what_it_should(pipeline: dict[str, Any]) -> None:
    assert {name: read_by(component) for name, component in pipeline.items()} == INPUTS


def test_the_trainer_starts_afresh_unless_told_otherwise(log: Path) -> None:
    assert "base_model" not in components(log)["trainer"].inputs


def transformed_splits(made: dict[str, Any]) -> list[str]:
    splits: list[str] = json.loads(made["transform"].exec_properties["splits_config"])["transform"]
    return splits


def test_a_stage_that_is_off_has_no_component(log: Path) -> None:
    retrieval, ranking = components(log, "ranking=null"), components(log, "retrieval=null")
    assert not [name for name in retrieval if name.startswith("ranking-")]
    assert {name for name in ranking if not name.startswith("ranking-")} == {*list(INPUTS)[:5]}
    assert transformed_splits(retrieval) == ["train", "catalogue", "validation"]
    assert transformed_splits(ranking) == [*transformed_splits(retrieval), "validation_pages"]


def test_lists_that_are_not_served_are_not_validated(log: Path) -> None:
    alone = components(log, "retrieval.sources.enabled=false")
    assert set(INPUTS) - set(alone) == {"neighbour-validator", "source-combiner"}
    assert "neighbours_blessing" not in alone["pusher"].inputs
    assert alone["evaluator"].inputs["neighbours"]


def test_bounds_of_the_lists_count_nothing_again(log: Path) -> None:
    before = components(log)
    after = components(log, "retrieval.sources.neighbours.min_recall=0.9")
    properties = {"neighbour-builder": False, "neighbour-validator": True, "source-combiner": False}
    for name, is_another in properties.items():
        changed = before[name].exec_properties != after[name].exec_properties
        assert changed == is_another, name


@pytest.mark.parametrize("override", ["ranking.trainer.seed=9", "ranking.push.keep_versions=7"])
def test_a_change_of_one_stage_leaves_the_other_as_it_was(log: Path, override: str) -> None:
    before, after = components(log), components(log, override)
    others = [name for name in before if not name.startswith("ranking-")]
    assert len(others) == 16
    for name in others:
        assert before[name].exec_properties == after[name].exec_properties, name
    assert any(before[name].exec_properties != after[name].exec_properties for name in before)


def test_beam_options_reach_every_component_that_runs_beam(log: Path) -> None:
    from tfx.dsl.compiler.compiler import Compiler
    from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
    from tfx.orchestration.local.runner_utils import extract_executor_spec
    from tfx.orchestration.local.runner_utils import extract_local_deployment_config

    options = ("--runner=PortableRunner", "--job_endpoint=flink:8099")
    keys = (f"log_dir={log}", f"run_dir={log.parent / 'run'}", "ranking={}")
    config = load_config("shop_demo", (*keys, f"beam_pipeline_args={json.dumps(options)}"))
    made = create_pipeline(config, read_state(config), "root")
    deployment = extract_local_deployment_config(Compiler().compile(made))
    given = {}
    for component in made.components:
        spec = extract_executor_spec(deployment, component.id)
        given[component.id] = tuple(getattr(spec, "beam_pipeline_args", ()))
        executor = component.executor_spec.executor_class
        assert bool(given[component.id]) == issubclass(executor, BaseBeamExecutor)
    assert {name for name, found in given.items() if found == options} == ON_BEAM
    assert {name for name, found in given.items() if found} == ON_BEAM


def test_nothing_is_transformed_before_the_examples_are_validated(pipeline: dict[str, Any]) -> None:
    assert pipeline["example-validator"] in pipeline["transform"].upstream_nodes


def test_each_component_reads_its_splits_and_no_other(pipeline: dict[str, Any]) -> None:
    def splits(name: str, key: str) -> Any:
        return json.loads(pipeline[name].exec_properties[key])

    trained_on = ["train", "catalogue", "validation", "validation_pages"]
    assert splits("transform", "splits_config") == {
        "analyze": ["train", "catalogue"],
        "transform": trained_on,
    }
    assert splits("trainer", "train_args") == {"splits": ["train", "catalogue"]}
    assert splits("trainer", "eval_args") == {"splits": ["validation"]}
    assert splits("evaluator", "example_splits") == ["test"]
    assert splits("ranking-trainer", "train_args") == {"splits": ["train", "catalogue"]}
    assert splits("ranking-trainer", "eval_args") == {"splits": ["validation_pages"]}
    assert splits("ranking-evaluator", "example_splits") == ["test_pages"]
    assert splits("statistics-gen", "exclude_splits") == []
    assert splits("example-validator", "exclude_splits") == []


@pytest.mark.parametrize("name", INPUTS)
def test_the_code_version_follows_what_a_component_runs(
    pipeline: dict[str, Any], name: str
) -> None:
    sources, libraries = reached(*code_version_of(pipeline[name]).split("+"))
    executor = pipeline[name].EXECUTOR_SPEC.executor_class.__module__
    own = {executor} if executor.split(".")[0] in PACKAGES else set()
    assert own | RUNS[name] <= sources.keys() | libraries


def test_code_versions_are_those_of_the_sources(log: Path) -> None:
    from tfx_pipeline.code_version import code_version

    made = components(log)
    versions = {name: code_version_of(component) for name, component in made.items()}
    ours = "tfx_pipeline.components.timeline_transform"
    assert versions["transform"] == code_version("transforms.preprocessing", ours, "tfx")
    shared = [name for name in versions if not name.startswith("ranking-")]
    assert len({versions[name] for name in shared}) == len(shared)
    own = ("ranking-trainer",)
    for name in set(versions) - set(shared) - set(own):
        assert versions[name] == versions[name.removeprefix("ranking-")]


@pytest.mark.parametrize(
    ("override", "is_another"),
    [
        ("retrieval.trainer.seed=7", True),
        ("timeline.test_days=4", True),
        ("transform.query_length=3", True),
        ("retrieval.index.k=200", True),
        ("retrieval.evaluation.min_users=7", False),
        ("retrieval.push.warmup_requests=7", False),
    ],
)
def test_a_candidate_is_what_data_towers_and_index_are_made_of(
    log: Path, override: str, is_another: bool
) -> None:
    def candidate(*overrides: str) -> str:
        made = components(log, *overrides)
        names = ("latest-blessed", "pusher")
        found = {made[name].exec_properties["release_candidate"] for name in names}
        (one,) = found
        return one

    assert (candidate(override) != candidate()) == is_another


def test_a_candidate_is_another_when_the_code_of_its_towers_or_its_index_is(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = set()
    changes = ("nothing", "models.trainer", "index_builder", "servable_builder", "preprocessing")
    for changed in changes:
        patch_code_versions(
            monkeypatch,
            lambda *modules, changed=changed, **_: str(any(changed in name for name in modules)),
        )
        found.add(components(log)["pusher"].exec_properties["release_candidate"])
    assert len(found) == len(changes)


def test_the_parts_of_the_configuration_reach_their_components(pipeline: dict[str, Any]) -> None:
    config = load_config("shop_demo", ("ranking={}",))
    assert custom_config(pipeline["transform"])["config"] == config.transform.to_json()
    assert config.retrieval
    trainer = json.loads(custom_config(pipeline["trainer"])["config"])
    assert trainer == config.retrieval.trainer.model_dump(mode="json") | {"warm_start": True}
    properties = pipeline["timeline-example-gen"].exec_properties
    assert properties["config"] == config.timeline.to_json()
    for stage, name in (("retrieval", "pusher"), ("ranking", "ranking-pusher")):
        pushed = json.loads(pipeline[name].exec_properties["run_config"])
        assert pushed["name"] == config.name
        assert pushed.keys() & {"retrieval", "ranking"} == {stage}
    assert pipeline["ranking-pusher"].exec_properties["name"] == f"{config.name}-ranking"
    assert pipeline["ranking-pusher"].exec_properties["push_dir"].endswith("/pushed/ranking")


def test_a_pipeline_on_a_bucket_is_assembled_without_looking_at_it() -> None:
    keys = ("log_dir=s3://shop/log", "run_dir=s3://shop/run", "push_dir=s3://shop/models")
    state = RunState(log="seen by the run")
    made = create_pipeline(load_config("shop_demo", keys), state, "s3://shop/artifacts")
    found = {component.id: component.exec_properties for component in made.components}
    assert found["timeline-example-gen"]["input_fingerprint"] == "seen by the run"
    assert found["pusher"]["push_dir"] == "s3://shop/models/retrieval"
    assert found["pusher"]["serving_state"] == found["latest-blessed"]["serving_state"] == "0@0"


def test_what_was_pushed_sees_the_state_that_it_was_made_in(log: Path) -> None:
    config = load_config("shop_demo", (f"log_dir={log}", f"run_dir={log.parent / 'run'}"))

    def state_in(pushed: PushState) -> str:
        made = create_pipeline(config, RunState("log", {"retrieval": pushed}), "root")
        (pusher,) = (one for one in made.components if one.id == "pusher")
        mine.add(pusher.exec_properties["release_candidate"])
        return pusher.exec_properties["serving_state"]

    mine: set[str] = set()
    assert state_in(PushState("another", "1@5", "2@7 stable 2")) == "2@7 stable 2"
    assert state_in(PushState(next(iter(mine)), "1@5", "2@7 stable 2")) == "1@5"
    assert len(mine) == 1  # what is pushed is no part of what a release candidate is


@pytest.mark.parametrize("family", [family.name for family in FAMILIES])
def test_a_trainer_depends_on_its_own_family_and_on_no_other(
    family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[tuple[tuple[str, ...], dict[str, Any]]] = []
    monkeypatch.setattr(training, "code_version", lambda *a, **b: given.append((a, b)) or "1")
    training.trainer_code_version(family)
    ((modules, options),) = given
    sources, libraries = reached(*modules, **options)
    mine = find_family(family)
    assert {mine.model.rpartition(".")[0], mine.config.__module__} <= sources.keys()
    assert {"models.trainer", "models.config", "models.training.learner"} <= sources.keys()
    assert {"tensorflow", "tfx"} <= libraries
    others = {other.model.rpartition(".")[0] for other in FAMILIES if other != mine}
    built_on = {base.__module__ for base in mine.load().__mro__}
    assert not (others - built_on) & sources.keys()
    retrieval = any(name.startswith(("models.retrieval.", "models.tasks.")) for name in sources)
    ranking = any(name.startswith("models.ranking.") for name in sources)
    assert (retrieval, ranking) == (mine.stage == "retrieval", mine.stage != "retrieval")
