"""An encoder and its clusters in this process, for images that come after the Beam job."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from tfx_pipeline.image_features.clusters import tokens_of
from tfx_pipeline.image_features.embed import BATCH
from tfx_pipeline.image_features.embed import embed_batch
from tfx_pipeline.image_features.encoder import CENTRES
from tfx_pipeline.image_features.encoder import ENCODER
from tfx_pipeline.image_features.encoder import encoder_state
from tfx_pipeline.image_features.encoder import fetch_encoder
from tfx_pipeline.image_features.encoder import fingerprint_of
from tfx_pipeline.image_features.encoder import require_dim
from transforms.arrow import pa
from transforms.storage import place


class LoadedEncoder:
    """Makes of images what the tables of the encoder's folder hold of them.

    Attributes:
        fingerprint: The encoder's.
        state: What tells it and its clusters from others (`encoder_state`).
    """

    def __init__(self, address: Path | str, dim: int) -> None:
        """Loads an encoder and the centres of its clusters.

        Args:
            address: Their folder, of this machine or of an object store.
            dim: d, the length that vectors should have.

        Raises:
            ValueError: There is no encoder, it has no clusters, or its vectors another length.
        """
        import tensorflow as tf

        source = place(address)
        self.state = encoder_state(str(address))  # raises when there is none
        if not (source / CENTRES).is_file():
            raise ValueError(
                f"The encoder in {address} has no clusters: expected `{CENTRES}`, which stands "
                "where features were made of a catalogue."
            )
        require_dim(source, dim)
        self.fingerprint = fingerprint_of(source)
        with tempfile.TemporaryDirectory() as scratch:  # it may be in an object store
            folder = Path(scratch)
            fetch_encoder(str(address), folder)
            self._centres = np.load(folder / CENTRES, allow_pickle=False)
            self._model = tf.saved_model.load(str(folder / ENCODER))

    def features(self, images: pa.Array) -> tuple[np.ndarray, pa.ListArray]:
        """Returns the vectors of sound images [n] and their clusters.

        Returns:
            [n, d] float32, and [n] lists of one token.

        Raises:
            ValueError: A vector is not finite.
        """
        starts = range(0, max(len(images), 1), BATCH)
        parts = [embed_batch(self._model, images.slice(start, BATCH)) for start in starts]
        vectors = np.concatenate(parts)
        return vectors, tokens_of(vectors, self._centres)
