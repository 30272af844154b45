"""`vitrine run` refuses a log before TFX is imported, and says what the log has."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tfx_pipeline.commands.log_check import check_log
from tfx_pipeline.config import PipelineConfig

NOON = 1_700_000_000_000_000  # microseconds, November 2023
DAY = 86_400_000_000


def make_log(root: Path, **changed: Any) -> Path:
    """Writes 200 events of 10 users on 4 items over 20 days, with columns changed."""
    n = 200
    columns = {
        "user_id": [f"u{i % 10}" for i in range(n)],
        "entity_type": ["item"] * n,
        "entity_id": [str(i % 4) for i in range(n)],
        "event": ["view", "buy"] * (n // 2),
        "timestamp": [NOON + i * DAY // 10 for i in range(n)],
        "ordinal": list(range(n)),
    }
    tables = {
        "events": pa.table(columns | changed),
        "catalogue": pa.table({"entity_type": ["item"] * 4, "entity_id": ["0", "1", "2", "3"]}),
    }
    for name, rows in tables.items():
        (root / name).mkdir(parents=True)
        pq.write_table(rows, root / name / "a.parquet", row_group_size=50)
    (root / "manifest.json").write_text(json.dumps({"name": "toy", "time": "real"}))
    return root


def configuration(log: Path, **more: Any) -> PipelineConfig:
    values = {"name": "toy", "log_dir": str(log), "run_dir": str(log.parent / "run")}
    return PipelineConfig.model_validate(values | more)


def test_a_sound_log_is_counted(tmp_path: Path) -> None:
    text = check_log(configuration(make_log(tmp_path / "log"), target_events=["buy"]))
    assert "200 events (view 100, buy 100)" in text
    assert "4 rows (item 4)" in text


def test_a_name_that_the_log_does_not_have_is_refused(tmp_path: Path) -> None:
    log = make_log(tmp_path / "log")
    with pytest.raises(ValueError, match=r"`veiw`; the nearest is `view`\. The log has buy, view"):
        check_log(configuration(log, target_events=["buy", "veiw"]))
    with pytest.raises(ValueError, match=r"`candidate_types` names `itm`.*`item`\. .* has item"):
        check_log(configuration(log, candidate_types=["itm"]))


def test_rows_of_labels_that_the_log_does_not_have_are_refused(tmp_path: Path) -> None:
    log = make_log(tmp_path / "log")
    label = {"source": "events", "events": ["buy"]}
    check_log(configuration(log, ranking={"label": label}))
    with pytest.raises(ValueError, match=r"`ranking\.label\.events` names `bye`; .* is `buy`"):
        check_log(configuration(log, ranking={"label": label | {"events": ["bye"]}}))
    with pytest.raises(ValueError, match="no event of the type `impression`"):
        check_log(configuration(log, ranking={"label": label | {"source": "impressions"}}))
    rows = ["view", "buy", "impression", "view"] * 50
    shown = make_log(tmp_path / "shown", event=rows, page_id=["p"] * 200)
    check_log(configuration(shown, ranking={"label": {"events": ["buy"]}}))


def test_what_is_excluded_is_an_event_of_the_log(tmp_path: Path) -> None:
    log = make_log(tmp_path / "log")
    check_log(configuration(log, exclude_seen=["buy"]))
    check_log(configuration(log, exclude_seen=["*"]))
    with pytest.raises(ValueError, match=r"`exclude_seen` names `bought`.*The log has buy, view"):
        check_log(configuration(log, exclude_seen=["bought"]))


@pytest.mark.parametrize(
    "trainer",
    [
        {"model": {"family": "two_tower", "query": {"use_time": True}}},
        {"model": {"family": "sequence", "encoder": {"use_time": True}}},
    ],
    ids=["two_tower", "sequence"],
)
def test_times_are_not_read_from_a_log_that_has_an_order_only(
    tmp_path: Path, trainer: dict[str, Any]
) -> None:
    log = make_log(tmp_path / "log")
    check_log(configuration(log, retrieval={"trainer": trainer}))
    (log / "manifest.json").write_text(json.dumps({"name": "toy", "time": "ordinal"}))
    check_log(configuration(log))
    with pytest.raises(ValueError, match=r"`retrieval\.trainer\.model\.\w+\.use_time` is true"):
        check_log(configuration(log, retrieval={"trainer": trainer}))


def test_the_time_of_day_is_not_read_from_a_log_that_has_an_order_only(tmp_path: Path) -> None:
    log = make_log(tmp_path / "log")
    (log / "manifest.json").write_text(json.dumps({"name": "toy", "time": "ordinal"}))
    ranking: dict[str, Any] = {"label": {"source": "events"}}
    timeline = {"split": "leave-share-out"}
    check_log(configuration(log, timeline=timeline, ranking=ranking))
    ranking["trainer"] = {"model": {"family": "din", "use_time_of_day": True}}
    with pytest.raises(ValueError, match=r"`ranking\.trainer\.model\.use_time_of_day` is true"):
        check_log(configuration(log, timeline=timeline, ranking=ranking))


def test_ids_that_match_nothing_of_the_catalogue_are_refused_with_names_of_both(
    tmp_path: Path,
) -> None:
    log = make_log(tmp_path / "log", entity_id=[f"{i % 4}.0" for i in range(200)])
    with pytest.raises(ValueError) as caught:
        check_log(configuration(log))
    assert "0 of 200 events that may be targets are about entities of the cat" in str(caught.value)
    assert "`item:0.0`, `item:1.0`, `item:2.0`, the catalogue `item:0`, `it" in str(caught.value)
    few = make_log(tmp_path / "few", entity_id=["0"] * 20 + ["x"] * 180)
    assert "1 remark" in check_log(configuration(few))
    with pytest.raises(ValueError, match=r"20 of 200 .* \(10\.0%\).* asks for 20\.0%"):
        check_log(configuration(few, timeline={"min_catalogue_match": 0.2}))
    check_log(configuration(log, timeline={"min_catalogue_match": 0}))


def test_users_that_would_be_tested_are_counted(tmp_path: Path) -> None:
    log = make_log(tmp_path / "log", user_id=[f"u{i // 20}" for i in range(200)])
    timeline = {"split": "time-cut", "validation_days": 2, "test_days": 2}
    users = r"test users 0 \(time-cut, validation_days 2, test_days 2\)"
    with pytest.raises(ValueError, match=f"No user can be tested: {users}"):
        check_log(configuration(log, timeline=timeline))
    log = make_log(tmp_path / "other")
    told = check_log(configuration(log, timeline=timeline))
    assert "test users 10 (time-cut, validation_days 2, test_days 2)" in told


def test_fewer_test_users_than_the_gate_asks_for_are_said_before_the_run(tmp_path: Path) -> None:
    log = make_log(tmp_path / "log")
    timeline = {"split": "time-cut", "validation_days": 2, "test_days": 2}
    told = check_log(configuration(log, timeline=timeline))
    assert (
        "Warning: 10 test users are fewer than `retrieval.evaluation.min_users` (100): nothing "
        "will be pushed. Lengthen the test period (`timeline.test_days`), bring more data" in told
    )
    assert "Lower `timeline.min_target_events`, bring" in check_log(configuration(log))
    enough = {"evaluation": {"min_users": 10}}
    assert "Warning" not in check_log(configuration(log, timeline=timeline, retrieval=enough))
    alone = configuration(log, retrieval=None, ranking={"label": {"source": "events"}})
    assert "Warning" not in check_log(alone)


def test_a_few_bad_rows_pass_and_many_do_not(tmp_path: Path) -> None:
    few = make_log(tmp_path / "few", user_id=[None] + [f"u{i % 10}" for i in range(199)])
    assert "1 remark" in check_log(configuration(few))
    with pytest.raises(ValueError, match="1 of 200 values are null or empty"):
        check_log(configuration(few, timeline={"max_dead_letter_fraction": 0.001}))
    numbers = make_log(tmp_path / "numbers", user_id=list(range(200)))
    with pytest.raises(ValueError, match=r"events\.user_id: Found int64"):
        check_log(configuration(numbers, timeline={"max_dead_letter_fraction": 1.0}))


def test_periods_that_do_not_fit_are_said_before_the_run(tmp_path: Path) -> None:
    timeline = {"split": "time-cut", "validation_days": 2, "test_days": 30}
    with pytest.raises(ValueError, match="periods leave a split empty"):
        check_log(configuration(make_log(tmp_path / "log"), timeline=timeline))


def test_the_check_imports_neither_tensorflow_nor_tfx() -> None:
    code = (
        "import sys; import tfx_pipeline.commands.run; "
        "heavy = {'tensorflow', 'tfx', 'apache_beam', 'scann'} & set(sys.modules); "
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
