"""Features of a log's images: embedded on Beam, clustered, and read where they are declared."""

import io
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from models.config import RepresentationTrainerConfig
from models.config import RepresentationValidationConfig
from models.courier.encoder import ImageEncoder
from models.courier.export import save_encoder
from tfx_pipeline.config import PipelineConfig
from tfx_pipeline.datasets.event_log import Manifest
from tfx_pipeline.datasets.event_log import write_event_log
from tfx_pipeline.datasets.validate import validate_event_log
from tfx_pipeline.image_features import make
from tfx_pipeline.image_features.config import RepresentationConfig
from transforms.arrow import pa
from transforms.arrow import parquet_file
from transforms.arrow import read_table
from transforms.catalogue_fields import CatalogueFields

ITEMS = 9


def png(colour):
    encoded = io.BytesIO()
    Image.fromarray(np.full([8, 8, 3], colour, np.uint8)).save(encoded, "PNG")
    return encoded.getvalue()


def event(user, item, time):
    key = {"user_id": f"u{user}", "entity_type": "item", "entity_id": str(item)}
    return key | {"event": "click", "timestamp": 1_700_000_000_000_000 + time, "ordinal": time}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A log of which item 0 has no image and item 1 a broken one; beside it a video."""
    path = tmp_path_factory.mktemp("images")
    colours = [[(30 * item) % 256, 255 - 20 * item, 7 * item] for item in range(ITEMS)]
    images = [None, b"no image", *map(png, colours[2:])]
    types = ["item"] * ITEMS + ["video"]
    catalogue = pa.table(
        {
            "entity_type": types,
            "entity_id": [str(item) for item in range(ITEMS)] + ["0"],
            "image": pa.array([*images, png([1, 2, 3])], pa.binary()),
        }
    )
    events = pa.Table.from_pylist([event(user, user % ITEMS, user) for user in range(12)])
    manifest = Manifest(name="images", source="test", time="real")
    write_event_log(path / "log", manifest, events, catalogue)

    trainer = RepresentationTrainerConfig.model_validate(
        {"model": {"height": 8, "width": 8, "dim": 4, "backbone": {"channels": [8]}}}
    )
    section = RepresentationConfig(field="look", trainer=trainer, clusters=3)
    config = PipelineConfig.model_validate(
        {
            "name": "images",
            "log_dir": str(path / "log"),
            "run_dir": str(path / "run"),
            "candidate_types": ["item"],
        }
    )
    encoder = ImageEncoder(trainer.model.backbone, 4, (8, 8))
    folder = make.folder_of(config, section)
    print_ = save_encoder(encoder, trainer.model, str(folder / make.ENCODER))
    found = make.write_features(config, section, folder)
    images = {str(item): image for item, image in enumerate(images) if item > 1}
    return SimpleNamespace(**locals())


def table(made, field):
    (name,) = (made.path / "log" / "features" / field).glob("*.parquet")
    return name, read_table(name).to_pydict()


def test_every_sound_image_of_the_candidates_has_a_vector(made):
    name, rows = table(made, "look")
    assert rows["entity_id"] == list(made.images) and set(rows["entity_type"]) == {"item"}
    embed = tf.saved_model.load(str(made.folder / make.ENCODER)).signatures["serving_default"]
    expected = embed(image=tf.constant(list(made.images.values())))["vector"]
    np.testing.assert_allclose(rows["vector"], expected, atol=1e-5)
    with parquet_file(name) as file:
        assert file.schema_arrow.metadata[b"encoder"] == made.print_.encode()
    assert (made.found.images, made.found.dim, made.found.clusters) == (ITEMS - 2, 4, 3)


def test_every_vector_has_the_cluster_of_its_nearest_centre(made):
    _, rows = table(made, "look_cluster")
    centres = np.load(made.folder / make.CENTRES)
    vectors = np.array(table(made, "look")[1]["vector"])
    nearest = np.linalg.norm(vectors[:, None] - centres, axis=2).argmin(axis=1)
    assert rows["tokens"] == [[f"c{one}"] for one in nearest]


def test_a_run_that_declares_the_fields_accepts_the_log(made):
    fields = CatalogueFields(vectors={"look": 4}, tokens=("look_cluster",))
    timeline = made.config.timeline.model_copy(update={"catalogue_fields": fields})
    problems = validate_event_log(made.path / "log", timeline)
    assert not [one for one in problems if one.table.startswith("features")]


def test_new_items_get_features_of_the_same_encoder(made):
    before, centres = table(made, "look")[1], np.load(made.folder / make.CENTRES)
    again = make.make_features(made.config, made.section, made.folder)
    assert again.fingerprint == made.found.fingerprint and not again.metrics
    assert table(made, "look")[1] == before
    np.testing.assert_array_equal(np.load(made.folder / make.CENTRES), centres)


def test_collapsed_vectors_make_no_features():
    limits = RepresentationValidationConfig()
    good = {"mean_cosine": 0.5, "effective_rank": 9.0}
    make._require_spread(good, limits)
    with pytest.raises(ValueError, match="collapsed.*0.950.*max_mean_cosine"):
        make._require_spread(good | {"mean_cosine": 0.95}, limits)
    with pytest.raises(ValueError, match="collapsed.*1.20.*min_effective_rank"):
        make._require_spread(good | {"effective_rank": 1.2}, limits)


def test_a_log_without_a_label_is_refused(made):
    with pytest.raises(ValueError, match="Nothing says what a click is"):
        make.learn_from(made.config)
