"""Messages of a server to the person who started it."""

from __future__ import annotations

from serving.local_server.model import ServedModel


def describe(model: ServedModel, addresses: str) -> str:
    """Returns in one line what a model answers with, or what it waits for.

    Args:
        model: the model, after its versions were tried.
        addresses: where the server listens.
    """
    name, base_path = model.config.name, model.config.base_path
    answering = ", ".join(str(version.number) for version in model.available())
    if answering:
        labels = "".join(f", {label} {number}" for label, number in sorted(model.labels.items()))
        return f"Ready: model `{name}`, version {answering}{labels}, on {addresses}"
    faults = [f"{v.number} ({v.fault})" for v in model.versions.values() if v.fault]
    if faults:
        return (
            f"No version of `{name}` can be served: {', '.join(faults)}. Waiting for one that can "
            f"in {base_path}"
        )
    return f"No version of `{name}` has been pushed to {base_path} yet; waiting for one"
