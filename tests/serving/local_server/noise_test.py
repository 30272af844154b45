"""What TensorFlow writes past every log level."""

from __future__ import annotations

import numpy as np

from serving.local_server.servable import Servable


def test_loading_and_answering_write_nothing_past_the_log(tmp_path, capfd):
    """The cost of a softmax of unknown rank cannot be guessed, which is no news to a user."""
    import tensorflow as tf

    class Model(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec(None, tf.float32, "x")])
        def __call__(self, x):
            return {"y": tf.nn.softmax(x)}

    model = Model()
    tf.saved_model.save(model, str(tmp_path), signatures={"soft": model.__call__})
    capfd.readouterr()
    servable = Servable("tiny", 1, tmp_path)
    x = np.zeros((1, 2, 4), np.float32)
    answer = servable.run(servable.signatures["soft"], {"x": x}, timeout=None)
    servable.close()
    np.testing.assert_allclose(answer["y"], np.full((1, 2, 4), 0.25))
    assert "PredictCost" not in capfd.readouterr().err
