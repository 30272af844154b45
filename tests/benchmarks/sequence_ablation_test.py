"""The rows of the ablation: each is a configuration that holds, and differs from the others."""

from benchmarks.sequence_ablation import CONFIG
from benchmarks.sequence_ablation import ROWS
from benchmarks.sequence_ablation import SMALLER
from benchmarks.training_run import is_same_training
from models.config import RetrievalTrainerConfig
from tfx_pipeline.config_file import load_config
from tfx_pipeline.config_file import set_key


def test_every_row_is_another_configuration():
    seen = []
    for changes in ROWS.values():
        values = load_config(CONFIG).retrieval.trainer.model_dump(mode="json")
        for change in (*SMALLER, *changes):
            set_key(values, change)
        config = RetrievalTrainerConfig.model_validate(values)
        assert config not in seen
        seen.append(config)


def test_a_kept_run_counts_though_options_came_after_it():
    wanted = RetrievalTrainerConfig(epochs=3).model_dump(mode="json", exclude={"seed"})
    kept = {name: value for name, value in wanted.items() if name != "precision"}

    assert is_same_training(kept, wanted)
    assert not is_same_training(kept | {"epochs": 4}, wanted)
    assert not is_same_training(kept | {"an option that is gone": 1}, wanted)
