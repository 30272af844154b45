"""The towers once more in NumPy, one request or item at a time and without padding."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import erf
from scipy.special import expit

from models.guim.model import GUIM
from models.input import batch as b

Array = np.ndarray


def values(weight: Any) -> Array:
    return np.asarray(weight, np.float64)


def bucket(microseconds: int) -> int:
    return min(31, round(np.log2(1 + max(0, microseconds) / 1e6)))


def rms(x: Array, layer: Any) -> Array:
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-6) * values(layer.scale)


def softmax(x: Array) -> Array:
    shares = np.exp(x - x.max(-1, keepdims=True))
    return shares / shares.sum(-1, keepdims=True)


def silu(x: Array) -> Array:
    return x * expit(x)


def unit(x: Array) -> Array:
    return x / np.sqrt((x**2).sum())


def bag(layer: Any, tokens: list[int]) -> Array:
    table = values(layer.table)
    return (
        sum((table[t] for t in tokens if t), np.zeros(table.shape[1]))
        / max(1, sum(t > 0 for t in tokens)) ** 0.5
    )


def perceptron(layer: Any, x: Array) -> Array:
    hidden = x
    for dense in layer._hidden:
        inner = hidden @ values(dense.kernel) + values(dense.bias)
        hidden = inner * (1 + erf(inner / 2**0.5)) / 2  # gelu
    out = hidden @ values(layer._out.kernel) + values(layer._out.bias)
    return out + x @ values(layer._skip.kernel)


def described(tower: Any, item: dict[str, Any]) -> Array:
    """What an item is like, by its features: lists of tokens, vectors, and a price or None."""
    layer = tower.features
    parts = [bag(one, item[name]) for name, one in layer.bags.items()]
    parts += [unit(np.array(item[k])) @ values(one.kernel) for k, one in layer.vectors.items()]
    price, place = item["price"] or (0.0, 0)
    parts.append(np.array([price, float(place > 0)]) @ values(layer.price.kernel))
    parts.append(bag(layer.bucket, [place]))
    return np.sum(parts, axis=0)


def candidate(model: Any, index: int, item: dict[str, Any]) -> Array:
    """An item's embedding; an item that training has not as a target has the unknown one's id."""
    tower = model.candidate_tower
    row = index if tower.ids.known.numpy()[index] else 0
    vector = values(tower.ids.table)[row] + described(tower, item)
    vector = perceptron(tower.refine, vector) if tower.refine else vector
    return unit(vector) if model.towers.normalize else vector


def of_history(model: Any, index: int, item: dict[str, Any]) -> Array:
    """An item's vector as an event of a history."""
    if isinstance(model, GUIM):
        return candidate(model, index, item)
    tower = model.candidate_tower
    table = model.history_ids or tower.ids
    row = index if table.known.numpy()[index] else 0
    vector = values(table.table)[row]
    return vector + described(tower, item) @ values(model.history_map.kernel)


def query(model: Any, vector: Array) -> Array:
    """The query of a tower's output."""
    vector = unit(vector) if model.towers.normalize else vector
    return vector * np.exp(values(model.log_scale))


def two_tower_query(
    model: Any,
    items: list[Array],
    types: list[int],
    ages: list[int],
    attributes: list[int],
    words: list[int],
) -> Array:
    """Embeds a request of events, newest first; ages in microseconds."""
    tower = model.query_tower
    x = np.reshape(
        [events_of(tower, *event) for event in zip(items, types, ages, strict=True)],
        [-1, tower.dim],
    )
    parts = parts_of(tower, x, types, ages)
    bags = tower.request_bags
    parts += [bag(bags[b.USER_ATTRIBUTES], attributes), bag(bags[b.QUERY_TOKENS], words)]
    return query(model, perceptron(tower.out, np.concatenate(parts)))


def events_of(reader: Any, item: Array, event_type: int, age: int) -> Array:
    """An event's vector."""
    x = item + values(reader.types.embeddings)[event_type]
    return x + values(reader.ages.embeddings)[bucket(age)]


def parts_of(reader: Any, x: Array, types: list[int], ages: list[int]) -> list[Array]:
    """The few vectors of a history of events x, newest first."""
    config = reader.config
    length = values(reader.lengths.embeddings)[round(np.log2(1 + len(x)))]
    if not config.use_order:
        return [x.sum(axis=0) / max(1, len(x)) ** 0.5, length]
    last = np.zeros([config.last_items, reader.dim])
    last[: len(x)] = x[: config.last_items]
    pooled = np.zeros([config.heads, reader.dim])
    if len(x):
        logits = values(reader.pool.recency)[:, : len(x)].copy()
        asked = (last.reshape(-1) @ values(reader.pool._query.kernel)).reshape(config.heads, -1)
        logits += asked @ (x @ values(reader.pool._key.kernel)).T / config.content_dim**0.5
        logits += values(reader.type_bias.embeddings)[types].T
        logits += values(reader.age_bias.embeddings)[[bucket(age) for age in ages]].T
        pooled = softmax(logits) @ x
    return [last.reshape(-1), pooled.reshape(-1), length]


