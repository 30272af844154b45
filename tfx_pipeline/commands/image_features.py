"""`vitrine image-features`: vectors and clusters of images, for every model to read."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("image-features")
@click.argument("config")
@click.option(
    "--encoder",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    metavar="DIR",
    help="An earlier <run_dir>/image_features/<field>: new items get its features, untrained.",
)
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="As for `run`.")
def image_features(config: str, encoder: Path | None, overrides: tuple[str, ...]) -> None:
    """Train an image encoder on the clicks of CONFIG's event log, and write its features there.

    The section `representation` says which. features/<field> in the log then has a vector of
    every item with an image, features/<field>_cluster its cluster; declare them in
    `timeline.catalogue_fields`, set `representation.in_pipeline` to false, and `vitrine run` hands
    them to every model that names them. Where it is true, a run makes them itself and needs none.
    """
    click.echo(write_image_features(config, encoder, overrides))


def write_image_features(
    name: str, encoder: Path | None = None, overrides: tuple[str, ...] = ()
) -> str:
    """Makes image features, showing how the training goes; returns what to tell the user.

    Args:
        name: A configuration file, or a shipped one's name.
        encoder: What an earlier call made; a new encoder is trained without it.
        overrides: `key=value` overrides of the configuration.

    Raises:
        ValueError: The configuration or the log does not fit, or the vectors have collapsed.
    """
    from tfx_pipeline.commands.log_check import check_log
    from tfx_pipeline.config_file import load_config
    from transforms.storage import is_store
    from transforms.storage import place

    config = load_config(name, overrides)
    section = config.representation
    if section is None:
        raise ValueError(
            f"`{name}` has no section `representation`: give one, `representation: {{}}` for all "
            "defaults."
        )
    for key, address in (("log_dir", config.log_dir), ("run_dir", config.run_dir)):
        if is_store(place(address)):
            raise ValueError(
                f"`{key}` ({address}) is in an object store, and image features are made in "
                f"folders. Name one with `--set {key}=...`, and copy `features/` to the store."
            )
    from tfx_pipeline.image_features.make import DIRECTORY
    from tfx_pipeline.image_features.make import images_alone

    click.echo(check_log(images_alone(config)))
    from tfx_pipeline.image_features.make import make_features
    from tfx_pipeline.runners.console import Console
    from tfx_pipeline.stages.data import Data
    from tfx_pipeline.stages.table import ENCODER_METRICS

    folder = Path(config.run_dir, DIRECTORY)
    folder.mkdir(parents=True, exist_ok=True)
    steps = [name for name in Data._fields if name != "features"]
    if section.encoder and encoder is None:
        encoder = Path(section.encoder)
    with Console(folder / _LOG, steps):
        made = make_features(config, section, encoder)
    shown = [key for key in ENCODER_METRICS if key in made.metrics]
    measured = ", ".join(f"{key} {made.metrics[key]:.4f}" for key in shown)
    return "\n".join(
        [
            f"{made.tables.images:,} images have features of the encoder {made.tables.fingerprint}"
            + (f" ({measured})" if measured else ""),
            f"encoder   {made.folder}",
            f"features  {config.log_dir}/features/{section.field}, {section.cluster_field}",
            "declare   representation: {in_pipeline: false}, timeline: {catalogue_fields: "
            f"{{vectors: {{{section.field}: {made.tables.dim}}}, "
            f"tokens: [{section.cluster_field}]}}}}",
            f"read      candidate.features: [.., vector/{section.field}, "
            f"token/{section.cluster_field}]",
        ]
    )


_LOG = "run.log"
