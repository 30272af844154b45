"""What `vitrine recommend` reads of a log, asks a server for, and prints."""

from __future__ import annotations

import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from serving.client import InvalidRequestError
from serving.client import RecommenderClient
from serving.local_server.config import ModelConfig
from serving.local_server.config import ServerConfig
from tests.helpers.examples import timeline
from tfx_pipeline.commands.recommend import HistoryRow
from tfx_pipeline.commands.recommend import RecommendationRow
from tfx_pipeline.commands.recommend import UserRecommendations
from tfx_pipeline.commands.recommend import format_recommendations
from tfx_pipeline.commands.recommend import recommend_for_user
from tfx_pipeline.commands.recommend import recommend_to
from tfx_pipeline.config_file import load_config
from tfx_pipeline.datasets.user_history import read_history
from tfx_pipeline.datasets.user_history import read_titles

IDS = [f"movie:{i}" for i in range(1, 21)]


def write(path, **columns):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)


@pytest.fixture(scope="module")
def log_dir(tmp_path_factory):
    """Two users; u1's events lie in two files and out of order."""
    path = tmp_path_factory.mktemp("log")
    write(
        path / "events" / "0.parquet",
        user_id=["u1", "u2", "u1", "u1"],
        entity_type=["movie"] * 4,
        entity_id=["3", "1", "2", "9"],
        event=["watch", "watch", "watch", "impression"],
        timestamp=[30, 5, 20, 40],
        ordinal=[2, 0, 1, 3],
        value=[3.5, None, None, 1.0],
        query=["a film", None, None, None],
    )
    write(
        path / "events" / "1.parquet",
        user_id=["u1", "u1"],
        entity_type=["movie", "trailer"],
        entity_id=["1", "1"],
        event=["watch", "rate"],
        timestamp=[20, 10],
        ordinal=[0, 9],
    )
    write(
        path / "catalogue" / "0.parquet",
        entity_type=["movie", "trailer"],
        entity_id=["1", "1"],
        title=["Not this one", "A trailer"],
    )
    write(path / "users" / "0.parquet", user_id=["u1", "u3"], attributes=[["age=3"], None])
    return path


def test_history_is_oldest_first_with_ties_in_the_source_order(log_dir):
    assert read_history(log_dir, "u1") == [
        ("trailer:1", "rate", 10, 0.0, ""),
        ("movie:1", "watch", 20, 0.0, ""),
        ("movie:2", "watch", 20, 0.0, ""),
        ("movie:3", "watch", 30, 3.5, "a film"),
    ]


def test_timestamps_may_be_arrow_timestamps(tmp_path):
    write(
        tmp_path / "events" / "0.parquet",
        user_id=["u"],
        entity_type=["movie"],
        entity_id=["1"],
        event=["watch"],
        timestamp=pa.array([7], pa.timestamp("ms")),
        ordinal=[0],
    )
    assert read_history(tmp_path, "u") == [("movie:1", "watch", 7000, 0.0, "")]


def test_the_log_may_be_in_folders_and_its_columns_of_other_types(tmp_path):
    for day, text in ((1, "2024-05-01T00:00:00Z"), (2, "2024-05-02"), (3, "nonsense")):
        write(
            tmp_path / "events" / f"day={day}" / "0.parquet",
            user_id=pa.array([b"u"]),
            entity_type=pa.array(["movie"]).dictionary_encode(),
            entity_id=pa.array([str(day)], pa.large_string()),
            event=["watch"],
            timestamp=[text],
            ordinal=[0],
        )
    first = 1_714_521_600_000_000
    assert read_history(tmp_path, "u") == [
        ("movie:1", "watch", first, 0.0, ""),
        ("movie:2", "watch", first + 86_400_000_000, 0.0, ""),
    ]


def test_a_catalogue_without_titles_names_nothing(log_dir, tmp_path):
    write(tmp_path / "catalogue" / "0.parquet", entity_type=["movie"], entity_id=["1"])
    assert read_titles(tmp_path, ["movie:1"]) == {}
    assert read_titles(log_dir, []) == {}
    assert read_titles(log_dir, ["movie:1", "trailer:1", "trailer:2"]) == {
        "movie:1": "Not this one",
        "trailer:1": "A trailer",
    }


@pytest.fixture(scope="module")
def pushed(tmp_path_factory):
    """A served directory with a real servable over tiny towers."""
    from serving.index.config import ServeConfig
    from serving.local_server.server import LocalServer
    from tests.helpers.rankers import save_tiny_ranker
    from tests.helpers.servables import write_tiny_servable

    scratch = tmp_path_factory.mktemp("scratch")
    config = ServeConfig(k=8, exclude_seen=("watch",))
    servable = write_tiny_servable(scratch, IDS, config, available_from={"movie:5": 31})
    base = scratch / "pushed"
    base.mkdir()
    if not (servable / "index" / "candidates.parquet").exists():
        (scratch / "index").rename(servable / "index")
    servable.rename(base / "7")
    kept = save_tiny_ranker(scratch / "ranker" / "2")
    (scratch / "refused").mkdir()
    models = (
        ModelConfig(base_path=base),
        ModelConfig(name="r", base_path=scratch / "ranker"),
        ModelConfig(name="refused", base_path=scratch / "refused"),  # no version was ever pushed
    )
    with LocalServer(ServerConfig(models=models, port=0, rest_port=None)) as server:
        yield base, server.address
    del kept


