"""What an image encoder learns from clicks, by what it is trained to tell: no ranking model.

    python -m benchmarks.courier_encoders               # does what is missing
    python -m benchmarks.courier_encoders --setting start --setting page_mean

On the simulated shop, whose pictures are drawn from styles. `auc` tells the clicks of held-out
pages (validation) by the mean cosine with the last images before them. `style` is the mean cosine
of the true styles of an image and of its five nearest ones of the same category, where the mean
style of the category is taken off; 0 is chance.

The backbone has random weights that stay (`frozen`), so that settings differ in the objective
alone: `start` is the linear layer that whitens, `paper` has the paper's temperature and losses, the
others change temperature, reconstruction and negatives, and `page_mean_longer` has four times the
epochs. `simclr` tells views of images and trains a narrower backbone, which stays in
`simclr_start` (the linear layer that whitens) and in `courier_simclr` (clicks, as in `page_mean`).
`linear_style` reads the true style from the same features by ridge regression, each half
of the items by the other's: what this backbone can tell at all. `drawing_style` reads it likewise,
by an MLP, from what pictures are drawn by (hues, pattern and so on): what any backbone can tell.
`style` is the truth.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

import numpy as np

from benchmarks.courier import BENCHMARK
from benchmarks.courier_features import starting_from
from benchmarks.courier_table import COURIER_SIMCLR
from benchmarks.courier_table import ENCODER
from benchmarks.courier_table import PAGE_MEAN
from benchmarks.courier_table import PAGES
from benchmarks.courier_table import PAPER
from benchmarks.courier_table import SIMCLR
from benchmarks.courier_table import VIEWS
from benchmarks.environment import ROOT
from benchmarks.environment import prepare_log
from benchmarks.results import DIRECTORY
from benchmarks.results import Results
from benchmarks.results_table import render
from models.config import RepresentationTrainerConfig
from tfx_pipeline.datasets.shop.images import STYLE_NOISE
from tfx_pipeline.datasets.shop.images import style_controls
from tfx_pipeline.datasets.shop.world import World
from tfx_pipeline.image_features.clusters import unit
from tfx_pipeline.image_features.encoder import ENCODER as ENCODER_FOLDER
from tfx_pipeline.runners.transformed import last_transformed
from transforms.features import PAGE_SPLITS
from transforms.vocabulary import entity_vocabulary

if TYPE_CHECKING:
    from models.courier.model import Courier
    from models.training.data import TrainingData

NAME = "courier_encoders"
LONGER, SIMCLR_START = "page_mean_longer", "simclr_start"
MODELS: dict[str, dict[str, Any]] = {
    "start": {"objective": "none"},
    "paper": PAPER,
    "paper_warm": PAPER | {"temperature": 0.5},
    "batch_mean": {"rebuild": "mean", "temperature": 1.0, "losses": {"click_sequence": 0.0}},
    "page_attention": PAGES | {"temperature": 0.5},
    "page_mean": PAGE_MEAN,
    LONGER: PAGE_MEAN,
    SIMCLR: BENCHMARK.models[SIMCLR],
    SIMCLR_START: BENCHMARK.models[COURIER_SIMCLR] | {"objective": "none"},
    COURIER_SIMCLR: BENCHMARK.models[COURIER_SIMCLR],
}
LINEAR, DRAWING, TRUTH = "linear_style", "drawing_style", "style"
SETTINGS = (*MODELS, LINEAR, DRAWING, TRUTH)
COLUMNS = ("setting", "auc", "gauc", "style", "effective_rank", "runs", "seconds")
_ASKED, _NEIGHBOURS, _RIDGE = 500, 5, 300.0
_BATCHES = 40  # of 256 held-out pages


def trainer(setting: str, seed: int) -> RepresentationTrainerConfig:
    """Returns how an encoder is trained."""
    given = ENCODER | {
        "model": ENCODER["model"] | MODELS.get(setting, {}),
        "label": {"source": "impressions"},
        "candidate_types": ["item"],
        "validation": {"batches": _BATCHES},
        "seed": seed + 1,
    }
    if setting == LONGER:
        given["epochs"] = 4 * ENCODER["epochs"]
    return RepresentationTrainerConfig.model_validate(given | (VIEWS if setting == SIMCLR else {}))


def trained(
    setting: str, config: RepresentationTrainerConfig, data: TrainingData, run_dir: Path
) -> Courier:
    """Trains an encoder; what views have trained is kept, and is where others start.

    Args:
        setting: Its name.
        config: How it is trained.
        data: What it learns from.
        run_dir: Where encoders of views are.
    """
    from models.courier.model import Courier
    from models.trainer import train
    from models.training.learner import seed_everything

    views = trainer(SIMCLR, config.seed - 1)
    kept = run_dir / f"{SIMCLR}-{hashlib.sha256(views.to_json().encode()).hexdigest()[:8]}"
    if setting in (SIMCLR_START, COURIER_SIMCLR):
        if not kept.is_dir():
            trained(SIMCLR, views, data, run_dir)
        config = starting_from(config, kept)
    model: Any
    if MODELS.get(setting, MODELS["start"]).get("objective") == "none":
        seed_everything(config)
        model = Courier.of(config, data)
        model.encoder.fit_centre(model.inputs_of_encoder)
    else:
        model, _ = train(config, data)
    if setting == SIMCLR:
        model.export(None, str(kept / ENCODER_FOLDER))
    assert isinstance(model, Courier)
    return model


def truth(data: TrainingData, row: np.ndarray, log_dir: Path) -> tuple[np.ndarray, np.ndarray]:
    """Returns the style [n + 1, 6] and the category [n + 1] of each image; of the blank one 0.

    Args:
        data: Has the vocabulary of entities.
        row: [V + 1], the image of each entity.
        log_dir: The shop.
    """
    world = log_dir / "truth" / "world"
    ids, style, leaf = (
        np.load(world / f"item_{name}.npy", allow_pickle=False) for name in ("id", "style", "leaf")
    )
    place = {f"item:{one}".encode(): index for index, one in enumerate(ids.tolist())}
    styles = np.zeros([row.max() + 1, style.shape[1]], np.float32)
    leaves = np.zeros([row.max() + 1], np.int64)
    for index, name in enumerate(entity_vocabulary(data.transform), 1):
        if row[index]:
            styles[row[index]], leaves[row[index]] = style[place[name]], leaf[place[name]]
    return styles, leaves


def alike_in_style(vectors: np.ndarray, styles: np.ndarray, leaves: np.ndarray) -> float:
    """Returns the mean cosine of own styles of images and of their nearest ones of a category.

    Args:
        vectors: [n, d], by which the five nearest are found.
        styles: [n, s], the truth; its mean over each category is taken off.
        leaves: [n] int, the category.
    """
    own, near = styles.astype(np.float64).copy(), unit(vectors)
    for leaf in np.unique(leaves):
        own[leaves == leaf] -= own[leaves == leaf].mean(axis=0)
    own = unit(own)
    found = []
    for one in np.random.default_rng(0).permutation(len(vectors))[:_ASKED]:
        others = np.flatnonzero((leaves == leaves[one]) & (np.arange(len(leaves)) != one))
        chosen = others[np.argsort(-(near[others] @ near[one]), kind="stable")[:_NEIGHBOURS]]
        found += (own[chosen] @ own[one]).tolist()
    return float(np.mean(found))


def read_style(features: np.ndarray, styles: np.ndarray, regressor: Any) -> np.ndarray:
    """Predicts styles [n, s] from features [n, F], each half by a fit on the other one.

    Args:
        features: [n, F], which are standardised.
        styles: [n, s], the truth.
        regressor: Of scikit-learn, not fitted.

    Returns:
        [n, s].
    """
    from sklearn.base import clone

    scaled = (features - features.mean(axis=0)) / np.maximum(features.std(axis=0), 1e-3)
    half = np.random.default_rng(0).permutation(len(styles)) % 2
    read = np.zeros_like(styles)
    for one in (0, 1):
        fitted = clone(regressor).fit(scaled[half != one], styles[half != one])
        read[half == one] = fitted.predict(scaled[half == one])
    return read


def style_vectors(
    setting: str, features: np.ndarray, styles: np.ndarray, log_dir: Path
) -> np.ndarray:
    """Returns the true styles [n, s], or as they are read from features or drawing parameters."""
    from sklearn.linear_model import Ridge
    from sklearn.neural_network import MLPRegressor

    if setting == TRUTH:
        return styles
    if setting == LINEAR:
        return read_style(features, styles, Ridge(_RIDGE))
    noise = np.random.default_rng(0).standard_normal(styles.shape)  # as much as pictures have
    drawn = style_controls(World.load(log_dir / "truth" / "world"), styles + STYLE_NOISE * noise)
    return read_style(drawn, styles, MLPRegressor((256, 256), early_stopping=True, random_state=0))


def measure(
    setting: str,
    config: RepresentationTrainerConfig,
    data: TrainingData,
    log_dir: Path,
    run_dir: Path,
) -> dict[str, float]:
    """Trains an encoder, or takes the truth, and measures vectors of all images."""
    from models.courier.evaluation import ImageEvaluation

    model = trained(setting, config, data, run_dir)
    styles, leaves = truth(data, model.images.row, log_dir)
    vectors = model.encoder.vectors_of(model.inputs_of_encoder)
    if setting in (LINEAR, DRAWING, TRUTH):
        vectors[1:] = 0.0
        read = style_vectors(setting, model.inputs_of_encoder[1:], styles[1:], log_dir)
        vectors[1:, : styles.shape[1]] = read
    evaluation = model.validation(data)
    assert isinstance(evaluation, ImageEvaluation)
    found = evaluation.measure(vectors)
    kept = {name: float(found[name]) for name in ("auc", "gauc", "effective_rank")}
    return kept | {"style": alike_in_style(vectors[1:], styles[1:], leaves[1:])}


def read(log_dir: Path, run_dir: Path, reuse: bool) -> TrainingData:
    """Makes timelines and page examples of the shop, or takes those of the last run."""
    from models.training.data import TrainingData
    from tfx_pipeline.image_features.make import DIRECTORY
    from tfx_pipeline.image_features.make import learn_from

    if not reuse:
        return learn_from(BENCHMARK.pipeline(log_dir, run_dir))
    made = last_transformed(run_dir / DIRECTORY / "data")
    files = (made.files(name) for name in ("train", "catalogue", PAGE_SPLITS[0]))
    return TrainingData(made.output(), *files)


def main(arguments: list[str] | None = None) -> None:
    """Does what is missing and prints the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.courier_encoders")
    parser.add_argument("--fresh", action="store_true", help="forget what was measured before")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--setting", choices=SETTINGS, action="append", help="some of them")
    parser.add_argument("--users", type=int, default=10_000, help="of the shop, where it is made")
    parser.add_argument("--log-dir", type=Path, default=ROOT / "data" / "shop-courier-encoders")
    parser.add_argument("--run-dir", type=Path, default=ROOT / "runs" / "benchmarks" / NAME)
    parser.add_argument("--reuse", action="store_true", help="the last run's timelines")
    parser.add_argument("--results-dir", type=Path, default=DIRECTORY)
    options = parser.parse_args(arguments)
    command = "python -m benchmarks.courier_encoders"
    results = Results(NAME, command, options.fresh, options.results_dir)
    prepare_log(options.log_dir, "shop", users=options.users)
    data = read(options.log_dir, options.run_dir, options.reuse)
    for seed in range(options.seeds):
        for setting in options.setting or SETTINGS:
            config = trainer(setting, seed)

            def run(setting: str = setting, config: Any = config) -> dict[str, float]:
                return measure(setting, config, data, options.log_dir, options.run_dir)

            given = config.model_dump(mode="json", exclude={"seed"})
            done = results.measure({"setting": setting}, seed, run, given)
            print(setting, json.dumps(done.values), flush=True)
    print(render(results.path, list(COLUMNS)))


if __name__ == "__main__":
    main()
