"""Features of a log's images: embedded on Beam, clustered, and read where they are declared."""

import numpy as np
import pytest
import tensorflow as tf

from tests.helpers.image_logs import ITEMS
from tests.helpers.image_logs import image_log
from tfx_pipeline.datasets.validate import validate_event_log
from tfx_pipeline.image_features import make
from tfx_pipeline.image_features.encoder import CENTRES
from tfx_pipeline.image_features.encoder import ENCODER
from transforms.arrow import parquet_file
from transforms.arrow import read_table
from transforms.catalogue_fields import CatalogueFields


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    log = image_log(tmp_path_factory.mktemp("images"))
    assert make.folder_of(log.config, log.section) == log.folder
    log.found = make.write_features(log.config, log.section, log.folder)
    return log


def table(made, field):
    (name,) = (made.path / "log" / "features" / field).glob("*.parquet")
    return name, read_table(name).to_pydict()


def test_every_sound_image_of_the_candidates_has_a_vector(made):
    name, rows = table(made, "look")
    assert rows["entity_id"] == list(made.images) and set(rows["entity_type"]) == {"item"}
    embed = tf.saved_model.load(str(made.folder / ENCODER)).signatures["serving_default"]
    expected = embed(image=tf.constant(list(made.images.values())))["vector"]
    np.testing.assert_allclose(rows["vector"], expected, atol=1e-5)
    with parquet_file(name) as file:
        assert file.schema_arrow.metadata[b"encoder"] == made.fingerprint.encode()
    assert (made.found.images, made.found.dim, made.found.clusters) == (ITEMS - 2, 4, 3)


def test_every_vector_has_the_cluster_of_its_nearest_centre(made):
    _, rows = table(made, "look_cluster")
    centres = np.load(made.folder / CENTRES)
    vectors = np.array(table(made, "look")[1]["vector"])
    nearest = np.linalg.norm(vectors[:, None] - centres, axis=2).argmin(axis=1)
    assert rows["tokens"] == [[f"c{one}"] for one in nearest]


def test_a_run_that_declares_the_fields_accepts_the_log(made):
    fields = CatalogueFields(vectors={"look": 4}, tokens=("look_cluster",))
    timeline = made.config.timeline.model_copy(update={"catalogue_fields": fields})
    problems = validate_event_log(made.path / "log", timeline)
    assert not [one for one in problems if one.table.startswith("features")]


def test_new_items_get_features_of_the_same_encoder(made):
    before, centres = table(made, "look")[1], np.load(made.folder / CENTRES)
    again = make.make_features(made.config, made.section, made.folder)
    assert again.tables.fingerprint == made.fingerprint and not again.metrics
    assert table(made, "look")[1] == before
    np.testing.assert_array_equal(np.load(made.folder / CENTRES), centres)


def test_a_log_without_a_label_is_refused(made):
    with pytest.raises(ValueError, match="Nothing says what a click is"):
        make.learn_from(made.config)
