"""What peers do without their frameworks: the split by hand, ranks against ours, options."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from benchmarks import baselines
from benchmarks.environment import ROOT
from benchmarks.interactions import Interactions
from benchmarks.peers import environment
from benchmarks.peers import leave_last_out as peer
from benchmarks.peers.export import export_interactions

SEQUENCES = [[0, 1, 2, 3], [4, 0, 1, 3, 2, 5]]


@pytest.fixture
def exported(tmp_path):
    def export(sequences=SEQUENCES, items=6):
        starts = np.cumsum([0, *map(len, sequences)])
        names = np.array([f"movie:{i}" for i in range(items)])
        data = Interactions(np.concatenate(sequences).astype(np.int64), starts, names)
        path = tmp_path / "interactions.npz"
        export_interactions(data, path)
        return data, path

    return export


def test_the_split_by_hand(exported):
    data = peer.read_sequences(exported()[1])
    assert (data.users, data.item_count) == (2, 6)
    inputs, targets = peer.training_windows(data, 4)
    assert inputs.tolist() == [[0, 0, 0, 1], [0, 5, 1, 2]]
    assert targets.tolist() == [[0, 0, 0, 2], [0, 1, 2, 4]]
    assert data.windows(3, peer.VALIDATION).tolist() == [[0, 1, 2], [1, 2, 4]]
    assert data.held_out(peer.VALIDATION).tolist() == [3, 3]
    assert data.windows(3, peer.TEST).tolist() == [[1, 2, 3], [2, 4, 3]]
    assert data.held_out(peer.TEST).tolist() == [4, 6]


def test_the_window_is_the_last_events(exported):
    inputs, targets = peer.training_windows(peer.read_sequences(exported()[1]), 2)
    assert inputs.tolist() == [[0, 1], [1, 2]] and targets.tolist() == [[0, 2], [2, 4]]


def test_held_out_events_are_the_projects(exported):
    data, path = exported()
    theirs = peer.read_sequences(path)
    assert (theirs.held_out(peer.TEST) - 1).tolist() == data.last().tolist()
    validation = data.without_last(1)
    assert (theirs.held_out(peer.VALIDATION) - 1).tolist() == validation.last().tolist()


def test_short_users_and_wrong_items_are_refused(exported, tmp_path):
    with pytest.raises(ValueError, match="4 events"):
        peer.read_sequences(exported([[0, 1, 2]])[1])
    wrong = tmp_path / "wrong.npz"
    np.savez(wrong, items=np.arange(4), starts=np.array([0, 4]), item_count=4)
    with pytest.raises(ValueError, match="from 1 to 4"):
        peer.read_sequences(wrong)


def test_ranks_and_metrics_by_hand():
    scores = np.array([[0.1, 0.9, 0.5], [0.5, 0.5, 0.5], [-np.inf, 0.0, 0.0]], np.float32)
    ranks = peer.find_ranks(scores, np.array([3, 2, 1]))
    assert ranks.tolist() == [1, 1, peer.NEVER]
    found = peer.find_metrics(ranks)
    assert found["hr@10"] == pytest.approx(2 / 3)
    assert found["ndcg@10"] == pytest.approx(2 / np.log2(3) / 3)
    assert found["mrr"] == pytest.approx((0.5 + 0.5) / 3)
    assert peer.find_metrics(np.array([9, 10, 100]))["hr@10"] == pytest.approx(1 / 3)


def test_diverged_scores_are_no_ranks():
    with pytest.raises(ValueError, match="diverged"):
        peer.find_ranks(np.full((1, 3), np.nan, np.float32), np.array([1]))


def test_metrics_are_those_of_the_baselines(exported):
    generator = np.random.default_rng(0)
    data, path = exported([generator.integers(0, 60, n) for n in range(5, 45)], 60)
    weights = generator.integers(0, 9, (60, 60)).astype(np.float32)  # with many equal scores
    history = data.without_last(1)
    query = history.matrix()
    known = baselines.evaluate(history, data.last(), query, lambda query: query @ weights)

    theirs = peer.read_sequences(path)
    scores = np.asarray(history.matrix() @ weights)
    blocks = [(0, scores[:25]), (25, scores[25:])]
    ranks = []
    for first, block in blocks:
        theirs.exclude_seen(block, first, peer.TEST)
        ranks.append(peer.find_ranks(block, theirs.held_out(peer.TEST)[first : first + 25]))
    found = peer.find_metrics(np.concatenate(ranks))
    assert found == pytest.approx({name: known[name] for name in found})
    assert 0 < found["hr@10"] < 1


def test_settings_become_options():
    settings = {"max_minutes": 2.5, "save_scores": True, "resume": False, "batches": [1, 8]}
    assert environment.as_options(settings) == [
        "--max-minutes", "2.5", "--save-scores", "--batches", "1", "8"
    ]  # fmt: skip


def test_the_environment_is_not_made_twice(tmp_path, monkeypatch):
    (tmp_path / "requirements-no.txt").write_text("# nothing\n")
    monkeypatch.setattr(environment, "HERE", tmp_path)
    python = environment.peer_python("no", tmp_path)
    command = [str(python), "-c", "import sys; print(sys.prefix)"]
    prefix = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    assert prefix == str(tmp_path / "no-peer") and prefix != sys.prefix
    monkeypatch.setattr(environment, "find_uv", lambda: pytest.fail("made again"))
    assert environment.peer_python("no", tmp_path) == python


@pytest.mark.slow
@pytest.mark.skipif(
    not (ROOT / ".tools" / "torch-peer" / ".installed").exists(),
    reason="PyTorch's peer is not installed",
)
class TestSasrec:
    """The process itself, on a log where the next item follows from the last one."""

    def test_learns_what_follows(self, exported, tmp_path):
        sequences = [[(first + step) % 30 for step in range(12)] for first in range(30)] * 8
        data, path = exported(sequences, 30)
        out = tmp_path / "out.json"
        settings = dict(epochs=12, length=8, dim=16, lr=0.01, batch_size=32, save_scores=True)
        report = environment.run_sasrec(path, out, **settings)
        losses = [row["loss"] for row in report["epochs"]]
        assert losses[-1] < losses[0] / 2 and report["test"]["ndcg@10"] > 0.9

        # The scores that are kept rank as the report says, and seen items are excluded.
        scores = np.load(tmp_path / "out.scores.npy")
        ranks = peer.find_ranks(scores, data.last() + 1)
        assert peer.find_metrics(ranks) == pytest.approx(report["test"])
        assert np.isneginf(scores).sum(axis=1).tolist() == [11] * len(sequences)

    def test_a_killed_training_goes_on_where_it_was(self, exported, tmp_path):
        _, path = exported([[0, 1, 2, 3, 4, 5], [5, 4, 3, 2]] * 4, 6)
        settings = dict(length=9, dim=8, patience=9)
        whole = environment.run_sasrec(path, tmp_path / "whole.json", epochs=3, **settings)
        settings["checkpoint"] = str(tmp_path / "peer.pt")
        environment.run_sasrec(path, tmp_path / "part.json", epochs=1, **settings)
        again = environment.run_sasrec(path, tmp_path / "part.json", epochs=3, **settings)
        losses, resumed = ([row["loss"] for row in one["epochs"]] for one in (whole, again))
        assert resumed == losses and again["test"] == whole["test"]

    def test_filled_positions_do_not_count(self, exported, tmp_path):
        _, path = exported([[0, 1, 2, 3, 4, 5], [5, 4, 3, 2]] * 4, 6)
        losses = []
        for logits in ("all", "real"):
            settings = dict(epochs=2, length=9, dim=8, dropout=0.0, logits=logits)
            report = environment.run_sasrec(path, tmp_path / f"{logits}.json", **settings)
            losses.append([row["loss"] for row in report["epochs"]])
        assert losses[0] == pytest.approx(losses[1], rel=1e-4)
