from __future__ import annotations

import json

import pytest
from tensorflow_metadata.proto.v0 import anomalies_pb2

from tests.helpers import tfx_runs
from tests.helpers.timelines import row
from tests.helpers.timelines import small_log
from tests.helpers.timelines import timeline
from tests.helpers.timelines import write_examples
from transforms import features as f
from transforms.catalogue_fields import CatalogueFields
from transforms.schema import schema_text


def test_findings_name_split_feature_anomaly_and_remedy():
    from tfx_pipeline.components.example_validator import report

    anomalies = anomalies_pb2.Anomalies()
    info = anomalies.anomaly_info["price"]
    info.path.step.append("catalogue/price")
    info.reason.add(
        type=anomalies_pb2.AnomalyInfo.FLOAT_TYPE_HAS_NAN,
        short_description="Invalid values",
        description="Float feature has NaN values.",
    )
    info.reason.add(
        type=anomalies_pb2.AnomalyInfo.UNKNOWN_TYPE,
        short_description="Something new",
        description="Said without a stop",
    )
    first, second = report.findings("catalogue", anomalies)
    assert (first.split, first.feature) == ("catalogue", "catalogue/price")
    assert "NaN" in first.what_to_do
    assert str(second) == (
        "catalogue: catalogue/price: Something new. Said without a stop. What to do: mend the "
        "column in the event log, or change the field in transforms/fields.py."
    )
    assert "(2 anomalies: catalogue:catalogue/price)" in report.message([first, second])
    assert report.findings("train", anomalies_pb2.Anomalies()) == []


def test_a_split_without_examples_is_a_finding():
    from tfx_pipeline.components.example_validator import report

    (finding,) = report.findings("catalogue", anomalies_pb2.Anomalies(data_missing=True))
    assert (finding.feature, finding.short) == (report.WHOLE_SPLIT, "No examples")


@pytest.mark.slow
def test_anomalies_stop_the_run_with_their_names(tmp_path):
    log = small_log(users=4, items=4)
    log["train"] += log["test"][:1]
    log["validation"].append(timeline("u", [("watch", "item:1", 1)], surprise=1))
    log["test"].append(timeline("u", [], targets=[("watch", "item:1", 1)], chunk=-1))
    log["catalogue"].append(row("item:9", price=float("nan"), type=[], title=["two", "titles"]))
    write_examples(tmp_path / "log", log)

    with pytest.raises(ValueError, match="do not fit the schema") as error:
        tfx_runs.run(tmp_path / "log", tmp_path / "run")

    lines = [line.strip() for line in str(error.value).splitlines()]
    for start in (
        "train: target/entity: Column missing in environment",
        "validation: surprise: New column",
        "validation: target/entity: Column dropped",
        "test: chunk: Out-of-range values",
        "catalogue: catalogue/price: Invalid values",
        "catalogue: catalogue/type: Column dropped",
        "catalogue: catalogue/title: Superfluous values",
    ):
        assert [line for line in lines if line.startswith(start) and "What to do: " in line]
    assert not [line for line in lines if "event/entity" in line or "slice/" in line]


@pytest.mark.slow
def test_declared_fields_fit_the_schema_and_others_do_not(tmp_path):
    log = small_log(users=4, items=4)
    for number in (9, 10):  # other rows have none
        given = {"vector/style": [0.5, float(number)], "token/cluster": ["c1", "c2"]}
        log["catalogue"].append(row(f"item:{number}", **given))
    write_examples(tmp_path / "log", log)
    vectors = {"vectors": {"style": 2}}

    with pytest.raises(ValueError, match="catalogue: catalogue/token/cluster: New column") as error:
        tfx_runs.run(tmp_path / "log", tmp_path / "one", fields=CatalogueFields(**vectors))
    assert "style" not in str(error.value)
    both = CatalogueFields(**vectors, tokens=("cluster",))
    tfx_runs.run(tmp_path / "log", tmp_path / "both", fields=both)
    written = tfx_runs.artifact(tmp_path / "both", "import-schema-gen", "schema") / "schema.pbtxt"
    assert written.read_text() == schema_text(both) != schema_text()


@pytest.mark.slow
def test_the_anomalies_are_written_before_the_error(tmp_path):
    """Calls the executor itself, since the launcher clears what a failed component wrote."""
    import tensorflow_data_validation as tfdv
    from tfx.types import standard_artifacts
    from tfx.utils import io_utils

    from tfx_pipeline.components.example_validator import executor
    from transforms.schema import make_schema

    schema = standard_artifacts.Schema()
    schema.uri = str(tmp_path / "schema")
    io_utils.write_pbtxt_file(str(tmp_path / "schema" / "schema.pbtxt"), make_schema())
    write_examples(tmp_path / "log", {"train": [timeline("u", [])], "catalogue": []})
    statistics = standard_artifacts.ExampleStatistics()
    statistics.uri = str(tmp_path / "statistics")
    statistics.split_names = json.dumps(["train", "catalogue"])
    for split in ("train", "catalogue"):
        path = tmp_path / "statistics" / f"Split-{split}" / "FeatureStats.pb"
        path.parent.mkdir(parents=True)
        made = tfdv.generate_statistics_from_tfrecord(str(tmp_path / f"log/Split-{split}/*.gz"))
        path.write_bytes(made.SerializeToString())
    anomalies = standard_artifacts.ExampleAnomalies()
    anomalies.uri = str(tmp_path / "anomalies")

    def run(excluded):
        return executor.Executor().Do(
            {"statistics": [statistics], "schema": [schema]},
            {"anomalies": [anomalies]},
            {"exclude_splits": json.dumps(excluded)},
        )

    with pytest.raises(ValueError, match=r"catalogue: \(whole split\): No examples"):
        run([])
    written = {
        split: anomalies_pb2.Anomalies.FromString(
            (tmp_path / "anomalies" / f"Split-{split}" / "SchemaDiff.pb").read_bytes()
        )
        for split in ("train", "catalogue")
    }
    assert written["catalogue"].data_missing and not written["train"].data_missing
    assert anomalies.get_json_value_custom_property("blessed") == {"train": 1, "catalogue": 0}

    (artifact,) = run(["catalogue"]).output_artifacts["anomalies"].artifacts
    assert artifact.properties["split_names"].string_value == '["train"]'
    assert f.SPLITS[0] == "train"
