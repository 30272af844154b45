"""Configurations: shipped ones are valid, mistakes are named, shared keys are said once."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from models.config import RetrievalTrainerConfig
from models.sequence.config import SequenceConfig
from tfx_pipeline.components.timeline_example_gen.config import TimelineConfig
from tfx_pipeline.config import PipelineConfig
from tfx_pipeline.config_file import CONFIGS
from tfx_pipeline.config_file import differences
from tfx_pipeline.config_file import load_config
from tfx_pipeline.stages.config import RankingConfig
from tfx_pipeline.stages.config import RetrievalConfig
from transforms.label_config import LabelConfig


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_a_shipped_configuration_is_valid_and_round_trips(path: Path, tmp_path: Path) -> None:
    config = load_config(path.stem)
    again = tmp_path / "again.yaml"
    again.write_text(config.to_yaml())
    assert load_config(str(again)) == config


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_a_shipped_configuration_says_what_it_costs(path: Path) -> None:
    head = path.read_text().split("name:")[0]
    for word in ("Data", "Hardware", "Expected", "Wall"):
        assert f"# {word}" in head, word


def test_overrides_are_typed_and_nested() -> None:
    config = load_config(
        "movielens_1m",
        (
            "retrieval.trainer.seed=7",
            "retrieval.evaluation.ks=[5, 10]",
            "retrieval.evaluation.thresholds={}",
            "retrieval.evaluation.change_thresholds={}",
        ),
    )
    assert config.retrieval.trainer.seed == 7
    assert config.retrieval.evaluation.ks == (5, 10)


def test_an_unknown_key_names_the_nearest() -> None:
    with pytest.raises(
        ValueError, match="`sed` is not a key of RetrievalTrainerConfig; the nearest is"
    ):
        load_config("movielens_1m", ("retrieval.trainer.sed=7",))


def test_a_mistake_is_said_to_come_from_the_override_that_makes_it(tmp_path: Path) -> None:
    wrong, right = "retrieval.trainer.epoch=3", "retrieval.trainer.seed=7"
    told = "the nearest is `epochs`."
    with pytest.raises(ValueError) as caught:
        load_config("shop_demo", (right, wrong))
    head, line = str(caught.value).splitlines()
    assert head.endswith("shop_demo.yaml with what --set gives is not a valid configuration:")
    assert line.endswith(f"{told} (from `--set {wrong}`)")
    file = tmp_path / "part.yaml"
    file.write_text("name: part\nlog_dir: data\nretrieval: {trainer: {epoch: 3}}\n")
    with pytest.raises(ValueError) as caught:
        load_config(str(file), ("run_dir=runs", right))
    head, line = str(caught.value).splitlines()
    assert head == f"{file} is not a valid configuration:" and line.endswith(told)


def test_a_value_of_a_wrong_type_names_its_place() -> None:
    with pytest.raises(ValueError, match=r"trainer\.epochs: .*integer"):
        load_config("movielens_1m", ("retrieval.trainer.epochs=many",))


@pytest.mark.parametrize(
    "name", ["../../evil", "/tmp/evil", "a/b", "..", ".hidden", "", "a b", "a\n"]
)
def test_a_name_that_is_a_path_is_refused(name: str, tmp_path: Path) -> None:
    file = tmp_path / "evil.yaml"
    file.write_text(yaml.safe_dump({"name": name, "log_dir": "log", "run_dir": "run"}))
    with pytest.raises(ValueError, match="name: It becomes a part of paths.* Received: "):
        load_config(str(file))
    assert load_config(str(file), ("name=shop_2.de-DE",)).name == "shop_2.de-DE"


def test_no_metric_asks_for_more_than_the_servable_returns() -> None:
    with pytest.raises(ValueError, match=r"`retrieval\.index\.k` \(20\)"):
        load_config("movielens_1m", ("retrieval.index.k=20",))


def test_neighbours_are_compared_by_the_metric_that_chose_the_epoch() -> None:
    wanted = "retrieval.trainer.validation={monitor: ndcg@20, k: [20]}"
    with pytest.raises(
        ValueError, match=r"compares `ndcg@20`.*add 20 to `retrieval.evaluation.ks`"
    ):
        load_config("movielens_1m", (wanted,))
    load_config("movielens_1m", (wanted, "retrieval.evaluation.beats_neighbours=null"))
    load_config("movielens_1m", (wanted, "retrieval.evaluation.ks=[10, 20]"))


def test_an_override_without_a_value_is_explained() -> None:
    with pytest.raises(ValueError, match="written key=value"):
        load_config("movielens_1m", ("retrieval.trainer.seed",))


@pytest.mark.parametrize(
    "override", ["retrieval.evaluation.ks=[1", "target_events=", "retrieval.trainer=3"]
)
def test_any_malformed_value_is_a_value_error(override: str) -> None:
    with pytest.raises(ValueError, match="YAML|valid"):
        load_config("movielens_1m", (override,))


def test_what_a_version_depends_on_leaves_out_how_it_was_run() -> None:
    one = load_config("movielens_1m", ("enable_cache=false", "run_dir=elsewhere"))
    assert one.pushed_json("retrieval") == load_config("movielens_1m").pushed_json("retrieval")
    other = load_config("movielens_1m", ("retrieval.trainer.seed=9",))
    assert one.pushed_json("retrieval") != other.pushed_json("retrieval")


def test_only_what_differs_is_listed_and_shared_keys_once() -> None:
    base = load_config("shop_demo")
    assert differences(base, base) == []
    other = load_config(
        "shop_demo", ("candidate_types=[video]", "retrieval.evaluation.thresholds={}")
    )
    assert differences(other, base) == [
        "candidate_types: ['video'] (was ['item'])",
        "retrieval.evaluation.thresholds.hr@10: unset (was 0.35)",
    ]


def test_a_difference_is_named_by_the_key_that_sets_it() -> None:
    base = load_config("shop_demo", ("ranking={}",))
    changes = ("ranking.label.events=[click, buy]", "timeline.max_events_per_example=5000")
    assert differences(load_config("shop_demo", ("ranking={}", *changes)), base) == [
        "timeline.max_events_per_example: 5000 (was 4096)",
        "ranking.label.events: ['click', 'buy'] (was ['*'])",
    ]
    # Without the stage nothing else sets the label of the timelines.
    pages = load_config("shop_demo", ("timeline.label={}",))
    assert "timeline.label.negatives: 4 (was unset)" in differences(pages, load_config("shop_demo"))


def test_sections_that_are_objects_share_as_those_of_a_file_do() -> None:
    label = LabelConfig(events=("click", "buy"))
    trainer = RetrievalTrainerConfig(model=SequenceConfig(), seed=7)
    config = PipelineConfig(
        name="shop",
        log_dir="log",
        run_dir="run",
        candidate_types=("item",),
        timeline=TimelineConfig(max_events_per_example=5_000),
        retrieval=RetrievalConfig(trainer=trainer),
        ranking=RankingConfig(label=label),
    )
    assert config.ranking and config.retrieval
    assert config.ranking.trainer.label == config.ranking.evaluation.label == label
    assert config.timeline.label == label
    assert config.retrieval.trainer.model == SequenceConfig()
    assert config.retrieval.trainer.seed == 7
    assert config.retrieval.index.seen_events == 5_000
    sections = (config.timeline, config.retrieval.trainer, config.ranking.trainer)
    assert {section.candidate_types for section in sections} == {("item",)}
    assert PipelineConfig.model_validate(yaml.safe_load(config.to_yaml())) == config
    with pytest.raises(ValueError, match="Set `ranking.label`, not `timeline.label`"):
        PipelineConfig(
            name="shop",
            log_dir="log",
            run_dir="run",
            timeline=TimelineConfig(label=LabelConfig(source="events")),
            ranking=RankingConfig(label=label),
        )


def test_the_template_takes_an_order_without_times(tmp_path: Path) -> None:
    lines = (CONFIGS / "template.yaml").read_text().splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith("  split: time-cut"))
    lines[first : first + 3] = ["  split: leave-last-out"]
    file = tmp_path / "ordinal.yaml"
    file.write_text("\n".join(lines))
    assert load_config(str(file)).timeline.split == "leave-last-out"


@pytest.mark.parametrize("key", ["trainer.seed=2", "index.k=200", "evaluation={}", "push={}"])
def test_a_section_at_its_old_position_names_the_new_one(key: str) -> None:
    section = key.split("=")[0].split(".")[0]
    with pytest.raises(
        ValueError, match=rf"write `retrieval\.{section}`, and in a file `{section}:`"
    ):
        load_config("movielens_1m", (key,))


def test_a_stage_is_off_when_it_is_null() -> None:
    assert load_config("shop_demo").stages == ("retrieval",)
    assert load_config("shop_demo", ("ranking={}",)).stages == ("retrieval", "ranking")
    config = load_config("shop_demo", ("retrieval=null", "ranking={}"))
    assert config.stages == ("ranking",) and config.retrieval is None
    with pytest.raises(ValueError, match="Nothing would be trained"):
        load_config("shop_demo", ("retrieval=null",))


def test_what_is_ranked_is_said_once(tmp_path: Path) -> None:
    config = load_config("shop_demo", ("ranking.label.events=[click, buy]",))
    assert config.ranking
    sections = (config.timeline, config.ranking.trainer, config.ranking.evaluation)
    assert {section.label for section in sections} == {config.ranking.label}
    assert config.ranking.label.heads == ("click", "buy")
    assert config.ranking.trainer.candidate_types == ("item",)
    file = tmp_path / "again.yaml"
    file.write_text(config.to_yaml())
    assert load_config(str(file)) == config
    for place in ("timeline", "ranking.trainer", "ranking.evaluation"):
        with pytest.raises(ValueError, match=f"Set `ranking.label`, not `{place}.label`"):
            load_config("shop_demo", ("ranking={}", f"{place}.label.events=[buy]"))
    # Without the stage, pages can be written all the same.
    assert load_config("shop_demo", ("timeline.label={}",)).timeline.label


def test_the_window_of_a_ranker_is_within_the_context_of_a_chunk() -> None:
    with pytest.raises(ValueError, match=r"`ranking.trainer.model.window` \(257\) is more events"):
        load_config("shop_demo", ("ranking.trainer.model.window=257",))
    with pytest.raises(ValueError, match=r"\(100\) is more events than a held-out page has"):
        load_config(
            "shop_demo", ("ranking.trainer.model.window=100", "ranking.label.max_history=99")
        )


def test_ngrams_are_read_as_far_as_they_are_made() -> None:
    ngrams = "transform.ngrams={limit: 40}"
    key = "retrieval.trainer.model.candidate.max_title_tokens"
    with pytest.raises(ValueError, match=rf"`{key}` \(16\) cuts off n-grams.*Set it to 72, or"):
        load_config("shop_demo", (ngrams,))
    config = load_config("shop_demo", (ngrams, f"{key}=72"))
    assert config.transform.ngrams and config.transform.ngrams.characters == (3, 4)
    with pytest.raises(ValueError, match=r"`ranking.trainer.model.max_query_tokens` \(16\)"):
        more = "ranking.trainer.model.candidate.max_title_tokens=72"
        load_config("shop_demo", (ngrams, f"{key}=72", more))


def test_each_stage_has_its_push_directory() -> None:
    config = load_config("shop_demo", ("run_dir=s3://bucket/run",))
    assert config.push_dir_of("retrieval") == "s3://bucket/run/pushed/retrieval"
    config = load_config("shop_demo", ("push_dir=/models/shop",))
    assert config.push_dir_of("ranking") == "/models/shop/ranking"
    assert [config.model_name(stage) for stage in ("retrieval", "ranking")] == [
        "shop-demo", "shop-demo-ranking"
    ]  # fmt: skip


def test_the_template_takes_a_ranking_stage(tmp_path: Path) -> None:
    text = (CONFIGS / "template.yaml").read_text()
    before, _, ranking = text.partition("# ranking:")
    file = tmp_path / "ranking.yaml"
    file.write_text(before + "ranking:" + ranking.replace("\n#", "\n"))
    config = load_config(str(file))
    assert config.stages == ("retrieval", "ranking") and config.timeline.label
    assert config.timeline.label.heads == ("click",)


def test_an_unknown_configuration_lists_the_known() -> None:
    with pytest.raises(ValueError, match="movielens_1m"):
        load_config("no_such_configuration")


def test_what_sections_share_is_said_once_and_reaches_all() -> None:
    config = load_config("shop_demo")
    assert config.candidate_types == ("item",)
    sections = (config.timeline, config.transform, config.retrieval.trainer, config.retrieval.index)
    assert {section.candidate_types for section in sections} == {("item",)}
    assert config.retrieval.trainer.exclude_seen == config.retrieval.index.exclude_seen == ()
    with pytest.raises(ValueError, match="Set `candidate_types` at the top"):
        load_config("shop_demo", ("retrieval.trainer.candidate_types=[video]",))


def test_seen_is_looked_for_as_far_back_as_the_evaluation_sees() -> None:
    assert load_config("shop_demo").retrieval.index.seen_events == 4_096
    longer = load_config("shop_demo", ("timeline.max_events_per_example=9000",))
    assert longer.retrieval.index.seen_events == 9_000
    assert PipelineConfig.model_validate(yaml.safe_load(longer.to_yaml())) == longer
    with pytest.raises(
        ValueError, match=r"`retrieval.index.seen_events` \(5\) is `timeline.max_events"
    ):
        load_config("shop_demo", ("retrieval.index.seen_events=5",))


def test_what_is_saved_is_plain_yaml() -> None:
    assert yaml.safe_load(load_config("movielens_1m").to_yaml())["name"] == "movielens-1m"


def test_workers_share_a_run_directory_that_they_can_mount() -> None:
    two = "retrieval.trainer.workers=2"
    assert load_config("shop_demo", (two, "run_dir=/shared/run")).retrieval
    with pytest.raises(ValueError, match="`run_dir`"):
        load_config("shop_demo", (two, "run_dir=s3://shop/run"))


def test_queries_are_read_in_training_only_where_requests_have_them() -> None:
    reads = "retrieval.trainer.model.query.use_query=true"
    with pytest.raises(ValueError, match="Set `timeline.request_query: target`"):
        load_config("template", (reads,))
    assert load_config("template", (reads, "timeline.request_query=target"))
    assert load_config("template", (reads, "retrieval.trainer.model=sequence"))  # which reads none


@pytest.mark.parametrize(
    ("config", "key"),
    [("template", "model.query.window"), ("shop_sequence", "model.input.length")],
)
def test_the_window_of_a_model_is_within_the_context_of_a_chunk(config: str, key: str) -> None:
    assert load_config(config, (f"retrieval.trainer.{key}=256",))
    with pytest.raises(
        ValueError, match=rf"`retrieval\.trainer\.{key}` \(257\).*context_events` \(256\)"
    ):
        load_config(config, (f"retrieval.trainer.{key}=257",))
    assert load_config(config, (f"retrieval.trainer.{key}=257", "timeline.context_events=257"))


def test_models_read_only_fields_that_are_declared() -> None:
    chosen = "retrieval.trainer.model.candidate.features=[title, vector/style, token/cluster]"
    fields = "timeline.catalogue_fields={vectors: {style: 64}, tokens: [cluster]}"
    config = load_config("shop_demo", (chosen, fields))
    assert config.timeline.catalogue_fields.features == (
        "catalogue/token/cluster",
        "catalogue/vector/style",
    )
    with pytest.raises(ValueError, match="names `vector/style`, which `timeline.catalogue_fields`"):
        load_config("shop_demo", (chosen,))


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ("{vectors: {Style: 4}}", "lower-case letters"),
        ("{tokens: [a/b]}", "lower-case letters"),
        ("{vectors: {style: 0}}", "should be at least 1"),
        ("{vectors: {style: 4}, tokens: [style]}", "`style` is declared twice"),
        ("{vector: {style: 4}}", "the nearest is `vectors`"),
    ],
)
def test_a_field_is_declared_once_by_a_plain_name(fields: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        load_config("shop_demo", (f"timeline.catalogue_fields={fields}",))


def test_features_of_images_are_declared_by_the_section_that_makes_them() -> None:
    given = "timeline.catalogue_fields={vectors: {style: 6}, tokens: [tag]}"
    section = "representation={field: look, trainer: {model: {dim: 8}}}"
    config = load_config("shop_ranking", (given, section))
    fields = config.timeline.catalogue_fields
    assert fields.vectors == {"style": 6, "look": 8} and fields.tokens == ("tag", "look_cluster")
    of_log = config.timeline_of_log.catalogue_fields
    assert of_log.vectors == {"style": 6} and of_log.tokens == ("tag",)
    read = "ranking.trainer.model.candidate={features: [vector/look, token/look_cluster]}"
    assert load_config("shop_ranking", (section, read)).makes_features
    with pytest.raises(ValueError, match="vectors.look` .3. is `representation.trainer.model.dim`"):
        load_config("shop_ranking", (section, "timeline.catalogue_fields={vectors: {look: 3}}"))
    with pytest.raises(ValueError, match="representation.trainer.model: `dimm`.*nearest is `dim`"):
        load_config("shop_ranking", ("representation={trainer: {model: {dimm: 8}}}",))


def test_features_of_images_that_are_in_the_log_are_declared_by_hand() -> None:
    outside = "representation={field: look, in_pipeline: false}"
    config = load_config("shop_ranking", (outside,))
    assert not config.makes_features and not config.timeline.catalogue_fields.names
    assert config.timeline_of_log == config.timeline
    with pytest.raises(ValueError, match="vector/look.*does not declare"):
        read = "ranking.trainer.model.candidate={features: [vector/look]}"
        load_config("shop_ranking", (outside, read))


def test_an_encoder_without_clicks_is_refused_unless_it_is_trained() -> None:
    with pytest.raises(ValueError, match="nothing says what a click is"):
        load_config("shop_demo", ("representation={}",))
    assert load_config("shop_demo", ("representation={encoder: runs/encoder}",)).makes_features
    assert load_config("shop_demo", ("representation={}", "timeline.label={}")).makes_features
