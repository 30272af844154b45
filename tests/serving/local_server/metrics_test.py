from __future__ import annotations

from serving.local_server.metrics import Counter
from serving.local_server.metrics import Histogram
from serving.local_server.metrics import ServerMetrics


def test_counter_by_hand():
    counter = Counter(":a:b", ("model", "status"))
    counter.add("m", "OK")
    counter.add("m", "OK", by=2)
    counter.add('q"\\\n', "BAD")
    assert counter.lines() == [
        "# TYPE :a:b counter",
        ':a:b{model="m",status="OK"} 3',
        ':a:b{model="q\\"\\\\\\n",status="BAD"} 1',
    ]


def test_histogram_by_hand():
    histogram = Histogram(":h", ("model",), [10, 100])
    for value in (3, 10, 11, 1000):
        histogram.observe(value, "m")
    assert histogram.lines() == [
        "# TYPE :h histogram",
        ':h_bucket{model="m",le="10"} 2',
        ':h_bucket{model="m",le="100"} 3',
        ':h_bucket{model="m",le="+Inf"} 4',
        ':h_sum{model="m"} 1024',
        ':h_count{model="m"} 4',
    ]


def test_prometheus_own_parser_reads_the_page():
    from prometheus_client.parser import text_string_to_metric_families

    metrics = ServerMetrics()
    metrics.requests.add("m", "OK", by=7)
    metrics.request_latency.observe(123.0, "m", "Predict", "GRPC")
    metrics.runs.add()
    families = {family.name: family for family in text_string_to_metric_families(metrics.text())}
    counted = families[":tensorflow:serving:request_count"].samples[0]
    assert counted.value == 7
    assert counted.labels == {"model_name": "m", "status": "OK"}
    latency = families[":tensorflow:serving:request_latency"]
    assert {s.labels.get("le") for s in latency.samples} >= {"10", "18", "+Inf"}
