from __future__ import annotations

from pathlib import Path

from transforms import features
from transforms.fields import BY_NAME
from transforms.schema import CATALOGUE
from transforms.schema import ENVIRONMENTS
from transforms.schema import HELD_OUT
from transforms.schema import TIMELINE
from transforms.schema import environment_of
from transforms.schema import make_schema
from transforms.schema import schema_path
from transforms.schema import schema_text


def test_the_committed_schema_is_what_the_module_makes():
    assert Path(schema_path()).read_text(encoding="utf-8") == schema_text()


def test_every_feature_name_has_a_field_and_a_ragged_tensor():
    named = {
        value
        for key, value in vars(features).items()
        if key.isupper() and isinstance(value, str) and key != "NO_HISTORY"
    }
    assert set(BY_NAME) == named
    schema = make_schema()
    representations = schema.tensor_representation_group[""].tensor_representation
    assert set(representations) == {feature.name for feature in schema.feature} == named
    for name, representation in representations.items():
        assert list(representation.ragged_tensor.feature_path.step) == [name]


def test_environments_part_timelines_from_the_catalogue_and_targets_from_training():
    present = {
        environment: {
            feature.name.partition("/")[0]
            for feature in make_schema().feature
            if environment not in feature.not_in_environment
        }
        for environment in ENVIRONMENTS
    }
    assert present[CATALOGUE] == {"catalogue"}
    assert "catalogue" not in present[TIMELINE] | present[HELD_OUT]
    assert present[HELD_OUT] - present[TIMELINE] == {"target"}


def test_splits_have_environments():
    assert [environment_of(split) for split in features.SPLITS] == [
        TIMELINE,
        HELD_OUT,
        HELD_OUT,
        CATALOGUE,
    ]
