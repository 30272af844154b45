"""Transform on a log whose every count is known by hand, run by TFX itself."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import apache_beam as beam
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft
import tensorflow_transform.beam as tft_beam
from tensorflow.core.protobuf import saved_model_pb2
from tfx_bsl.coders.example_coder import RecordBatchToExamplesEncoder
from tfx_bsl.public import tfxio

from tests.helpers import tfx_runs
from tests.helpers.direct import direct
from tests.helpers.timelines import row
from tests.helpers.timelines import timeline
from tests.helpers.timelines import write_examples
from transforms import features as f
from transforms import names
from transforms.config import TransformConfig
from transforms.features import SPLITS
from transforms.parsing import catalogue_spec
from transforms.parsing import timeline_spec
from transforms.vocabulary import entity_vocabulary
from transforms.vocabulary import index_sizes
from transforms.vocabulary import target_counts

pytestmark = pytest.mark.slow

CONFIG = TransformConfig(
    target_events=("watch", "buy"),
    candidate_types=("movie",),
    query_oov_buckets=8,
    title_length=4,
    price_buckets=2,
)
U1 = [
    ("watch", "movie:a", 10),
    ("watch", "movie:b", 20),
    ("buy", "movie:a", 30),
    ("click", "video:v", 40),
]
# The second chunk of a user: the first two events stand in the chunk before.
U2 = [
    ("watch", "movie:a", 11),
    ("watch", "movie:c", 12),
    ("watch", "movie:b", 13),
    ("buy", "movie:a", 14),
]
U3 = [("watch", "movie:z", 15)]
U1_MORE = {
    f.USER_ATTRIBUTES: ["age=30", "city=Ulm"],
    f.EVENT_QUERY: ["", "Red shoes", "", "red  SHOES!"],
    f.EVENT_VALUE: [0.5, 1.0, 0.0, 0.0],
    f.PAGE_ID: ["p1", "p2"],
    f.PAGE_TIMESTAMP: [9, 19],
    f.PAGE_QUERY: ["hat", ""],
    f.PAGE_HISTORY_LENGTH: [0, 1],
    f.IMPRESSION_PAGE: [0, 0, 1],
    f.IMPRESSION_POSITION: [1, 2, 1],
    f.IMPRESSION_ENTITY: ["movie:a", "movie:unseen", "video:v"],
    f.IMPRESSION_CLICKED: [1, 0, 0],
}
U2_MORE = {f.CHUNK: 1, f.USER_ATTRIBUTES: ["age=30"]}
CATALOGUE = [
    row("movie:a", title="The Red Hat", categories=["drama", "film"], price=0.0, available_from=5),
    row(
        "movie:b", title=b"RED caf\xe9 \xff one two three", categories=["film"], price=math.e**2 - 1
    ),
    row("movie:d", attributes=["brand=x"], related=["movie:a"], image_vector=[0.5, -1.0]),
    row("video:v", related=["movie:b", "movie:nowhere"], image=b"\x89PNG", text_vector=[1.0]),
    row("movie:c"),
]


def _log(targets: list[tuple[str, str, int]], popularity: str) -> dict[str, list[bytes]]:
    held_out = {f.SLICE_TARGET_POPULARITY: [popularity] * len(targets), f.REQUEST_TIME: 41}
    request = {f.REQUEST_QUERY: "a red hat"}
    return {
        "train": [
            timeline("u1", U1, **U1_MORE),
            timeline("u2", U2, context_length=2, **U2_MORE),
            timeline("u3", U3),
        ],
        "validation": [timeline("u1", U1, targets=targets, **U1_MORE, **request, **held_out)],
        "test": [timeline("u4", [], targets=targets, **held_out)],
        "catalogue": CATALOGUE,
    }


LOG = _log([("watch", "movie:c", 50), ("gift", "movie:new", 60)], "head")


@dataclasses.dataclass(frozen=True)
class Run:
    """One run of Transform."""

    graph: Path
    examples: Path

    @property
    def output(self) -> tft.TFTransformOutput:
        return tft.TFTransformOutput(str(self.graph))

    def read(self, split: str) -> dict[str, list]:
        files = sorted(str(path) for path in (self.examples / f"Split-{split}").iterdir())
        dataset = tf.data.TFRecordDataset(files, "GZIP").batch(100)
        spec = self.output.transformed_feature_spec()
        (batch,) = dataset.map(lambda rows: tf.io.parse_example(rows, spec))
        return {name: value.to_list() for name, value in batch.items()}


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    home = tmp_path_factory.mktemp("transform")
    write_examples(home / "log", LOG)
    tfx_runs.run(home / "log", home / "run", CONFIG)
    return Run(
        tfx_runs.artifact(home / "run", "transform", "transform_graph"),
        tfx_runs.artifact(home / "run", "transform", "transformed_examples"),
    )


@pytest.fixture(scope="module")
def layer(run):
    return run.output.transform_features_layer()


def _apply(layer, examples, spec):
    parsed = tf.io.parse_example(tf.constant(examples), spec)
    return {name: value.to_list() for name, value in layer(dict(parsed)).items()}


def _by_tft(graph: Path, files: Path, folder: Path) -> None:
    """Transforms files as TFX's own component does."""
    output = tft.TFTransformOutput(str(graph))
    raw, transformed = output.raw_metadata.schema, output.transformed_metadata.schema
    source = tfxio.TFExampleRecord(f"{files}/*", schema=raw, telemetry_descriptors=["test"])
    with direct() as pipeline, tft_beam.Context(temp_dir=str(folder / "temporary")):
        data = (pipeline | source.BeamSource(), source.TensorAdapterConfig())
        applied = (data, pipeline | tft_beam.ReadTransformFn(str(graph)))
        batches, _ = applied | tft_beam.TransformDataset(output_record_batches=True)
        encoder = RecordBatchToExamplesEncoder(transformed)
        (
            batches
            | beam.FlatMap(lambda pair: encoder.encode(pair[0]))
            | beam.io.WriteToTFRecord(str(folder / "part"), file_name_suffix=".gz")
        )