def matching_query(
    model: Any,
    items: list[Array],
    types: list[int],
    ages: list[int],
    kinds: list[int],
    attributes: list[int],
    words: list[int],
) -> tuple[Array, Array]:
    """Embeds a request for GMN: [K or 1, d] vectors and their weights; see `two_tower_query`."""
    tower = model.query_tower
    config, limit = tower.config, tower.config.neighbours
    nodes, parts = [], []
    chosen = [[t for t, kind in enumerate(kinds) if kind == k][:limit] for k in (0, 1)]
    for k, places in enumerate(chosen):
        project = tower.project[k]
        own = [items[t] @ values(project.kernel) + values(project.bias) for t in places]
        x = [
            events_of(tower.readers[k], o, types[t], ages[t])
            for o, t in zip(own, places, strict=True)
        ]
        nodes.append(np.reshape(x, [-1, model.towers.dim]))
    if config.node_level:
        nodes = matched_nodes(tower.match_nodes, *nodes)
    for k, places in enumerate(chosen):
        parts += parts_of(
            tower.readers[k], nodes[k], [types[t] for t in places], [ages[t] for t in places]
        )
    bags = tower.request_bags
    parts += [bag(bags[b.USER_ATTRIBUTES], attributes), bag(bags[b.QUERY_TOKENS], words)]
    z = perceptron(tower.out, np.concatenate(parts))
    if not config.preference_level:
        return query(model, z)[None], np.ones(1)
    preferences = [preferences_of(*pair) for pair in zip(tower.extract, nodes, strict=True)]
    matched = matched_preferences(tower.match_preferences, *preferences)
    weight = softmax(matched @ (z @ values(tower.attend.kernel)) / len(z) ** 0.5)
    if config.vectors == "one":
        return query(model, z + weight @ matched @ values(tower.read_out.kernel))[None], np.ones(1)
    vectors = z + matched @ values(tower.read_out.kernel)
    return np.stack([query(model, vector) for vector in vectors]), weight


def matched_nodes(layer: Any, x: Array, y: Array) -> list[Array]:
    """Matches [m, d] with [n, d], both ways."""
    match = (x @ values(layer.query.kernel)) @ (y @ values(layer.key.kernel)).T / x.shape[1] ** 0.5
    told = []
    for side, (own, others, scores) in enumerate([(x, y, match), (y, x, match.T)]):
        new = own.copy()
        for p in range(len(own) if len(others) else 0):
            c = softmax(scores[p]) @ others @ values(layer.messages[side].kernel)
            gate = layer.gates[side]
            inner = np.concatenate([own[p], c, own[p] - c, own[p] * c]) @ values(gate.kernel)
            new[p] = own[p] + expit(inner + values(gate.bias)) * c
        told.append(new)
    return told


def preferences_of(layer: Any, nodes: Array) -> Array:
    """Extracts [K, d] preferences of [n, d] nodes."""
    if not len(nodes):
        return np.zeros([layer.number, nodes.shape[1]])
    logits = np.tanh(nodes @ values(layer.inner.kernel)) @ values(layer.weigh.kernel)
    return softmax(logits.T) @ nodes


def matched_preferences(layer: Any, own: Array, others: Array) -> Array:
    """Matches [K, d] preferences with [K, d]."""
    match = np.exp((own @ values(layer.project.kernel)) @ others.T / own.shape[1] ** 0.5)
    for _ in range(layer.iterations):
        match = match / match.sum(axis=0)
        match = match / match.sum(axis=1)[:, None]
    match = match / match.sum(axis=1)[:, None]
    out = own + match @ others @ values(layer.message.kernel)
    out = out - out.mean(axis=1)[:, None]
    out = out / np.sqrt((out**2).mean(axis=1)[:, None] + layer.norm.epsilon)
    return out * values(layer.norm.gamma) + values(layer.norm.beta)


def sequence_query(
    model: Any, items: list[Array], types: list[int], ages: list[int], attributes: list[int]
) -> Array:
    """Embeds a request of events, oldest first; ages in microseconds."""
    hides = model.config.model.objective == "masked"
    items, types, ages = list(items), [0, *types], [*ages[:1], *ages] if ages else [0]
    if hides and items:  # the hidden event comes now
        items, types, ages = [*items, None], [*types, 0], [*ages, 0]
    hidden = [place for place, item in enumerate(items, 1) if item is None]
    requests = ages if hides else [*ages[1:], 0]
    return query(model, encoded(model, items, types, ages, requests, hidden, attributes)[-1])


