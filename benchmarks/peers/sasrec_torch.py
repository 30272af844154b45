"""Trains SASRec in PyTorch on the CPU and writes what each epoch took and reached.

    python sasrec_torch.py --data interactions.npz --out sasrec.json --threads 2

Needs PyTorch and NumPy alone. The last event of each user is the test, the one
before it validation, the rest trains: one window of the last `length` events a
user and epoch, with cross-entropy over all items at every position
(Klenitskiy and Vasilev, RecSys 2023). All items are ranked, those already seen
are excluded; the epoch of the best validation ndcg@10 is tested.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import time
from dataclasses import asdict
from dataclasses import dataclass
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from checkpoint import load_checkpoint  # a script's own folder is on its path
from checkpoint import save_checkpoint
from leave_last_out import TEST
from leave_last_out import VALIDATION
from leave_last_out import Sequences
from leave_last_out import find_metrics
from leave_last_out import find_ranks
from leave_last_out import read_sequences
from leave_last_out import training_windows
from sasrec_model import SASRec
from torch.nn import functional

USERS_AT_ONCE = 512
SELECT = "ndcg@10"
NO_FILE = "none"


@dataclass(frozen=True)
class Settings:
    """Options of the command line.

    Attributes:
        data: npz file with `items`, `starts` and `item_count`.
        out: JSON file to write, anew after each epoch.
        epochs: At most so many epochs.
        max_minutes: No epoch begins after so many minutes, validation included; 0 is no limit.
        patience: Stop after so many epochs without a better validation.
        threads: Threads of PyTorch's operations.
        seed: Of the first weights, the order of windows and dropout.
        batch_size: Windows of a step.
        length: Events of a window.
        dim: Size of embeddings.
        blocks: Attention blocks.
        heads: Attention heads of a block.
        dropout: Rate everywhere.
        lr: Adam's learning rate.
        logits: `all` scores items at every position of a batch and ignores filled ones in
            the loss, as the usual public code does; `real` leaves the filled ones out before.
        save_scores: Write the test scores of the best epoch, [users, items] float32 with
            seen items at minus infinity, beside `out` as `.scores.npy`.
        checkpoint: File from which a killed training goes on, or `none`.
    """

    data: str = ""
    out: str = ""
    epochs: int = 200
    max_minutes: float = 0.0
    patience: int = 10
    threads: int = 1
    seed: int = 0
    batch_size: int = 128
    length: int = 200
    dim: int = 64
    blocks: int = 2
    heads: int = 1
    dropout: float = 0.1
    lr: float = 1e-3
    logits: str = "all"
    save_scores: bool = False
    checkpoint: str = NO_FILE


def main() -> None:
    """Trains, tests and writes the report."""
    settings = parse()
    # As TensorFlow sets it; before any thread is made, for threads inherit it.
    torch.set_flush_denormal(True)
    torch.set_num_threads(settings.threads)
    torch.manual_seed(settings.seed)
    data = read_sequences(settings.data)
    s = settings
    model = SASRec(data.item_count, s.length, s.dim, s.blocks, s.heads, s.dropout)
    report: dict[str, Any] = {
        "settings": asdict(settings),
        "torch": str(torch.__version__),
        "threads": torch.get_num_threads(),
        "parameters": sum(p.numel() for p in model.parameters()),
        "users": data.users,
        "items": data.item_count,
        "epochs": [],
    }
    best = train(model, data, settings, report)
    model.load_state_dict(best)
    scores = np.empty((data.users, data.item_count), np.float32) if s.save_scores else None
    report["test"] = evaluate(model, data, s.length, TEST, scores)
    if scores is not None:
        np.save(Path(s.out).with_suffix(".scores.npy"), scores)
    write(report, s.out)
    print(f"best epoch {report['best_epoch']}, test {report['test']}")


def train(
    model: SASRec, data: Sequences, settings: Settings, report: dict[str, Any]
) -> dict[str, torch.Tensor]:
    """Trains until an end is reached; appends every epoch to the report.

    Returns:
        The weights of the best epoch.
    """
    inputs, targets = map(torch.from_numpy, training_windows(data, settings.length))
    optimizer = torch.optim.Adam(model.parameters(), lr=settings.lr, betas=(0.9, 0.98), fused=True)
    windows, positions = len(inputs), int((targets > 0).sum())
    weights: dict[str, torch.Tensor] = {}
    if settings.checkpoint != NO_FILE:
        weights = load_checkpoint(settings.checkpoint, model, optimizer, report)
    done = report["epochs"]
    best = done[report["best_epoch"] - 1]["validation"][SELECT] if done else -1.0
    trained, began = sum(row["train_seconds"] for row in done), time.perf_counter()
    for epoch in range(len(done) + 1, settings.epochs + 1):
        if done and epoch - 1 - report["best_epoch"] >= settings.patience:
            break
        start, cpu = time.perf_counter(), time.process_time()
        loss = train_epoch(model, optimizer, inputs, targets, settings)
        seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
        found = evaluate(model, data, settings.length, VALIDATION)
        trained += seconds
        row = {
            "epoch": epoch,
            "train_seconds": seconds,
            "train_cpu_seconds": cpu,  # far below threads * seconds when others took the cores
            "validation_seconds": time.perf_counter() - start - seconds,
            "total_train_seconds": trained,
            "loss": loss,
            "windows_per_second": windows / seconds,
            "positions_per_second": positions / seconds,  # those with a target
            "validation": found,
        }
        report["epochs"].append(row)
        print(json.dumps(row), flush=True)
        if found[SELECT] > best:
            best, weights = found[SELECT], copy.deepcopy(model.state_dict())
            report["best_epoch"] = epoch
        write(report, settings.out)
        if settings.checkpoint != NO_FILE:
            save_checkpoint(settings.checkpoint, model, optimizer, weights, report)
        minutes = (time.perf_counter() - began) / 60
        if settings.max_minutes and minutes >= settings.max_minutes:
            break
    return weights


def train_epoch(
    model: SASRec,
    optimizer: torch.optim.Optimizer,
    inputs: torch.Tensor,
    targets: torch.Tensor,
    settings: Settings,
) -> float:
    """Takes every window once, in a new order.

    Args:
        model: What to train.
        optimizer: Of the model's parameters.
        inputs: [windows, L] int64.
        targets: [windows, L] int64, 0 for none.
        settings: Batch size and which logits.

    Returns:
        The mean loss of a position.
    """
    model.train()
    total = count = 0.0
    for rows in torch.randperm(len(inputs)).split(settings.batch_size):
        wanted = targets[rows]
        states = model(inputs[rows])
        if settings.logits == "real":
            states, wanted = states[wanted > 0], wanted[wanted > 0]
        logits = model.logits(states).flatten(0, -2)
        loss = functional.cross_entropy(logits, wanted.flatten() - 1, ignore_index=-1)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        positions = int((wanted > 0).sum())
        total += loss.item() * positions
        count += positions
    return total / count


@torch.inference_mode()
def evaluate(
    model: SASRec, data: Sequences, length: int, held_out: int, keep: np.ndarray | None = None
) -> dict[str, float]:
    """Ranks all items but those seen for the first event that is held out of each user.

    Args:
        model: The model; it is left in evaluation mode.
        data: All sequences.
        length: Events of a window.
        held_out: `VALIDATION` or `TEST`.
        keep: [users, items] float32 to put the scores into.

    Returns:
        Metrics by name.
    """
    model.eval()
    windows, wanted = data.windows(length, held_out), data.held_out(held_out)
    ranks = np.empty(data.users, np.int64)
    for first in range(0, data.users, USERS_AT_ONCE):
        rows = slice(first, first + USERS_AT_ONCE)
        states = model(torch.from_numpy(windows[rows]))
        scores = model.logits(states[:, -1]).numpy()
        data.exclude_seen(scores, first, held_out)
        ranks[rows] = find_ranks(scores, wanted[rows])
        if keep is not None:
            keep[rows] = scores
    return find_metrics(ranks)


def parse() -> Settings:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    for field in fields(Settings):
        name = "--" + field.name.replace("_", "-")
        if isinstance(field.default, bool):
            parser.add_argument(name, action="store_true")
        else:
            kind: Any = type(field.default)
            choices = ("all", "real") if field.name == "logits" else None
            required = field.default == ""
            parser.add_argument(
                name, type=kind, default=field.default, choices=choices, required=required
            )
    return Settings(**vars(parser.parse_args()))


def write(report: dict[str, Any], out: str) -> None:
    """Writes the report aside and renames it, so that a killed run leaves its epochs."""
    aside = Path(out + ".partial")
    aside.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    os.replace(aside, out)


if __name__ == "__main__":
    main()