@pytest.mark.parametrize("split", SPLITS)
def test_files_are_transformed_as_tfx_would(run, split, tmp_path):
    raw = tfx_runs.artifact(run.graph.parents[2], "examples", "examples") / f"Split-{split}"
    _by_tft(run.graph, raw, tmp_path / f"Split-{split}")
    expected = Run(run.graph, tmp_path).read(split)
    found = run.read(split)
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        if name == f.CATALOGUE_PRICE:  # the last bit of a logarithm depends on the batch
            assert sum(found[name], []) == pytest.approx(sum(values, []), rel=1e-6)
        else:
            assert found[name] == values, name
    assert sorted(one.name for one in (run.examples / f"Split-{split}").iterdir()) == sorted(
        one.name for one in raw.iterdir()
    )


# By descending number of training events; equal numbers in reverse order.
ENTITIES = ["movie:a", "movie:b", "video:v", "movie:z", "movie:d", "movie:c"]
A, B, V, Z, D, C = range(1, 7)


def test_one_vocabulary_for_events_and_catalogue(run):
    assert entity_vocabulary(run.output) == [name.encode() for name in ENTITIES]


def test_target_counts_leave_out_contexts_and_other_types(run):
    counts = target_counts(run.output)
    assert counts.dtype == np.int64
    # movie:a twice for u1 and once for u2, movie:b once for each, u3's first; no click, no context.
    assert counts.tolist() == [0, 3, 2, 0, 1, 0, 0]


def test_other_vocabularies(run):
    def lines(name):
        return [line.decode() for line in run.output.vocabulary_by_name(name)]

    assert lines(names.EVENT_TYPE) == ["watch", "buy", "click"]
    assert lines(names.CATEGORY) == ["film", "drama"]
    assert lines(names.ATTRIBUTE) == ["brand=x"]
    assert lines(names.USER_ATTRIBUTE) == ["age=30", "city=Ulm"]
    assert lines(names.TITLE_TOKEN) == ["red", "two", "the", "one", "hat", "caf"]
    assert lines(names.QUERY) == ["red shoes", "hat"]
    assert lines(names.QUERY_TOKEN) == ["shoes", "red", "hat"]


