"""What `vitrine run` tells the user before and after the run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.tfx_pipeline.commands.log_check_test import make_log
from tfx_pipeline.commands import run
from tfx_pipeline.commands.run import describe
from tfx_pipeline.commands.run import summarise
from tfx_pipeline.config_file import load_config


def metrics(blessed: int, *failures: str) -> dict[str, dict[str, Any]]:
    return {
        "test": {"hr@10": 0.5, "users": 4.0},
        "gate": {"blessed": blessed, "failures": list(failures)},
    }


def test_the_users_are_counted_beside_the_metrics() -> None:
    lines = summarise(load_config("shop_demo"), metrics(1), 22.4, ("trainer",)).splitlines()
    assert lines[0] == "test   hr@10 0.5000 · over 4 users"
    assert lines[1] == "wall   22 s, 1 component from cache"
    assert lines[-2:] == [
        "page   vitrine report runs/shop-demo",
        "serve  vitrine serve --run runs/shop-demo",
    ]
    config = load_config("shop_demo", ("run_dir=my run",))
    assert summarise(config, metrics(1), 22.4, ()).endswith("vitrine serve --run 'my run'")


def test_popularity_and_neighbours_stand_below_the_model() -> None:
    measured = metrics(1)
    measured["test"] |= {"neighbours/hr@10": 0.4, "most_popular/hr@10": 0.1}
    lines = summarise(load_config("shop_demo"), measured, 1.0, ()).splitlines()
    assert lines[1:3] == ["       most_popular: hr@10 0.1000", "       neighbours: hr@10 0.4000"]
    assert "no better" not in "".join(lines)
    measured["test"] |= {"most_popular/hr@10": 0.5}
    assert "note   hr@10 is no better" in summarise(load_config("shop_demo"), measured, 1.0, ())


def test_figures_of_index_and_lists() -> None:
    measured = metrics(1) | {"index": {"recall@100": 0.991}, "neighbours": {"recall": 0.98765}}
    lines = summarise(load_config("shop_demo"), measured, 1.0, ()).splitlines()
    assert lines[1:3] == ["index  recall@100 0.991", "lists  recall 0.9877"]


def test_what_was_not_pushed_is_not_served() -> None:
    text = summarise(load_config("shop_demo"), metrics(0, "hr@10 is 0.5"), 1.0, ())
    assert "NOT BLESSED, nothing was pushed: hr@10 is 0.5" in text
    assert "serve" not in text


def test_an_encoder_says_what_it_learned_and_where_it_is() -> None:
    features = {"fingerprint": "0123456789abcdef", "folder": "runs/shop/features/8"}
    made = {"validation": {"auc": 0.56, "effective_rank": 47.25, "epoch": 1}, "features": features}
    lines = summarise(load_config("shop_demo"), metrics(1) | {"representation": made}, 1.0, ())
    assert lines.splitlines()[:3] == [
        "images auc 0.5600 · effective_rank 47.2500",
        "       encoder 0123456789abcdef in runs/shop/features/8",
        "test   hr@10 0.5000 · over 4 users",
    ]


def test_each_stage_has_its_figures_and_its_gate() -> None:
    config = load_config("shop_demo", ("ranking={}",))
    ranked = {"test": {"auc": 0.71, "log_loss": 0.2}, "gate": {"blessed": 0, "failures": ["auc"]}}
    measured = metrics(1) | {"ranking": ranked}
    lines = summarise(config, measured, 1.0, ()).splitlines()
    assert lines[:4] == [
        "test   hr@10 0.5000 · over 4 users",
        "ranking",
        "test   auc 0.7100 · log_loss 0.2000",
        "gate   NOT BLESSED, nothing was pushed: auc",
    ]
    assert lines[-1].startswith("serve")  # the other stage
    assert run.refused_stages(measured) == {"ranking": ["auc"]}


def test_a_blessed_model_that_was_not_pushed_says_why() -> None:
    measured = metrics(1)
    assert "push   " not in summarise(load_config("shop_demo"), measured, 1.0, ())
    measured["gate"]["not_pushed"] = "version 2 was rolled back"
    text = summarise(load_config("shop_demo"), measured, 1.0, ())
    assert "push   nothing was pushed: version 2 was rolled back" in text.splitlines()


def test_why_no_change_was_measured_is_said() -> None:
    measured = metrics(1)
    assert "base" not in summarise(load_config("shop_demo"), measured, 1.0, ())
    measured["gate"]["no_baseline"] = "version 2 has seen the test"
    text = summarise(load_config("shop_demo"), measured, 1.0, ())
    assert "base   no change was measured: version 2 has seen the test" in text.splitlines()


def test_only_what_overrides_changed_is_printed() -> None:
    overrides = (
        "retrieval.evaluation.thresholds.hr@10=0.9",
        "target_events=[buy]",
        "retrieval.trainer.seed=1",
    )
    assert describe(load_config("shop_demo", overrides), "shop_demo", overrides).splitlines() == [
        "config runs/shop-demo/config.yaml holds every value; unlike shop_demo:",
        "  target_events: ['buy'] (was ['click', 'cart', 'buy'])",
        "  retrieval.evaluation.thresholds.hr@10: 0.9 (was 0.35)",
    ]
    same = ("retrieval.trainer.seed=1",)
    for given in ((), same):
        text = describe(load_config("shop_demo", given), "shop_demo", given)
        assert text == "config runs/shop-demo/config.yaml holds every value"


def test_a_directory_that_cannot_be_written_to_is_found_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(run, "execute", lambda config: pytest.fail("the run has begun"))
    log = make_log(tmp_path / "log")
    (tmp_path / "file").touch()
    for key, place in (("run_dir", "/proc/vitrine"), ("push_dir", f"{tmp_path}/file/x")):
        keys = (f"log_dir={log}", f"run_dir={tmp_path / 'run'}", "candidate_types=['*']")
        keys += ("target_events=['*']", "retrieval.evaluation.thresholds={}", f"{key}={place}")
        with pytest.raises(ValueError, match=f"`{key}` .{place}(/retrieval)?. has to be a direc"):
            run.run_pipeline("shop_demo", keys, 0.0)
        assert "holds every value" not in capsys.readouterr().out


def test_overrides_without_which_the_file_is_not_whole_are_printed_as_typed(tmp_path: Path) -> None:
    file = tmp_path / "part.yaml"
    file.write_text("name: part\nrun_dir: runs/part\n")
    with pytest.raises(ValueError, match="log_dir"):
        load_config(str(file))
    overrides = ("log_dir=data/part",)
    text = describe(load_config(str(file), overrides), str(file), overrides)
    assert text.splitlines()[1:] == ["  log_dir=data/part"]