def test_recommendations_with_titles(log_dir, pushed):
    base, address = pushed
    result = recommend_for_user("u1", 5, log_dir, base, address=address, recent=2, timeout=60)
    assert (result.user, result.events, result.version) == ("u1", 4, 7)
    assert result.history == (
        HistoryRow("movie:3", "Title of movie:3", "watch", 30),
        HistoryRow("movie:2", "Title of movie:2", "watch", 20),
    )
    assert [row.rank for row in result.recommendations] == [1, 2, 3, 4, 5]
    names = {row.entity for row in result.recommendations}
    assert names <= set(IDS) - {"movie:1", "movie:2", "movie:3"}
    assert all(row.title == f"Title of {row.entity}" for row in result.recommendations)


def test_somebody_new_is_answered(log_dir, pushed):
    base, address = pushed
    result = recommend_for_user(None, 3, log_dir, base, address=address, timeout=60)
    assert (result.user, result.events, result.history) == (None, 0, ())
    assert len(result.recommendations) == 3
    assert format_recommendations(result).startswith("Somebody new; answered by recommender")


def test_a_ranker_puts_them_in_order_and_both_scores_are_there(log_dir, pushed):
    base, address = pushed
    plain = recommend_for_user("u1", 8, log_dir, base, address=address, timeout=60)
    ranked = recommend_for_user("u1", 4, log_dir, base, address=address, timeout=60, ranker="r")
    assert (plain.ranker, ranked.ranker, ranked.remark) == ("", "r version 2", "")
    assert all(row.ranking_score is None for row in plain.recommendations)
    numbers = [int(row.entity.partition(":")[2]) for row in ranked.recommendations]
    assert numbers == sorted(numbers, reverse=True) and len(numbers) == 4
    retrieval = {row.entity: row.score for row in plain.recommendations}
    for rank, row in enumerate(ranked.recommendations, 1):
        assert (row.rank, row.score) == (rank, retrieval[row.entity])
        assert row.ranking_score == pytest.approx(int(row.entity.partition(":")[2]) / 10)
        assert row.title == f"Title of {row.entity}"


def test_a_large_weight_leaves_the_order_to_the_retrieval(log_dir, pushed):
    base, address = pushed
    given = {"address": address, "timeout": 60}
    plain = recommend_for_user("u1", 4, log_dir, base, **given)
    ranked = recommend_for_user(
        "u1", 4, log_dir, base, **given, ranker="r", retrieval_weight=1_000.0
    )
    assert ranked.ranker == "r version 2"
    assert [row.title for row in ranked.recommendations] == [
        row.title for row in plain.recommendations
    ]


def test_without_an_answer_of_the_ranker_the_retrievals_order_stays_and_it_is_said(log_dir, pushed):
    base, address = pushed
    given = {"address": address, "timeout": 60, "wait": 60}
    plain = recommend_for_user("u1", 3, log_dir, base, **given)
    ranked = recommend_for_user("u1", 3, log_dir, base, **given, ranker="nobody")
    assert ranked.recommendations == plain.recommendations
    assert ranked.remark.startswith("Not ranked: `rank` of model `nobody`")
    given["ranker_address"] = "127.0.0.1:1"
    lost = recommend_for_user("u1", 3, log_dir, base, **given | {"wait": 0}, ranker="r")
    assert "127.0.0.1:1: UNAVAILABLE" in lost.remark and lost.ranker == ""


def test_a_ranker_that_was_never_pushed_is_not_waited_for(log_dir, pushed):
    base, address = pushed
    answer = recommend_for_user(
        "u1", 3, log_dir, base, address=address, ranker="refused", wait=60, say=pytest.fail
    )
    assert len(answer.recommendations) == 3 and answer.ranker == ""
    assert answer.remark.startswith("Not ranked: ") and "no version loaded yet" in answer.remark


def test_a_run_that_lacks_a_stage_cannot_be_asked_for_it(tmp_path):
    def run(name, *overrides):
        path = tmp_path / name
        path.mkdir()
        config = load_config("shop_demo", (f"run_dir={path}", *overrides))
        (path / "config.yaml").write_text(config.to_yaml())
        return path

    retrieval, ranking = run("retrieval"), run("nothing", "retrieval=null", "ranking={}")
    with pytest.raises(ValueError, match="without the stage `ranking`.*`--ranker`"):
        recommend_to("u1", 3, retrieval, "127.0.0.1:1", None, 1.0, retrieval)
    with pytest.raises(ValueError, match="nothing is a run without the stage `retrieval`.*`--run`"):
        recommend_to("u1", 3, ranking, "127.0.0.1:1", None, 1.0, ranking)