def representations(
    model: Any, items: list[Array], types: list[int], ages: list[int], attributes: list[int]
) -> Array:
    """What GUIM's tokens become, [K, d], behind events, oldest first."""
    tokens = values(model.representations.tokens)
    types, ages = [0, *types, *[0] * len(tokens)], [*ages[:1], *ages, *[0] * len(tokens)]
    ages = ages if len(items) else [0, *ages]
    forwards = model.towers.forwards > 0
    requests = [*ages[1 : len(items) + 1], *[0] * (1 + len(tokens))] if forwards else ages
    every = encoded(model, [*items, *tokens], types, ages, requests, [], attributes, forwards)
    return with_tokens(model, every[-len(tokens) :], every[len(items)])


def with_tokens(model: Any, tokens: Array, newest: Array) -> Array:
    """GUIM's vectors of a user, [K, d], of the encoder's outputs."""
    project = values(model.representations.project)
    return np.array([newest + one @ own for one, own in zip(tokens, project, strict=True)])


def encoded(
    model: Any,
    items: list[Array],
    types: list[int],
    ages: list[int],
    requests: list[int],
    hidden: list[int],
    attributes: list[int],
    forwards: bool = False,
) -> Array:
    """Encodes the start and the events after it, of which `hidden` places are not read."""
    encoder, size = model.encoder, len(items) + 1
    x = np.zeros([size, model.towers.dim])
    x[0] = values(encoder.start)
    for place, item in enumerate(items, 1):
        x[place] = values(encoder.mask_token) if place in hidden else item
    x += values(encoder.types.embeddings)[types]
    before = [ages[0], *ages[:-1]]
    intervals = [bucket(a - b) for a, b in zip(before, ages, strict=True)]
    x += values(encoder.intervals.embeddings)[intervals]
    if encoder.config.positions == "absolute":
        x += values(encoder.positions)[:size]
    if encoder.config.use_user_attributes:
        x += bag(encoder.attributes, attributes)
    for number, block in enumerate(encoder.blocks):
        if encoder.config.block == "gru":
            x = x + gru(block.read, rms(x, block.norm))
            continue
        bias = np.zeros([encoder.config.heads, size, size])
        for i in range(size):
            for j in range(size):
                bias[:, i, j] = values(encoder.time_bias.table)[bucket(ages[j] - requests[i])]
                if encoder.distance_biases[number] is not None:
                    far = encoder.length - 1
                    bias[:, i, j] += values(encoder.distance_biases[number].table)[far + i - j]
                if j > i and (encoder.causal or forwards or i == 0):
                    bias[:, i, j] = -np.inf
        x = (hstu if encoder.config.block == "hstu" else attention)(block, x, bias)
    return rms(x, encoder.norm)


def heads_of(x: Array, heads: int) -> Array:
    """[T, d] as [heads, T, d / heads]."""
    return x.reshape(len(x), heads, -1).transpose(1, 0, 2)


def attention(block: Any, x: Array, bias: Array) -> Array:
    inner = rms(x, block.attention_norm) @ values(block.inputs.kernel)
    q, k, v = (heads_of(part, block.heads) for part in np.split(inner, 3, axis=1))
    shares = softmax(q @ k.transpose(0, 2, 1) / q.shape[2] ** 0.5 + bias)
    joined = (shares @ v).transpose(1, 0, 2).reshape(x.shape)
    x = x + joined @ values(block.outputs.kernel)
    hidden = np.maximum(rms(x, block.feed_forward_norm) @ values(block.widen.kernel), 0)
    return x + hidden @ values(block.narrow.kernel)


def hstu(block: Any, x: Array, bias: Array) -> Array:
    inner = silu(rms(x, block.norm) @ values(block.inputs.kernel))
    gate, *rest = np.split(inner, 4, axis=1)
    v, q, k = (heads_of(part, block.heads) for part in rest)
    allowed = np.isfinite(bias)
    scores = q @ k.transpose(0, 2, 1) + np.where(allowed, bias, 0)
    joined = (np.where(allowed, silu(scores), 0) / block.length @ v).transpose(1, 0, 2)
    found = rms(joined.reshape(x.shape), block.found_norm) * gate
    return x + found @ values(block.outputs.kernel)


def gru(layer: Any, x: Array) -> Array:
    kernel, recurrent, bias = (values(weight) for weight in layer.weights)
    state, out = np.zeros(x.shape[1]), []
    for event in x:
        update, reset, new = np.split(event @ kernel + bias[0], 3)
        u, r, n = np.split(state @ recurrent + bias[1], 3)
        share = expit(update + u)
        state = share * state + (1 - share) * np.tanh(new + expit(reset + r) * n)
        out.append(state)
    return np.array(out)
