"""Trains DIN of DeepCTR-Torch on the CPU and writes what each epoch took and reached.

    python din_torch.py --data pages.npz --out din.json --threads 1

DeepCTR-Torch (https://github.com/shenweichen/DeepCTR-Torch) is a public PyTorch implementation of
DIN, the sibling of DeepCTR for TensorFlow by the same author, maintained and on PyPI. It is a fair
peer, for it is the published model (Zhou et al. 2018) with nothing added, trained by the library's
own `fit`, with embeddings, layers, dropout, learning rate and batch as wide as ours. It
lacks what is compared: it sees a row a candidate, so the history of a page is repeated for each,
and padded events are computed like others. Its default activation in the attention, Dice, takes
three times as long as ReLU, so that is measured, too.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from deepctr_torch.inputs import SparseFeat
from deepctr_torch.inputs import VarLenSparseFeat
from deepctr_torch.models import DIN
from sklearn.metrics import roc_auc_score

Columns = dict[str, np.ndarray]


def main() -> None:
    """Trains, tests and writes the report."""
    options = parse()
    torch.set_flush_denormal(True)  # as TensorFlow sets it
    torch.set_num_threads(options.threads)
    with np.load(options.data) as arrays:
        data = dict(arrays)
    model = make_model(data, options)
    optimizer = torch.optim.Adam(model.parameters(), lr=options.lr)
    model.compile(optimizer, "binary_crossentropy", metrics=[])
    report: dict[str, Any] = {"settings": vars(options), "torch": str(torch.__version__)}
    report["epochs"], best = [], -1.0
    given, label = rows_of(data, "train", options.max_examples)
    for epoch in range(options.epochs):
        wall, cpu = time.perf_counter(), time.process_time()
        model.fit(given, label, batch_size=options.batch_size, epochs=1, verbose=0)
        row = {
            "epoch": epoch + 1,
            "examples": len(label),
            "train_seconds": time.perf_counter() - wall,
            "cpu_seconds": time.process_time() - cpu,
        }
        report["epochs"].append(row)
        if options.evaluate:
            found = {split: measure(model, data, split) for split in ("validation", "test")}
            row |= found
            if found["validation"] > best:
                best, report["best_epoch"], report["test"] = (
                    found["validation"],
                    epoch + 1,
                    found["test"],
                )
        print(json.dumps(row), flush=True)
    Path(options.out).write_text(json.dumps(report, indent=1), encoding="utf-8")


def make_model(data: Columns, options: argparse.Namespace) -> DIN:
    """Makes DIN: an item is its id and categories, each with a history, a user its attributes.

    Args:
        data: What `benchmarks.ranking_speed` exported.
        options: Of the command line.
    """
    features, read = [], ["item"]
    length, categories = data["train_history"].shape[1], data["categories"].shape[1]
    features.append(SparseFeat("item", len(data["categories"]), options.dim))
    for index in range(categories):
        size = int(data["categories"].max()) + 1
        features.append(SparseFeat(f"category{index}", size, options.category_dim))
        read.append(f"category{index}")
    for feature in list(features):
        same = SparseFeat(
            f"hist_{feature.name}",
            feature.vocabulary_size,
            feature.embedding_dim,
            embedding_name=feature.name,
        )
        features.append(VarLenSparseFeat(same, length, length_name="length"))
    attributes = SparseFeat("attributes", int(data["train_attributes"].max()) + 1, options.dim)
    features.append(VarLenSparseFeat(attributes, data["train_attributes"].shape[1], "mean"))
    return DIN(
        features,
        read,
        dnn_hidden_units=tuple(options.hidden),
        att_hidden_size=tuple(options.attention_hidden),
        att_activation=options.activation,
        dnn_dropout=options.dropout,
        init_std=options.init_std,
        seed=options.seed,
    )


def rows_of(data: Columns, split: str, most: int = 0) -> tuple[Columns, np.ndarray]:
    """Returns the columns of a split, a row a candidate, and their labels.

    Args:
        data: What was exported.
        split: `train`, `validation` or `test`.
        most: So many rows; 0 is all.
    """
    row = data[f"{split}_row"][: most or None]
    item, label = data[f"{split}_item"][: len(row)], data[f"{split}_label"][: len(row)]
    history, categories = data[f"{split}_history"][row], data["categories"]
    columns = {"item": item, "hist_item": history}
    for index in range(categories.shape[1]):
        columns[f"category{index}"] = categories[item, index]
        columns[f"hist_category{index}"] = categories[history, index]
    columns["length"] = data[f"{split}_length"][row]
    columns["attributes"] = data[f"{split}_attributes"][row]
    return columns, label.astype(np.float32)


def measure(model: DIN, data: Columns, split: str) -> float:
    """Returns the AUC on a split."""
    columns, label = rows_of(data, split)
    return float(roc_auc_score(label, model.predict(columns, batch_size=4096)[:, 0]))


def parse() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--max-examples", type=int, default=0, help="of an epoch; 0 is all")
    parser.add_argument("--evaluate", action="store_true", help="after each epoch")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--batch-size", type=int, default=1024, help="candidates of a step")
    parser.add_argument("--dim", type=int, default=16, help="of ids and attributes")
    parser.add_argument("--category-dim", type=int, default=8)
    parser.add_argument("--attention-hidden", type=int, nargs="+", default=[64, 32])
    parser.add_argument("--activation", choices=("Dice", "relu"), default="Dice")
    parser.add_argument("--hidden", type=int, nargs="+", default=[128, 64])
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--init-std", type=float, default=1e-4, help="of embeddings")
    parser.add_argument("--lr", type=float, default=1e-3)
    return parser.parse_args()


if __name__ == "__main__":
    main()
