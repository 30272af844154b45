"""trivago's hotel search: SEMINAR and other models of histories, which are short here.

    python -m benchmarks.seminar_trivago

Few users have more than 50 events, so no other length is measured. Hotels have an id, a city and
a price, no image and no title, so that SEMINAR has one channel and nothing to align; 4,140 text
searches are queries. The log is divided as in `benchmarks.ranking_trivago`. See
`benchmarks.seminar` for the rest.
"""

from __future__ import annotations

from dataclasses import replace

from benchmarks.ranking_trivago import BENCHMARK as TRIVAGO
from benchmarks.seminar import SeminarBenchmark
from benchmarks.seminar import main

BENCHMARK = SeminarBenchmark(
    ranking=replace(
        TRIVAGO,
        name="seminar_trivago",
        trainer={
            "model": {
                "use_time": True,
                "position_bias": True,
                "use_event_query": True,
                "use_repeats": False,
            },
            "input": {"batch_size": 64},
            "epochs": 4,
        },
    ),
    lengths=(50,),
    without=("sim_hard", "seminar_alignment"),
)

if __name__ == "__main__":
    main(BENCHMARK)
