"""Hand-made logs as Examples artifacts, and Transform run on them in this process.

    write_examples(tmp_path / "examples", small_log())
    run_transform(tmp_path / "examples", tmp_path / "transform")
    tft_output = tft.TFTransformOutput(str(tmp_path / "transform" / "transform_graph"))

`run_transform` also writes the transformed splits below
`transform/transformed_examples`, laid out like the artifact of TFX's Transform.
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tests.helpers.examples import example
from tests.helpers.examples import write_examples
from tfx_pipeline.examples.tfrecord import STAGING
from transforms import features as f
from transforms.catalogue_fields import CatalogueFields
from transforms.config import TransformConfig

__all__ = ["example", "row", "run_transform", "small_log", "timeline", "write_examples"]

DAY = 86_400_000_000  # microseconds


def timeline(
    user: str,
    events: Sequence[tuple[str, str, int]],
    *,
    targets: Sequence[tuple[str, str, int]] = (),
    context_length: int = 0,
    **more: Any,
) -> bytes:
    """One raw timeline from (event type, entity, timestamp) triples, oldest first.

    Features not named here go into `more`, by their names.
    """
    columns: dict[str, Any] = {
        f.USER_ID: user,
        f.CHUNK: 0,
        f.CONTEXT_LENGTH: context_length,
        f.REQUEST_TIME: targets[0][2] if targets else 0,
        f.REQUEST_QUERY: "",
    }
    for prefix, triples in (("event", events), ("target", targets)):
        if triples:
            types, entities, times = (list(column) for column in zip(*triples, strict=True))
            columns |= {
                f"{prefix}/type": types,
                f"{prefix}/entity": entities,
                f"{prefix}/timestamp": times,
            }
    if events:
        columns[f.EVENT_QUERY] = [""] * len(events)
        columns[f.EVENT_VALUE] = [0.0] * len(events)
    if targets:
        columns[f.SLICE_ACTIVITY] = "1-9"
        columns[f.SLICE_TARGET_POPULARITY] = ["head"] * len(targets)
        columns[f.SLICE_TARGET_AGE] = ["unknown"] * len(targets)
    return example(**(columns | more))


def row(entity: str, **more: Any) -> bytes:
    """One raw catalogue row of `entity` (`type:id`); `more` by short names, e.g. `title=`."""
    columns: dict[str, Any] = {
        f.CATALOGUE_ENTITY: entity,
        f.CATALOGUE_TYPE: entity.partition(":")[0],
    }
    columns |= {f"catalogue/{name}": value for name, value in more.items()}
    return example(**columns)


def small_log(
    users: int = 60, items: int = 40, events: int = 12, seed: int = 0
) -> dict[str, list[bytes]]:
    """A seeded log with leave-last-out splits in which users like one of four groups.

    Items are `item:0` ..; item i has title words, a category and a price of its
    group i % 4, and item 0 has no price and no title. Each user has `events`
    events; the last is the test target and the one before the validation target.
    """
    generator = np.random.default_rng(seed)
    splits: dict[str, list[bytes]] = {
        "train": [],
        "validation": [],
        "test": [],
        "catalogue": [_item(i) for i in range(items)],
    }
    for user in range(users):
        group = np.arange(user % 4, items, 4)
        others = generator.random(events) < 0.1
        chosen = np.where(
            others, generator.integers(0, items, events), generator.choice(group, events)
        )
        history = [
            ("watch" if generator.random() < 0.8 else "buy", f"item:{i}", (user + step) * DAY)
            for step, i in enumerate(chosen)
        ]
        attributes = {f.USER_ATTRIBUTES: [f"group={user % 4}", f"age={user % 7}"]}
        name = f"u{user}"
        splits["train"].append(timeline(name, history[:-2], **attributes))
        splits["validation"].append(
            timeline(name, history[:-2], targets=history[-2:-1], **attributes)
        )
        splits["test"].append(timeline(name, history[:-1], targets=history[-1:], **attributes))
    return splits


def _item(index: int) -> bytes:
    group = index % 4
    colours = ("red", "green", "blue", "grey")
    more: dict[str, Any] = {
        "categories": [f"group {group}"],
        "attributes": [f"brand={index % 5}"],
        "available_from": 0,
        "image_vector": [float(group), float(index % 3)],
    }
    if index:
        more |= {"title": f"A {colours[group]} thing no {index}", "price": 1.0 + group}
    return row(f"item:{index}", **more)


def run_transform(
    examples: Path,
    output: Path,
    config: TransformConfig | None = None,
    fields: CatalogueFields | None = None,
) -> Mapping[str, Path]:
    """Analyses train and catalogue and transforms every split, in this process.

    Args:
        examples: Directory with `Split-<name>/*.gz`.
        output: Directory to write `transform_graph` and `transformed_examples` in.
        config: How Transform works.
        fields: Declared fields of catalogue rows.

    Returns:
        The two directories by name.
    """
    import tensorflow_transform.beam as tft_beam
    from tensorflow_transform import TFTransformOutput
    from tensorflow_transform.tf_metadata import dataset_metadata
    from tensorflow_transform.tf_metadata import metadata_io
    from tfx_bsl.public import tfxio

    from tests.helpers.direct import direct
    from tfx_pipeline.components.timeline_transform.transform_file import TransformFile
    from transforms.preprocessing import preprocessing_fn
    from transforms.schema import make_schema

    graph, transformed = output / "transform_graph", output / "transformed_examples"
    schema = make_schema(fields)
    metadata_io.write_metadata(
        dataset_metadata.DatasetMetadata(schema), str(graph / TFTransformOutput.RAW_METADATA_DIR)
    )
    custom = {"config": (config or TransformConfig()).to_json()}
    with direct() as pipeline, tft_beam.Context(temp_dir=str(output / "temp")):
        source = tfxio.TFExampleRecord(
            [str(examples / f"Split-{name}" / "*.gz") for name in ("train", "catalogue")],
            schema=schema,
            telemetry_descriptors=["vitrine"],
        )
        # Else batches grow from one row, and Transform's graph runs for each of them.
        batches = pipeline | source.BeamSource(batch_size=256)
        transform_fn = (batches, source.TensorAdapterConfig()) | tft_beam.AnalyzeDataset(
            lambda inputs: preprocessing_fn(inputs, custom)
        )
        _ = transform_fn | tft_beam.WriteTransformFn(str(graph))
    job = TransformFile(str(graph))
    job.setup()
    for path in sorted(examples.glob("Split-*/*.gz")):
        (transformed / path.parent.name).mkdir(parents=True, exist_ok=True)
        job.process((str(path), str(transformed), str(path.relative_to(examples))))
    (transformed / STAGING).rmdir()
    return {"transform_graph": graph, "transformed_examples": transformed}
