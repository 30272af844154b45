"""A training of the peer that may be killed and goes on where it was."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch


def save_checkpoint(
    path: str,
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    best: dict[str, torch.Tensor],
    report: dict[str, Any],
) -> None:
    """Writes everything that the next epoch depends on, aside first."""
    aside = Path(path + ".partial")
    state = {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "best": best,
        "report": report,
        "random": torch.get_rng_state(),
    }
    torch.save(state, aside)
    os.replace(aside, path)


def load_checkpoint(
    path: str, model: torch.nn.Module, optimizer: torch.optim.Optimizer, report: dict[str, Any]
) -> dict[str, torch.Tensor]:
    """Puts a checkpoint into the model, the optimizer and the report, if there is one of theirs.

    One of other settings is passed over. How long to train and where files are may differ.

    Returns:
        The weights of the best epoch; none without a checkpoint.
    """
    if not Path(path).exists():
        return {}
    state = torch.load(path, weights_only=True)
    if _compared(state["report"]) != _compared(report):
        return {}
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    torch.set_rng_state(state["random"])
    for name in ("epochs", "best_epoch"):
        report[name] = state["report"][name]
    best: dict[str, torch.Tensor] = state["best"]
    return best


def _compared(report: dict[str, Any]) -> dict[str, Any]:
    others = {"data", "out", "checkpoint", "epochs", "max_minutes", "patience", "save_scores"}
    settings = {k: value for k, value in report["settings"].items() if k not in others}
    return settings | {name: report[name] for name in ("torch", "users", "items")}
