"""Lookup, Evaluator and Pusher as one pipeline: the first run, a worse model, a better one."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import tensorflow_model_analysis as tfma
from ml_metadata.metadata_store import metadata_store
from ml_metadata.proto import metadata_store_pb2
from tfx import v1 as tfx

from serving.publishing.config import PusherConfig
from serving.publishing.origin import read_push_state
from serving.sources.neighbours import Neighbours
from tests.helpers.direct import ONE_WORKER
from tests.tfx_pipeline.evaluation.lists import User
from tests.tfx_pipeline.evaluation.lists import save_list_model
from tests.tfx_pipeline.evaluation.lists import write_candidates
from tests.tfx_pipeline.evaluation.lists import write_split
from tfx_pipeline.artifacts import NeighbourLists
from tfx_pipeline.components.latest_blessed import LatestBlessed
from tfx_pipeline.components.pusher import Pusher
from tfx_pipeline.evaluation.config import RetrievalEvaluationConfig
from tfx_pipeline.evaluation.evaluator import Evaluator
from tfx_pipeline.evaluation.run_metrics import write_run_metrics
from transforms import features as f

CONFIG = RetrievalEvaluationConfig(
    ks=(1, 5),
    list_k=2,
    min_users=10,
    thresholds={"hr@5": 0.3},
    change_thresholds={"hr@5": -0.01},
    beats_neighbours=0.0,
    slices=((f.SLICE_ACTIVITY,),),
    slice_thresholds={
        f"{f.SLICE_ACTIVITY}=1-9": {"hr@5": 0.9},
        f"{f.SLICE_ACTIVITY}=0": {"hr@5": 0.45},  # of all users, asked without history
    },
)
USERS = [
    User(
        name=f"u{i}",
        history=["movie:1", "movie:2"],
        targets=[f"movie:{10 + i}"] if i < 10 else [],
        popularity=["head"] if i < 10 else [],
        activity="1-9" if i < 5 else "10-49",
    )
    for i in range(12)
]
STANDARD = tfx.types.standard_artifacts


def importer(name: str, uri: Path, kind: type, **more):
    return tfx.dsl.Importer(source_uri=str(uri), artifact_type=kind, **more).with_id(name)


def run_pipeline(
    work: Path, model: Path, config: RetrievalEvaluationConfig = CONFIG
) -> dict[str, dict[str, str]]:
    """Runs the three components on a model and returns node -> key -> directory."""
    examples = importer(
        "examples",
        work / "examples",
        STANDARD.Examples,
        properties={"split_names": '["train", "test"]'},
    )
    servable = importer("servable", model, STANDARD.Model)
    index = importer(
        "index", work / "index", STANDARD.ModelBlessing, custom_properties={"blessed": 1}
    )
    push_dir = str(work / "pushed")
    state = {
        "release_candidate": str(model),
        "serving_state": read_push_state(push_dir).seen_by(str(model)),
    }
    neighbours = importer("neighbours", work / "neighbours", NeighbourLists)
    latest = LatestBlessed(
        examples.outputs["result"], "retrieval", push_dir, code_version="1", **state
    ).with_id("latest-blessed")
    evaluator = Evaluator(
        examples.outputs["result"],
        servable.outputs["result"],
        latest.outputs["model"],
        config,
        code_version="1",
        neighbours=neighbours.outputs["result"],
        monitor="hr@5",
    ).with_id("evaluator")
    pusher = Pusher(
        servable.outputs["result"],
        evaluator.outputs["blessing"],
        evaluator.outputs["evaluation"],
        examples.outputs["result"],
        PusherConfig(warmup_requests=3),
        "lists",
        push_dir,
        index_blessing=index.outputs["result"],
        code_version="1",
        run_config='{"name": "lists"}',
        **state,
    ).with_id("pusher")
    database = str(work / "metadata.sqlite")
    tfx.orchestration.LocalDagRunner().run(
        tfx.dsl.Pipeline(
            "lists",
            str(work / "artifacts"),
            components=[examples, servable, index, neighbours, latest, evaluator, pusher],
            enable_cache=True,
            metadata_connection_config=tfx.orchestration.metadata.sqlite_metadata_connection_config(
                database
            ),
            beam_pipeline_args=list(ONE_WORKER),
        )
    )
    return latest_outputs(database)


def latest_outputs(database: str) -> dict[str, dict[str, str]]:
    connection = metadata_store_pb2.ConnectionConfig()
    connection.sqlite.filename_uri = database
    store = metadata_store.MetadataStore(connection)
    found = {}
    for kind, node, key in (
        ("Model", "latest-blessed", "model"),
        ("ModelEvaluation", "evaluator", "evaluation"),
        ("PushedModel", "pusher", "pushed_model"),
    ):
        artifact = max(store.get_artifacts_by_type(kind), key=lambda a: a.id)
        found[node] = {key: artifact.uri} | {
            name: value.string_value or str(value.int_value)
            for name, value in artifact.custom_properties.items()
        }
    return found


def make_model(path: Path, hits: int) -> Path:
    """A servable that finds the target of the first `hits` users at place 2."""
    lists = {
        user.name: ["movie:1", user.targets[0] if user.targets and i < hits else "movie:3"]
        for i, user in enumerate(USERS)
    }
    (path / "Format-Serving").parent.mkdir(parents=True)
    save_list_model(path / "Format-Serving", lists, k=2, candidates=20)
    index = path / "Format-Serving" / "index"
    write_candidates(index / "candidates.parquet", {f"movie:{i}": 0 for i in range(20)})
    return path


def write_neighbours(path: Path) -> None:
    """Lists by which everybody is recommended the targets of the first five users."""
    names = ["movie:2", *(user.targets[0] for user in USERS[:5])]
    names.sort()
    row = names.index("movie:2")
    lengths = [5 if name == "movie:2" else 0 for name in names]
    Neighbours(
        entity=pa.array(names),
        offsets=np.cumsum([0, *lengths]),
        neighbour=np.array([other for other in range(6) if other != row]),
        weight=np.full(5, 0.5),
        events=np.ones(6, np.int64),
        info={"settings": {"event_types": ["*"]}},
    ).write(path)


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    work = tmp_path_factory.mktemp("gate")
    write_split(work / "examples", "train", USERS)
    write_split(work / "examples", "test", USERS)
    (work / "index").mkdir()
    write_neighbours(work / "neighbours")
    return work


@pytest.mark.slow
def test_first_run_then_a_worse_model_then_a_better_one(work):
    first = run_pipeline(work, make_model(work / "first", hits=5))
    metrics = write_run_metrics(work / "metrics.json", first)
    assert metrics["test"]["hr@5"] == 0.5 and metrics["test"]["hr@1"] == 0.0
    assert metrics["test"]["neighbours/hr@5"] == 0.5  # at least equal is what the gate asks for
    assert metrics["test"]["users"] == 10.0 and metrics["test"]["users_without_target"] == 2.0
    assert metrics["test"]["coverage@2"] == pytest.approx(7 / 20)
    # A slice below the threshold of all users is no failure.
    assert metrics["slices"]["slice/activity=10-49"]["hr@5"] == 0.0
    nothing = f"{work / 'pushed'} has no other version that is served"
    assert metrics["gate"] == {"blessed": 1, "failures": [], "no_baseline": nothing}
    assert json.loads((work / "metrics.json").read_text()) == metrics
    assert first["pusher"]["pushed"] == "1" and first["pusher"]["pushed_version"] == "1"

    version = work / "pushed" / "1"
    assert first["pusher"]["pushed_destination"] == str(version)
    assert json.loads((version / "config.json").read_text()) == {"name": "lists"}
    assert (version / "assets.extra" / "tf_serving_warmup_requests").stat().st_size > 0
    assert tfma.load_validation_result(str(version / "evaluation")).validation_ok

    worse = run_pipeline(work, make_model(work / "worse", hits=4))
    gate = write_run_metrics(work / "metrics.json", worse)["gate"]
    assert gate["blessed"] == 0 and "no_baseline" not in gate
    assert sorted(gate["failures"]) == [
        "hr@5 changed by -0.1 against the served model; at least -0.01 is required",
        "hr@5 in slice/activity=0 is 0.4; at least 0.45 is required",
        "hr@5 in slice/activity=1-9 is 0.8; at least 0.9 is required",
        "hr@5 is 0.1 below what counting neighbours gives (`neighbours/hr@5`), and "
        "`retrieval.evaluation.beats_neighbours` asks for at least +0",
    ]
    assert worse["pusher"]["pushed"] == "0"
    assert gate["failures"][0] in worse["pusher"]["not_pushed_because"]
    assert [p.name for p in (work / "pushed").iterdir() if p.name.isdigit()] == ["1"]

    config = RetrievalEvaluationConfig(ks=(1, 5), beats_neighbours=None)
    nothing = run_pipeline(work, make_model(work / "nothing", hits=0), config)
    gate = write_run_metrics(work / "metrics.json", nothing)["gate"]
    assert gate["blessed"] == 0 and len(gate["failures"]) == 2
    assert any(failure.startswith("hr@5 is 0: a model that hits") for failure in gate["failures"])
    assert nothing["pusher"]["pushed"] == "0"

    better = run_pipeline(work, make_model(work / "better", hits=9))
    assert write_run_metrics(work / "metrics.json", better)["test"]["hr@5"] == 0.9
    assert better["pusher"]["pushed_version"] == "2"
