"""The exported ranker, read back: what it answers and what it does not read."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from models.config import RankingTrainerConfig
from models.din.model import DIN
from models.export.ranker import RANK_INPUTS
from models.input import batch as b
from models.training.replicas import WHOLE
from serving.client import Event
from serving.client import HistoryCodes
from serving.client import RankRequest
from serving.client.ranking import number_queries
from serving.client.ranking import rank_inputs
from serving.publishing.publish import missing_files
from serving.publishing.servable_file import read_servable
from tests.helpers.examples import example
from tests.helpers.rankers import CLICKED
from tests.helpers.rankers import small_data
from tests.helpers.timelines import row
from tests.helpers.timelines import timeline
from transforms import features as f

DAY = 86_400_000_000
ITEMS = ["item:3", "item:8", "item:1"]


@pytest.fixture(scope="module")
def exported(log, tmp_path_factory):
    """A ranker and its SavedModel."""
    config = RankingTrainerConfig.model_validate(
        {
            "model": {"family": "din", "dim": 8, "window": 5},
            "label": {"source": "events", "negatives": 2},
        }
    )
    tf.keras.utils.set_random_seed(1)
    model = DIN.of(config, log.data)
    model.compute_loss(next(iter(model.training_batches(log.data, WHOLE))))
    for number, weight in enumerate(model.trainable_variables):
        weight.assign(tf.random.stateless_normal(weight.shape, [number, 3]) * 0.15)
    path = str(tmp_path_factory.mktemp("ranker"))
    model.export(log.transform.transform_features_layer(), path)
    loaded = tf.saved_model.load(path)
    loaded.path = path
    return loaded


def test_servable_json_says_what_a_push_needs(exported):
    said = read_servable(Path(exported.path))
    assert (said.stage, said.signatures) == ("ranking", ("rank", "serving_default"))
    assert missing_files(Path(exported.path)) == []


def request(histories, candidates, rows=None, width=0, queries=None):
    """Dense inputs of requests, padded with what must not be read."""

    def padded(lists, filler, least=1):
        size = max(least, *(len(one) for one in lists))
        return tf.constant([[*one, *[filler] * (size - len(one))] for one in lists])

    number = len(histories)
    rows = rows or [[b""] * len(one) for one in candidates]
    distinct, index = number_queries(queries or [[b""] * len(one) for one in histories])
    inputs = {
        "history_ids": padded(histories, "item:5"),
        "history_events": padded([["watch"] * len(one) for one in histories], "buy"),
        "history_timestamps": padded([[DAY] * len(one) for one in histories], 7),
        "history_values": padded([[0.0] * len(one) for one in histories], 9.0),
        "history_queries": padded(distinct, "red hat"),
        "history_query_index": padded(index, 99),
        "history_length": [len(one) for one in histories],
        "request_time": [9 * DAY] * number,
        "query": [""] * number,
        "user_attributes": [["group=1"]] * number,
        "user_attributes_length": [1] * number,
        "candidate_ids": padded(candidates, "item:2", width),
        "candidate_length": [len(one) for one in candidates],
        "candidate_rows": padded(rows, b"", width),
    }
    dtypes = {spec.name: spec.dtype for spec in RANK_INPUTS}
    return {name: tf.cast(v, dtypes[name]) if v is not None else v for name, v in inputs.items()}


def rank(exported, *given, **more):
    return exported.signatures["rank"](**request(*given, **more))["scores"].numpy()


def page(history, candidates, more):
    """The page example that asks what `request` asks."""
    columns = {
        f.USER_ATTRIBUTES: ["group=1"],
        f.EVENT_ENTITY: history,
        f.EVENT_TYPE: ["watch"] * len(history),
        f.EVENT_TIMESTAMP: [DAY] * len(history),
        f.EVENT_VALUE: [0.0] * len(history),
        f.REQUEST_TIME: 9 * DAY,
        f.REQUEST_QUERY: "",
        f.CANDIDATE_ENTITY: candidates,
    }
    return example(**columns, **more)


def test_a_batch_of_different_lengths_is_answered_as_each_alone(exported):
    histories = [["item:0", "item:4", "item:9"], [], ["item:7"]]
    candidates = [ITEMS, ["item:6"], ["item:2", "item:3"]]
    together = rank(exported, histories, candidates, width=5)

    assert together.shape == (3, 5)
    for answer, history, wanted in zip(together, histories, candidates, strict=True):
        (alone,) = rank(exported, [history], [wanted])
        np.testing.assert_allclose(answer[: len(wanted)], alone, atol=1e-6)
        np.testing.assert_array_equal(answer[len(wanted) :], 0.0)
        assert ((alone > 0) & (alone < 1)).all()


def test_a_page_example_is_answered_as_the_dense_request(exported):
    history = ["item:0", "item:4"]
    serving_default = exported.signatures["serving_default"]
    examples = [page(history, ITEMS, {f.LABEL_EVENTS: label}) for label in ([1, 0, 0], [0, 1, 1])]
    answers = serving_default(tf.constant(examples))["scores"].numpy()

    np.testing.assert_allclose(answers[0], rank(exported, [history], [ITEMS])[0], atol=1e-6)
    np.testing.assert_array_equal(answers[0], answers[1])  # whatever the label


@pytest.fixture(scope="module")
def with_queries(tmp_path_factory):
    """A ranker that reads all there is of an event, its SavedModel, and a batch of its training."""
    events = [("click", f"item:{item}", DAY + item) for item in range(6)]
    queries = {f.EVENT_QUERY: ["", "red shoes", "blue hat", "", "red hat", "shoes"]}
    timelines = [timeline(f"u{user}", events, **queries) for user in range(3)]
    data = small_data(tmp_path_factory.mktemp("log"), timelines)
    model = {"family": "din", "dim": 8, "window": 3, "use_event_query": True, "history_codes": True}
    more = {"use_event_values": True, "use_time": True}
    config = RankingTrainerConfig.model_validate({"model": model | more, "label": CLICKED})
    ranker = DIN.of(config, data)
    batch = next(iter(ranker.training_batches(data, WHOLE)))
    ranker.compute_loss(batch)
    path = str(tmp_path_factory.mktemp("ranker"))
    for number, weight in enumerate(ranker.trainable_variables):
        weight.assign(tf.random.stateless_normal(weight.shape, [number, 3]) * 0.3)
    ranker.export(data.transform.transform_features_layer(), path)
    loaded = tf.saved_model.load(path)
    loaded.path, loaded.batch = path, batch
    return loaded


def test_queries_of_events_are_read_from_page_examples_and_from_dense_requests(with_queries):
    loaded, batch = with_queries, with_queries.batch
    assert batch[b.HISTORY_QUERY].shape[1:] == (3, 16)
    entity, words = batch[b.HISTORY_ENTITY].numpy(), batch[b.HISTORY_QUERY].numpy() > 0
    number = set(zip(entity.ravel(), words.sum(axis=2).ravel(), strict=True))
    assert sorted(many for item, many in number if item) == [0, 0, 2, 2, 2]  # of five events

    history, candidates = ["item:0", "item:4"], ["item:3", "item:8"]
    led = [["", ""], ["", "Red shoes"], ["hat", "red shoes"], ["hat", "hat"]]
    pages = [page(history, candidates, {f.EVENT_QUERY: given}) for given in led]
    scores = loaded.signatures["serving_default"](tf.constant(pages))["scores"].numpy()
    assert len(np.unique(scores[:, 0])) == len(led)

    given = [[query.encode() for query in one] for one in led]
    inputs = request([history] * len(led), [candidates] * len(led), queries=given)
    dense = loaded.signatures["rank"](**inputs)["scores"].numpy()
    np.testing.assert_allclose(dense, scores, atol=1e-5)
    odd = inputs | {"history_query_index": inputs["history_query_index"] + 7}
    with pytest.raises(tf.errors.InvalidArgumentError, match="positions in `history_queries`"):
        loaded.signatures["rank"](**odd)


def test_histories_as_codes_are_ranked_as_histories_of_ids(with_queries):
    rank, rank_codes = (with_queries.signatures[name] for name in ("rank", "rank_codes"))
    said = read_servable(Path(with_queries.path))
    assert said.signatures == ("rank", "rank_codes", "serving_default")
    assert missing_files(Path(with_queries.path)) == []
    codes = HistoryCodes.read(with_queries.path)

    full = [
        Event("item:1", "click", DAY, 1.0, "hat"),
        Event("item:2", "click", 3 * DAY, 2.5, "red shoes"),
        Event("item:none", "click", 4 * DAY, 9.0, "shoes"),
        Event("item:4", "swap", 8 * DAY, 99.0, "shoes"),
        Event("item:5", "click", 9 * DAY - 1, -3.0),
    ]
    requests = [RankRequest(full[:size], ITEMS, "hat", (), 9 * DAY) for size in range(6)]
    requests += [RankRequest(full, ITEMS, "hat", (), when) for when in (0, 10 * DAY, 5 * DAY)]
    requests += [RankRequest(full[:2], ITEMS[:1], "red", ("group=1",), 9 * DAY)]
    inputs = rank_inputs(requests)
    expected = rank(**{name: tf.constant(values) for name, values in inputs.items()})["scores"]
    coded = {name: tf.constant(values) for name, values in codes.encode(inputs).items()}
    np.testing.assert_allclose(rank_codes(**coded)["scores"], expected, atol=1e-6)
    # The third event is unknown, and without a time ages count from the last; all else is seen.
    assert len(np.unique(expected.numpy()[:, 0])) == len(requests) - 2

    for name, odd, words in (
        ("history_version", "0a1b", f"codes of version `{codes.version}`"),
        ("history_codes", b"12345", "codes of 7 bytes an event"),
    ):
        stale = coded | {name: tf.fill([len(requests)], odd)}
        with pytest.raises(tf.errors.InvalidArgumentError, match=words):
            rank_codes(**stale)


def test_a_sent_row_stands_for_the_catalogue_of_a_known_or_a_new_item(exported):
    history = [["item:0", "item:4"]]
    as_exported = row(
        "item:3",
        categories=["group 3"],
        attributes=["brand=3"],
        available_from=0,
        image_vector=[3.0, 0.0],
        title="A grey thing no 3",
        price=4.0,
    )
    other = row("item:new", categories=["group 1"], title="A green thing", price=2.0)
    plain = rank(exported, history, [["item:3", "item:new"]])[0]
    sent = rank(exported, history, [["item:3", "item:new"]], [[as_exported, other]])[0]

    np.testing.assert_allclose(sent[0], plain[0], atol=1e-6)
    assert abs(sent[1] - plain[1]) > 1e-4