def test_index_sizes_count_unknown_and_hash_buckets(run):
    sizes = index_sizes(run.output)
    for name in (f.EVENT_ENTITY, f.TARGET_ENTITY, f.IMPRESSION_ENTITY, f.CATALOGUE_RELATED):
        assert sizes[name] == sizes[f.CATALOGUE_ENTITY] == 7
    assert sizes[f.EVENT_TYPE] == sizes[f.TARGET_TYPE] == 4
    assert sizes[f.CATALOGUE_TITLE] == 7
    assert sizes[f.EVENT_QUERY] == sizes[f.REQUEST_QUERY] == 3 + 8
    assert sizes[names.PAGE_QUERY_TOKENS] == 4
    assert sizes[names.CATALOGUE_PRICE_BUCKET] == 3


def test_training_timelines(run):
    train = run.read("train")
    assert train[f.USER_ID] == [[b"u1"], [b"u2"], [b"u3"]]
    assert train[f.CHUNK] == [[0], [1], [0]]
    assert train[f.CONTEXT_LENGTH] == [[0], [2], [0]]
    assert train[f.USER_ATTRIBUTES] == [[1, 2], [1], []]
    assert train[f.EVENT_ENTITY] == [[A, B, A, V], [A, C, B, A], [Z]]
    assert train[f.EVENT_TYPE] == [[1, 1, 2, 3], [1, 1, 1, 2], [1]]
    assert train[f.EVENT_TIMESTAMP] == [[10, 20, 30, 40], [11, 12, 13, 14], [15]]
    assert train[f.EVENT_VALUE][0] == [0.5, 1.0, 0.0, 0.0]
    assert train[f.EVENT_QUERY] == [[0, 1, 0, 1], [0, 0, 0, 0], [0]]
    assert train[names.EVENT_QUERY_TOKENS][0] == [[], [2, 1], [], [2, 1]]
    assert train[f.PAGE_QUERY] == [[2, 0], [], []]
    assert train[names.PAGE_QUERY_TOKENS] == [[[3], []], [], []]
    assert train[f.PAGE_ID] == [[b"p1", b"p2"], [], []]
    assert train[f.PAGE_HISTORY_LENGTH] == [[0, 1], [], []]
    assert train[f.IMPRESSION_ENTITY] == [[A, 0, V], [], []]
    assert train[f.IMPRESSION_PAGE] == [[0, 0, 1], [], []]
    assert train[f.IMPRESSION_CLICKED] == [[1, 0, 0], [], []]
    assert train[f.TARGET_ENTITY] == train[f.CATALOGUE_ENTITY] == [[], [], []]


def test_held_out_timelines(run):
    validation, test = run.read("validation"), run.read("test")
    assert validation[f.TARGET_ENTITY] == test[f.TARGET_ENTITY] == [[C, 0]]
    assert validation[f.TARGET_TYPE] == [[1, 0]]
    assert validation[f.TARGET_TIMESTAMP] == [[50, 60]]
    assert validation[f.REQUEST_TIME] == [[41]]
    (query,) = validation[f.REQUEST_QUERY][0]
    assert 3 <= query < 3 + 8  # A hash bucket: no training query reads so.
    assert validation[names.REQUEST_QUERY_TOKENS] == [[0, 2, 3]]
    assert validation[f.SLICE_TARGET_POPULARITY] == [[b"head", b"head"]]
    assert test[f.EVENT_ENTITY] == [[]]


