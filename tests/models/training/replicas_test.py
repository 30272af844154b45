"""Two workers on this machine against one: the same loss, the same weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.helpers.workers import run_workers

WORKER = str(Path(__file__).parent / "replica_worker.py")


def train(folder: Path, workers: int, *what: str) -> dict[str, np.ndarray]:
    """Trains some steps in so many processes; returns the chief's weights and losses."""
    folder.mkdir()
    run_workers(folder, workers, lambda index: [WORKER, str(folder / f"{index}.npz"), *what])
    assert [path.name for path in folder.glob("*.model")] == ["0.npz.model"]
    found = [dict(np.load(folder / f"{index}.npz")) for index in range(workers)]
    for name, values in found[0].items():
        if name != "losses":
            np.testing.assert_array_equal(values, found[-1][name], err_msg=name)
    found[0]["losses"] = sum(one["losses"] for one in found)
    return found[0]


@pytest.mark.slow
@pytest.mark.parametrize(
    "what",
    [
        ("sequence", "sampled_softmax", "adagrad"),  # in-batch negatives of unequal shares
        pytest.param(("two_tower", "full_softmax", "lazy_adam"), marks=pytest.mark.nightly),
        # Pages of unequally many candidates.
        pytest.param(("din", "cross_entropy", "adagrad"), marks=pytest.mark.nightly),
        # A queue of the targets of both.
        pytest.param(("guim", "sampled_softmax", "adagrad"), marks=pytest.mark.nightly),
        # Images of the other replica are negatives, too.
        pytest.param(("courier", "courier", "adagrad"), marks=pytest.mark.nightly),
        pytest.param(("simclr", "simclr", "adagrad"), marks=pytest.mark.nightly),
    ],
    ids="-".join,
)
def test_two_workers_train_what_one_trains(tmp_path: Path, what: tuple[str, ...]) -> None:
    one = train(tmp_path / "one", 1, *what)
    two = train(tmp_path / "two", 2, *what)

    assert one.keys() == two.keys() and len(one) > 5
    np.testing.assert_allclose(two["losses"], one["losses"], rtol=1e-4)
    assert one["losses"][2] != one["losses"][0]  # of the same batch
    for name, values in one.items():
        np.testing.assert_allclose(two[name], values, atol=2e-4, err_msg=name)
