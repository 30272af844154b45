"""LightGCN on the graph of users with two kinds of entities, merged into one."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
from scipy import sparse

import models  # noqa: F401  (chooses Keras 2)
from benchmarks.two_kinds import Scorer
from benchmarks.two_kinds import TwoKinds


class LightGCN:
    """Embeddings of users and entities that propagate over the edges of both kinds.

        E_(l+1) = D^-1/2 A D^-1/2 E_l,   E = 1 / (L + 1) sum_l E_l,   score = E[u] . E[e] / tau

    (He et al. 2020, eqs. 3, 4 and 9), learned by the softmax over all candidates of the edges
    to candidates, with both vectors of length 1, and not by BPR: the loss of the models that it
    stands beside. Edges to the other kind are propagated over alone.

    Args:
        data: What is learned from; links of candidates are not read.
        dim: Length of an embedding.
        layers: L.
        temperature: tau.
        learning_rate: Of Adam.
        batch_size: Edges of a step.
        seed: Of the initial values and the order of the edges.
    """

    def __init__(
        self,
        data: TwoKinds,
        dim: int,
        layers: int,
        temperature: float,
        learning_rate: float,
        batch_size: int,
        seed: int,
    ) -> None:
        self.data = data
        self._layers, self._temperature, self._batch_size = layers, temperature, batch_size
        self._generator = np.random.default_rng(seed)
        self._users, self._size = data.candidates.shape
        self._graph = _normalised(sparse.hstack([data.candidates, data.others]))
        start = tf.random.stateless_normal([self._graph.shape[0], dim], [seed, 0], stddev=0.1)
        self.table = tf.Variable(start)
        self._optimizer = tf.keras.optimizers.Adam(learning_rate)
        self._optimizer.build([self.table])

    def train_epoch(self) -> float:
        """Trains on every edge to a candidate once, and returns the mean loss."""
        edges = np.stack(self.data.candidates.nonzero(), axis=1)
        edges = edges[self._generator.permutation(len(edges))]
        parts = np.split(edges, range(self._batch_size, len(edges), self._batch_size))
        losses = [float(self._step(*tf.unstack(tf.constant(part), axis=1))) for part in parts]
        return float(np.average(losses, weights=[len(part) for part in parts]))

    @tf.function(reduce_retracing=True)
    def _step(self, users: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            queries, items = self._embed()
            scores = tf.matmul(tf.gather(queries, users), items, transpose_b=True)
            loss = tf.nn.sparse_softmax_cross_entropy_with_logits(
                targets, scores / self._temperature
            )
            loss = tf.reduce_mean(loss)
        gradient = tf.convert_to_tensor(tape.gradient(loss, self.table))
        self._optimizer.apply_gradients([(gradient, self.table)])
        return loss

    def _embed(self) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the vectors of users and candidates, [U, d] and [C, d], of length 1."""
        layers = [tf.convert_to_tensor(self.table)]
        for _ in range(self._layers):
            layers.append(tf.sparse.sparse_dense_matmul(self._graph, layers[-1]))
        mean = tf.math.l2_normalize(tf.add_n(layers), axis=1)
        return mean[: self._users], mean[self._users : self._users + self._size]

    def scorer(self) -> Scorer:
        """Returns what scores candidates with the embeddings as they are now."""
        queries, items = self.embeddings()
        return lambda users: queries[users] @ items.T

    def embeddings(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns the vectors of users [U, d] and candidates [C, d], of length 1."""
        queries, items = self._embed()
        return queries.numpy(), items.numpy()


def _normalised(edges: sparse.spmatrix) -> tf.SparseTensor:
    """Returns D^-1/2 A D^-1/2 of the graph of users and entities, users first."""
    edges = sparse.csr_matrix(edges, dtype=np.float32)
    graph = sparse.bmat([[None, edges], [edges.T, None]]).tocsr()
    degree = np.maximum(np.asarray(graph.sum(axis=1)).ravel(), 1.0) ** -0.5
    graph = (sparse.diags(degree) @ graph @ sparse.diags(degree)).tocoo()
    index = np.stack([graph.row, graph.col], axis=1).astype(np.int64)
    made = tf.SparseTensor(index, graph.data.astype(np.float32), graph.shape)
    return tf.sparse.reorder(made)