def test_catalogue_rows(run):
    catalogue = run.read("catalogue")
    assert catalogue[f.CATALOGUE_ENTITY] == [[A], [B], [D], [V], [C]]
    assert catalogue[f.CATALOGUE_TYPE] == [[b"movie"]] * 3 + [[b"video"], [b"movie"]]
    assert catalogue[f.CATALOGUE_TITLE] == [[3, 1, 5], [1, 6, 4, 2], [], [], []]
    assert catalogue[f.CATALOGUE_CATEGORIES] == [[2, 1], [1], [], [], []]
    assert catalogue[f.CATALOGUE_ATTRIBUTES] == [[], [], [1], [], []]
    assert catalogue[f.CATALOGUE_RELATED] == [[], [], [A], [B, 0], []]
    assert catalogue[f.CATALOGUE_AVAILABLE_FROM] == [[5], [], [], [], []]
    assert catalogue[f.CATALOGUE_IMAGE] == [[], [], [], [b"\x89PNG"], []]
    assert catalogue[f.CATALOGUE_IMAGE_VECTOR] == [[], [], [0.5, -1.0], [], []]
    assert catalogue[f.CATALOGUE_TEXT_VECTOR] == [[], [], [], [1.0], []]
    # Two prices whose logarithms are 0 and 2: mean 1, deviation 1.
    np.testing.assert_allclose(catalogue[f.CATALOGUE_PRICE][:2], [[-1.0], [1.0]], atol=1e-6)
    assert catalogue[names.CATALOGUE_PRICE_BUCKET] == [[1], [2], [], [], []]
    assert catalogue[f.CATALOGUE_PRICE][2:] == [[], [], []]
    assert catalogue[f.EVENT_ENTITY] == catalogue[f.USER_ID] == [[]] * 5


@pytest.mark.parametrize("split", SPLITS)
def test_the_graph_in_a_signature_gives_what_transform_wrote(run, layer, split):
    spec = catalogue_spec() if split == "catalogue" else timeline_spec(held_out=True)
    served = _apply(layer, LOG[split], spec)
    written = run.read(split)
    assert served.keys() <= written.keys()
    assert served == {name: written[name] for name in served}
    assert all(not any(rows) for name, rows in written.items() if name not in served)


def test_altered_targets_change_no_other_feature(layer):
    altered = _log([("buy", "movie:a", 1)] * 3, "tail")
    for split in ("validation", "test"):
        before = _apply(layer, LOG[split], timeline_spec(held_out=True))
        after = _apply(layer, altered[split], timeline_spec(held_out=True))
        changed = {name for name in before if before[name] != after[name]}
        assert f.TARGET_ENTITY in changed
        assert {name.partition("/")[0] for name in changed} == {"target", "slice"}


def test_a_request_needs_no_target_and_gets_every_other_feature(layer):
    before = _apply(layer, LOG["validation"], timeline_spec(held_out=True))
    after = _apply(layer, LOG["validation"], timeline_spec())
    assert not any(name.startswith(("target/", "slice/")) for name in after)
    assert after == {name: value for name, value in before.items() if name in after}
    assert {names.EVENT_QUERY_TOKENS, f.REQUEST_QUERY, f.IMPRESSION_ENTITY} <= after.keys()


def test_odd_prices_and_unknown_ids_do_not_break_a_request(layer):
    rows = [
        row("movie:new", price=float("nan"), categories=["none"], title=b"\xff\xfe"),
        row("movie:a", price=-3.0),
        row("movie:b", price=float("inf")),
        row("movie:b", price=1e30),
    ]
    got = _apply(layer, rows, catalogue_spec())
    assert got[f.CATALOGUE_ENTITY] == [[0], [A], [B], [B]]
    assert got[f.CATALOGUE_TITLE] == [[], [], [], []]
    assert got[f.CATALOGUE_CATEGORIES] == [[0], [], [], []]
    assert got[f.CATALOGUE_PRICE][:3] == [[0.0]] * 3
    assert got[names.CATALOGUE_PRICE_BUCKET] == [[0], [0], [0], [2]]


def test_entities_share_one_table(run):
    path = Path(run.output.transform_savedmodel_dir, "saved_model.pb")
    model = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    nodes = model.meta_graphs[0].graph_def.node
    # Entity, event type, category, attribute, user attribute, title word, query, query word.
    assert sum(node.op == "HashTableV2" for node in nodes) == 8
