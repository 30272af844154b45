"""Runs every benchmark, one after another; each does what is missing and keeps the rest."""

from __future__ import annotations

import argparse
import subprocess
import sys

ALL = (
    "timeline_generation",
    "transform_throughput",
    "training_throughput",
    "throughput",
    "import_csv",
    "sources_speed",
    "serving",
    "rank_latency",
    "index",
    "index_update",
    "movielens_1m_retrieval",
    "sequence_training",
    "sequence_ablation",
    "amazon_beauty",
    "retailrocket",
    "cold_users",
    "sources",
    "embeddings_movielens_1m",
    "guim_ablation",
    "guim_cold_items",
    "export_throughput",
    "ranking_shop",
    "ranking_trivago",
    "ranking_movielens_1m",
    "ranking_speed",
    "lifelong",
    "pq_recall",
    "seminar_trivago",
    "seminar_movielens_1m",
    "seminar_shop",
    "courier_encoders",
    "courier",
    "courier_hm",
    "courier_movielens_1m",
    "courier_throughput",
    "cascade",
    "gmn_youshu",
    "gmn_amazon",
    "gmn_shop",
    "gmn_cost",
    "shop_statistics",
    "kubeflow",
    "results_table",
)

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, epilog="They are: " + ", ".join(ALL))
    parser.parse_args()
    for name in ALL:
        print(f"== {name}", flush=True)
        subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=True)