def test_a_log_whose_catalogue_has_no_titles_is_answered_with_ids(log_dir, pushed, tmp_path):
    shutil.copytree(log_dir / "events", tmp_path / "events")
    write(tmp_path / "catalogue" / "0.parquet", entity_type=["movie"], entity_id=["1"])
    _, address = pushed
    result = recommend_for_user("u1", 3, tmp_path, address=address, timeout=60)
    assert [row.title for row in result.recommendations] == [
        row.entity for row in result.recommendations
    ]


def test_fewer_recommendations_than_were_asked_for_are_explained(log_dir, pushed):
    base, address = pushed

    def remark(user, k, base_path=base):
        answer = recommend_for_user(user, k, log_dir, base_path, address=address, timeout=60)
        return answer.remark

    assert remark("u1", 8) == ""
    assert remark("u1", 500).startswith("Asked for 500, received 8: that is all that this servable")
    assert "or the servable returns no more (`retrieval.index.k`)" in remark("u1", 500, None)


def test_the_time_of_the_request_is_just_after_the_history(log_dir, pushed):
    base, address = pushed

    def names(**when):
        result = recommend_for_user("u1", 8, log_dir, base, address=address, timeout=60, **when)
        return [row.entity for row in result.recommendations]

    assert names() == names(request_time=31)
    assert "movie:5" not in names(request_time=30)


def test_titles_may_come_from_the_log(log_dir, pushed):
    _, address = pushed
    result = recommend_for_user("u1", 1, log_dir, address=address, timeout=60)
    titles = {row.entity: row.title for row in result.history}
    assert titles["trailer:1"] == "A trailer"
    assert titles["movie:1"] == "Not this one"
    assert titles["movie:2"] == "movie:2"


def test_a_user_without_events_who_is_listed_gets_an_answer(log_dir, pushed):
    _, address = pushed
    result = recommend_for_user("u3", 3, log_dir, address=address, timeout=60)
    assert (result.events, len(result.recommendations)) == (0, 3)


def test_a_timeline_that_is_none_costs_the_others_nothing(pushed):
    _, address = pushed
    good = timeline("u1", ["movie:1"])
    rows = [good, b"\xff no example", good]
    with RecommenderClient(address, timeout=60) as client:
        with pytest.raises(InvalidRequestError):
            client.recommend_examples(rows, k=3)
        first, wrong, last = client.recommend_each_example(rows, k=3)
    assert isinstance(wrong, InvalidRequestError) and "parse example" in wrong.details
    assert first.ids == last.ids and len(first) == 3


def test_unknown_users_logs_and_servers(log_dir, tmp_path):
    with pytest.raises(ValueError, match="`nobody`.*u1, u2. Leave the user out"):
        recommend_for_user("nobody", 3, log_dir)
    with pytest.raises(FileNotFoundError, match="vitrine data prepare"):
        recommend_for_user("u1", 3, tmp_path)
    with pytest.raises(ConnectionError, match="Check the address"):
        recommend_for_user("u1", 3, log_dir, address="127.0.0.1:1", timeout=1)


def test_format_by_hand():
    result = UserRecommendations(
        "u1",
        4,
        (HistoryRow("movie:3", "Heat", "watch", 30), HistoryRow("movie:2", "Up", "rate", 20)),
        (RecommendationRow(1, "movie:7", "Alien " * 20, 1.5),),
        "recommender",
        7,
    )
    assert format_recommendations(result).splitlines() == [
        "User u1, 4 events; answered by recommender version 7",
        "",
        "Recent history    Recommended",
        "watch      Heat     1     1.500  " + ("Alien " * 20)[:43] + "…",
        "rate       Up",
    ]


def test_format_of_ranked_ones_by_hand():
    rows = (
        RecommendationRow(1, "a:7", "Alien", -1.5, 0.25),
        RecommendationRow(2, "a:3", "Up", 3.0, 0.125),
    )
    result = UserRecommendations("u1", 0, (), rows, "shop", 7, "", "shop-ranking version 2")
    assert format_recommendations(result).splitlines() == [
        "User u1, 0 events; answered by shop version 7, ranked by shop-ranking version 2",
        "",
        "Recent history   Recommended (scores of the ranker and of the retrieval)",
        "                   1     0.250    -1.500  Alien",
        "                   2     0.125     3.000  Up",
    ]


def test_format_of_nothing():
    empty = UserRecommendations("u", 0, (), (), "recommender", 1, "Nothing to recommend: why.")
    assert format_recommendations(empty).splitlines()[-1] == "Nothing to recommend: why."
